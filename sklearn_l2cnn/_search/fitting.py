"""The networks of a search: stacked, and one by one what cannot be."""

import logging
import warnings

from sklearn.exceptions import EfficiencyWarning

from sklearn_l2cnn._search.one_by_one import fit_one_by_one
from sklearn_l2cnn._search.stacks import fit_stacked

_logger = logging.getLogger("sklearn_l2cnn")


def fit_networks(candidates, found, n_jobs=None, pre_dispatch="2*n_jobs", halving=None):
    """Fit the classifiers of a search to the training rows of every fold.

    Parameters
    ----------
    candidates : Candidates
    found : Found
        What they are trained on.
    n_jobs : int, default=None
        Processes for networks that cannot be stacked.
    pre_dispatch : int or str, default="2*n_jobs"
        As joblib has it.
    halving : Halving, default=None
        Who says which candidates end early, of those that are stacked.

    Returns
    -------
    outcomes : dict
        By fold and position of the candidate: the fitted classifier, its score, or the
        error that the fit ended with.
    """
    outcomes, sources, progress = dict(found.failed), found.sources, candidates.progress
    progress.begin(max((source.epochs for source in sources), default=0))
    if sources:
        own, left, reasons = fit_stacked(candidates, sources, halving)
        outcomes |= own
        if left:
            why = "; ".join(reasons)
            _logger.info("Networks are trained one by one: %s.", why)
            if halving is not None:
                _take_to_the_end(halving, left, why)
            outcomes |= fit_one_by_one(candidates, left, n_jobs, pre_dispatch)
    progress.end()
    return outcomes


def _take_to_the_end(halving, sources, why):
    """Warn that candidates are not halved that are trained one by one."""
    positions = {k for source in sources for k in source.positions}
    for k in positions:
        halving.let_through(k)
    warnings.warn(
        f"{len(positions)} candidates are trained to the end in spite of "
        f"halving={halving.factor}, since their networks are trained one by one: {why}",
        EfficiencyWarning,
        stacklevel=4,
    )


def by_fold(outcomes, n_folds):
    """Return outcomes as lists: ``outcomes[fold][candidate]``."""
    n_candidates = len(outcomes) // n_folds
    return [[outcomes[f, k] for k in range(n_candidates)] for f in range(n_folds)]
