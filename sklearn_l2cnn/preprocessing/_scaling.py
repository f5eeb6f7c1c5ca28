"""Pixels in a range."""

import numpy as np
import torch

from sklearn_l2cnn._data.pixels import chunks
from sklearn_l2cnn._utils.sklearn_compat import StrOptions
from sklearn_l2cnn.preprocessing._base import (
    FORM,
    ImageTransformer,
    InvertibleMixin,
    PartialFitMixin,
)
from sklearn_l2cnn.preprocessing._values import as_floats, in_double


class PixelScaler(InvertibleMixin, PartialFitMixin, ImageTransformer):
    r"""Bring all pixels from one range to another, all by the same line.

    .. math:: x' = a' + (x - a) \frac{b' - a'}{b - a}

    with [a, b] the range of the pixels and [a', b'] the one that is wanted. uint8
    counts as [0, 1], so that the default divides it by 255.

    Parameters
    ----------
    feature_range : tuple (low, high), default=(0, 1)
        What the pixels are brought to.

    pixel_range : "auto" or tuple (low, high), default="auto"
        What the pixels are brought from. ``"auto"`` is [0, 1] for uint8, whatever its
        values, and for all others the least and the largest value seen in fit. Later
        images may go beyond.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. None
        takes a row of k * k values as a grey image of k x k pixels and any other row as
        a strip one pixel high.

    channels : {"last", "first"}, default="last"
        Where the channels stand in images of four dimensions, and in the images that
        rows are flattened from.

    Attributes
    ----------
    pixel_range_ : tuple of float
        What the pixels are brought from.

    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    ChannelStandardizer : To mean 0 and deviation 1 instead.
    sklearn.preprocessing.MinMaxScaler : The same for every feature by itself.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import PixelScaler
    >>> X = PixelScaler().fit_transform(load_digits().images)
    >>> print(X.min(), X.max())
    0.0 1.0
    """

    _compares_units = True
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
        self.image_shape = image_shape
        self.channels = channels

    def _learn(self, images, weight, first):
        _check_range(self.feature_range, "feature_range")
        if self.pixel_range != "auto":
            _check_range(self.pixel_range, "pixel_range")
            return {"pixel_range_": tuple(map(float, self.pixel_range))}
        low, high = 0.0, 1.0
        if images.dtype != torch.uint8:
            low, high = _extremes(images, np.flatnonzero(weight > 0))
        if not first:
            low, high = min(low, self.pixel_range_[0]), max(high, self.pixel_range_[1])
        return {"pixel_range_": (low, high)}

    def _change(self, images):
        values = _moved(in_double(images), self.pixel_range_, self.feature_range)
        return as_floats(values, images)

    def _undo(self, images):
        values = _moved(in_double(images), self.feature_range, self.pixel_range_)
        return as_floats(values, images)


def _check_range(limits, name):
    numbers = len(limits) == 2 and all(np.isreal(limit) for limit in limits)
    if not numbers or not -np.inf < limits[0] < limits[1] < np.inf:
        raise ValueError(
            f"{name}={limits!r} is no range; (low, high) with low < high was expected."
        )


def _extremes(images, rows):
    lows, highs = [], []
    for part in chunks(len(rows), images.shape[1:]):
        piece = images[rows[part]]
        lows.append(float(piece.min()))
        highs.append(float(piece.max()))
    return min(lows), max(highs)


def _moved(values, source, target):
    """Send [a, b] to [a', b'] along a line; where a is b, of slope 1."""
    (low, high), (new_low, new_high) = source, target
    slope = (new_high - new_low) / (high - low) if high > low else 1.0
    if new_high == new_low:
        slope = 1.0
    return new_low + (values - low) * slope
