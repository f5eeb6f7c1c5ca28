"""Resizing, cropping and padding of batches of images."""

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

SIZE = [Interval(Integral, 1, None, closed="left"), tuple, list]
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


class ImageResizer(ImageTransformer):
    """Resize images with antialiasing.

    Parameters
    ----------
    size : int or tuple (height, width), default=(32, 32)
        Size of the resized images; an int is used for both sides.

    aspect : {"stretch", "crop", "pad"}, default="stretch"
        How to treat images with another aspect ratio than `size`: ``"stretch"`` changes
        it, ``"crop"`` takes the largest central part that has the aspect ratio of
        `size`, ``"pad"`` centres the whole image and fills the rest.

    fill : float, default=0.0
        Fill value of ``"pad"``: 0 is black, 1 is white, which is 255 for uint8.

    interpolation : {"nearest", "bilinear", "bicubic"}, default="bilinear"
        Interpolation between pixels. If an image becomes smaller, pixels are averaged,
        except with ``"nearest"``.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. With
        None, a row of k * k values is a grey image of k x k pixels, any other row an
        image one pixel high.

    channels : {"last", "first"}, default="last"
        Position of the channel axis in images of four dimensions, and in the images
        that rows are flattened from.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after transformation.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    ImageReader : Read files, and resize images of different sizes to one size.
    CenterCropper : Crop to the middle without resizing.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ImageResizer
    >>> ImageResizer(size=16).fit_transform(load_digits().images).shape
    (1797, 16, 16)
    """

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
        super().__init__(image_shape=image_shape, channels=channels)

    def _transform(self, images):
        return resize_to(images, self.size, self.aspect, self.fill, self.interpolation)


def resize_to(images, size, aspect, fill, interpolation):
    """Resize a tensor of images as :class:`ImageResizer` does, keeping its dtype."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    size, shape = two_sides(size), tuple(images.shape[2:])
    inner = size
    if aspect == "crop":
        images = _middle(images, central_box(shape, size)[2:])
    elif aspect == "pad":
        inner = inner_place(shape, size)[2:]
    # as in Pillow
    mode = InterpolationMode(interpolation.replace("nearest", "nearest-exact"))
    images = functional.resize(images, list(inner), mode)
    return _in_frame(images, size, fill) if aspect == "pad" else images


def _middle(images, size):
    """Return a view of the middle of images."""
    shape = images.shape[2:]
    top, left = ((whole - side) // 2 for whole, side in zip(shape, size, strict=True))
    return images[:, :, top : top + size[0], left : left + size[1]]


def _in_frame(images, size, fill):
    """Put images in the middle of larger frames, and fill the rest."""
    if images.dtype == torch.uint8:
        if not 0 <= fill <= 1:
            raise ValueError(
                f"fill={fill:g} is not a valid value for uint8 images: 0 is black, and "
                "1 is white, which is 255 for uint8."
            )
        fill = round(255 * fill)
    frames = images.new_full((*images.shape[:2], *size), fill)
    _middle(frames, images.shape[2:])[:] = images
    return frames


class CenterCropper(ImageTransformer):
    """Crop images to their middle.

    Parameters
    ----------
    size : int or tuple (height, width), default=(32, 32)
        Size of the cropped images; an int is used for both sides. The height or width
        of a smaller image is kept.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. With
        None, a row of k * k values is a grey image of k x k pixels, any other row an
        image one pixel high.

    channels : {"last", "first"}, default="last"
        Position of the channel axis in images of four dimensions, and in the images
        that rows are flattened from.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after transformation.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    ImagePadder : Pad images. Padding and cropping give images of any size.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import CenterCropper
    >>> CenterCropper(size=(8, 6)).fit_transform(load_digits().images).shape
    (1797, 8, 6)
    """

    _parameter_constraints: dict = {"size": SIZE, **FORM}

    def __init__(self, size=(32, 32), *, image_shape=None, channels="last"):
        self.size = size
        super().__init__(image_shape=image_shape, channels=channels)

    def _transform(self, images):
        sides = zip(two_sides(self.size), images.shape[2:], strict=True)
        return _middle(images, list(map(min, sides)))


class ImagePadder(InvertibleMixin, ImageTransformer):
    """Pad images to a larger size, with the image in the middle.

    Parameters
    ----------
    size : int or tuple (height, width), default=(32, 32)
        Size of the padded images; an int is used for both sides. The height or width
        of a larger image is kept.

    mode : {"constant", "edge", "reflect"}, default="constant"
        Padding around the image: `fill`, its outermost pixels, or its mirror image.

    fill : float, default=0.0
        Fill value of ``"constant"``: 0 is black, 1 is white, which is 255 for uint8.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. With
        None, a row of k * k values is a grey image of k x k pixels, any other row an
        image one pixel high.

    channels : {"last", "first"}, default="last"
        Position of the channel axis in images of four dimensions, and in the images
        that rows are flattened from.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after transformation.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    CenterCropper : Crop images to their middle.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ImagePadder
    >>> ImagePadder(size=12).fit_transform(load_digits().images).shape
    (1797, 12, 12)
    """

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
        super().__init__(image_shape=image_shape, channels=channels)

    def _transform(self, images):
        sides = zip(two_sides(self.size), images.shape[2:], strict=True)
        size = list(map(max, sides))
        if self.mode == "constant":
            return _in_frame(images, size, self.fill)
        for axis in (2, 3):
            added = size[axis - 2] - images.shape[axis]
            before = added // 2
            images = pad_axis(images, before, added - before, axis, self.mode)
        return images

    def _inverse_transform(self, images):
        return _middle(images, self.image_shape_[:2])


def pad_axis(images, before, after, axis, mode="reflect"):
    """Pad images along an axis with their outermost pixels or their mirror image."""
    side = images.shape[axis]
    rows = torch.arange(-before, side + after, device=images.device)
    rows = rows.clamp(0, side - 1) if mode == "edge" else reflected(rows, side)
    return images.index_select(axis, rows)
