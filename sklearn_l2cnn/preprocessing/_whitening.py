"""Whitening of patches: neighbouring pixels that no longer say the same."""

from numbers import Integral, Real

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import as_tensor, on_host
from sklearn_l2cnn._data.pixels import chunks
from sklearn_l2cnn._utils.sklearn_compat import Interval
from sklearn_l2cnn.preprocessing._base import FORM, ImageTransformer, PartialFitMixin
from sklearn_l2cnn.preprocessing._geometry import padded
from sklearn_l2cnn.preprocessing._values import as_floats, in_double


class PatchWhitener(PartialFitMixin, ImageTransformer):
    r"""Take out what neighbouring pixels have in common (ZCA on patches).

    Of the covariance :math:`\Sigma = U \Lambda U^T` of all patches of the training
    images, and their mean :math:`\mu`, the middle pixel of a patch p becomes that of

    .. math:: U (\Lambda + \epsilon \bar\lambda)^{-1/2} U^T (p - \mu),

    :math:`\bar\lambda` the mean of all eigenvalues. That is a convolution: images keep
    their size, and are mirrored at their edges.

    Parameters
    ----------
    patch_size : int, default=5
        Side of the patches; of an image that is smaller, its side.

    epsilon : float, default=0.01
        How little variance counts as noise, which is not blown up: a share of the mean.

    stride : int, default=2
        Steps between the patches that are learnt from.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. None
        takes a row of k * k values as a grey image of k x k pixels and any other row as
        a strip one pixel high.

    channels : {"last", "first"}, default="last"
        Where the channels stand in images of four dimensions, and in the images that
        rows are flattened from.

    Attributes
    ----------
    mean_ : ndarray of shape (d,)
        Mean of the patches, d = channels x height x width of a patch.

    covariance_ : ndarray of shape (d, d)

    filters_ : ndarray of shape (channels, d)
        What a patch is multiplied with, for every channel of its middle pixel.

    n_patches_seen_ : float
        Sum of the weights of all patches seen.

    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    ChannelStandardizer : Only mean and deviation.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import PatchWhitener
    >>> def correlation(X):  # of pixels side by side
    ...     return float(np.corrcoef(X[:, 2:6, 2:5].flat, X[:, 2:6, 3:6].flat)[0, 1])
    >>> X = load_digits().images
    >>> white = PatchWhitener().fit_transform(X)
    >>> print(f"{correlation(X):.2f} {correlation(white):.2f}")
    0.23 0.04
    """

    _compares_units = True
    _parameter_constraints: dict = {
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "stride": [Interval(Integral, 1, None, closed="left")],
        **FORM,
    }

    def __init__(
        self,
        patch_size=5,
        *,
        epsilon=0.01,
        stride=2,
        image_shape=None,
        channels="last",
    ):
        self.patch_size = patch_size
        self.epsilon = epsilon
        self.stride = stride
        self.image_shape = image_shape
        self.channels = channels

    def _sides(self):
        return [min(self.patch_size, side) for side in self.image_shape_[:2]]

    def _learn(self, images, weight, first):
        seen = None
        if not first:
            names = ("n_patches_seen_", "mean_", "covariance_")
            seen = [self._learnt_[name] for name in names]
        rows = np.flatnonzero(weight > 0)
        for part in chunks(len(rows), images.shape[1:]):
            piece = in_double(as_tensor(images[rows[part]]).permute(0, 3, 1, 2))
            patches = torch.nn.functional.unfold(
                piece, self._sides(), stride=self.stride
            )
            shares = as_tensor(weight[rows[part]]).repeat_interleave(patches.shape[2])
            found = moments(patches.swapaxes(1, 2).flatten(0, 1), shares)
            seen = found if seen is None else merged(seen, found)
        total, mean, covariance = seen
        return {
            "n_patches_seen_": total,
            "mean_": mean,
            "covariance_": covariance,
            "filters_": self._whitening(covariance),
        }

    def _whitening(self, covariance):
        """Return the rows of the whitening matrix that give the middle of a patch."""
        values, vectors = np.linalg.eigh(covariance)
        values = values.clip(0) + self.epsilon * values.clip(0).mean()
        roots = np.where(values > 0, values, 1.0) ** -0.5
        height, width = self._sides()
        middle = (height // 2) * width + width // 2
        own = middle + height * width * np.arange(self.image_shape_[2])
        return (vectors[own] * roots) @ vectors.T

    def _change(self, images):
        depth, (height, width) = images.shape[1], self._sides()
        values = in_double(images)
        filters, mean = (
            torch.as_tensor(self._learnt_[name], device=images.device)
            for name in ("filters_", "mean_")
        )
        around = padded(values, height // 2, (height - 1) // 2, axis=2)
        around = padded(around, width // 2, (width - 1) // 2, axis=3)
        white = torch.nn.functional.conv2d(
            around, filters.reshape(depth, depth, height, width), -filters @ mean
        )
        return as_floats(white, images)


def moments(rows, weight):
    """Return total weight, mean and covariance of rows, as numpy arrays."""
    total = weight.sum()
    mean = (weight @ rows) / total
    rows = rows - mean
    covariance = (rows.T * weight) @ rows / total
    return float(total), on_host(mean), on_host(covariance)


def merged(old, new):
    """Combine what `moments` found in two sets of rows into that of both."""
    (old_total, old_mean, old_covariance), (total, mean, covariance) = old, new
    share = total / (old_total + total)
    step = mean - old_mean
    between = share * (1 - share) * np.outer(step, step)
    both = (1 - share) * old_covariance + share * covariance + between
    return old_total + total, old_mean + share * step, both
