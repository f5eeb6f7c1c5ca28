"""Scores of a search: what measures a network, the table of all, and which wins."""

import math
import time
import traceback
import warnings
from numbers import Integral, Number
from typing import NamedTuple

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from sklearn_l2cnn._utils.layer_names import layer_weights
from sklearn_l2cnn._utils.sklearn_compat import (
    scorers_by_name,
    search_results,
    takes_sample_weight,
)


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
    score_time: float
    fit_time: float
    losses: list
    validation_losses: list
    validation_scores: list
    norms: dict
    max_epochs: int


def measure(classifier, scorers, params, X, y):
    """Score a network that was trained, and read how its training went."""
    start = time.perf_counter()
    value = score(scorers, params, classifier, X, y)
    end, net = time.perf_counter(), classifier.net_
    history = net.history[net.n_earlier_ :]  # callbacks may have loaded more
    weights = layer_weights(classifier.module_)
    return Measured(
        score=value,
        score_time=end - start,
        fit_time=sum(row["dur"] for row in history),
        losses=[row["train_data_loss"] for row in history],
        validation_losses=[row.get("valid_loss", math.nan) for row in history],
        validation_scores=[row.get("valid_acc", math.nan) for row in history],
        norms={name: float(weight.norm()) for name, weight in weights.items()},
        max_epochs=net.max_epochs,
    )


def table(alphas, outcomes):
    """Return what `cv_results_` holds.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
    outcomes : list of list
        ``outcomes[fold][alpha]``: Measured, or the error of a fit that failed.

    Returns
    -------
    results : dict
        With the keys that GridSearchCV has for a parameter ``alpha``.
    names : list of str
        Of the metrics, or None for a score without a name.
    """
    scores = [one.score for *_, one in _measured(outcomes)]
    names = next(([*some] for some in scores if isinstance(some, dict)), None)
    # a callable that returns a dict may have failed in one fold
    failed = math.nan if names is None else dict.fromkeys(names, math.nan)

    nothing = Measured(failed, math.nan, math.nan, [], [], [], {}, 0)

    def row(one):
        one = one if isinstance(one, Measured) else nothing
        whole = names is None or isinstance(one.score, dict)
        times = {"fit_time": one.fit_time, "score_time": one.score_time}
        return {**times, "test_scores": one.score if whole else failed}

    params = [{"alpha": alpha} for alpha in alphas.tolist()]
    rows = [row(fold[k]) for k in range(len(alphas)) for fold in outcomes]
    return search_results(params, len(outcomes), rows), names


def best_index(results, metric, refit):
    """Return the position of the best alpha: by a callable `refit`, or by its rank."""
    if callable(refit):
        index = refit(results)
        if not isinstance(index, Integral):
            raise TypeError(
                f"refit returned {index!r}; the position of the best alpha, an "
                "integer, was expected."
            )
        if not 0 <= index < len(results["params"]):
            raise IndexError(
                f"refit returned {index}; there are {len(results['params'])} alphas."
            )
        return index
    if np.isnan(results[f"mean_test_{metric}"]).all():
        raise ValueError(
            "No alpha has a score in every fold, so that none can be the best: "
            f"{_scores_of(results, metric).tolist()}."
        )
    return int(results[f"rank_test_{metric}"].argmin())


def within_one_standard_error(results, metric, alphas, best):
    """Return the position of the largest alpha that is hardly worse than the best.

    Its mean score is at least that of the best, less the standard error of the best:
    the standard deviation of its scores over the folds, by the root of their number.
    """
    means = results[f"mean_test_{metric}"]
    error = _standard_error(_scores_of(results, metric)[best])
    near = np.flatnonzero(means >= means[best] - error)
    return int(near[alphas[near].argmax()])


def rising_edge(results, metric, alphas, best):
    """Return the position of the best alpha where scores still rise at the edge there.

    That is, where it is the smallest or the largest of at least three, and not 0, and
    another one in its half of them is worse by more than the standard error of the
    best. Else the scores near the edge are alike, and there is no reason to go on.

    Returns
    -------
    edge : int or None
    """
    if alphas.dtype == object or len(alphas) < 3 or alphas[best] == 0:
        return None
    order = np.argsort(alphas)
    if best == order[-1]:
        order = order[::-1]
    elif best != order[0]:
        return None
    means = results[f"mean_test_{metric}"]
    scores = _scores_of(results, metric)[best]
    error = _standard_error(scores) if len(scores) > 1 else 0.0
    near = order[1 : (len(order) + 1) // 2]
    return best if (means[near] < means[best] - error).any() else None


def _standard_error(scores):
    return scores.std(ddof=1) / math.sqrt(len(scores))


def _scores_of(results, metric):
    """Return the scores of a metric, (n_alphas, n_folds)."""
    names = (f"split{k}_test_{metric}" for k in range(len(results)))
    return np.column_stack([results[name] for name in names if name in results])


def paths(outcomes, layers):
    """Return how training went, by alpha, as the fitted attributes have it.

    Parameters
    ----------
    outcomes : list of list
    layers : list of str

    Returns
    -------
    paths : dict of ndarray
        nan where a training failed or had ended, or had no validation data.
    """
    n_folds, n_alphas = len(outcomes), len(outcomes[0])
    max_epochs = max(one.max_epochs for *_, one in _measured(outcomes))
    losses, valid_losses, valid_scores = (
        np.full((n_alphas, n_folds, max_epochs), np.nan) for _ in range(3)
    )
    norms = np.full((n_alphas, n_folds, len(layers)), np.nan)
    for fold, alpha, one in _measured(outcomes):
        here = alpha, fold, slice(len(one.losses))
        losses[here] = one.losses
        valid_losses[here] = one.validation_losses
        valid_scores[here] = one.validation_scores
        norms[alpha, fold] = [one.norms.get(name, np.nan) for name in layers]
    there = ~np.isnan(norms)
    with np.errstate(invalid="ignore"):  # no fold has one: nan
        mean_norms = np.where(there, norms, 0).sum(axis=1) / there.sum(axis=1)
    return {
        "losses_path_": losses,
        "validation_losses_path_": valid_losses,
        "scores_path_": valid_scores,
        "norms_path_": mean_norms,
    }


def layer_names(outcomes):
    """Return the names of all layers that have weights, in their order."""
    return list(
        dict.fromkeys(name for *_, one in _measured(outcomes) for name in one.norms)
    )


def _measured(outcomes):
    """Yield fold, alpha and measures of every network that was trained."""
    for fold, row in enumerate(outcomes):
        for alpha, one in enumerate(row):
            if isinstance(one, Measured):
                yield fold, alpha, one
