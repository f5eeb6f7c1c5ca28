"""The networks of a search: stacked, and one by one what cannot be."""

import logging

from sklearn_l2cnn._estimator.network import epochs_of
from sklearn_l2cnn._search.one_by_one import fit_one_by_one
from sklearn_l2cnn._search.stacks import fit_stacked

_logger = logging.getLogger("sklearn_l2cnn")


def fit_networks(candidates, found, n_jobs=None, pre_dispatch="2*n_jobs"):
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

    Returns
    -------
    outcomes : dict
        By fold and position of the candidate: the fitted classifier, its score, or the
        ValueError that the fit ended with.
    """
    outcomes, sources, progress = dict(found.failed), found.sources, candidates.progress
    trained = (epochs_of(candidates.template, own.data.train) for own in sources)
    progress.begin(max(trained, default=0))
    if sources:
        own, left, reasons = fit_stacked(candidates, sources)
        outcomes |= own
        if left:
            _logger.info("Networks are trained one by one: %s.", "; ".join(reasons))
            outcomes |= fit_one_by_one(candidates, left, n_jobs, pre_dispatch)
    progress.end()
    return outcomes


def by_fold(outcomes, n_folds):
    """Return outcomes as lists: ``outcomes[fold][candidate]``."""
    n_candidates = len(outcomes) // n_folds
    return [[outcomes[f, k] for k in range(n_candidates)] for f in range(n_folds)]
