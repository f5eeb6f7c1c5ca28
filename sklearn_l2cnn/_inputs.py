"""What comes into any estimator of images: images with names, weights, nothing half."""

import copy
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import _clone_parametrized
from sklearn.utils.validation import _check_sample_weight, validate_data

from sklearn_l2cnn._arrays import (
    all_finite,
    as_tensor_if_dispatched,
    is_tensor,
    same_kind,
    tensor_to_numpy,
)
from sklearn_l2cnn._documentation import DocumentationMixin
from sklearn_l2cnn._images import as_images


def take_over_features(estimator, fitted):
    """Let an estimator know of the features what one knows that it has fitted."""
    estimator.n_features_in_ = fitted.n_features_in_
    vars(estimator).pop("feature_names_in_", None)
    if hasattr(fitted, "feature_names_in_"):
        estimator.feature_names_in_ = fitted.feature_names_in_


class ParametersMixin(DocumentationMixin):
    """Parameters that may be transforms of torchvision.

    Those have a `get_params` that means something else, with which scikit-learn's own
    methods fail.
    """

    def get_params(self, deep=True):
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include those of parameters that are estimators.

        Returns
        -------
        params : dict
        """
        params = super().get_params(deep=False)
        if deep:
            for name, value in list(params.items()):
                if hasattr(value, "set_params") and not isinstance(value, type):
                    for key, inner in value.get_params().items():
                        params[f"{name}__{key}"] = inner
        return params

    def set_params(self, **params):
        """Set the parameters of this estimator.

        Parameters
        ----------
        **params : dict
            Parameters; ``<parameter>__<name>`` is one of a parameter that has its own,
            such as ``augment__rotate`` where `augment` is an ``Augmentation``.

        Returns
        -------
        self : object
        """
        for key in params:
            name, dots, _ = key.partition("__")
            value = params.get(name, getattr(self, name, self))
            if dots and not hasattr(value, "set_params"):
                raise ValueError(
                    f"{key!r} cannot be set: {name} is {value!r}, which has no "
                    "parameters of its own. Give it something that has first, as "
                    "augment=Augmentation() of sklearn_l2cnn.augmentation for "
                    "augment__rotate."
                )
        return super().set_params(**params)

    def __sklearn_clone__(self):
        params = self.get_params(deep=False)
        strange = {k: v for k, v in params.items() if _is_strange(v)}
        plain = copy.copy(self)
        for name in strange:
            setattr(plain, name, None)
        twin = _clone_parametrized(plain)
        for name, value in strange.items():
            setattr(twin, name, copy.deepcopy(value))
        return twin


def _is_strange(value):
    """Say whether a value has parameters, but not those of an estimator."""
    if isinstance(value, list | tuple):
        return any(map(_is_strange, value))
    mine, scikit_learns = hasattr(value, "get_params"), hasattr(value, "set_params")
    return mine and not scikit_learns and not isinstance(value, type)


@contextmanager
def all_or_nothing(estimator):
    """Leave the fitted attributes as they were where what is inside raises."""
    before = fitted_attributes(estimator)
    try:
        yield
    except BaseException:
        for name in fitted_attributes(estimator):
            delattr(estimator, name)
        vars(estimator).update(before)
        raise


def fitted_attributes(estimator):
    """Return what an estimator has learnt, by name: all that ends in ``_``."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and not name.startswith("__")
    }


def check_images(estimator, X, *, first, name="X", channels=None):
    """Validate X as the images of an estimator.

    Parameters
    ----------
    estimator : estimator
        With a parameter ``image_shape``. Feature names, ``n_features_in_`` and
        ``image_shape_`` are set where `first`, and checked where not.
    X : array-like
    first : bool
        Whether these images decide the shape that all later ones must have.
    name : str
        What the messages call X.
    channels : {"last", "first"}, default=None
        Where the channels of X stand; None is what the estimator says.

    Returns
    -------
    images : ndarray or Tensor of shape (n, height, width, channels)
    """
    if first:
        _check_image_shape(estimator.image_shape)
    # the names of the columns, and that X is there at all; the rest is ours
    validate_data(estimator, X=X, reset=first, skip_check_array=True, ensure_2d=False)
    images = as_images(
        X,
        image_shape=estimator.image_shape,
        channels=channels or estimator.channels,
        expected=None if first else estimator.image_shape_,
        name=name,
        estimator=estimator,
    )
    if first:
        estimator.image_shape_ = tuple(images.shape[1:])
        estimator.n_features_in_ = int(np.prod(images.shape[1:]))
    return images


def _check_image_shape(image_shape):
    if image_shape is None:
        return
    sizes = tuple(image_shape)
    if len(sizes) not in (2, 3) or not all(
        isinstance(size, Integral) and size >= 1 for size in sizes
    ):
        raise ValueError(
            f"image_shape={image_shape!r} is not a shape: (height, width) or "
            "(height, width, channels), positive integers, was expected."
        )


def beside(values, images):
    """Bring arrays that are dispatched to the kind of the images; no tensors else."""
    tensor = as_tensor_if_dispatched(values)
    return tensor_to_numpy(values) if tensor is None else same_kind(tensor, images)


def check_namespace(estimator, X, attribute, method):
    """Raise where X comes from another array library than what was fitted.

    Only under array API dispatch, and with releases of scikit-learn that have the rule.

    Parameters
    ----------
    estimator : estimator
    X : array-like
    attribute : str
        Of the fitted attribute that lies where the training images lay.
    method : str
        That was called, for the message.
    """
    try:
        from sklearn.utils._array_api import check_same_namespace
    except ImportError:
        return
    check_same_namespace(X, estimator, attribute=attribute, method=method)


def check_weight(sample_weight, images, suffix=""):
    """Validate sample weights, which must not all be zero.

    Parameters
    ----------
    sample_weight : array-like, number or None
    images : ndarray or Tensor of shape (n, ...)
    suffix : str
        ``"_val"`` for validation data, for the messages.

    Returns
    -------
    weight : array of float64 of shape (n,), of the kind of the images
    """
    weight = _weight(sample_weight, images)
    if not weight.any():
        raise ValueError(
            f"Sample weights must contain at least one non-zero number: all "
            f"{len(weight)} values of sample_weight{suffix} are zero."
        )
    return weight


def _weight(sample_weight, images):
    given = beside(sample_weight, images)
    if not is_tensor(images):
        return _check_sample_weight(
            given, images, dtype=np.float64, ensure_non_negative=True
        )
    if given is None or isinstance(given, Real):
        shape, weight = (len(images),), 1.0 if given is None else float(given)
        return torch.full(shape, weight, dtype=torch.float64, device=images.device)
    weight = torch.as_tensor(given, device=images.device).to(torch.float64)
    if tuple(weight.shape) != (len(images),):
        raise ValueError(
            f"sample_weight.shape == {tuple(weight.shape)}, expected {(len(images),)}!"
        )
    if not all_finite(weight):
        raise ValueError("Input sample_weight contains NaN or infinity.")
    if (weight < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`.")
    return weight
