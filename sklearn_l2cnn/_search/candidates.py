"""The candidates of a search, what each is trained on, and what is kept of it."""

from collections.abc import Mapping
from numbers import Number
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from sklearn_l2cnn._estimator.data import fold_data
from sklearn_l2cnn._estimator.fitting import attributes_of
from sklearn_l2cnn._estimator.network import epochs_of
from sklearn_l2cnn._utils.estimators import set_attributes

# What networks that are trained on the same images, in the same order, may differ in.
NUMBERS = (
    *("alpha", "lr", "max_norm", "gradient_clip"),
    *("label_smoothing", "momentum", "l1_ratio"),
)
# What gives them other random numbers, and nothing else.
REPEATS = ("random_state",)


class Candidates:
    """The classifiers of a search: one for each setting.

    Parameters
    ----------
    template : L2CNNClassifier
        Unfitted; the classifiers are like it in all but the settings.
    settings : list of dict
        Parameters by name.
    warm : bool, default=False
        Whether each starts from the network of the next larger alpha, on its source.
    score : callable, default=None
        ``score(classifier, source)`` is called where a network was trained, in a
        process of its own maybe; its result is kept in place of the classifier, so that
        not all networks have to be held at once.
    progress : Progress, default=None
    failures : type, default=ValueError
        Of the errors that stand in the place of a classifier whose fit ends with one;
        all others end the search.

    Attributes
    ----------
    families : list of int
        Candidates of different families differ in more than `NUMBERS` and `REPEATS`.
    """

    def __init__(
        self,
        template,
        settings,
        warm=False,
        score=None,
        progress=None,
        failures=ValueError,
    ):
        self.template = template
        self.settings = settings
        self.warm = warm
        self.score = score
        self.progress = progress
        self.failures = failures
        self.families = _families(settings)

    def unfitted(self, k, without=()):
        """Return a new classifier with a setting, or with all of it but some names."""
        setting = self.settings[k].items()
        own = {name: value for name, value in setting if name not in without}
        return clone(self.template).set_params(**own)

    def common(self, positions):
        """Return a new classifier with what settings have that differ in `NUMBERS`."""
        return self.unfitted(positions[0], without=NUMBERS)

    def order(self, positions):
        """Return positions in the order in which their networks are trained."""
        if not self.warm:
            return positions
        return sorted(positions, key=lambda k: -self.settings[k]["alpha"])

    def outcome(self, clf, fitted, source):
        """Return what is kept of a classifier that was trained, or its error."""
        if isinstance(fitted, Exception):
            return fitted
        set_attributes(clf, attributes_of(clf, fitted, source.origin))
        return clf if self.score is None else self.score(clf, source)


class Source(NamedTuple):
    """What candidates are trained on alike: images in an order, for each the same.

    Attributes
    ----------
    fold : int
    positions : list of int
        Of the candidates. They differ in `NUMBERS` alone.
    family : int
        Of the candidates.
    data : TrainingData
    epochs : int
        How many a training takes.
    origin : array
        Of the namespace of the images.
    scored : Scored, default=None
        What the networks are scored on, where that is not what the search was given.
    """

    fold: int
    positions: list
    family: int
    data: object
    epochs: int
    origin: object
    scored: object = None

    def with_images(self, images):
        """Return the source with other images: the same rows of them."""
        return self._replace(data=self.data.with_images(images))


class Found(NamedTuple):
    """What networks are to be trained on, and what failed before.

    Attributes
    ----------
    sources : list of Source
    failed : dict of Exception
        By fold and position of the candidate.
    """

    sources: list
    failed: dict


def together(founds):
    """Return what several found, as one."""
    every = Found([], {})
    for found in founds:
        every.sources.extend(found.sources)
        every.failed.update(found.failed)
    return every


def sources_of(candidates, labelled, folds, validate=True, within=None, scored=None):
    """Return what candidates are trained on in every fold.

    Parameters
    ----------
    candidates : Candidates
    labelled : LabelledImages
    folds : dict of tuple (train, test)
        By number: rows that the fold trains on, and those of its validation.
    validate : bool, default=True
        Whether networks are validated after every epoch.
    within : list of int, default=None
        Positions of the candidates; None is all.
    scored : object, default=None
        Of all sources.

    Returns
    -------
    found : Found
    """
    within = range(len(candidates.settings)) if within is None else within
    found = Found([], {})
    for positions in alike(candidates.settings, within, _divides):
        clf = candidates.common(positions)
        family = candidates.families[positions[0]]
        for fold, (train, test) in folds.items():
            valid = _validated(clf, labelled, train, test) if validate else test[:0]
            try:
                clf._validate_params()
                # each fit draws from a random state of its own
                data = fold_data(clone(clf), labelled, train, valid)
                epochs = epochs_of(clf, data.train)
            except candidates.failures as error:
                found.failed.update({(fold, k): error for k in positions})
                continue
            found.sources.append(
                Source(fold, positions, family, data, epochs, labelled.origin, scored)
            )
    return found


def _validated(clf, labelled, train, test):
    """Return the rows that a network is validated on.

    Test rows must not have a say in the training: early stopping then holds out rows of
    the training part, as it does in any fit.
    """
    if clf.early_stopping or clf.lr_schedule == "plateau" or clf.callbacks:
        return test[:0]
    y, weighs = labelled.y, labelled.weight > 0
    valid = test[weighs[test]]
    return valid[np.isin(y[valid], y[train[weighs[train]]])]


def alike(settings, positions, matters):
    """Group positions by what their settings have in common.

    Parameters
    ----------
    settings : list of dict
    positions : iterable of int
    matters : callable
        ``matters(name, value)`` says whether a parameter must be the same.

    Returns
    -------
    groups : list of list of int
    """
    groups = {}
    for k in positions:
        groups.setdefault(_key(settings[k], matters), []).append(k)
    return [*groups.values()]


def _families(settings):
    """Return a number for each setting, the same where a stack may have both."""

    def matters(name, value):
        return name not in REPEATS and _divides(name, value)

    found = [None] * len(settings)
    for number, own in enumerate(alike(settings, range(len(settings)), matters)):
        for k in own:
            found[k] = number
    return found


def _divides(name, value):
    """Say whether candidates are trained apart that differ in a parameter."""
    # rates of layers are no number, and nothing that a stack can have
    return name not in NUMBERS or (name == "lr" and isinstance(value, Mapping))


def _key(setting, matters):
    """Return what equal settings have in common, of the parameters that matter."""
    return tuple(
        (name, type(value), _plain(value))
        for name, value in sorted(setting.items())
        if matters(name, value)
    )


def _plain(value):
    """Return a value that equal numbers and names share, and other objects do not."""
    return value if isinstance(value, Number | str | None) else id(value)
