"""Mean 0 and deviation 1: of every channel, or of every pixel."""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._data.pixels import (
    as_float64,
    channel_statistics,
    chunks,
    merge_statistics,
)
from sklearn_l2cnn.preprocessing._base import (
    FORM,
    ImageTransformer,
    InvertibleMixin,
    PartialFitMixin,
)
from sklearn_l2cnn.preprocessing._values import as_floats, in_double


class _Standardizer(InvertibleMixin, PartialFitMixin, ImageTransformer):
    """What both have in common: a mean and a scale, which fit to the pixels."""

    _compares_units = True

    def _line(self, images):
        """Return mean and scale as tensors that broadcast over images."""
        for name in ("mean_", "scale_"):
            values = torch.as_tensor(self._learnt_[name], device=images.device)
            yield values.permute(2, 0, 1) if values.ndim == 3 else values[:, None, None]

    def _change(self, images):
        mean, scale = self._line(images)
        return as_floats((in_double(images) - mean) / scale, images)

    def _undo(self, images):
        mean, scale = self._line(images)
        return as_floats(in_double(images) * scale + mean, images)


class ChannelStandardizer(_Standardizer):
    r"""Give every channel mean 0 and deviation 1 over the training images.

    :math:`x' = (x - \mu_c) / \sigma_c`, both over all pixels of channel c, weighted.
    uint8 counts as [0, 1]. A constant channel is only centred.

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
    mean_, var_, scale_ : ndarray of shape (channels,)
        Mean, variance and deviation; the scale of a constant channel is 1.

    n_samples_seen_ : float
        Sum of the weights of all images seen.

    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    PixelStandardizer : The same for every pixel by itself.
    sklearn_l2cnn.L2CNNClassifier : Does this by itself, unless ``standardize=False``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ChannelStandardizer
    >>> X = ChannelStandardizer().fit_transform(load_digits().images)
    >>> print(f"{abs(X.mean()):.1f} {X.std():.1f}")
    0.0 1.0
    """

    _parameter_constraints: dict = {**FORM}

    def __init__(self, *, image_shape=None, channels="last"):
        self.image_shape = image_shape
        self.channels = channels

    def _learn(self, images, weight, first):
        rows = np.arange(len(images))
        seen = float(weight.sum()), *channel_statistics(images, rows, weight)
        if not first:
            names = ("n_samples_seen_", "mean_", "var_")
            seen = merge_statistics([self._learnt_[name] for name in names], seen)
        total, mean, variance = seen
        return {
            "n_samples_seen_": total,
            "mean_": mean,
            "var_": variance,
            "scale_": np.where(variance > 0, np.sqrt(variance), 1.0),
        }


class PixelStandardizer(_Standardizer):
    r"""Give every pixel mean 0 and deviation 1 over the training images.

    :math:`x' = (x - \mu_{hwc}) / \sigma_{hwc}`, weighted, by scikit-learn's
    :class:`~sklearn.preprocessing.StandardScaler`. uint8 counts as [0, 1]. A pixel that
    is constant is only centred. It suits images of things that are always in the same
    place; convolutions treat all places alike and do better with
    :class:`ChannelStandardizer`.

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
    mean_, var_, scale_ : ndarray of shape (height, width, channels)
        Mean, variance and deviation; the scale of a constant pixel is 1.

    n_samples_seen_ : float
        Sum of the weights of all images seen.

    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    ChannelStandardizer : The same for every channel as a whole.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import PixelStandardizer
    >>> X = PixelStandardizer().fit_transform(load_digits().images)
    >>> print(f"{abs(X[:, 4, 4].mean()):.1f} {X[:, 4, 4].std():.1f}")
    0.0 1.0
    """

    _parameter_constraints: dict = {**FORM}

    def __init__(self, *, image_shape=None, channels="last"):
        self.image_shape = image_shape
        self.channels = channels

    def _learn(self, images, weight, first):
        if first:
            self._scaler_ = StandardScaler()
        rows = np.flatnonzero(weight > 0)
        for part in chunks(len(rows), images.shape[1:]):
            piece = on_host(as_float64(images[rows[part]]))
            flat = piece.reshape(len(piece), -1)
            own = weight[rows[part]]
            # the weighted variance of a constant pixel may be rounded to below zero
            with np.errstate(invalid="ignore"):
                self._scaler_.partial_fit(flat, sample_weight=own)
        return {
            "n_samples_seen_": float(np.max(self._scaler_.n_samples_seen_)),
            "mean_": self._scaler_.mean_.reshape(images.shape[1:]),
            "var_": self._scaler_.var_.clip(0).reshape(images.shape[1:]),
            "scale_": self._scaler_.scale_.reshape(images.shape[1:]),
        }
