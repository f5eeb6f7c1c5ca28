"""What comes into an estimator: images with names, labels of any type, weights."""

import copy
import math
from collections.abc import Mapping
from numbers import Real

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    check_X_y,
    column_or_1d,
)
from skorch.callbacks import Callback, LRScheduler

from sklearn_l2cnn._arrays import (
    holds_numbers,
    is_tensor,
    positions,
    same_kind,
    sorted_unique,
)
from sklearn_l2cnn._images import describe
from sklearn_l2cnn._inputs import beside, check_images, check_weight


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


def check_penalty(penalty):
    """Raise where a penalty does not know how to act."""
    if isinstance(penalty, type):
        raise TypeError(
            f"penalty={penalty.__name__} is a class; an instance was expected: "
            f"{penalty.__name__}()."
        )
    if not hasattr(penalty, "gradient") and not hasattr(penalty, "prox"):
        raise TypeError(
            f"penalty={penalty!r} has a value, but neither gradient(weight) nor "
            "prox(weight, step): it could not act on anything. "
            "sklearn_l2cnn.penalties says what they are."
        )


def check_strengths(value, name):
    """Raise where a mapping is not one from names of layers to strengths."""
    if not isinstance(value, Mapping):
        return
    expected = (
        "Something like {'conv1': 0.001, 'dense*': 0.01} was expected: a mapping from "
        "names of layers, or patterns of them, to numbers >= 0"
    )
    if not value:
        raise ValueError(f"{name}={{}} is empty. {expected}; 0 is no penalty.")
    for pattern, strength in value.items():
        if not isinstance(pattern, str):
            raise ValueError(f"{name} has {pattern!r} as a name. {expected}.")
        number = isinstance(strength, Real) and not isinstance(strength, bool)
        if not number or not 0 <= strength < math.inf:
            raise ValueError(f"{name} has {pattern!r}: {strength!r}. {expected}.")


def copied_callbacks(callbacks):
    """Return deep copies of skorch's callbacks, or say what is not one."""
    for item, callback in _unnamed(callbacks):
        if isinstance(callback, Callback):
            continue
        if isinstance(callback, type) and issubclass(callback, Callback):
            continue
        hint = ""
        if hasattr(callback, "on_fit_task_end"):
            hint = " Callbacks of scikit-learn are given to set_callbacks(...)."
        raise TypeError(
            "callbacks holds instances or subclasses of skorch.callbacks.Callback, or "
            f"pairs (name, callback), but {item!r} was found.{hint}"
        )
    return copy.deepcopy(list(callbacks or ()))


def holds_scheduler(callbacks):
    """Say whether a callback sets the learning rate."""
    return any(
        isinstance(callback, LRScheduler) or callback is LRScheduler
        for _, callback in _unnamed(callbacks)
    )


def _unnamed(callbacks):
    """Yield every item with the callback in it, which may be named."""
    for item in callbacks or ():
        named = isinstance(item, tuple | list) and len(item) == 2
        yield item, item[1] if named else item
