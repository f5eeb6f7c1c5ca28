"""The methods of an estimator that searches, and predicts where it refits."""

from sklearn import get_config
from sklearn.utils.metadata_routing import UNUSED, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._estimator.prediction import PredictionMixin
from sklearn_l2cnn._search._search import router, search
from sklearn_l2cnn._search.results import routed_to
from sklearn_l2cnn._utils.estimators import all_or_nothing
from sklearn_l2cnn._utils.sklearn_compat import fit_context


def _refits(clf):
    if clf.refit:
        return True
    raise AttributeError(
        f"This {type(clf).__name__} has refit=False: it searches, and holds no network "
        "to predict with. Set refit=True, or fit an L2CNNClassifier with the "
        "`best_params_`."
    )


class SearchMixin(PredictionMixin):
    """fit that searches, prediction by the network that was refitted."""

    # a splitter's, never the search's own
    __metadata_request__fit = {"groups": UNUSED}

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, groups=None, **params):
        """Search for the best alpha, and fit a network with it to all images.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels), \
                (n, channels, height, width) or (n, n_features)
            Images, or rows that are images flattened.
        y : array-like of shape (n,)
            Labels of any type.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images, in training and, where the scorers take them, in the
            scores; None is 1 for each.
        groups : array-like of shape (n,), default=None
            Groups of the images, for a splitter such as
            :class:`~sklearn.model_selection.GroupKFold`.
        **params : dict
            Other metadata for the splitter and the scorers, with
            ``enable_metadata_routing=True``.

        Returns
        -------
        self : object
        """
        _refuse_without_routing(self, "fit", params)
        with all_or_nothing(self):
            return search(self, X, y, sample_weight, groups, params)

    predict = available_if(_refits)(PredictionMixin.predict)
    predict_proba = available_if(_refits)(PredictionMixin.predict_proba)
    predict_log_proba = available_if(_refits)(PredictionMixin.predict_log_proba)
    decision_function = available_if(_refits)(PredictionMixin.decision_function)

    @available_if(_refits)
    def score(self, X, y, sample_weight=None, **params):
        """Score the refitted network on images, by the metric that chose it.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.
        y : array-like of shape (n,)
            Labels.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images.
        **params : dict
            Other metadata for the scorer, with ``enable_metadata_routing=True``.

        Returns
        -------
        score : float
            Accuracy, unless `scoring` says otherwise.
        """
        check_is_fitted(self)
        _refuse_without_routing(self, "score", params)
        given = dict(params)
        if sample_weight is not None:
            given["sample_weight"] = sample_weight
        scorers = self.scorer_
        if get_config()["enable_metadata_routing"]:
            given = process_routing(self, "score", **given).scorer["score"]
            given = routed_to(scorers, given)
        elif isinstance(scorers, dict):
            given = dict.fromkeys(scorers, given)
        if not self.multimetric_:
            return scorers(self.best_estimator_, X, y, **given)
        metric = _deciding_metric(self)
        if isinstance(scorers, dict):
            return scorers[metric](self.best_estimator_, X, y, **given[metric])
        return scorers(self.best_estimator_, X, y, **given)[metric]

    def get_metadata_routing(self):
        """Say which metadata is wanted, by the search, its splitter and its scorers.

        Returns
        -------
        routing : MetadataRouter
        """
        return router(self)


def _refuse_without_routing(clf, method, params):
    if params and not get_config()["enable_metadata_routing"]:
        raise ValueError(
            f"{type(clf).__name__}.{method} was given {sorted(params)}: other metadata "
            "than sample_weight and groups needs "
            "sklearn.set_config(enable_metadata_routing=True)."
        )


def _deciding_metric(clf):
    if isinstance(clf.refit, str):
        return clf.refit
    raise ValueError(
        f"There are several metrics, and refit={clf.refit!r} names none of them: score "
        "does not know which is meant. Call one of `scorer_` with `best_estimator_`."
    )
