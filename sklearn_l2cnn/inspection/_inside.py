"""The part of a fitted estimator that is inspected: its network, or its curves.

Classifiers are recognised by their public attributes alone, so that displays work with
any estimator that has these attributes.
"""

from typing import NamedTuple

import torch
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._data.arrays import as_tensor, on_host
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn._data.pixels import standardized
from sklearn_l2cnn._utils.trace import blank_image, trace
from sklearn_l2cnn._utils.unwrapping import FITTED, unwrap

# Attributes of the classifier that the displays read.
_NEEDED = ("module_", "classes_", "image_shape_", "channel_mean_", "channel_scale_")


class Inside(NamedTuple):
    """A fitted classifier with a network, and the transformers in front of it.

    Attributes
    ----------
    steps : tuple of transformer
        Fitted steps of the pipelines around the classifier, in order.
    classifier : estimator
    """

    steps: tuple
    classifier: object

    @property
    def module(self):
        """The network, on the device that it computes on."""
        net = getattr(self.classifier, "net_", None)
        if hasattr(net, "to_device"):
            net.to_device()  # training on CUDA leaves the network on the CPU
        return self.classifier.module_

    def transformed(self, X):
        """Return input of the whole estimator as the classifier gets it."""
        for step in self.steps:
            X = step.transform(X)
        return X

    def images(self, X):
        """Return X as the images that the classifier gets.

        Parameters
        ----------
        X : array-like
            Input of the whole estimator.

        Returns
        -------
        images : ndarray of shape (n, height, width, channels)
            uint8, float32 or float64, not standardised yet.
        """
        return self.checked(self.transformed(X))

    def checked(self, X, name="X"):
        """Return input of the classifier as images; `name` is for error messages."""
        images = as_images(
            X,
            channels=getattr(self.classifier, "channels", "last"),
            expected=self.classifier.image_shape_,
            name=name,
            estimator=self.classifier,
        )
        return on_host(images)

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
        pixels = standardized(as_tensor(images), self.mean(), self.scale(), dtype)
        return pixels.permute(0, 3, 1, 2).to(blank)

    def mean(self):
        """Return the mean of each channel over the training images."""
        return on_host(self.classifier.channel_mean_)

    def scale(self):
        """Return what each channel is divided by in standardisation."""
        return on_host(self.classifier.channel_scale_)

    def blank(self):
        """Return one black image, to try the network with."""
        return blank_image(self.module, self.classifier.image_shape_)

    def layers(self):
        """List the layers as `trace` does: name, module, shape of the output."""
        return trace(self.module, self.blank())


def look_inside(estimator):
    """Find the classifier with a network in a fitted estimator.

    Parameters
    ----------
    estimator : estimator
        The classifier itself, a pipeline that ends in it, a refitted search, a
        ``FrozenEstimator`` or another meta-estimator that keeps the fitted estimator as
        ``estimator_``, in any combination.

    Returns
    -------
    inside : Inside
    """

    def has_network(found):
        return hasattr(found, "image_shape_") and hasattr(found, "module_")

    steps, found = unwrap(estimator, has_network, FITTED)
    if not has_network(found):
        _raise_no_network(found, estimator)
    missing = [name for name in _NEEDED if not hasattr(found, name)]
    if missing:
        raise TypeError(
            f"{type(found).__name__} has a network, but it lacks "
            f"the attributes {', '.join(missing)}, which inspection needs."
        )
    return Inside(steps, found)


def fitted_part(estimator, attributes, expected, hint=""):
    """Find the estimator with certain attributes inside pipelines and searches.

    Parameters
    ----------
    estimator : estimator
        An estimator with the attributes, alone or inside pipelines, refitted searches,
        ``FrozenEstimator`` or estimators that keep a fitted one as ``estimator_``.
    attributes : sequence of str
    expected : str
        Name of such an estimator, for error messages.
    hint : str, default=""
        What to do instead, for error messages.

    Returns
    -------
    part : estimator
    """

    def has_attributes(part):
        return all(hasattr(part, name) for name in attributes)

    check_is_fitted(estimator)
    _, part = unwrap(estimator, has_attributes, FITTED)
    if has_attributes(part):
        return part
    if hasattr(part, "cv_results_") and not getattr(part, "refit", True):
        hint = "It was fitted with refit=False and kept no network: set refit=True."
    inside = "" if part is estimator else f", which ends in {type(part).__name__}"
    raise TypeError(
        f"This display is of {expected}, alone or at the end of a pipeline or a "
        f"search; got {type(estimator).__name__}{inside}. {hint}".rstrip()
    )


def _raise_no_network(found, estimator):
    if isinstance(found, type) or not hasattr(found, "fit"):
        raise TypeError(
            f"{found!r} is not a fitted estimator; a fitted one was expected, such as "
            "L2CNNClassifier().fit(X, y)."
        )
    check_is_fitted(found)
    name, whole = type(found).__name__, type(estimator).__name__
    where = name if found is estimator else f"{name}, inside of {whole},"
    hint = "a pipeline that ends in one, or a search over one"
    if hasattr(found, "best_params_"):
        hint = "and a search keeps its best one only with refit=True"
    elif hasattr(found, "estimators_"):
        hint = "for example one of its estimators_"
    raise TypeError(
        f"{where} has no network to inspect; a fitted L2CNNClassifier was expected, "
        f"{hint}."
    )


def trained_clone(estimator, X, y, callback, **parameters):
    """Train a clone of a classifier, which a callback of skorch follows.

    Parameters
    ----------
    estimator : L2CNNClassifier or Pipeline
        It, or the last step of a pipeline; it stays as it is.
    X, y : array-like
        What the clone is fitted to.
    callback : skorch.callbacks.Callback
    **parameters
        Of the classifier, instead of its own.

    Returns
    -------
    clone : estimator
        Fitted.
    """
    steps = getattr(estimator, "steps", None)
    prefix = "" if steps is None else f"{steps[-1][0]}__"
    probe = clone(estimator)
    parameters = {"warm_start": False, "checkpoint": None, "verbose": 0} | parameters
    own = parameters.pop("callbacks", probe.get_params()[f"{prefix}callbacks"])
    parameters["callbacks"] = [*(own or ()), ("followed", callback)]
    probe.set_params(**{prefix + name: value for name, value in parameters.items()})
    return probe.fit(X, y)
