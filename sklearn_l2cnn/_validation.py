"""What comes into an estimator: images with names, labels of any type, weights."""

import copy
from contextlib import contextmanager
from numbers import Integral

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_X_y,
    validate_data,
)
from skorch.callbacks import Callback, LRScheduler

from sklearn_l2cnn._images import as_images, describe, tensor_to_numpy


@contextmanager
def all_or_nothing(estimator):
    """Leave the fitted attributes as they were where what is inside raises."""

    def fitted():
        return {
            name: value
            for name, value in vars(estimator).items()
            if name.endswith("_") and not name.startswith("__")
        }

    before = fitted()
    try:
        yield
    except BaseException:
        for name in fitted():
            delattr(estimator, name)
        vars(estimator).update(before)
        raise


def check_images(estimator, X, *, first, name="X"):
    """Validate X as the images of an estimator.

    Parameters
    ----------
    estimator : estimator
        With parameters ``image_shape``, ``channels``. Feature names and
        ``n_features_in_`` are set where `first`, and checked where not.
    X : array-like
    first : bool
        Whether these images decide the shape that all later ones must have.
    name : str
        What the messages call X.

    Returns
    -------
    images : ndarray of shape (n, height, width, channels)
    """
    if first:
        _check_image_shape(estimator.image_shape)
    # the names of the columns, and that X is there at all; the rest is ours
    validate_data(estimator, X=X, reset=first, skip_check_array=True, ensure_2d=False)
    images = as_images(
        X,
        image_shape=estimator.image_shape,
        channels=estimator.channels,
        expected=None if first else estimator.image_shape_,
        name=name,
        estimator=estimator,
    )
    if first:
        estimator.image_shape_ = images.shape[1:]
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


def check_targets(estimator, X, y, sample_weight, *, images, suffix=""):
    """Validate labels and weights beside images.

    Parameters
    ----------
    estimator : estimator
    X, y, sample_weight : array-like
        As the user gave them.
    images : ndarray
        What X turned out to be.
    suffix : str
        ``"_val"`` for validation data, for the messages.

    Returns
    -------
    y : ndarray of shape (n,)
    weight : ndarray of float64 of shape (n,)
    """
    if y is not None:
        y = tensor_to_numpy(y)
        check_consistent_length(X, y)
    shape = np.asarray(y).shape
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"Multioutput target data is not supported: y{suffix} has shape {shape}, "
            f"but {type(estimator).__name__} learns one label for each image. Pass a "
            "1-D y, or wrap the estimator in sklearn.multioutput.MultiOutputClassifier."
        )
    # scikit-learn's own messages and warnings about y, without its checks of X
    _, y = check_X_y(np.zeros((len(images), 1)), y, estimator=estimator)
    check_classification_targets(y)
    weight = _check_sample_weight(
        tensor_to_numpy(sample_weight),
        images,
        dtype=np.float64,
        ensure_non_negative=True,
    )
    if not weight.any():
        raise ValueError(
            f"Sample weights must contain at least one non-zero number: all "
            f"{len(weight)} values of sample_weight{suffix} are zero."
        )
    return y, weight


def encode_labels(y, weight, classes, name):
    """Turn labels into positions in `classes`, which must have all that weigh."""
    labels = np.searchsorted(classes, y)
    labels[labels == len(classes)] = 0
    unknown = (classes[labels] != y) & (weight > 0)
    if unknown.any():
        raise ValueError(
            f"{name} has labels that are not among the classes: "
            f"{np.unique(y[unknown])[:10].tolist()} were found, "
            f"{classes[:10].tolist()}{' ...' if len(classes) > 10 else ''} are known."
        )
    return labels


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
