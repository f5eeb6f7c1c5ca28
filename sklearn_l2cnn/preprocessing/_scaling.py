"""Scaling of pixels to a range."""

import math

import numpy as np
import torch

from sklearn_l2cnn._data.pixels import as_float64, as_floats_like
from sklearn_l2cnn._utils.sklearn_compat import StrOptions
from sklearn_l2cnn.preprocessing._base import (
    FORM,
    ImageTransformer,
    InvertibleMixin,
    PartialFitMixin,
)


class PixelScaler(InvertibleMixin, PartialFitMixin, ImageTransformer):
    r"""Scale all pixels from one range to another by the same linear function.

    .. math:: x' = a' + (x - a) \frac{b' - a'}{b - a}

    where [a, b] is the range of the pixels and [a', b'] the desired one. The range of
    uint8 is [0, 1] after division by 255, which is all that the default does.

    Parameters
    ----------
    feature_range : tuple (low, high), default=(0, 1)
        Desired range of the transformed pixels.

    pixel_range : "auto" or tuple (low, high), default="auto"
        Range of the pixels before scaling. ``"auto"`` is [0, 1] for uint8, whatever the
        values, and otherwise the smallest and the largest value of the training data.
        Values of other images may lie outside of it.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. With
        None, a row of k * k values is a grey image of k x k pixels, any other row an
        image one pixel high.

    channels : {"last", "first"}, default="last"
        Position of the channel axis in images of four dimensions, and in the images
        that rows are flattened from.

    Attributes
    ----------
    pixel_range_ : tuple of float
        Range of the pixels before scaling.

    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after transformation.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    ChannelStandardizer : Standardise to mean 0 and standard deviation 1.
    sklearn.preprocessing.MinMaxScaler : Scale each feature separately.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import PixelScaler
    >>> X = PixelScaler().fit_transform(load_digits().images)
    >>> print(X.min(), X.max())
    0.0 1.0
    """

    _parameter_constraints: dict = {
        "feature_range": [tuple, list],
        "pixel_range": [StrOptions({"auto"}), tuple, list],
        **FORM,
    }

    def __init__(
        self,
        feature_range=(0, 1),
        *,
        pixel_range="auto",
        image_shape=None,
        channels="last",
    ):
        self.feature_range = feature_range
        self.pixel_range = pixel_range
        super().__init__(image_shape=image_shape, channels=channels)

    def _learn(self, images, weight, first):
        _check_range(self.feature_range, "feature_range")
        if self.pixel_range != "auto":
            _check_range(self.pixel_range, "pixel_range")
            return {"pixel_range_": tuple(map(float, self.pixel_range))}
        low, high = 0.0, 1.0
        if images.dtype != torch.uint8:
            rows = np.flatnonzero(weight > 0)
            low = float(images.amin(dim=(1, 2, 3))[rows].min())
            high = float(images.amax(dim=(1, 2, 3))[rows].max())
        if not first:
            low, high = min(low, self.pixel_range_[0]), max(high, self.pixel_range_[1])
        return {"pixel_range_": (low, high)}

    def _transform(self, images):
        return _rescale(images, self.pixel_range_, self.feature_range)

    def _inverse_transform(self, images):
        return _rescale(images, self.feature_range, self.pixel_range_)


def _check_range(limits, name):
    numbers = len(limits) == 2 and all(np.isreal(limit) for limit in limits)
    if not numbers or not -np.inf < limits[0] < limits[1] < np.inf:
        raise ValueError(
            f"{name}={limits!r} is not a range; (low, high) with low < high was "
            "expected."
        )


def _rescale(images, source, target):
    """Map [a, b] linearly to [a', b'], with slope 1 if a range has no width."""
    (low, high), (new_low, new_high) = source, target
    values = as_float64(images)
    if high == low or new_high == new_low:
        return as_floats_like(new_low + (values - low), images)
    # the width of a range may be larger than the largest number, that of a half is not
    part = 0.5 if math.inf in (high - low, new_high - new_low) else 1.0
    shares = (part * values - part * low) / (part * high - part * low)
    new = part * new_low + shares * (part * new_high - part * new_low)
    return as_floats_like(new / part, images)
