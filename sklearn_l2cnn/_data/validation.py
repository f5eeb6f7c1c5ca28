"""What comes into an estimator: images with names, labels of any type, weights."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_X_y,
    column_or_1d,
    validate_data,
)

from sklearn_l2cnn._data.arrays import (
    all_finite,
    as_tensor_if_dispatched,
    holds_numbers,
    is_tensor,
    positions,
    same_kind,
    sorted_unique,
    tensor_to_numpy,
)
from sklearn_l2cnn._data.images import as_images, describe
from sklearn_l2cnn._utils.sklearn_compat import (
    check_same_namespace,
    check_sample_weight,
)


def check_targets(estimator, X, y, sample_weight, *, images, suffix=""):
    """Validate labels and weights beside images.

    Parameters
    ----------
    estimator : estimator
    X, y, sample_weight : array-like
        As the user gave them.
    images : ndarray or Tensor
        What X turned out to be.
    suffix : str
        ``"_val"`` for validation data, for the messages.

    Returns
    -------
    y : ndarray or Tensor of shape (n,)
        Of the kind of the images, unless the labels are not numbers.
    weight : array of float64 of shape (n,)
        Of the kind of the images.
    """
    y = beside(y, images)
    if y is not None:
        check_consistent_length(images, y)
    shape = tuple(y.shape) if is_tensor(y) else np.asarray(y).shape
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"Multioutput target data is not supported: y{suffix} has shape {shape}, "
            f"but {type(estimator).__name__} learns one label for each image. Pass a "
            "1-D y, or wrap the estimator in sklearn.multioutput.MultiOutputClassifier."
        )
    if is_tensor(y):
        y = column_or_1d(y, warn=True)
        check_array(y, ensure_2d=False, dtype=None, input_name="y")
    else:
        # scikit-learn's own messages and warnings about y, without its checks of X
        _, y = check_X_y(np.zeros((len(images), 1)), y, estimator=estimator)
    check_classification_targets(y)
    if is_tensor(images) and not is_tensor(y) and holds_numbers(y):
        y = same_kind(y, images)
    return y, check_weight(sample_weight, images, suffix)


def encode_labels(y, weight, classes, name):
    """Turn labels into positions in `classes`, which must have all that weigh.

    Parameters
    ----------
    y : ndarray or Tensor of shape (n,)
    weight : array of shape (n,)
    classes : array of shape (n_classes,)
        Of any kind.
    name : str
        What the messages call y.

    Returns
    -------
    labels : array of int of shape (n,), of the kind of `weight`
    """
    classes = same_kind(classes, y)
    labels = positions(classes, y)
    labels[labels == len(classes)] = 0
    unknown = (classes[labels] != y) & same_kind(weight > 0, y)
    if unknown.any():
        raise ValueError(
            f"{name} has labels that are not among the classes: "
            f"{sorted_unique(y[unknown])[:10].tolist()} were found, "
            f"{classes[:10].tolist()}{' ...' if len(classes) > 10 else ''} are known."
        )
    return same_kind(labels, weight)


def check_validation_data(estimator, X_val, y_val, sample_weight_val):
    """Validate the data that training is watched on.

    Returns
    -------
    images, y, weight : ndarray, or None where there is no X_val
    """
    if X_val is None and y_val is None and sample_weight_val is None:
        return None
    parts = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
    given = [name for name, part in parts.items() if part is not None]
    missing = [name for name in ("X_val", "y_val") if parts[name] is None]
    if missing:
        raise ValueError(
            f"{' and '.join(given)} is provided, but {' and '.join(missing)} was not "
            "provided. Validation data are X_val and y_val, with sample_weight_val if "
            "wanted."
        )
    images = check_images(estimator, X_val, first=False, name="X_val")
    return images, *check_targets(
        estimator, X_val, y_val, sample_weight_val, images=images, suffix="_val"
    )


def check_continues(old_classes, old_shape, classes, image_shape):
    """Raise where new data cannot go on from the network of an earlier fit."""
    if not np.array_equal(old_classes, classes):
        raise ValueError(
            f"warm_start=True cannot go on: y has the classes {classes.tolist()}, the "
            f"network was trained for {old_classes.tolist()}. Set warm_start=False, or "
            "keep every class in y."
        )
    if old_shape != image_shape:
        raise ValueError(
            f"warm_start=True cannot go on: X holds images of {describe(image_shape)}, "
            f"the network was trained on {describe(old_shape)}. Set warm_start=False."
        )


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
        return check_sample_weight(
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
