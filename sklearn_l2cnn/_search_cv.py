"""L2CNNSearchCV: GridSearchCV whose networks are trained together."""

import logging
from numbers import Integral, Real

import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._estimator.parameters import SEARCH_CONSTRAINTS
from sklearn_l2cnn._search.behind import last_step
from sklearn_l2cnn._search.grid import candidates_of, grid_search, why_not_together
from sklearn_l2cnn._utils.estimators import (
    EstimatorMixin,
    fitted_attributes,
    set_attributes,
)
from sklearn_l2cnn._utils.sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    validated_fit,
)

_logger = logging.getLogger("sklearn_l2cnn")


class L2CNNSearchCV(EstimatorMixin, GridSearchCV):
    r"""Search for the best parameters, with networks that are trained together.

    It is :class:`~sklearn.model_selection.GridSearchCV` for
    :class:`L2CNNClassifier`: the same arguments, the same attributes and, up to
    rounding, the same numbers, several times sooner. Candidates that differ in numbers
    alone, or in their random numbers, are trained as one network on every fold.

    Parameters
    ----------
    estimator : estimator
        An :class:`L2CNNClassifier`, or a pipeline that ends with one; its other steps
        are then fitted once for each fold. With any other estimator this is
        :class:`~sklearn.model_selection.GridSearchCV`.

    param_grid : dict or list of dict
        Lists of values by the names of parameters; all combinations are tried. With
        `n_candidates`, values may be distributions, objects with a method ``rvs``.

    n_candidates : int, default=None
        How many combinations are drawn at random, as
        :class:`~sklearn.model_selection.RandomizedSearchCV` does it; None is all.

    halving : int, default=None
        Ends candidates early: after :math:`e h^{-r}, \ldots, e h^{-1}` of their e
        epochs the better ones go on, one in h, by their mean scores on the folds so
        far. r is the largest such that h to the r is at most the number of candidates,
        and of epochs. The best is one of those that went on to the end. None trains all
        of them to the end.

    scoring : str, callable, list, tuple or dict, default=None
        What is scored. None is the accuracy.

    n_jobs : int, default=None
        Processes for networks that have to be trained one by one. Those that are
        trained together take torch's threads.

    refit : bool, str or callable, default=True
        Whether the best candidate is fitted to all images. A str names the metric that
        decides, of several; a callable is given `cv_results_` and returns
        `best_index_`.

    cv : int, cross-validation generator or iterable, default=None
        The folds: None is 5.

    verbose : int, default=0
        Whether to tell of every epoch.

    pre_dispatch : int or str, default="2*n_jobs"
        How many trainings are handed out to the processes of `n_jobs` at a time.

    error_score : "raise" or float, default=np.nan
        The score of a training that fails.

    return_train_score : bool, default=False
        Whether networks are scored on the images that they were trained on, too.

    random_state : int, RandomState instance or None, default=None
        Draws the combinations of `n_candidates`.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As of :class:`~sklearn.model_selection.GridSearchCV`. The time of a fit is that
        of its epochs, its share where several are trained together. With `halving`
        there are ``"iter"``, how often a candidate went on, and ``"n_resources"``, how
        many epochs it took.

    best_estimator_ : estimator
        The best candidate, fitted to all images.

    best_score_ : float
        Its mean score on the folds.

    best_params_ : dict
        Its parameters.

    best_index_ : int
        Its position in `cv_results_`.

    scorer_ : callable or dict of callables
        What scored.

    n_splits_ : int
        Number of folds.

    refit_time_ : float
        Seconds that the refit took.

    multimetric_ : bool
        Whether there are several metrics.

    classes_ : ndarray of shape (n_classes,)
        The labels.

    n_features_in_ : int
        Values of an image.

    feature_names_in_ : ndarray of str
        Names of columns, where X is a data frame.

    See Also
    --------
    L2CNNClassifierCV : A search over `alpha` alone, which is a classifier by itself.
    sklearn.model_selection.GridSearchCV : What this is for other estimators.

    Notes
    -----
    Trained together are networks of torch's own layers in a sequence that differ in
    `alpha`, `lr`, `momentum`, `max_norm`, `gradient_clip`, `label_smoothing`,
    `l1_ratio` and `random_state`: as one up to some size, and as several of it beyond.
    Candidates that differ in more than these form groups. Networks that cannot be
    stacked are trained one by one; the logger ``"sklearn_l2cnn"`` says why, at level
    INFO.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier, L2CNNSearchCV
    >>> digits = load_digits()
    >>> X, y = digits.images[:200], digits.target[:200]
    >>> clf = L2CNNClassifier(max_epochs=5, random_state=0)
    >>> search = L2CNNSearchCV(clf, {"alpha": [1e-4, 1e-2], "lr": [1e-5, 1e-2]}, cv=2)
    >>> search.fit(X, y).best_params_["lr"]
    0.01
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"])],
        "param_grid": [dict, list],
        "n_candidates": [Interval(Integral, 1, None, closed="left"), None],
        "halving": [Interval(Integral, 2, None, closed="left"), None],
        **{n: SEARCH_CONSTRAINTS[n] for n in ("scoring", "n_jobs", "refit", "cv")},
        "verbose": ["verbose"],
        "pre_dispatch": [Integral, str],
        "error_score": [StrOptions({"raise"}), Real],
        "return_train_score": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        n_candidates=None,
        halving=None,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        error_score=np.nan,
        return_train_score=False,
        random_state=None,
    ):
        self.estimator = estimator
        self.param_grid = param_grid
        self.n_candidates = n_candidates
        self.halving = halving
        self.scoring = scoring
        self.n_jobs = n_jobs
        self.refit = refit
        self.cv = cv
        self.verbose = verbose
        self.pre_dispatch = pre_dispatch
        self.error_score = error_score
        self.return_train_score = return_train_score
        self.random_state = random_state

    @validated_fit(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **params):
        """Fit and score all candidates on all folds, and the best on all images.

        Parameters
        ----------
        X : array-like
            Images or rows, as for :meth:`L2CNNClassifier.fit`, or what the first step
            of a pipeline takes.
        y : array-like of shape (n,)
            Labels of any type.
        **params : dict
            Metadata: arguments of the estimator's ``fit``, such as `sample_weight`,
            and `groups` for the splitter.

        Returns
        -------
        self : object
        """
        settings = candidates_of(self)
        reason = _why_not_ours(self.estimator)
        reason = reason or why_not_together(self, settings, params)
        if reason is not None:
            if self.halving is not None:
                raise ValueError(
                    f"halving={self.halving} ends candidates early whose networks are "
                    f"trained together, and here they are not: {reason}. Leave it out, "
                    "or see HalvingGridSearchCV of scikit-learn."
                )
            _logger.info("The search is scikit-learn's: %s.", reason)
            return super().fit(X, y, **params)
        found = grid_search(self, settings, X, y, params)
        for name in fitted_attributes(self):
            delattr(self, name)
        return set_attributes(self, found)

    def _run_search(self, evaluate_candidates):
        """Hand the candidates to scikit-learn's own search."""
        evaluate_candidates(candidates_of(self))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        of_estimator = get_tags(self.estimator).input_tags
        tags.input_tags.three_d_array = of_estimator.three_d_array
        return tags


def _why_not_ours(estimator):
    """Say why networks of a search cannot be trained together, by its estimator."""
    if isinstance(estimator, Pipeline) and type(estimator) is not Pipeline:
        return f"a pipeline of class {type(estimator).__name__} may do anything"
    last, _ = last_step(estimator)
    if isinstance(last, L2CNNClassifier) and type(last).fit is L2CNNClassifier.fit:
        return None
    return f"{type(last).__name__} is no L2CNNClassifier"
