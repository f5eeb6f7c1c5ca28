"""Find an estimator inside pipelines, searches, FrozenEstimator and the like.

A wrapper is described by a function that returns the estimator directly inside, or None
for every other kind of estimator; `unwrap` applies such functions until it arrives.
"""

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._utils.sklearn_compat import BaseSearchCV


def unwrap(estimator, is_wanted, wrappers):
    """Go into an estimator until the one inside is wanted, or cannot be entered.

    Parameters
    ----------
    estimator : object
    is_wanted : callable
        Of an estimator. A FrozenEstimator is entered unasked: it passes on the
        attributes of the estimator inside, and would be taken for it.
    wrappers : sequence of callable
        Which kinds are entered: `FITTED`, `SEARCHES` or `FROZEN`.

    Returns
    -------
    steps : tuple of transformer
        The steps before the last of all pipelines on the way, in the order in which
        they are applied, without "passthrough".
    inner : object

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_l2cnn._utils.unwrapping import SEARCHES, unwrap
    >>> search = GridSearchCV(Ridge(), {"alpha": [1.0]})
    >>> unwrap(search, lambda estimator: False, SEARCHES)
    ((), Ridge())
    """
    steps = ()
    while isinstance(estimator, FrozenEstimator) or not is_wanted(estimator):
        found = (inner_of(estimator) for inner_of in wrappers)
        inner = next((inner for inner in found if inner is not None), None)
        if inner is None:
            break
        if isinstance(estimator, Pipeline):
            before = [step for _, step in estimator.steps[:-1]]
            steps += tuple(s for s in before if s not in (None, "passthrough"))
        estimator = inner
    return steps, estimator


def _frozen(estimator):
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else None


def _best(search):
    return getattr(search, "best_estimator_", None)


def _candidate(search):
    """Return the estimator whose parameters a search sets, fitted or not."""
    return search.estimator if isinstance(search, BaseSearchCV) else None


def _last_step(pipeline):
    if not isinstance(pipeline, Pipeline):
        return None
    check_is_fitted(pipeline)
    return pipeline.steps[-1][1]


def _fitted_copy(meta_estimator):
    return getattr(meta_estimator, "estimator_", None)


FROZEN = (_frozen,)
# Before fitting as well as afterwards.
SEARCHES = (_frozen, _best, _candidate)
# Whatever predicts by the estimator inside.
FITTED = (_frozen, _best, _last_step, _fitted_copy)
