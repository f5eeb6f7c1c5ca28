"""What scores a network, and what a search keeps of it."""

import math
import time
import traceback
import warnings
from functools import partial
from numbers import Number
from typing import NamedTuple

from sklearn.metrics import check_scoring
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from sklearn_l2cnn._search.folds import rows_of, take
from sklearn_l2cnn._utils.layer_names import layer_weights
from sklearn_l2cnn._utils.sklearn_compat import scorers_by_name, takes_sample_weight


def scorers_of(estimator, scoring):
    """Return what measures a network.

    Parameters
    ----------
    estimator : estimator
        Whose own score is meant where `scoring` is None.
    scoring : str, callable, list, tuple, dict or None

    Returns
    -------
    scorers : callable or dict of callables
    """
    return scorers_by_name(check_scoring(estimator, scoring))


def router_of(scorers):
    """Return what says which metadata the scorers want: a scorer, or a router."""
    if not isinstance(scorers, dict):
        return scorers
    mapping = MethodMapping().add(caller="score", callee="score")
    return MetadataRouter(owner="scoring").add(**scorers, method_mapping=mapping)


def routed_to(scorers, params):
    """Return what each scorer is given, under metadata routing."""
    if not isinstance(scorers, dict):
        return params
    routed = process_routing(router_of(scorers), "score", **params)
    return {name: routed[name]["score"] for name in scorers}


def weight_for(scorers, sample_weight):
    """Return what each scorer is given, without metadata routing."""
    if isinstance(scorers, dict):
        return {name: weight_for(one, sample_weight) for name, one in scorers.items()}
    if sample_weight is None:
        return {}
    if takes_sample_weight(scorers):
        return {"sample_weight": sample_weight}
    warnings.warn(
        f"{scorers!r} takes no sample_weight: networks are trained with the weights "
        "and scored without.",
        UserWarning,
        stacklevel=2,
    )
    return {}


def score(scorers, params, classifier, X, y):
    """Return the score of a network, or a dict of its scores.

    What a scorer fails at is nan, with a warning.

    Parameters
    ----------
    scorers : callable or dict of callables
    params : dict
        Further arguments of the scorer, or of each of them.
    classifier : L2CNNClassifier
    X, y : array-like
    """
    if isinstance(scorers, dict):
        return {
            name: score(scorer, params[name], classifier, X, y)
            for name, scorer in scorers.items()
        }
    try:
        value = scorers(classifier, X, y, **params)
    except Exception:
        warnings.warn(
            f"Scoring failed for alpha={classifier.alpha}; its score in this fold is "
            f"nan. The scorer raised:\n{traceback.format_exc()}",
            UserWarning,
            stacklevel=2,
        )
        return math.nan
    if isinstance(value, dict):
        return {name: _number(one, scorers) for name, one in value.items()}
    return _number(value, scorers)


def _number(value, scorer):
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, Number):
        raise ValueError(
            f"scoring must return a number, got {value!r} ({type(value)}) instead. "
            f"(scorer={scorer})"
        )
    return value


class Measured(NamedTuple):
    """What a search keeps of a network that was trained.

    Attributes
    ----------
    score : float or dict of float
    train_score : float, dict of float or None
        The same of the images that it was trained on, where that is asked for.
    score_time, fit_time : float
        Seconds, of training those of the epochs.
    losses, validation_losses, validation_scores : list of float
        By epoch; nan without validation data.
    norms : dict of float
        Norm of every weight of two or more dimensions, by the name of its layer.
    max_epochs : int
        How many epochs it was to be trained.
    """

    score: object
    train_score: object
    score_time: float
    fit_time: float
    losses: list
    validation_losses: list
    validation_scores: list
    norms: dict
    max_epochs: int


def measure(classifier, score, train_score=None):
    """Score a network that was trained, and read how its training went.

    Parameters
    ----------
    classifier : L2CNNClassifier
    score, train_score : callable
        Without arguments, on the images of the fold.
    """
    start = time.perf_counter()
    value = score()
    end, net = time.perf_counter(), classifier.net_
    history = net.history[net.n_earlier_ :]  # callbacks may have loaded more
    weights = layer_weights(classifier.module_)
    return Measured(
        score=value,
        train_score=None if train_score is None else train_score(),
        score_time=end - start,
        fit_time=sum(row["dur"] for row in history),
        losses=[row["train_data_loss"] for row in history],
        validation_losses=[row.get("valid_loss", math.nan) for row in history],
        validation_scores=[row.get("valid_acc", math.nan) for row in history],
        norms={name: float(weight.norm()) for name, weight in weights.items()},
        max_epochs=net.max_epochs,
    )


class Scoring:
    """What is measured of networks: by whom, on which images, with which metadata.

    Parameters
    ----------
    scorers : callable or dict of callables
    params : dict
        Further arguments of the scorer, or of each of them.
    images : Mapped
        All images, as something that rows can be chosen from.
    y : array-like of shape (n,)
    folds : list of tuple (train, test)
    train : bool, default=False
        Whether they are scored on the images that they were trained on, too.
    """

    def __init__(self, scorers, params, images, y, folds, train=False):
        self.scorers = scorers
        self.params = params
        self.images = images
        self.y = y
        self.folds = folds
        self.train = train

    def __call__(self, classifier, source):
        """Measure a classifier on the images of its fold."""
        on_train, on_test = (
            partial(self.score, classifier, source, part) for part in (0, 1)
        )
        return measure(classifier, on_test, on_train if self.train else None)

    def score(self, classifier, source, part):
        """Return the score on a part of the fold: that of the training, or the other.

        Parameters
        ----------
        classifier : L2CNNClassifier
        source : Source
        part : {0, 1}

        Returns
        -------
        score : float or dict of float
        """
        rows = self.folds[source.fold][part]
        n_samples, params = len(self.y), self.params
        if isinstance(self.scorers, dict):
            params = {n: rows_of(own, rows, n_samples) for n, own in params.items()}
        else:
            params = rows_of(params, rows, n_samples)
        X, y = take(self.images.array, rows), take(self.y, rows)
        return score(self.scorers, params, classifier, X, y)
