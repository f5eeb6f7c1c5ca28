"""Searching for the best alpha: from what the user gave to the fitted attributes."""

import time
import warnings
from numbers import Integral

import numpy as np
from sklearn import get_config
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from sklearn_l2cnn._data.arrays import give_back_numbers, origin_of
from sklearn_l2cnn._data.validation import check_labelled_images
from sklearn_l2cnn._estimator.checkpoints import check_checkpoint
from sklearn_l2cnn._estimator.convergence import warn_if_patience_is_too_long
from sklearn_l2cnn._search.alphas import alpha_grid, check_alphas
from sklearn_l2cnn._search.candidates import Candidates, sources_of
from sklearn_l2cnn._search.fitting import by_fold, fit_networks
from sklearn_l2cnn._search.folds import folds_of, indexable_images
from sklearn_l2cnn._search.one_by_one import refit
from sklearn_l2cnn._search.progress import Progress, RefitProgress
from sklearn_l2cnn._search.results import (
    best_index,
    layer_names,
    paths,
    report_failures,
    rising_edge,
    table,
    within_one_standard_error,
)
from sklearn_l2cnn._search.scoring import (
    Scoring,
    routed_to,
    router_of,
    scorers_of,
    weight_for,
)
from sklearn_l2cnn._search.tasks import Mapped
from sklearn_l2cnn._training.ranks import ranks_of_process
from sklearn_l2cnn._utils.estimators import fitted_attributes
from sklearn_l2cnn._utils.sklearn_compat import callback_context


def search(clf, template, X, y, sample_weight, groups, params):
    """Fit networks of all alphas to all folds, and one of the best to all images.

    Parameters
    ----------
    clf : L2CNNClassifierCV
        Whose parameters count.
    template : L2CNNClassifier
        Unfitted; all classifiers of the search are like it in all but `alpha`.
    X, y, sample_weight, groups : array-like
    params : dict
        Other metadata, for the splitter and the scorers.

    Returns
    -------
    attributes : dict
        The fitted attributes by name.
    """
    _refuse_ranks(clf, ranks_of_process().size)
    check_checkpoint(clf)
    labelled = check_labelled_images(clf, X, y, sample_weight)
    scorers = scorers_of(template, clf.scoring)
    names = list(scorers) if isinstance(scorers, dict) else None
    metric = _metric(clf, names)
    alphas = _alphas(clf, template, labelled)
    rows = indexable_images(labelled.given["X"])
    y_rows = give_back_numbers(labelled.y, rows)
    weights = give_back_numbers(np.array(labelled.weight), rows)
    to_splitter, to_scorers = _metadata(
        clf, scorers, labelled.given["metadata"], weights, groups, params
    )
    least = 1 + clf.one_standard_error
    folds = folds_of(clf.cv, rows, labelled.y, to_splitter, least)
    warn_if_patience_is_too_long(clf)
    task = callback_context(clf, 1 + bool(clf.refit))
    if task is not None:
        task.call_on_fit_task_begin(estimator=clf, **labelled.given)
    settings = [{"alpha": alpha} for alpha in alphas.tolist()]
    candidates = Candidates(
        template,
        settings,
        warm=clf.path == "warm",
        score=Scoring(scorers, to_scorers, Mapped(rows), y_rows, folds),
        progress=Progress(template, settings, len(folds), task, clf),
    )
    scored = labelled._replace(origin=origin_of(rows))
    on = sources_of(candidates, scored, dict(enumerate(folds)))
    outcomes = by_fold(fit_networks(candidates, on, clf.n_jobs), len(folds))
    report_failures(settings, outcomes)
    results, found = table(settings, outcomes)
    if found != names:  # of a callable that returns a dict
        metric = _metric(clf, found)
    layers = layer_names(outcomes)
    arrays = {"alphas_": alphas, **paths(outcomes, layers)}
    origin = labelled.origin
    attributes = {
        **labelled.info.attributes(),
        **{name: give_back_numbers(array, origin) for name, array in arrays.items()},
        "cv_results_": results,
        "layer_names_": layers,
        "n_splits_": len(folds),
        "scorer_": scorers,
        "multimetric_": bool(found),
    }
    if metric is not None or callable(clf.refit):
        attributes |= _best(clf, results, alphas, metric)
    if clf.refit:
        told = RefitProgress(task, clf, labelled.given, dict(attributes))
        attributes |= _refitted(clf, template, alphas, labelled, told)
    if task is not None:
        task.call_on_fit_task_end(
            estimator=clf,
            reconstruction_attributes=attributes if clf.refit else None,
            **labelled.given,
        )
    return attributes


