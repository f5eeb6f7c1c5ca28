"""What comes into an estimator: images with names, labels of any type, weights."""

import copy
import math
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_X_y, validate_data

from sklearn_l2cnn._data.arrays import (
    holds_numbers,
    one_array,
    origin_of,
    without_namespace,
)
from sklearn_l2cnn._data.canonical import Survey, survey
from sklearn_l2cnn._data.data_sets import refuse_data_set
from sklearn_l2cnn._data.images import as_images, describe, ndim_of
from sklearn_l2cnn._utils.estimators import set_attributes
from sklearn_l2cnn._utils.sklearn_compat import check_sample_weight


class InputInfo(NamedTuple):
    """What an estimator keeps of the form of the images that it was fitted to.

    Attributes
    ----------
    image_shape : tuple (height, width, channels)
    feature_names : ndarray of str or None
        Of the columns of a data frame.
    ndim : int
        Dimensions of X: 2 for rows.
    """

    image_shape: tuple
    feature_names: object
    ndim: int

    def attributes(self):
        """Return the fitted attributes that say so, by name."""
        return {
            "image_shape_": self.image_shape,
            "n_features_in_": math.prod(self.image_shape),
            "feature_names_in_": self.feature_names,
        }


class LabelledImages(NamedTuple):
    """Validated images, labels and weights of a user.

    Attributes
    ----------
    survey : Survey
        Of the images.
    y : ndarray of shape (n,)
    weight : ndarray of float64 of shape (n,)
    info : InputInfo
    origin : array
        Empty, of the namespace and on the device of X.
    given : dict
        X, y and metadata as the user gave them, for scikit-learn's callbacks.
    """

    survey: Survey
    y: object
    weight: object
    info: InputInfo
    origin: object
    given: dict

    def classes(self, rows=slice(None)):
        """Return the labels that have a positive weight, sorted."""
        return np.unique(self.y[rows][self.weight[rows] > 0])


def read_images(estimator, X, channels=None, stored=False):
    """Validate X as the first images of an estimator, which decide the shape of all.

    Parameters
    ----------
    estimator : estimator
        With a parameter ``image_shape``.
    X : array-like
    channels : {"last", "first"}, default=None
        Where the channels of X stand; None is what the estimator says.
    stored : bool, default=False
        As for `as_images`.

    Returns
    -------
    images : Tensor of shape (n, height, width, channels), or StoredImages
    info : InputInfo
    """
    _check_image_shape(estimator.image_shape)
    refuse_data_set(X)
    twin = copy.copy(estimator)  # scikit-learn sets the names of the columns
    validate_data(twin, X=X, reset=True, skip_check_array=True, ensure_2d=False)
    images = as_images(
        X,
        image_shape=estimator.image_shape,
        channels=channels or estimator.channels,
        estimator=estimator,
        stored=stored,
    )
    names = vars(twin).get("feature_names_in_")
    return images, InputInfo(tuple(images.shape[1:]), names, ndim_of(X))


def check_images(estimator, X, info=None, name="X", channels=None, stored=False):
    """Validate X as images of the form that an estimator was fitted to.

    Parameters
    ----------
    estimator : estimator
    X : array-like
    info : InputInfo, default=None
        The form; None is that of the fitted attributes.
    name : str, default="X"
        What the messages call X.
    channels : {"last", "first"}, default=None
        Where the channels of X stand; None is what the estimator says.
    stored : bool, default=False
        As for `as_images`.

    Returns
    -------
    images : Tensor of shape (n, height, width, channels), or StoredImages
    """
    if info is not None:
        estimator = copy.copy(estimator)
        set_attributes(estimator, info.attributes())
    refuse_data_set(X, name)
    # the names of the columns, and that X is there at all
    validate_data(estimator, X=X, reset=False, skip_check_array=True, ensure_2d=False)
    return as_images(
        X,
        channels=channels or estimator.channels,
        expected=estimator.image_shape_,
        name=name,
        estimator=estimator,
        stored=stored,
    )


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


def check_labelled_images(estimator, X, y, sample_weight, info=None):
    """Validate what a classifier is trained on.

    Parameters
    ----------
    estimator : estimator
    X, y, sample_weight : array-like
    info : InputInfo, default=None
        The form that the images must have; None lets them decide.

    Returns
    -------
    labelled : LabelledImages
    """
    if info is None:
        images, info = read_images(estimator, X, stored=True)
    else:
        images = check_images(estimator, X, info, stored=True)
    labels, weight = check_targets(estimator, y, sample_weight, images)
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    given = {"X": X, "y": y, "metadata": metadata}
    return LabelledImages(survey(images), labels, weight, info, origin_of(X), given)


