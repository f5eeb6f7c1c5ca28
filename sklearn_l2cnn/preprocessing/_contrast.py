"""Contrast normalisation within single images."""

from numbers import Integral, Real

import torch
from sklearn.base import OneToOneFeatureMixin

from sklearn_l2cnn._data.pixels import (
    as_float64,
    as_floats_like,
    cast_like,
    power_of_two,
    white_of,
)
from sklearn_l2cnn._utils.sklearn_compat import Interval
from sklearn_l2cnn.preprocessing._base import FORM, ImageTransformer

# The least contrast of an image, as a share of its largest value: less is rounding.
_LEAST = 1e-15


class ContrastNormalizer(OneToOneFeatureMixin, ImageTransformer):
    r"""Normalise each image, or each neighbourhood in it, to mean 0 and equal contrast.

    .. math:: x' = (x - m) / \sqrt{v + \epsilon^2}

    where m and v are the mean and the variance over all pixels and channels of the
    image. With a `window`, they are computed around each pixel, m for each channel and
    v for all channels. uint8 is scaled to [0, 1]. The transformer is stateless.

    Parameters
    ----------
    window : int, default=None
        Side of the neighbourhood, an odd number of pixels, which are weighted by a
        Gaussian. None uses the whole image.

    epsilon : float, default=0.01
        Regularisation that keeps the noise of flat regions from being amplified.

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
    HistogramEqualizer : Spread the values of each image evenly.

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
        super().__init__(image_shape=image_shape, channels=channels)

    def _transform(self, images):
        if self.window is not None and self.window % 2 == 0:
            raise ValueError(
                f"window={self.window} has no middle pixel; an odd number was "
                f"expected, such as {self.window + 1}."
            )
        values = as_float64(images)
        # in a unit in which no square overflows, and as distances to a pixel of the
        # image, which are exactly 0 in flat ones
        largest = values.abs().amax(dim=(1, 2, 3), keepdim=True)
        unit = power_of_two(largest.clamp_min(self.epsilon))
        values = values / unit
        if self.window is None:
            values = values - values[:, :1, :1, :1]
            values = values - values.mean(dim=(1, 2, 3), keepdim=True)
            variance = values.square().mean(dim=(1, 2, 3), keepdim=True)
        else:
            values = values - values[:, :, :1, :1]
            mean = _gaussian_blur(values, self.window)
            square = _gaussian_blur(values.square(), self.window)
            variance = (square - mean.square()).clamp_min(0).mean(1, keepdim=True)
            values = values - mean
        # a number over a tensor would be its reciprocal first, which may overflow
        least = torch.full_like(unit, self.epsilon) / unit
        scale = (variance + least.square()).sqrt()
        return as_floats_like(values / scale.clamp_min(_LEAST), images)


def _gaussian_blur(images, window):
    """Average around each pixel with Gaussian weights, with mirrored edges.

    The window is reduced to the largest that the mirrored image can fill.
    """
    from torchvision.transforms.v2 import functional

    sides = [min(window, 2 * side - 1) for side in images.shape[:1:-1]]
    return functional.gaussian_blur(images, sides)


class HistogramEqualizer(OneToOneFeatureMixin, ImageTransformer):
    r"""Spread the values of each image evenly, separately for each channel.

    .. math:: x' = \frac{c(x) - c_0}{n - c_0}

    where c(x) is the number of the channel's n pixels that are no larger than x, and
    :math:`c_0` is c of the smallest value: the darkest pixels become black, the
    lightest white, which is 255 for uint8. A constant channel becomes black. The
    transformer is stateless.

    Parameters
    ----------
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
    ContrastNormalizer : Normalise each image to mean 0 and equal contrast.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.preprocessing import HistogramEqualizer
    >>> X = np.array([[[100, 101], [102, 103]]], dtype=np.uint8)
    >>> HistogramEqualizer().fit_transform(X)
    array([[[  0,  85],
            [170, 255]]], dtype=uint8)
    """

    def _transform(self, images):
        counts = _ranks(images.flatten(2)).reshape(images.shape).double()
        least = counts.amin(dim=(2, 3), keepdim=True)
        span = images.shape[2] * images.shape[3] - least
        share = torch.where(span > 0, (counts - least) / span, 0.0)
        return cast_like(white_of(images) * share, images)


def _ranks(values):
    """Count, for each value, the values along the last axis that are no larger."""
    values = values.contiguous()
    if values.dtype == torch.uint8:
        places = values.long()
        histogram = torch.zeros(
            (*values.shape[:2], 256), dtype=torch.long, device=values.device
        )
        histogram.scatter_add_(2, places, torch.ones_like(places))
        return histogram.cumsum(2).gather(2, places)
    return torch.searchsorted(values.sort(dim=2).values, values, right=True)