def _refuse_ranks(clf, size):
    """Raise where several processes would search, each on its own, for the same."""
    if size > 1:
        raise RuntimeError(
            f"{type(clf).__name__} searches in one process, and {size} ranks of "
            "torchrun, or of a process group, came: each would do the same search. "
            "Search without torchrun, with n_jobs or on a cluster, and fit an "
            "L2CNNClassifier with the alpha that is found under torchrun. GridSearchCV "
            "shares each of its fits among the ranks."
        )


def router(clf, template):
    """Return which metadata the search itself, its splitter and its scorers want."""
    scorers = scorers_of(template, clf.scoring)
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


def _alphas(clf, template, labelled):
    """Return the alphas to try."""
    if isinstance(clf.alphas, Integral):
        return alpha_grid(clf.alphas, template, labelled)
    alphas = check_alphas(clf.alphas)
    if alphas.dtype == object and (clf.path == "warm" or clf.one_standard_error):
        name = "path='warm'" if clf.path == "warm" else "one_standard_error=True"
        raise ValueError(
            f"{name} goes by which alpha is the larger; of mappings none is. Give "
            "alphas as numbers."
        )
    return alphas


def _metadata(clf, scorers, given, weight, groups, params):
    """Return what the splitter is given, and what each scorer."""
    if not get_config()["enable_metadata_routing"]:
        return {"groups": groups}, weight_for(scorers, weight if given else None)
    given = {**(given or {}), **({} if groups is None else {"groups": groups})}
    routed = process_routing(clf, "fit", **given, **params)
    return routed.splitter["split"], routed_to(scorers, routed.scorer["score"])


def _best(clf, results, alphas, metric):
    """Return the attributes of the best alpha."""
    best = best_index(results, metric, clf.refit)
    if not callable(clf.refit):
        _warn_of_edge(alphas, rising_edge(results, metric, alphas, best))
    if clf.one_standard_error:
        best = within_one_standard_error(results, metric, alphas, best)
    params = results["params"][best]
    found = {"best_index_": best, "best_params_": params, "alpha_": params["alpha"]}
    if not callable(clf.refit):
        found["best_score_"] = float(results[f"mean_test_{metric}"][best])
    return found


def _warn_of_edge(alphas, edge):
    """Warn of a best alpha that may not be the best there is."""
    if edge is None:
        return
    best, largest = alphas[edge], alphas[edge] == max(alphas)
    least, most = (1, 100) if largest else (0.01, 1)
    warnings.warn(
        f"The best alpha, {best:g}, is the {'largest' if largest else 'smallest'} of "
        f"the {len(alphas)} that were tried, and scores still rise towards it: "
        f"{'larger' if largest else 'smaller'} ones may be better. Try "
        f"alphas=np.geomspace({best * least:.3g}, {best * most:.3g}, 5)"
        f"{'.' if largest else ', and 0, which is no penalty.'}",
        ConvergenceWarning,
        stacklevel=2,
    )


def _refitted(clf, template, alphas, labelled, told):
    """Return the attributes of a classifier of the best alpha, fitted to all images."""
    start = time.perf_counter()
    alpha = told.found["alpha_"]
    best = refit(template, alpha, alphas.tolist(), labelled, clf.path, told)
    own = {"best_estimator_": best, "refit_time_": time.perf_counter() - start}
    return {**fitted_attributes(best), **own}
