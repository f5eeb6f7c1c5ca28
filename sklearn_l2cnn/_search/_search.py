"""Searching for the best alpha: from what the user gave to the fitted attributes."""

import copy
import time
import warnings
from collections import defaultdict
from functools import partial
from numbers import Integral

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import check_cv
from sklearn.utils import indexable
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._data.arrays import (
    as_tensor_if_dispatched,
    give_back_numbers,
    on_host,
    same_kind,
    sorted_unique,
)
from sklearn_l2cnn._data.validation import check_images, check_targets
from sklearn_l2cnn._estimator.parameters import NOT_SEARCHED
from sklearn_l2cnn._search._members import fit_members, fit_path, take
from sklearn_l2cnn._search.candidates import alpha_grid, check_alphas
from sklearn_l2cnn._search.results import (
    best_index,
    layer_names,
    measure,
    paths,
    routed_to,
    router_of,
    scorers_of,
    table,
    weight_for,
    within_one_standard_error,
)
from sklearn_l2cnn._training.net import Diverged
from sklearn_l2cnn._utils.estimators import fitted_attributes
from sklearn_l2cnn._utils.seeds import draw_seeds
from sklearn_l2cnn._utils.sklearn_compat import num_samples


def search(clf, X, y, sample_weight, groups, params):
    """Fit networks of all alphas to all folds, and one of the best to all images.

    Parameters
    ----------
    clf : L2CNNClassifierCV
    X, y, sample_weight, groups : array-like
    params : dict
        Other metadata, for the splitter and the scorers.

    Returns
    -------
    clf : L2CNNClassifierCV
    """
    for name in fitted_attributes(clf):
        delattr(clf, name)
    images = check_images(clf, X, first=True)
    y, weight = check_targets(clf, X, y, sample_weight, images=images)
    template = template_of(clf)
    scorers = scorers_of(template, clf.scoring)
    names = list(scorers) if isinstance(scorers, dict) else None
    metric = _metric(clf, names)
    alphas = _alphas(clf, template, y, weight)
    rows, weight = _indexable(X), None if sample_weight is None else weight
    to_splitter, to_scorers = _metadata(
        clf, scorers, weight, sample_weight, groups, params
    )
    folds = _folds(clf, rows, y, to_splitter)
    outcomes = fit_members(
        [_members(template, alphas.tolist()) for _ in folds],
        rows,
        y,
        weight,
        folds,
        path=clf.path,
        n_jobs=clf.n_jobs,
        then=partial(_measured, scorers, to_scorers),
    )
    _report_failures(alphas, outcomes)
    clf.cv_results_, found = table(alphas, outcomes)
    if found != names:  # of a callable that returns a dict
        metric = _metric(clf, found)
    clf.scorer_, clf.multimetric_, clf.n_splits_ = scorers, bool(found), len(folds)
    clf.layer_names_ = layer_names(outcomes)
    arrays = {"alphas_": alphas, **paths(outcomes, clf.layer_names_, clf.max_epochs)}
    for name, array in arrays.items():
        setattr(clf, name, give_back_numbers(array, X))
    if metric is not None or callable(clf.refit):
        _choose(clf, alphas, metric)
    if clf.refit:
        _refit(clf, template, alphas, (X, y, weight))
    return clf


def template_of(clf):
    """Return the classifier, unfitted and with any alpha, that the members are like.

    ``random_state=None`` is one seed for all: they differ in alpha and fold alone.
    """
    names = L2CNNClassifier._get_param_names()
    shared = {name: getattr(clf, name) for name in names if name not in NOT_SEARCHED}
    if clf.random_state is None:
        [shared["random_state"]] = draw_seeds(None, 1)
    template = L2CNNClassifier(**shared)
    if hasattr(clf, "_metadata_request"):
        # what its score asks for is what scoring=None asks for
        template._metadata_request = copy.deepcopy(clf._metadata_request)
    return template


def router(clf):
    """Return which metadata the search itself, its splitter and its scorers want."""
    scorers = scorers_of(template_of(clf), clf.scoring)
    both = MethodMapping().add(caller="score", callee="score")
    return (
        MetadataRouter(owner=type(clf).__name__)
        .add_self_request(clf)
        .add(
            splitter=clf.cv,
            method_mapping=MethodMapping().add(caller="fit", callee="split"),
        )
        .add(
            scorer=router_of(scorers),
            method_mapping=both.add(caller="fit", callee="score"),
        )
    )


def _metric(clf, names):
    """Return the metric that decides, None where there is none; `names` if several."""
    if callable(clf.refit):
        if clf.one_standard_error:
            raise ValueError(
                f"one_standard_error=True and refit={clf.refit!r} both say which alpha "
                "is the best. Leave one of them out."
            )
        return None
    if names is None:
        return "score"
    if not clf.refit:
        return None
    if clf.refit in names:
        return clf.refit
    raise ValueError(
        "For multi-metric scoring, the parameter refit must be set to a scorer key or "
        "a callable that returns the position of the best alpha, or to False for none: "
        f"refit={clf.refit!r} came, the metrics are {names}."
    )