def check_targets(estimator, y, sample_weight, images, suffix=""):
    """Validate the labels and weights of images.

    Parameters
    ----------
    estimator : estimator
    y, sample_weight : array-like
        As the user gave them.
    images : Tensor of shape (n, height, width, channels)
    suffix : str
        ``"_val"`` for validation data, for the messages.

    Returns
    -------
    y : ndarray of shape (n,)
    weight : ndarray of float64 of shape (n,)
    """
    y, name = without_namespace(y), type(estimator).__name__
    if y is None:
        raise ValueError(
            f"{name} requires y to be passed, but the target y is None: fit(X, y) "
            "takes the label of every image as y, an array-like of shape (n,)."
        )
    check_consistent_length(images, y)
    shape = one_array(y, f"y{suffix}").shape
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"Multioutput target data is not supported: y{suffix} has shape {shape}, "
            f"but {name} learns one label for each image. Pass "
            f"{_labels_to_pass(y, suffix)}, or wrap the estimator in "
            "sklearn.multioutput.MultiOutputClassifier."
        )
    # scikit-learn's own messages and warnings about y, without its checks of X
    _, y = check_X_y(np.zeros((len(images), 1)), y, estimator=estimator)
    check_classification_targets(y)
    return y, check_weight(sample_weight, images, suffix)


def _labels_to_pass(y, suffix):
    """Say which labels are meant with a y of several columns, which may be one-hot."""
    values = np.asarray(y)
    numbers = holds_numbers(values)
    if not numbers or not (np.sort(values) == np.eye(values.shape[1])[-1]).all():
        return f"a 1-D y{suffix}"
    if hasattr(y, "idxmax"):  # a data frame, with the classes as columns
        return f"y{suffix}.idxmax(axis=1)"
    return f"np.asarray(y{suffix}).argmax(axis=1)"


def check_weight(sample_weight, images, suffix=""):
    """Validate sample weights, which must not all be zero.

    Parameters
    ----------
    sample_weight : array-like, number or None
        None is 1 for each.
    images : Tensor of shape (n, ...)
    suffix : str
        ``"_val"`` for validation data, for the messages.

    Returns
    -------
    weight : ndarray of float64 of shape (n,)
    """
    if sample_weight is None:
        return np.broadcast_to(1.0, len(images))  # a single number in memory
    name = f"sample_weight{suffix}"
    sample_weight = without_namespace(sample_weight)
    _refuse_what_is_no_number(sample_weight, name)
    weight = check_sample_weight(
        sample_weight,
        np.zeros((len(images), 1)),
        dtype=np.float64,
        ensure_non_negative=True,
    )
    if not weight.any():
        raise ValueError(
            f"Sample weights must contain at least one non-zero number: all "
            f"{len(weight)} values of {name} are zero."
        )
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not np.isfinite(total):
        raise ValueError(
            f"The sum of {name} overflows: it has values up to {weight.max():.3g}. "
            "Divide them by a constant, which has no effect on what is learnt."
        )
    return weight


def _refuse_what_is_no_number(weight, name):
    """Raise where weights are text, dates, complex or other objects."""
    values = one_array(weight, name)
    if holds_numbers(values):
        return
    values = values.astype(object).flat
    wrong = [value for value in values if not isinstance(value, Real)]
    if wrong:
        raise ValueError(
            f"{name} holds {wrong[0]!r}, of the type {type(wrong[0]).__name__}; a "
            "number >= 0 was expected for each image."
        )


def encode_labels(y, weight, classes, name):
    """Turn labels into positions in `classes`, which must have all that weigh.

    Parameters
    ----------
    y : ndarray of shape (n,)
    weight : ndarray of shape (n,)
    classes : ndarray of shape (n_classes,)
    name : str
        What the messages call y.

    Returns
    -------
    labels : ndarray of int of shape (n,)
        Of the fewest bytes that do.
    """
    try:
        labels = np.searchsorted(classes, y)
    except TypeError as error:
        raise ValueError(
            f"{name} has labels of another kind than the classes: {y[:3].tolist()} are "
            f"of the dtype {y.dtype}, {classes[:3].tolist()} of {classes.dtype}."
        ) from error
    labels[labels == len(classes)] = 0
    unknown = (classes[labels] != y) & (weight > 0)
    if unknown.any():
        raise ValueError(
            f"{name} has labels that are not among the classes: "
            f"{np.unique(y[unknown])[:10].tolist()} were found, "
            f"{classes[:10].tolist()}{' ...' if len(classes) > 10 else ''} are known."
        )
    return labels.astype(np.min_scalar_type(-len(classes)))


def check_validation_data(estimator, X_val, y_val, sample_weight_val, info):
    """Validate the data that training is validated on, of the form of its images.

    Returns
    -------
    survey, y, weight : Survey and ndarray, or None where there is no X_val
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
    images = check_images(estimator, X_val, info, name="X_val", stored=True)
    targets = check_targets(estimator, y_val, sample_weight_val, images, "_val")
    return survey(images, with_moments=False), *targets


def check_continues(old_classes, old_shape, classes, image_shape):
    """Raise where new data cannot go on from the network of an earlier fit."""
    if not np.array_equal(old_classes, classes):
        raise ValueError(
            f"warm_start=True cannot go on: y has the classes {classes.tolist()}, the "
            f"network was trained for {old_classes.tolist()}. Set warm_start=False, or "
            "keep every class in y. To teach the network other classes, save its "
            "weights, torch.save(clf.module_.state_dict(), 'weights.pt'), and fit a "
            "new classifier with pretrained='weights.pt', and with freeze= for the "
            "layers that are to stay as they are."
        )
    if old_shape != image_shape:
        raise ValueError(
            f"warm_start=True cannot go on: X holds images of {describe(image_shape)}, "
            f"the network was trained on {describe(old_shape)}. Set warm_start=False."
        )
