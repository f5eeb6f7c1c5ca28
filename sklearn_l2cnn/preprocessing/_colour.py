"""Channels: grey, colour, transparency."""

from numbers import Integral

import torch

from sklearn_l2cnn._utils.sklearn_compat import Options
from sklearn_l2cnn.preprocessing._base import FORM, NUMBER, ImageTransformer
from sklearn_l2cnn.preprocessing._values import floating, rounded, white_of

# ITU-R BT.601: how bright red, green and blue look.
_LUMA = (0.299, 0.587, 0.114)


def without_alpha(images, background):
    """Let a background shine through where images with alpha are transparent.

    Parameters
    ----------
    images : Tensor of shape (n, 2 or 4, height, width)
        Grey or colour, and alpha from 0 to white.
    background : float
        0 is black, 1 is white.
    """
    white = white_of(images)
    values = floating(images)
    colour, alpha = values[:, :-1], values[:, -1:] / white
    return rounded(colour * alpha + background * white * (1 - alpha), images)


def grey(images):
    """Return the luma of images with three channels."""
    values = floating(images)
    red, green, blue = values.unbind(1)
    luma = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
    return rounded(luma.unsqueeze(1), images)


def to_depth(images, depth, background):
    """Bring images of one to four channels to another number of channels."""
    found = images.shape[1]
    if found > 4:
        raise ValueError(
            f"Images with {found} channels were given; those that can be turned into "
            "others have 1 (grey), 2 (grey and alpha), 3 (red, green, blue) or 4 (red, "
            "green, blue and alpha). Choose channels by indexing: X[..., :3]."
        )
    if found == depth:
        return images
    if found in (2, 4):
        alpha = images[:, -1:]
        images = images[:, :-1] if depth == 4 else without_alpha(images, background)
    else:
        alpha = torch.full_like(images[:, :1], white_of(images))
    if depth == 1:
        return images if images.shape[1] == 1 else grey(images)
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    return images if depth == 3 else torch.cat([images, alpha], dim=1)


class ToChannels(ImageTransformer):
    r"""Bring images to 1, 3 or 4 channels.

    Grey becomes colour by repeating it, colour becomes grey as
    :math:`0.299\,R + 0.587\,G + 0.114\,B`. Of images with alpha, the fourth channel or
    the second beside grey, a background shines through; images without are opaque.

    Parameters
    ----------
    n_channels : {1, 3, 4}, default=3
        Grey, colour, or colour and alpha.

    background : float, default=1.0
        What is behind transparent pixels: 0 is black, 1 is white.

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
    ToGray : The same with one channel.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ToChannels
    >>> ToChannels(3).fit_transform(load_digits().images).shape
    (1797, 8, 8, 3)
    """

    _keeps_pixels = False
    _parameter_constraints: dict = {
        "n_channels": [Options(Integral, {1, 3, 4})],
        "background": NUMBER,
        **FORM,
    }

    def __init__(
        self, n_channels=3, *, background=1.0, image_shape=None, channels="last"
    ):
        self.n_channels = n_channels
        self.background = background
        self.image_shape = image_shape
        self.channels = channels

    def _change(self, images):
        return to_depth(images, self.n_channels, self.background)


class ToGray(ImageTransformer):
    r"""Turn images to grey: :math:`0.299\,R + 0.587\,G + 0.114\,B`.

    Parameters
    ----------
    background : float, default=1.0
        What is behind transparent pixels: 0 is black, 1 is white.

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
    ToChannels : Any number of channels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.preprocessing import ToGray
    >>> red = np.full((1, 2, 2, 3), [255, 0, 0], dtype=np.uint8)
    >>> ToGray().fit_transform(red)[0, :, :, 0]
    array([[76, 76],
           [76, 76]], dtype=uint8)
    """

    _keeps_pixels = False
    _parameter_constraints: dict = {
        "background": NUMBER,
        **FORM,
    }

    def __init__(self, *, background=1.0, image_shape=None, channels="last"):
        self.background = background
        self.image_shape = image_shape
        self.channels = channels

    def _change(self, images):
        return to_depth(images, 1, self.background)
