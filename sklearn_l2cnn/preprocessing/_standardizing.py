"""Standardisation of channels or pixels to mean 0 and standard deviation 1."""

import copy

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._data.pixels import (
    as_float64,
    as_floats_like,
    channel_statistics,
    chunks,
    finite_moments,
    merge_statistics,
    moments_of,
)
from sklearn_l2cnn.preprocessing._base import (
    ImageTransformer,
    InvertibleMixin,
    PartialFitMixin,
)


class _Standardizer(InvertibleMixin, PartialFitMixin, ImageTransformer):
    """Base class of the transformers that subtract a mean and divide by a scale."""

    def _mean_and_scale(self, images):
        """Yield mean and scale as tensors that broadcast over images."""
        for name in ("mean_", "scale_"):
            values = torch.as_tensor(self._learnt_[name], device=images.device)
            yield values.expand(self.image_shape_).permute(2, 0, 1)

    def _transform(self, images):
        mean, scale = self._mean_and_scale(images)
        return as_floats_like((as_float64(images) - mean) / scale, images)

    def _inverse_transform(self, images):
        mean, scale = self._mean_and_scale(images)
        return as_floats_like(as_float64(images) * scale + mean, images)


class ChannelStandardizer(_Standardizer):
    r"""Standardise each channel to mean 0 and standard deviation 1.

    :math:`x' = (x - \mu_c) / \sigma_c` with the weighted mean and standard deviation of
    all pixels of channel c in the training data. uint8 is scaled to [0, 1]. A constant
    channel is only centred.

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
    mean_, var_, scale_ : ndarray of shape (channels,)
        Mean, variance and standard deviation; the scale of a constant channel is 1.

    n_samples_seen_ : float
        Sum of the weights of all images.

    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after transformation.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    PixelStandardizer : Standardise each pixel separately.
    sklearn_l2cnn.L2CNNClassifier : Standardises channels unless ``standardize=False``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ChannelStandardizer
    >>> X = ChannelStandardizer().fit_transform(load_digits().images)
    >>> print(f"{abs(X.mean()):.1f} {X.std():.1f}")
    0.0 1.0
    """

    def _learn(self, images, weight, first):
        rows = np.arange(len(images))
        moments = moments_of(images)
        statistics = float(weight.sum()), *channel_statistics(moments, rows, weight)
        if not first:
            old = [self._learnt_[name] for name in ("n_samples_seen_", "mean_", "var_")]
            statistics = merge_statistics(old, statistics)
        total, mean, variance = statistics
        return {
            "n_samples_seen_": total,
            "mean_": mean,
            "var_": variance,
            "scale_": np.where(variance > 0, np.sqrt(variance), 1.0),
        }


class PixelStandardizer(_Standardizer):
    r"""Standardise each pixel to mean 0 and standard deviation 1.

    :math:`x' = (x - \mu_{hwc}) / \sigma_{hwc}` with the weighted mean and standard
    deviation of pixel (h, w, c) in the training data, computed by
    :class:`~sklearn.preprocessing.StandardScaler`. uint8 is scaled to [0, 1]. Constant
    pixels are only centred. It suits images of aligned objects; convolutions treat all
    places alike and do better with :class:`ChannelStandardizer`.

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
    mean_, var_, scale_ : ndarray of shape (height, width, channels)
        Mean, variance and standard deviation; the scale of a constant pixel is 1.

    n_samples_seen_ : float
        Sum of the weights of all images.

    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after transformation.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    ChannelStandardizer : Standardise each channel.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import PixelStandardizer
    >>> X = PixelStandardizer().fit_transform(load_digits().images)
    >>> print(f"{abs(X[:, 4, 4].mean()):.1f} {X[:, 4, 4].std():.1f}")
    0.0 1.0
    """

    def _learn(self, images, weight, first):
        scaler = StandardScaler() if first else copy.deepcopy(self._scaler_)
        rows = np.flatnonzero(weight > 0)
        for part in chunks(len(rows), images.shape[1:]):
            flat = on_host(as_float64(images[rows[part]]).flatten(1))
            # the weighted variance of a constant pixel may be rounded to below zero
            with np.errstate(invalid="ignore", over="ignore"):
                scaler.partial_fit(flat, sample_weight=weight[rows[part]])
        mean, variance = finite_moments(scaler.mean_, scaler.var_)
        return {
            "_scaler_": scaler,
            "n_samples_seen_": float(np.max(scaler.n_samples_seen_)),
            "mean_": mean.reshape(images.shape[1:]),
            "var_": variance.clip(0).reshape(images.shape[1:]),
            "scale_": scaler.scale_.reshape(images.shape[1:]),
        }
