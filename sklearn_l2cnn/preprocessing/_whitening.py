"""Whitening of patches, which removes the correlation of neighbouring pixels."""

from numbers import Integral, Real

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import as_tensor, on_host
from sklearn_l2cnn._data.pixels import (
    as_float64,
    as_floats_like,
    chunks,
    finite_moments,
)
from sklearn_l2cnn._utils.sklearn_compat import Interval
from sklearn_l2cnn.preprocessing._base import FORM, ImageTransformer, PartialFitMixin
from sklearn_l2cnn.preprocessing._geometry import pad_axis


class PatchWhitener(PartialFitMixin, ImageTransformer):
    r"""Remove the correlation of neighbouring pixels (ZCA whitening of patches).

    With the mean :math:`\mu` and the covariance :math:`\Sigma = U \Lambda U^T` of all
    patches of the training images, each pixel is replaced by the middle pixel of

    .. math:: U (\Lambda + \epsilon \bar\lambda)^{-1/2} U^T (p - \mu),

    where p is the patch around it and :math:`\bar\lambda` the mean of all eigenvalues.
    This is a convolution: images keep their size, and are mirrored at their edges.

    Parameters
    ----------
    patch_size : int, default=5
        Side of the patches, at most that of the images.

    epsilon : float, default=0.01
        Regularisation, as a share of the mean variance: directions with less variance
        count as noise and are not amplified.

    stride : int, default=2
        Distance between the patches that mean and covariance are computed from.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. With
        None, a row of k * k values is a grey image of k x k pixels, any other row an
        image one pixel high.

    channels : {"last", "first"}, default="last"
        Position of the channel axis in images of four dimensions, and in the images
        that rows are flattened from.

    Attributes
    ----------
    mean_ : ndarray of shape (d,)
        Mean of the patches, with d = channels x height x width of a patch.

    covariance_ : ndarray of shape (d, d)
        Covariance of the patches.

    filters_ : ndarray of shape (channels, d)
        Weights of the convolution, one row for each channel of the middle pixel.

    n_patches_seen_ : float
        Sum of the weights of all patches.

    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after transformation.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    ChannelStandardizer : Standardise each channel, without decorrelation.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import PatchWhitener
    >>> def correlation(X):  # of pixels next to each other
    ...     return float(np.corrcoef(X[:, 2:6, 2:5].flat, X[:, 2:6, 3:6].flat)[0, 1])
    >>> X = load_digits().images
    >>> white = PatchWhitener().fit_transform(X)
    >>> print(f"{correlation(X):.2f} {correlation(white):.2f}")
    0.23 0.04
    """

    _parameter_constraints: dict = {
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "stride": [Interval(Integral, 1, None, closed="left")],
        **FORM,
    }

    def __init__(
        self, patch_size=5, *, epsilon=0.01, stride=2, image_shape=None, channels="last"
    ):
        self.patch_size = patch_size
        self.epsilon = epsilon
        self.stride = stride
        super().__init__(image_shape=image_shape, channels=channels)

    def _sides(self):
        return [min(self.patch_size, side) for side in self.image_shape_[:2]]

    def _learn(self, images, weight, first):
        names = ("n_patches_seen_", "mean_", "covariance_")
        moments = None if first else [self._learnt_[name] for name in names]
        rows = np.flatnonzero(weight > 0)
        for part in chunks(len(rows), images.shape[1:]):
            chunk = as_float64(images[rows[part]].permute(0, 3, 1, 2))
            patches = torch.nn.functional.unfold(
                chunk, self._sides(), stride=self.stride
            )
            shares = as_tensor(weight[rows[part]]).to(patches.device)
            shares = shares.repeat_interleave(patches.shape[2])
            new = _moments(patches.swapaxes(1, 2).flatten(0, 1), shares)
            with np.errstate(over="ignore", invalid="ignore"):
                moments = new if moments is None else _merge_moments(moments, new)
        finite_moments(*moments[1:])
        learnt = dict(zip(names, moments, strict=True))
        return {**learnt, "filters_": self._whitening(learnt["covariance_"])}

    def _whitening(self, covariance):
        """Return the rows of the whitening matrix for the middle pixel of a patch."""
        values, vectors = np.linalg.eigh(covariance)
        with np.errstate(over="ignore"):  # of an infinite ridge nothing is left
            values = values.clip(0) + self.epsilon * values.clip(0).mean()
        roots = np.where(values > 0, values, 1.0) ** -0.5
        height, width = self._sides()
        middle = (height // 2) * width + width // 2
        own = middle + height * width * np.arange(self.image_shape_[2])
        return (vectors[own] * roots) @ vectors.T

    def _transform(self, images):
        depth, (height, width) = images.shape[1], self._sides()
        values = as_float64(images)
        filters, mean = (
            torch.as_tensor(self._learnt_[name], device=images.device)
            for name in ("filters_", "mean_")
        )
        around = pad_axis(values, height // 2, (height - 1) // 2, axis=2)
        around = pad_axis(around, width // 2, (width - 1) // 2, axis=3)
        white = torch.nn.functional.conv2d(
            around, filters.reshape(depth, depth, height, width), -filters @ mean
        )
        return as_floats_like(white, images)


def _moments(rows, weight):
    """Return total weight, mean and covariance of rows, as numpy arrays."""
    total = weight.sum()
    mean = (weight @ rows) / total
    rows = rows - mean
    covariance = (rows.T * weight) @ rows / total
    return float(total), on_host(mean), on_host(covariance)


def _merge_moments(old, new):
    """Return the moments of the union of two sets of rows from those of each."""
    (old_total, old_mean, old_covariance), (total, mean, covariance) = old, new
    share = total / (old_total + total)
    step = mean - old_mean
    between = share * (1 - share) * np.outer(step, step)
    both = (1 - share) * old_covariance + share * covariance + between
    return old_total + total, old_mean + share * step, both
