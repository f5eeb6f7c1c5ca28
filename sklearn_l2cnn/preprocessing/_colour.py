"""Conversion between grey, colour and transparent images."""

from numbers import Integral

import torch

from sklearn_l2cnn._data.pixels import as_floats_like, cast_like, white_of
from sklearn_l2cnn._utils.sklearn_compat import Options
from sklearn_l2cnn.preprocessing._base import FORM, NUMBER, ImageTransformer

# Weights of red, green and blue in the luma of ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)


def blend_alpha(images, background):
    """Blend images with an alpha channel with a background, and drop alpha.

    Parameters
    ----------
    images : Tensor of shape (n, 2 or 4, height, width)
        Grey or colour, followed by alpha, from 0 to white.
    background : float
        0 is black, 1 is white.
    """
    white = white_of(images)
    values = as_floats_like(images, images)
    colour, alpha = values[:, :-1], values[:, -1:] / white
    return cast_like(colour * alpha + background * white * (1 - alpha), images)


def _to_luma(images):
    """Return the luma of images with three channels."""
    values = as_floats_like(images, images)
    red, green, blue = values.unbind(1)
    luma = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
    return cast_like(luma.unsqueeze(1), images)


def convert_channels(images, depth, background):
    """Convert images of one to four channels to another number of channels."""
    found = images.shape[1]
    if found > 4:
        raise ValueError(
            f"Images with {found} channels cannot be converted; 1 (grey), 2 (grey and "
            "alpha), 3 (red, green, blue) or 4 (red, green, blue and alpha) were "
            "expected. Select channels by indexing: X[..., :3]."
        )
    if found == depth:
        return images
    if found in (2, 4):
        alpha = images[:, -1:]
        images = images[:, :-1] if depth == 4 else blend_alpha(images, background)
    else:
        alpha = torch.full_like(images[:, :1], white_of(images))
    if depth == 1:
        return images if images.shape[1] == 1 else _to_luma(images)
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    return images if depth == 3 else torch.cat([images, alpha], dim=1)


class ToChannels(ImageTransformer):
    r"""Convert images to 1, 3 or 4 channels.

    Grey is converted to colour by repeating it, colour to grey by
    :math:`0.299\,R + 0.587\,G + 0.114\,B`. Images with alpha, the last of two or four
    channels, are blended with a background; images without alpha are opaque.

    Parameters
    ----------
    n_channels : {1, 3, 4}, default=3
        Grey, colour, or colour and alpha.

    background : float, default=1.0
        Grey level behind transparent pixels: 0 is black, 1 is white.

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
    ToGray : Conversion to one channel.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ToChannels
    >>> ToChannels(3).fit_transform(load_digits().images).shape
    (1797, 8, 8, 3)
    """

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
        super().__init__(image_shape=image_shape, channels=channels)

    def _transform(self, images):
        return convert_channels(images, self.n_channels, self.background)


class ToGray(ImageTransformer):
    r"""Convert images to grey: :math:`0.299\,R + 0.587\,G + 0.114\,B`.

    Parameters
    ----------
    background : float, default=1.0
        Grey level behind transparent pixels: 0 is black, 1 is white.

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
    ToChannels : Conversion to 1, 3 or 4 channels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.preprocessing import ToGray
    >>> red = np.full((1, 2, 2, 3), [255, 0, 0], dtype=np.uint8)
    >>> ToGray().fit_transform(red)[0, :, :, 0]
    array([[76, 76],
           [76, 76]], dtype=uint8)
    """

    _parameter_constraints: dict = {"background": NUMBER, **FORM}

    def __init__(self, *, background=1.0, image_shape=None, channels="last"):
        self.background = background
        super().__init__(image_shape=image_shape, channels=channels)

    def _transform(self, images):
        return convert_channels(images, 1, self.background)