def _alphas(clf, template, y, weight):
    """Return the alphas to try."""
    if isinstance(clf.alphas, Integral):
        classes = on_host(sorted_unique(y[same_kind(weight > 0, y)]))
        return alpha_grid(clf.alphas, template, clf.image_shape_, y, weight, classes)
    alphas = check_alphas(clf.alphas)
    if alphas.dtype != object:
        return alphas
    wanted = {"path='warm'": clf.path == "warm"}
    wanted["one_standard_error=True"] = clf.one_standard_error
    for name in (name for name, is_set in wanted.items() if is_set):
        raise ValueError(
            f"{name} goes by which alpha is the larger; of mappings none is. Give "
            "alphas as numbers."
        )
    return alphas


def _indexable(X):
    """Return X as something that rows can be chosen from, for the members to fit."""
    tensor = as_tensor_if_dispatched(X)
    return indexable(X)[0] if tensor is None else tensor


def _metadata(clf, scorers, weight, sample_weight, groups, params):
    """Return what the splitter is given, and what each scorer."""
    if not get_config()["enable_metadata_routing"]:
        return {"groups": groups}, weight_for(scorers, weight)
    own = {"sample_weight": sample_weight, "groups": groups}
    given = {name: value for name, value in own.items() if value is not None}
    routed = process_routing(clf, "fit", **given, **params)
    return routed.splitter["split"], routed_to(scorers, routed.scorer["score"])


def _folds(clf, X, y, params):
    """Return the rows that each fold trains on, and those that it is scored on."""
    labels = on_host(y)
    splitter = check_cv(clf.cv, labels, classifier=True)
    folds = [
        tuple(map(_positions, fold)) for fold in splitter.split(X, labels, **params)
    ]
    if len(folds) < (needed := 1 + clf.one_standard_error):
        raise ValueError(
            f"cv={clf.cv!r} makes {len(folds)} folds, {needed} or more were expected"
            f"{': the scores of one have no deviation' if needed > 1 else ''}."
        )
    return folds


def _positions(rows):
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def _members(template, alphas):
    """Return unfitted classifiers, one for each alpha."""
    return [clone(template).set_params(alpha=alpha) for alpha in alphas]


def _measured(scorers, params, classifier, X, y, test):
    """Measure a network on the rows of its fold that it was not trained on."""
    if isinstance(scorers, dict):
        params = {name: _rows(own, test, len(y)) for name, own in params.items()}
    else:
        params = _rows(params, test, len(y))
    return measure(classifier, scorers, params, take(X, test), take(y, test))


def _rows(params, test, n_samples):
    """Return the part of metadata that belongs to some rows; other values as is."""
    return {
        name: take(value, test) if _counts(value, n_samples) else value
        for name, value in params.items()
    }


def _counts(value, n_samples):
    has_rows = hasattr(value, "shape") or isinstance(value, list | tuple)
    return has_rows and num_samples(value) == n_samples


def _report_failures(alphas, outcomes):
    """Warn of trainings that failed, or raise where all did."""
    reasons, n_failed = defaultdict(list), 0
    for k, alpha in enumerate(alphas.tolist()):
        failed = {
            fold: row[k]
            for fold, row in enumerate(outcomes)
            if isinstance(row[k], ValueError)
        }
        if failed:
            first = next(iter(failed.values()))
            folds = ", ".join(map(str, failed))
            where = f"alpha={alpha!r} in fold{'s'[: len(failed) > 1]} {folds}"
            reasons[f"{type(first).__name__}: {first}"].append(where)
            n_failed += len(failed)
    if not n_failed:
        return
    told = "\n".join(f"{'; '.join(which)}: {why}" for why, which in reasons.items())
    n_fits = len(alphas) * len(outcomes)
    if n_failed == n_fits:
        error = outcomes[0][0]
        if len(reasons) == 1 and not isinstance(error, Diverged):
            raise error  # of a parameter: alphas and folds have no part in it
        raise ValueError(f"All {n_fits} trainings of the search failed.\n{told}")
    warnings.warn(
        f"{n_failed} of {n_fits} trainings of the search failed; their scores are nan, "
        f"and their alphas cannot be chosen.\n{told}",
        FitFailedWarning,
        stacklevel=2,
    )


def _choose(clf, alphas, metric):
    """Set the attributes of the best alpha."""
    results = clf.cv_results_
    best = best_index(results, metric, clf.refit)
    if clf.one_standard_error:
        best = within_one_standard_error(results, metric, alphas, best)
    clf.best_index_ = best
    clf.best_params_ = results["params"][best]
    clf.alpha_ = clf.best_params_["alpha"]
    if not callable(clf.refit):
        clf.best_score_ = float(results[f"mean_test_{metric}"][best])


def _refit(clf, template, alphas, data):
    """Fit a classifier of the best alpha to all images, and become what it is.

    A warm path is gone along again, from the largest alpha to the best: what was scored
    is what that ends with.
    """
    start = time.perf_counter()
    data = dict(zip(("X", "y", "sample_weight"), data, strict=True))
    if clf.path == "warm":
        members = _members(template, alphas[alphas >= clf.alpha_].tolist())
        *_, (_, best) = fit_path(members, data, {})
        if isinstance(best, ValueError):
            raise best
    else:
        best = _members(template, [clf.alpha_])[0].fit(**data)
    clf.best_estimator_ = best
    clf.refit_time_ = time.perf_counter() - start
    vars(clf).update(fitted_attributes(best))
