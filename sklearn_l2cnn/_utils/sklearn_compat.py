"""Whatever this package needs of scikit-learn that scikit-learn does not promise.

Private functions, names that only newer releases have, and attributes with an
underscore: a release that moves one of them is mended here and nowhere else. Tried with
scikit-learn 1.6, 1.7, 1.8 and 1.9.
"""

import functools
import inspect
import warnings
from types import SimpleNamespace

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.base import _clone_parametrized as clone_parametrized
from sklearn.base import _fit_context as validated_fit
from sklearn.metrics._scorer import (
    _BaseScorer,
    _MultimetricScorer,
    _PassthroughScorer,
)
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import _score
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._array_api import get_namespace_and_device
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    HasMethods,
    Options,
    StrOptions,
    validate_params,
)
from sklearn.utils._param_validation import Interval as _Interval
from sklearn.utils._set_output import (
    _wrap_data_with_container as wrap_data_with_container,
)
from sklearn.utils.metadata_routing import _routing_enabled as routing_enabled
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_method_params as check_method_params
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _num_features as num_features
from sklearn.utils.validation import _num_samples as num_samples

from sklearn_l2cnn._utils.surroundings import undisturbed

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:
        """Stands in where scikit-learn has no callbacks: no ``set_callbacks``."""


try:
    from sklearn.utils._array_api import check_same_namespace
except ImportError:  # before scikit-learn 1.8

    def check_same_namespace(X, estimator, *, attribute, method):
        """Accept any array: these releases have no such rule."""


try:
    from sklearn.utils._array_api import move_to
except ImportError:
    move_to = None  # before scikit-learn 1.8


class Interval(_Interval):
    """An interval of numbers, of which True and False are none."""

    def is_satisfied_by(self, val):
        """Say whether a value is a number of the interval."""
        return not isinstance(val, bool) and super().is_satisfied_by(val)


def fit_context(*, prefer_skip_nested_validation):
    """Let a ``fit`` validate parameters as scikit-learn does, and be `undisturbed`."""
    validated = validated_fit(
        prefer_skip_nested_validation=prefer_skip_nested_validation
    )
    return lambda fit: undisturbed()(validated(fit))


def moved_to_namespace_of(like, array, on_host):
    """Return an array as one of the namespace, and on the device, of another.

    Parameters
    ----------
    like, array : array
    on_host : callable
        Brings an array to numpy, by way of which older releases go.
    """
    namespace, _, device = get_namespace_and_device(like)
    if move_to is None:
        return namespace.asarray(on_host(array), device=device)
    try:
        return move_to(array, xp=namespace, device=device)
    except RuntimeError:  # of numpy, which cannot see the memory of a device
        return namespace.asarray(on_host(array), device=device)


def scorers_by_name(scorer):
    """Return the scorers in a scorer of several metrics as a dict, one as it is."""
    return getattr(scorer, "_scorers", scorer)


def takes_sample_weight(scorer):
    """Say whether a scorer takes sample weights."""
    if hasattr(scorer, "_accept_sample_weight"):
        return scorer._accept_sample_weight()
    if hasattr(scorer, "_estimator"):  # the score of an estimator, before 1.9
        scorer = scorer._estimator.score
    function = getattr(scorer, "_score_func", scorer)
    return "sample_weight" in inspect.signature(function).parameters


def is_scikit_learns(scorer):
    """Say whether all that a scorer asks of an estimator is what it predicts."""
    if isinstance(scorer, _MultimetricScorer):
        return all(map(is_scikit_learns, scorer._scorers.values()))
    return isinstance(scorer, _BaseScorer | _PassthroughScorer)


def begin_search(search, X, params):
    """Return what a search of scikit-learn's begins with.

    Parameters
    ----------
    search : BaseSearchCV
    X : array-like
    params : dict
        Metadata of the fit.

    Returns
    -------
    scorers : callable
    metric : str
        The one that decides.
    routed : Bunch
        Metadata by what they are for.
    """
    params = check_method_params(X, params=params)
    return *search._get_scorers(), search._get_routed_params_for_fit(params)


def score_of_search(scorers, estimator, X, y, params, error_score):
    """Return the score, or a dict of scores, that a search of scikit-learn's gives."""
    return _score(estimator, X, y, scorers, params, error_score)


def best_of_search(search, metric, names, results, reached=None):
    """Return which candidate a search of scikit-learn's takes, as attributes by name.

    Parameters
    ----------
    search : BaseSearchCV
    metric : str
    names : list of str or None
        Of several metrics.
    results : dict
    reached : ndarray of shape (n_candidates,), default=None
        How far each candidate came: the best is one of those that came furthest.
    """
    if callable(search.scoring) and names is not None:
        search._check_refit_for_multimetric(names)
        metric = search.refit
    if not search.refit and names is not None:
        return {}
    if reached is None or callable(search.refit):
        best = search._select_best_index(search.refit, metric, results)
    else:
        furthest = np.flatnonzero(reached == reached.max())
        best = furthest[results[f"rank_test_{metric}"][furthest].argmin()]
    found = {"best_index_": best, "best_params_": results["params"][best]}
    if not callable(search.refit):
        found["best_score_"] = results[f"mean_test_{metric}"][best]
    return found


def callback_context(estimator, max_subtasks):
    """Begin a fit for scikit-learn's callbacks; None where an estimator has none."""
    if not hasattr(estimator, "_skl_callbacks"):
        return None
    return estimator._init_callback_context(max_subtasks=max_subtasks)


def search_results(params, n_splits, rows, return_train_score=False):
    """Return `cv_results_` as scikit-learn's own searches make it.

    Parameters
    ----------
    params : list of dict
        Of every candidate.
    n_splits : int
    rows : list of dict
        ``"fit_time"``, ``"score_time"`` and ``"test_scores"`` of every candidate in
        every split, the splits of a candidate one after the other.
    return_train_score : bool, default=False
        Whether there are ``"train_scores"`` too.
    """
    search = SimpleNamespace(return_train_score=return_train_score)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of scores that are nan
        return BaseSearchCV._format_results(search, params, n_splits, rows)


def calculate_threshold(estimator, importances, threshold):
    """Return the number that a threshold of `SelectFromModel` stands for."""
    # loads the ensembles, which importing this package does not
    from sklearn.feature_selection._from_model import _calculate_threshold

    return _calculate_threshold(estimator, importances, threshold)


class RowsInFramesMixin(TransformerMixin, auto_wrap_output_keys=None):
    """Mixin for transformers of which `set_output` makes frames of rows alone.

    scikit-learn makes a frame of whatever a transformer returns, and fails at images:
    here they stay arrays.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(auto_wrap_output_keys=None, **kwargs)
        cls._sklearn_auto_wrap_output_keys = {"transform"}  # that there is set_output
        if "transform" in vars(cls):
            cls.transform = _with_rows_in_frames(cls.transform)

    def fit_transform(self, X, y=None, **fit_params):
        """Fit to X, and transform it.

        Parameters
        ----------
        X : array-like
            Images or rows, as for `fit`.
        y : array-like, default=None
            Labels, where `fit` takes them.
        **fit_params : dict
            Further arguments of `fit`.

        Returns
        -------
        X : ndarray, or data frame of rows
            What `transform` returns.
        """
        return self.fit(X, y, **fit_params).transform(X)


def _with_rows_in_frames(transform):
    @functools.wraps(transform)
    def wrapped(self, X):
        found = transform(self, X)
        if len(found.shape) != 2:
            return found
        return wrap_data_with_container("transform", found, X, self)

    return wrapped
