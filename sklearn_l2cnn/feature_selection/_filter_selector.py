"""FilterSelector: a classifier that prunes its network after training."""

from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._estimator.prediction import PredictionMixin
from sklearn_l2cnn._utils.estimators import (
    EstimatorMixin,
    features_of,
    set_attributes,
)
from sklearn_l2cnn._utils.onnx_hooks import OnnxHooksMixin
from sklearn_l2cnn._utils.sklearn_compat import (
    HasMethods,
    check_same_namespace,
    fit_context,
)
from sklearn_l2cnn.feature_selection._prune import CONSTRAINTS, check_classifier, prune


class FilterSelector(OnnxHooksMixin, EstimatorMixin, ClassifierMixin, BaseEstimator):
    """Classifier that selects the filters and units of its network.

    :meth:`fit` trains an :class:`~sklearn_l2cnn.L2CNNClassifier`, and :func:`prune`
    removes the filters and units that have no effect, or little. The penalty of the
    classifier, ``estimator__alpha`` in a search, or `threshold` and `fraction`, decide
    how many are kept.

    Parameters
    ----------
    estimator : L2CNNClassifier or FrozenEstimator of one, default=None
        The classifier of which a clone is trained; None is
        ``L2CNNClassifier(alpha=3e-4, penalty="group")``. A fitted one in a
        :class:`~sklearn.frozen.FrozenEstimator` is pruned without training.

    threshold : float, default=0.0
        Largest norm of a filter or unit that is removed. With 0, predictions do not
        change, except for rounding.

    fraction : float, default=0.0
        Smallest fraction of each layer that is removed, in order of the norms, rounded
        down.

    layers : str or list of str, default=None
        Patterns for the names of the layers that lose filters; None is all but the
        last.

    random_state : int, RandomState instance or None, default=None
        Replaces the `random_state` of the estimator that is trained; None keeps it.

    Attributes
    ----------
    estimator_ : L2CNNClassifier
        The classifier with the smaller network, ``estimator_.module_``.

    support_ : dict of ndarray of bool
        Mask of the kept filters or units of each layer that could lose some, by name.

    n_filters_ : dict of int
        Number of kept filters or units of these layers.

    classes_ : ndarray of shape (n_classes,)
        The class labels.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X is a data frame whose names are all strings.

    See Also
    --------
    prune : The same for a fitted classifier.

    Notes
    -----
    This is a classifier, not a transformer: filters are part of a network, and without
    some of them it is still a network.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.feature_selection import FilterSelector
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = L2CNNClassifier(architecture="conv_pool", max_epochs=2)
    >>> selector = FilterSelector(
    ...     clf, fraction=0.25, layers=["conv2", "dense1"], random_state=0)
    >>> selector.fit(X[:500], y[:500]).n_filters_
    {'conv2': 48, 'dense1': 96}
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        **CONSTRAINTS,
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        threshold=0.0,
        fraction=0.0,
        layers=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.threshold = threshold
        self.fraction = fraction
        self.layers = layers
        self.random_state = random_state

    # the estimator validates its own parameters
    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
    ):
        """Train the classifier and prune it.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels), \
                (n, channels, height, width) or (n, n_features)
            Images, or rows that are images flattened.
        y : array-like of shape (n,)
            Labels of any type.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images; None is 1 for each.
        X_val, y_val, sample_weight_val : array-like, default=None
            Validation data of the training.

        Returns
        -------
        self : object
        """
        if self.estimator is None:
            estimator = L2CNNClassifier(alpha=3e-4, penalty="group")
        else:
            estimator = clone(self.estimator)
        check_classifier(estimator)
        if not isinstance(estimator, FrozenEstimator):
            if self.random_state is not None:
                estimator.set_params(random_state=self.random_state)
            validation = {"X_val": X_val, "y_val": y_val}
            validation["sample_weight_val"] = sample_weight_val
            estimator.fit(X, y, sample_weight, **validation)
        options = {name: getattr(self, name) for name in CONSTRAINTS}
        self.estimator_, support = prune(estimator, **options, return_support=True)
        self.support_ = support
        self.n_filters_ = {name: int(kept.sum()) for name, kept in support.items()}
        self._origin_ = self.estimator_.channel_mean_
        self._summary_ = self.estimator_._summary_
        self.classes_ = self.estimator_.classes_
        return set_attributes(self, features_of(self.estimator_))

    predict = PredictionMixin.predict
    predict_proba = PredictionMixin.predict_proba
    predict_log_proba = PredictionMixin.predict_log_proba
    decision_function = PredictionMixin.decision_function

    def _of_logits(self, X, method, function):
        check_is_fitted(self)
        # here, so that the error names this class
        check_same_namespace(X, self, attribute="_origin_", method=method)
        return self.estimator_._of_logits(X, method, function)

    def _as_module(self, device="cpu"):
        return self.estimator_._as_module(device)

    def _graph_source(self):
        check_is_fitted(self)
        return self.estimator_._graph_source()

    def _as_X(self, images, ndim):
        return self.estimator_._as_X(images, ndim)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.array_api_support = True
        return tags
