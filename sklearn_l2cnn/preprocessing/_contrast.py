"""Contrast within single images."""

from numbers import Integral, Real

import torch

from sklearn_l2cnn._utils.sklearn_compat import Interval
from sklearn_l2cnn.preprocessing._base import FORM, ImageTransformer
from sklearn_l2cnn.preprocessing._values import as_floats, in_double, rounded


class ContrastNormalizer(ImageTransformer):
    r"""Give every image, or every neighbourhood in it, mean 0 and the same contrast.

    .. math:: x' = (x - m) / \sqrt{v + \epsilon^2}

    with m the mean and v the variance of the image over all its pixels and channels
    or, with a `window`, m the mean of each channel and v the variance of all of them
    around each pixel. uint8 counts as [0, 1]. Nothing is learnt from other images.

    Parameters
    ----------
    window : int, default=None
        Side of the neighbourhood, an odd number of pixels, which weigh less towards its
        edge, as a Gaussian; None is the whole image.

    epsilon : float, default=0.01
        What keeps flat images and neighbourhoods from becoming noise.

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
    HistogramEqualizer : Spreads the values evenly instead.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ContrastNormalizer
    >>> X = ContrastNormalizer().fit_transform(load_digits().images)
    >>> print(f"{abs(X[0].mean()):.1f} {X[0].std():.1f}")
    0.0 1.0
    """

    _parameter_constraints: dict = {
        "window": [Interval(Integral, 1, None, closed="left"), None],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        **FORM,
    }

    def __init__(self, window=None, *, epsilon=0.01, image_shape=None, channels="last"):
        self.window = window
        self.epsilon = epsilon
        self.image_shape = image_shape
        self.channels = channels

    def _change(self, images):
        if self.window is not None and self.window % 2 == 0:
            raise ValueError(
                f"window={self.window} has no middle; an odd number was expected, such "
                f"as {self.window + 1}."
            )
        values = in_double(images)
        if self.window is None:
            values = values - values.mean(dim=(1, 2, 3), keepdim=True)
            variance = values.square().mean(dim=(1, 2, 3), keepdim=True)
        else:
            mean = blurred(values, self.window)
            square = blurred(values.square(), self.window)
            variance = (square - mean.square()).clamp_min(0).mean(1, keepdim=True)
            values = values - mean
        return as_floats(values / (variance + self.epsilon**2).sqrt(), images)


def blurred(images, window):
    """Average around every pixel with the weights of a Gaussian, mirrored at the edges.

    The window is no wider than the mirror image of an image goes.
    """
    from torchvision.transforms.v2 import functional

    sides = [min(window, 2 * side - 1) for side in images.shape[:1:-1]]
    return functional.gaussian_blur(images, sides)


class HistogramEqualizer(ImageTransformer):
    r"""Spread the values of every image evenly, every channel by itself.

    .. math:: x' = \frac{c(x) - c_0}{n - c_0}

    with c(x) the number of the channel's n pixels that are no larger than x, and
    :math:`c_0` that of the least value: the darkest becomes black, the lightest white,
    255 of uint8. A channel that is constant becomes black. Nothing is learnt from other
    images.

    Parameters
    ----------
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
    ContrastNormalizer : Mean 0 and the same contrast instead.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.preprocessing import HistogramEqualizer
    >>> X = np.array([[[100, 101], [102, 103]]], dtype=np.uint8)
    >>> HistogramEqualizer().fit_transform(X)
    array([[[  0,  85],
            [170, 255]]], dtype=uint8)
    """

    _parameter_constraints: dict = {**FORM}

    def __init__(self, *, image_shape=None, channels="last"):
        self.image_shape = image_shape
        self.channels = channels

    def _change(self, images):
        counts = _ranks(images.flatten(2)).reshape(images.shape).double()
        least = counts.amin(dim=(2, 3), keepdim=True)
        span = images.shape[2] * images.shape[3] - least
        share = torch.where(span > 0, (counts - least) / span, 0.0)
        if images.dtype == torch.uint8:
            return rounded(255 * share, images)
        return share.to(images.dtype)


def _ranks(values):
    """Count for every value how many along the last axis are no larger."""
    values = values.contiguous()
    if values.dtype == torch.uint8:
        places = values.long()
        histogram = torch.zeros(
            (*values.shape[:2], 256), dtype=torch.long, device=values.device
        )
        histogram.scatter_add_(2, places, torch.ones_like(places))
        return histogram.cumsum(2).gather(2, places)
    return torch.searchsorted(values.sort(dim=2).values, values, right=True)
