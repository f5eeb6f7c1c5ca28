"""Size: resizing, cropping and padding whole batches."""

from numbers import Integral

import torch

from sklearn_l2cnn._data.framing import (
    ASPECTS,
    central_box,
    inner_place,
    reflected,
    two_sides,
)
from sklearn_l2cnn._utils.sklearn_compat import Interval, StrOptions
from sklearn_l2cnn.preprocessing._base import (
    FORM,
    NUMBER,
    ImageTransformer,
    InvertibleMixin,
)
from sklearn_l2cnn.preprocessing._values import white_of

SIZE = [Interval(Integral, 1, None, closed="left"), tuple, list]
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


class ImageResizer(ImageTransformer):
    """Bring images to a size, antialiased.

    Parameters
    ----------
    size : int or tuple (height, width), default=(32, 32)
        What the images become; an int is both sides.

    aspect : {"stretch", "crop", "pad"}, default="stretch"
        What to do where the proportions are others: ``"stretch"`` changes them,
        ``"crop"`` takes the largest part in the middle that has the right ones,
        ``"pad"`` puts the whole image in the middle and fills what is left.

    fill : float, default=0.0
        What ``"pad"`` fills with: 0 is black, 1 is white, which of uint8 is 255.

    interpolation : {"nearest", "bilinear", "bicubic"}, default="bilinear"
        How values between pixels are found. Where an image becomes smaller, pixels are
        averaged over what they stand for, except with ``"nearest"``.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. None
        takes a row of k * k values as a grey image of k x k pixels and any other row as
        a strip one pixel high.

    channels : {"last", "first"}, default="last"
        Where the channels stand in images of four dimensions, and in the images that
        rows are flattened from.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    ImageReader : Reads files, and resizes images of many sizes to one.
    CenterCropper : Takes the middle without resizing.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ImageResizer
    >>> ImageResizer(size=16).fit_transform(load_digits().images).shape
    (1797, 16, 16)
    """

    _keeps_pixels = False
    _parameter_constraints: dict = {
        "size": SIZE,
        "aspect": [StrOptions(set(ASPECTS))],
        "fill": NUMBER,
        "interpolation": [StrOptions(set(INTERPOLATIONS))],
        **FORM,
    }

    def __init__(
        self,
        size=(32, 32),
        *,
        aspect="stretch",
        fill=0.0,
        interpolation="bilinear",
        image_shape=None,
        channels="last",
    ):
        self.size = size
        self.aspect = aspect
        self.fill = fill
        self.interpolation = interpolation
        self.image_shape = image_shape
        self.channels = channels

    def _change(self, images):
        return fitted(
            images, two_sides(self.size), self.aspect, self.fill, self.interpolation
        )


def fitted(images, size, aspect, fill, interpolation):
    """Bring a tensor of images to a size, as :class:`ImageResizer` says."""
    shape = tuple(images.shape[2:])
    if aspect == "crop":
        top, left, height, width = central_box(shape, size)
        images = images[:, :, top : top + height, left : left + width]
    if aspect != "pad":
        return resized(images, size, interpolation)
    top, left, height, width = inner_place(shape, size)
    inner = resized(images, (height, width), interpolation)
    return framed(inner, size, (top, left), fill)


