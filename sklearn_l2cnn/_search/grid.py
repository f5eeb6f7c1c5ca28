"""Searching for the best of any parameters: what a search class asks of many fits."""

import time

from sklearn import get_config
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.pipeline import Pipeline

from sklearn_l2cnn._data.arrays import give_back_numbers
from sklearn_l2cnn._data.validation import check_targets
from sklearn_l2cnn._search.behind import Given, behind_steps, last_step, of_images
from sklearn_l2cnn._search.candidates import Candidates
from sklearn_l2cnn._search.fitting import by_fold, fit_networks
from sklearn_l2cnn._search.folds import folds_of, indexable_images, rows_of, take
from sklearn_l2cnn._search.halving import Halving
from sklearn_l2cnn._search.progress import Progress
from sklearn_l2cnn._search.results import epochs_taken, report_failures, table
from sklearn_l2cnn._search.scoring import Scoring
from sklearn_l2cnn._search.tasks import Mapped
from sklearn_l2cnn._training.ranks import ranks_of_process
from sklearn_l2cnn._utils.sklearn_compat import (
    begin_search,
    best_of_search,
    is_scikit_learns,
    score_of_search,
    scorers_by_name,
)
from sklearn_l2cnn._utils.surroundings import undisturbed

# What all networks of a search have in common: where, and how, they are trained.
_COMMON = "device", "threads", "checkpoint", "checkpoint_keep", "verbose"


def candidates_of(search):
    """Return the parameters of all candidates of a search, as dicts."""
    if search.n_candidates is None:
        return [*ParameterGrid(search.param_grid)]
    return [
        *ParameterSampler(
            search.param_grid, search.n_candidates, random_state=search.random_state
        )
    ]


def why_not_together(search, candidates, params):
    """Say why a search has to leave its fits to scikit-learn; None where it has not.

    Parameters
    ----------
    search : L2CNNSearchCV
        Whose estimator is a classifier of this package, or ends with one.
    candidates : list of dict
    params : dict
        Metadata of the fit.
    """
    last, prefix = last_step(search.estimator)
    names = {name for candidate in candidates for name in candidate}
    own = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    common = sorted(own & {*_COMMON})
    given = sorted(
        name for name in params if name not in (f"{prefix}sample_weight", "groups")
    )
    routed = prefix and params and get_config()["enable_metadata_routing"]
    watched = any(hasattr(each, "_skl_callbacks") for each in (search, last))
    reasons = {
        f"{', '.join(common)} is searched for": common,
        "steps of the pipeline are searched for": {"steps", prefix[:-2]} & names,
        f"each fit is given {', '.join(given)}": not prefix and given,
        "metadata are routed through a pipeline": routed,
        "callbacks of scikit-learn follow each fit": watched,
        "it runs on several ranks": ranks_of_process().size > 1,
        "halving keeps no checkpoints": search.halving and last.checkpoint,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def grid_search(search, settings, X, y, params):
    """Fit and score all candidates on all folds, and the best on all images.

    Parameters
    ----------
    search : L2CNNSearchCV
    settings : list of dict
        The candidates.
    X, y : array-like
    params : dict
        Metadata.

    Returns
    -------
    attributes : dict
        The fitted attributes by name.
    """
    rows = indexable_images(X)
    labels, _ = check_targets(search, y, None, rows)
    scorers, metric, routed = begin_search(search, rows, params)
    folds = folds_of(search.cv, rows, labels, routed.splitter.split)
    last, prefix = last_step(search.estimator)
    template = clone(last)
    template.set_params(verbose=template.verbose or search.verbose)
    candidates = Candidates(
        template,
        [_of_step(setting, prefix) for setting in settings],
        score=GridScoring(
            scorers,
            routed.scorer.score,
            Mapped(rows),
            give_back_numbers(labels, rows),
            folds,
            train=search.return_train_score,
            error_score=search.error_score,
        ),
        progress=Progress(template, settings, len(folds)),
        failures=Exception,  # as in GridSearchCV, where a network may raise anything
    )
    given = Given(rows, labels, folds, routed.estimator.fit)
    if prefix:
        found = behind_steps(search.estimator, settings, candidates, given)
    else:
        found = of_images(candidates, given)
    halving = _halving(search, candidates, found, len(folds))
    with undisturbed():
        fitted = fit_networks(
            candidates, found, search.n_jobs, search.pre_dispatch, halving
        )
    outcomes = by_fold(fitted, len(folds))
    report_failures(settings, outcomes, search.error_score)
    results, names = table(settings, outcomes, search.error_score)
    reached = None
    if halving is not None:
        reached = halving.reached
        results["iter"], results["n_resources"] = reached, epochs_taken(outcomes)
    attributes = {
        "cv_results_": results,
        "n_splits_": len(folds),
        "multimetric_": names is not None,
        "scorer_": scorers_by_name(scorers),
        **best_of_search(search, metric, names, results, reached),
    }
    if search.refit:
        attributes |= _refitted(search, attributes["best_params_"], X, y, given.params)
    return attributes


def _of_step(setting, prefix):
    """Return the parameters of a step, by its own names."""
    return {
        name.removeprefix(prefix): value
        for name, value in setting.items()
        if name.startswith(prefix)
    }


def _halving(search, candidates, found, n_folds):
    """Return who says which candidates end early, or None."""
    if search.halving is None:
        return None
    fewest = min((source.epochs for source in found.sources), default=1)
    metric = search.refit if isinstance(search.refit, str) else None
    n_candidates = len(candidates.settings)
    return Halving(search.halving, n_candidates, n_folds, fewest, metric)


class GridScoring(Scoring):
    """What is measured of networks, as scikit-learn's searches do it.

    Parameters
    ----------
    scorers : callable
    params : dict
        Further arguments of it.
    images, y, folds, train
        As for `Scoring`.
    error_score : "raise" or float
        The score of what a scorer fails at.
    """

    def __init__(self, scorers, params, images, y, folds, train, error_score):
        super().__init__(scorers, params, images, y, folds, train)
        self.error_score = error_score

    def score(self, classifier, source, part):
        """Return the score on a part of the fold; see `Scoring`."""
        rows, scored = self.folds[source.fold][part], source.scored
        estimator, X = classifier, None
        if scored is not None and is_scikit_learns(self.scorers):
            X = scored.parts[part].array
        elif scored is not None:  # another scorer may ask for more than predictions
            last = scored.prefix.removesuffix("__"), classifier
            estimator = Pipeline([*scored.steps.steps, last])
        X = take(self.images.array, rows) if X is None else X
        params = rows_of(self.params, rows, len(self.y))
        y = take(self.y, rows)
        return score_of_search(self.scorers, estimator, X, y, params, self.error_score)


def _refitted(search, params, X, y, given):
    """Return the attributes of the best candidate, fitted to all images."""
    # parameters may be estimators
    best = clone(search.estimator).set_params(**clone(params, safe=False))
    start = time.perf_counter()
    best.fit(X, y, **given)
    found = {"best_estimator_": best, "refit_time_": time.perf_counter() - start}
    if hasattr(best, "feature_names_in_"):
        found["feature_names_in_"] = best.feature_names_in_
    return found
