"""The data of a fit: in canonical form, with what they tell about the images."""

import warnings
from typing import NamedTuple

import numpy as np

from sklearn_l2cnn._data.arrays import dtype_name
from sklearn_l2cnn._data.canonical import ImageSet, canonical_set
from sklearn_l2cnn._data.pixels import channel_statistics, merge_statistics
from sklearn_l2cnn._data.validation import (
    InputInfo,
    check_validation_data,
    encode_labels,
)
from sklearn_l2cnn._data.weights import held_out, normalized_weights
from sklearn_l2cnn._utils.seeds import draw_seeds
from sklearn_l2cnn.architectures import pixels_of_weights


class DataSummary(NamedTuple):
    """What an estimator keeps of all images that it was fitted to.

    Attributes
    ----------
    info : InputInfo
    classes : ndarray of shape (n_classes,)
    unit : tuple
        `unit_of` the first images.
    class_mass : ndarray of shape (n_classes,)
        Summed sample weights of every class.
    statistics : tuple (weight, mean, variance) or None
        Of the pixels, by channel.
    given : tuple (mean, scale), default=None
        What weights that were loaded are used to, instead.
    """

    info: InputInfo
    classes: object
    unit: tuple
    class_mass: object
    statistics: object
    given: object = None

    def pixels(self, standardize):
        """Return mean and scale of the channels, which images are standardised with."""
        if not standardize:
            depth = self.info.image_shape[2]
            return np.zeros(depth), np.ones(depth)
        if self.given is not None:
            return self.given
        _, mean, variance = self.statistics
        return mean, np.sqrt(np.where(variance > 0, variance, 1.0))

    def with_more(self, moments, image_set):
        """Return the summary of what was summarised and of more images."""
        mass = self.class_mass + image_set.class_mass(len(self.classes))
        new = statistics_of(moments, image_set)
        statistics = merge_statistics(self.statistics, new)
        return self._replace(class_mass=mass, statistics=statistics)


class TrainingData(NamedTuple):
    """What a network is trained on, and the seeds of its random numbers.

    Attributes
    ----------
    summary : DataSummary
    train : ImageSet
    valid : ImageSet or None
        What the training is validated on.
    seed : int
        Of the weights of a new network.
    order_seed : int
        Of the order of the images and of random numbers in training.
    """

    summary: DataSummary
    train: ImageSet
    valid: object
    seed: int
    order_seed: int

    def with_images(self, images):
        """Return the data with other images: the same rows of them."""
        train, valid = self.train._replace(images=images), self.valid
        if valid is not None:
            valid = valid._replace(images=images)
        return self._replace(train=train, valid=valid)


def statistics_of(moments, image_set):
    """Return total weight, mean and variance of the pixels of a set of images."""
    # normalised, so that a constant factor on the weights does not show in the bits
    weight = normalized_weights(image_set.weight)
    statistics = channel_statistics(moments, image_set.rows, weight)
    return float(image_set.weight.sum()), *statistics


def given_pixels(estimator, info, moments):
    """Return mean and scale that the weights which are loaded are used to, or None.

    Parameters
    ----------
    estimator : estimator
        With `architecture`, `pretrained` and `standardize`.
    info : InputInfo
    moments : Moments
    """
    if not estimator.standardize:
        return None
    return pixels_of_weights(
        estimator.architecture,
        estimator.pretrained,
        info.image_shape[2],
        float(moments.low.min()) / moments.white,
        float(moments.high.max()) / moments.white,
    )


def training_data(clf, labelled, validation=(None, None, None)):
    """Bring what a fit is given to its canonical form.

    Parameters
    ----------
    clf : L2CNNClassifier
    labelled : LabelledImages
    validation : tuple (X_val, y_val, sample_weight_val)

    Returns
    -------
    data : TrainingData
    """
    valid = check_validation_data(clf, *validation, labelled.info)
    classes = labelled.classes()
    train = labelled_set(labelled.survey, labelled.y, labelled.weight, classes)
    if valid is not None:
        valid = labelled_set(*valid, classes, name="y_val")
    return seeded(clf, labelled, classes, train, valid, clf.early_stopping)


def fold_data(clf, labelled, train, valid):
    """Bring some rows of validated images to their canonical form.

    Parameters
    ----------
    clf : L2CNNClassifier
    labelled : LabelledImages
    train, valid : ndarray of int
        Rows to train on and to validate on, the latter of classes among the former.

    Returns
    -------
    data : TrainingData
    """
    classes = labelled.classes(train)
    if not len(classes):
        raise ValueError(
            f"All {len(train)} images that this fold trains on have a sample_weight of "
            "0. Leave such images out, or give each fold some that count."
        )

    def image_set(rows):
        y, weight = labelled.y[rows], labelled.weight[rows]
        return labelled_set(labelled.survey, y, weight, classes, rows)

    valid = image_set(valid) if len(valid) else None
    train = image_set(train)
    return seeded(clf, labelled, classes, train, valid, clf.early_stopping)


def labelled_set(survey, y, weight, classes, rows=None, name="y"):
    """Bring images and their labels to canonical form; see `canonical_set`."""
    return canonical_set(survey, encode_labels(y, weight, classes, name), weight, rows)


def seeded(clf, labelled, classes, train, valid=None, holds_out=False):
    """Draw the seeds of a fit, hold out images where it asks for them, summarise."""
    if len(classes) == 1:
        warnings.warn(
            f"There is one class to learn from, {classes.tolist()}, and every image "
            "will be predicted to be of it. If this is a fold of a search or of a "
            "cross-validation, its score says nothing: several classes in every fold "
            "come from StratifiedKFold, or from shuffled rows.",
            UserWarning,
            stacklevel=4,
        )
    mass = train.class_mass(len(classes))
    seed, split_seed, order_seed = draw_seeds(clf.random_state, 3)
    if valid is None and holds_out:
        generator = np.random.RandomState(split_seed)
        rows, others = held_out(train.labels, clf.validation_fraction, generator)
        train, valid = train.take(rows), train.take(others)
    moments = labelled.survey.moments
    unit = dtype_name(labelled.survey.images), moments.largest()
    statistics = statistics_of(moments, train)
    given = given_pixels(clf, labelled.info, moments)
    summary = DataSummary(labelled.info, classes, unit, mass, statistics, given)
    return TrainingData(summary, train, valid, seed, order_seed)