def resized(images, size, interpolation="bilinear"):
    """Resize a tensor of images, antialiased, in its own dtype."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    if tuple(images.shape[2:]) == tuple(size):
        return images
    exact = "-exact" if interpolation == "nearest" else ""  # as Pillow has it
    mode = InterpolationMode(interpolation + exact)
    antialias = interpolation != "nearest"
    return functional.resize(images, list(size), mode, antialias=antialias)


def framed(images, size, place, fill):
    """Put images into frames of a size, where `place` says, and fill what is left."""
    n, depth, height, width = images.shape
    top, left = place
    if images.dtype == torch.uint8 and not 0 <= fill <= 1:
        raise ValueError(
            f"fill={fill:g} is no value of uint8 images: 0 is black, and 1 is white, "
            "which of uint8 is 255."
        )
    level = fill * white_of(images)
    level = level if images.is_floating_point() else round(level)
    frames = images.new_full((n, depth, *size), level)
    frames[:, :, top : top + height, left : left + width] = images
    return frames


class CenterCropper(ImageTransformer):
    """Take the middle of images.

    Parameters
    ----------
    size : int or tuple (height, width), default=(32, 32)
        Of the part that is kept; an int is both sides. An image that is smaller keeps
        its own height, or width.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. None
        takes a row of k * k values as a grey image of k x k pixels and any other row as
        a strip one pixel high.

    channels : {"last", "first"}, default="last"
        Where the channels stand in images of four dimensions, and in the images that
        rows are flattened from.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    ImagePadder : The opposite; one after the other brings any image to a size.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import CenterCropper
    >>> CenterCropper(size=(8, 6)).fit_transform(load_digits().images).shape
    (1797, 8, 6)
    """

    _keeps_pixels = False
    _parameter_constraints: dict = {"size": SIZE, **FORM}

    def __init__(self, size=(32, 32), *, image_shape=None, channels="last"):
        self.size = size
        self.image_shape = image_shape
        self.channels = channels

    def _change(self, images):
        height, width = images.shape[2:]
        rows, columns = two_sides(self.size)
        rows, columns = min(rows, height), min(columns, width)
        top, left = (height - rows) // 2, (width - columns) // 2
        return images[:, :, top : top + rows, left : left + columns]


class ImagePadder(InvertibleMixin, ImageTransformer):
    """Put images into the middle of larger frames.

    Parameters
    ----------
    size : int or tuple (height, width), default=(32, 32)
        Of the frames; an int is both sides. An image that is larger keeps its own
        height, or width.

    mode : {"constant", "edge", "reflect"}, default="constant"
        What is around the image: `fill`, its outermost pixels, or its mirror image.

    fill : float, default=0.0
        What ``"constant"`` fills with: 0 is black, 1 is white, which of uint8 is 255.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. None
        takes a row of k * k values as a grey image of k x k pixels and any other row as
        a strip one pixel high.

    channels : {"last", "first"}, default="last"
        Where the channels stand in images of four dimensions, and in the images that
        rows are flattened from.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    CenterCropper : The opposite.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ImagePadder
    >>> ImagePadder(size=12).fit_transform(load_digits().images).shape
    (1797, 12, 12)
    """

    _keeps_pixels = False
    _parameter_constraints: dict = {
        "size": SIZE,
        "mode": [StrOptions({"constant", "edge", "reflect"})],
        "fill": NUMBER,
        **FORM,
    }

    def __init__(
        self,
        size=(32, 32),
        *,
        mode="constant",
        fill=0.0,
        image_shape=None,
        channels="last",
    ):
        self.size = size
        self.mode = mode
        self.fill = fill
        self.image_shape = image_shape
        self.channels = channels

    def _place(self):
        """Return the size of the frame, and where in it the image is."""
        shape = self.image_shape_[:2]
        size = [max(pair) for pair in zip(two_sides(self.size), shape, strict=True)]
        place = [(whole - side) // 2 for whole, side in zip(size, shape, strict=True)]
        return shape, size, place

    def _change(self, images):
        shape, size, place = self._place()
        if self.mode == "constant":
            return framed(images, size, place, self.fill)
        for axis in (0, 1):
            after = size[axis] - place[axis] - shape[axis]
            images = padded(images, place[axis], after, 2 + axis, self.mode)
        return images

    def _undo(self, images):
        (height, width), _, (top, left) = self._place()
        return images[:, :, top : top + height, left : left + width]


def padded(images, before, after, axis, mode="reflect"):
    """Pad one side of images with their outermost pixels or their mirror image."""
    side = images.shape[axis]
    rows = torch.arange(-before, side + after, device=images.device)
    rows = rows.clamp(0, side - 1) if mode == "edge" else reflected(rows, side)
    return images.index_select(axis, rows)
