"""The results of a search: the table of all, which wins, and what has failed."""

import math
import warnings
from collections import defaultdict
from numbers import Integral

import numpy as np
from sklearn.exceptions import FitFailedWarning

from sklearn_l2cnn._search.progress import named
from sklearn_l2cnn._search.scoring import Measured
from sklearn_l2cnn._training.divergence import Diverged
from sklearn_l2cnn._utils.sklearn_compat import search_results

_NOT_CHOSEN = ", and they cannot be chosen"


def table(settings, outcomes, error_score=math.nan):
    """Return what `cv_results_` holds.

    Parameters
    ----------
    settings : list of dict
        Of the candidates.
    outcomes : list of list
        ``outcomes[fold][candidate]``: Measured, or the error of a fit that failed.
    error_score : float, default=nan
        The score of a fit that failed.

    Returns
    -------
    results : dict
        With the keys that GridSearchCV has.
    names : list of str
        Of the metrics, or None for a score without a name.
    """
    measured = [one for *_, one in _measured(outcomes)]
    scores = [one.score for one in measured]
    names = next(([*some] for some in scores if isinstance(some, dict)), None)
    # a callable that returns a dict may have failed in one fold
    failed = error_score if names is None else dict.fromkeys(names, error_score)
    trained = any(one.train_score is not None for one in measured)

    def row(one):
        if not isinstance(one, Measured):
            own = {"fit_time": 0.0, "score_time": 0.0}
            return {**own, "test_scores": failed, "train_scores": failed}
        times = {"fit_time": one.fit_time, "score_time": one.score_time}
        parts = {"test_scores": one.score, "train_scores": one.train_score}
        for part, value in parts.items():
            if names is not None and not isinstance(value, dict):
                parts[part] = failed
        return times | parts

    rows = [row(fold[k]) for k in range(len(settings)) for fold in outcomes]
    return search_results(settings, len(outcomes), rows, trained), names


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


def epochs_taken(outcomes):
    """Return how many epochs the networks of every candidate took, at most."""
    taken = np.zeros(len(outcomes[0]), dtype=int)
    for _, k, one in _measured(outcomes):
        taken[k] = max(taken[k], len(one.losses))
    return taken


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


def report_failures(settings, outcomes, error_score=math.nan):
    """Warn of trainings that failed, or raise where all did.

    Parameters
    ----------
    settings : list of dict
    outcomes : list of list
        ``outcomes[fold][candidate]``.
    error_score : "raise" or float, default=nan
        With "raise" the first error is raised.
    """
    reasons, n_failed = defaultdict(list), 0
    for setting, *own in zip(settings, *outcomes, strict=True):
        failed = [fold for fold, one in enumerate(own) if isinstance(one, Exception)]
        if failed:
            first, folds = own[failed[0]], ", ".join(map(str, failed))
            where = f"{named(setting)} in fold{'s'[: len(failed) > 1]} {folds}"
            reasons[f"{type(first).__name__}: {first}"].append(where)
            n_failed += len(failed)
            if error_score == "raise":
                raise first
    if not n_failed:
        return
    told = "\n".join(f"{'; '.join(which)}: {why}" for why, which in reasons.items())
    n_fits = len(settings) * len(outcomes)
    if n_failed == n_fits:
        error = outcomes[0][0]
        if len(reasons) == 1 and not isinstance(error, Diverged):
            raise error  # of a parameter: alphas and folds have no part in it
        raise ValueError(f"All {n_fits} trainings of the search failed.\n{told}")
    warnings.warn(
        f"{n_failed} of {n_fits} trainings of the search failed; their scores are "
        f"{error_score}{_NOT_CHOSEN if math.isnan(error_score) else ''}.\n{told}",
        FitFailedWarning,
        stacklevel=2,
    )
