"""The network in a fitted estimator: found wherever it is, and fed as it was trained.

A model is known by its public attributes alone, so that any estimator that has them can
be looked into.
"""

from typing import NamedTuple

import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._data.arrays import as_tensor, on_host
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn._data.pixels import standardized
from sklearn_l2cnn._utils.trace import blank_image, trace
from sklearn_l2cnn.inspection._fitted import unwrapped

# What is read of a classifier.
_NEEDED = ("module_", "classes_", "image_shape_", "channel_mean_", "channel_scale_")


class Inside(NamedTuple):
    """A fitted classifier with a network, and the steps that images pass before it.

    Attributes
    ----------
    steps : tuple of transformer
        Fitted; of the pipelines around the classifier, the first first.
    classifier : estimator
    """

    steps: tuple
    classifier: object

    @property
    def module(self):
        """The network, on the device that it computes on."""
        net = getattr(self.classifier, "net_", None)
        if hasattr(net, "to_device"):
            net.to_device()  # after training on CUDA it waits on the CPU
        return self.classifier.module_

    def before(self, X):
        """Send X through the steps before the classifier."""
        for step in self.steps:
            X = step.transform(X)
        return X

    def images(self, X):
        """Return X as the images that the classifier gets.

        Parameters
        ----------
        X : array-like
            What the estimator as a whole predicts.

        Returns
        -------
        images : ndarray of shape (n, height, width, channels)
            uint8, float32 or float64, not standardised yet.
        """
        images = as_images(
            self.before(X),
            channels=getattr(self.classifier, "channels", "last"),
            expected=self.classifier.image_shape_,
            estimator=self.classifier,
        )
        return on_host(images)

    def as_given(self, images):
        """Return images of `images` in the layout that the classifier takes."""
        if getattr(self.classifier, "channels", "last") == "first":
            return images.transpose(0, 3, 1, 2)
        return images

    def network_input(self, images):
        """Return images as the network takes them.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)

        Returns
        -------
        tensor : Tensor of shape (n, channels, height, width)
            Standardised, in the dtype and on the device of the network.
        """
        blank = self.blank()
        dtype = torch.float64 if blank.dtype == torch.float64 else torch.float32
        seen = standardized(as_tensor(images), *self._statistics(), dtype)
        return seen.permute(0, 3, 1, 2).to(blank)

    def scale(self):
        """Return how many units of a pixel are one of the network's, by channel."""
        return self._statistics()[1]

    def mean(self):
        """Return the mean of the channels over the training images."""
        return self._statistics()[0]

    def _statistics(self):
        clf = self.classifier
        return on_host(clf.channel_mean_), on_host(clf.channel_scale_)

    def blank(self):
        """Return one image of nothing, to try the network with."""
        return blank_image(self.module, self.classifier.image_shape_)

    def layers(self):
        """List the layers as `trace` does: name, module, shape of the output."""
        return trace(self.module, self.blank())


def look_inside(estimator):
    """Find the classifier with a network in a fitted estimator.

    Parameters
    ----------
    estimator : estimator
        The classifier itself, a pipeline that ends in it, a search that was refitted, a
        ``FrozenEstimator`` or another estimator that keeps what it fitted as
        ``estimator_``, in any combination.

    Returns
    -------
    inside : Inside
    """
    network = "image_shape_", "module_"
    steps, found = unwrapped(estimator, network)
    if not all(hasattr(found, name) for name in network):
        _refuse(found, estimator)
    check_is_fitted(found)
    missing = [name for name in _NEEDED if not hasattr(found, name)]
    if missing:
        raise TypeError(
            f"{type(found).__name__} has a network, but it lacks "
            f"{', '.join(missing)}, which are needed to look into it."
        )
    return Inside(steps, found)


def _refuse(found, estimator):
    """Say why there is no network to look into."""
    if isinstance(found, type) or not hasattr(found, "fit"):
        raise TypeError(
            f"{found!r} is no fitted estimator; one that was fitted was expected, such "
            "as L2CNNClassifier().fit(X, y)."
        )
    check_is_fitted(found)
    name, whole = type(found).__name__, type(estimator).__name__
    where = name if found is estimator else f"{name}, which {whole} holds,"
    hint = "a pipeline that ends in one, or a search over one"
    if hasattr(found, "best_params_"):
        hint = "and a search keeps its best one only with refit=True"
    elif hasattr(found, "estimators_"):
        hint = "one of its estimators_, for one"
    raise TypeError(
        f"{where} has no network to look into; a fitted L2CNNClassifier was expected, "
        f"{hint}."
    )
