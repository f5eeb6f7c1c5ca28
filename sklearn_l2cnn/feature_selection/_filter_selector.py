"""FilterSelector: a network trained, pruned, and used, as one classifier."""

from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._data.validation import check_namespace
from sklearn_l2cnn._utils.estimators import (
    DocumentationMixin,
    all_or_nothing,
    features_of,
    set_attributes,
)
from sklearn_l2cnn._utils.sklearn_compat import HasMethods, fit_context
from sklearn_l2cnn.feature_selection._prune import CONSTRAINTS, check_classifier, prune


class FilterSelector(DocumentationMixin, ClassifierMixin, BaseEstimator):
    """Classifier that selects the filters and units of its network.

    An :class:`~sklearn_l2cnn.L2CNNClassifier` is trained, :func:`prune` takes the
    filters and units out of it that do nothing, or little, and what is left predicts.
    How many are left is decided by the penalty of the classifier, ``estimator__alpha``
    in a search, or by `threshold` and `fraction`.

    Parameters
    ----------
    estimator : L2CNNClassifier or FrozenEstimator of one, default=None
        The classifier that is trained, a copy of it; None is
        ``L2CNNClassifier(alpha=3e-4, penalty="group")``. One in a
        :class:`~sklearn.frozen.FrozenEstimator` is pruned as it is, without training.

    threshold : float, default=0.0
        Largest norm of a filter or unit that goes. At 0 nothing changes in what is
        predicted, but for rounding.

    fraction : float, default=0.0
        What part of every layer goes at least, the smallest norms first, rounded down.

    layers : str or list of str, default=None
        Patterns for the names of the layers that lose filters; None is all but the
        last.

    random_state : int, RandomState instance or None, default=None
        The `random_state` of the classifier that is trained; None leaves it the one
        that it has.

    Attributes
    ----------
    estimator_ : L2CNNClassifier
        The classifier with the smaller network, ``estimator_.module_``.

    support_ : dict of ndarray of bool
        For every layer that could lose filters or units, by name, which are left.

    n_filters_ : dict of int
        How many that are.

    classes_ : ndarray of shape (n_classes,)
        The labels.

    n_features_in_ : int
        Values in an image.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    prune : The same for a classifier that is trained already.

    Notes
    -----
    This is a classifier and no transformer: filters can be selected in a network
    alone, and what remains of one is a network.

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

    # the estimator is one of ours, which looks at its own parameters
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
            Images to watch the training on.

        Returns
        -------
        self : object
        """
        estimator = self._own()
        check_classifier(estimator)
        if not isinstance(estimator, FrozenEstimator):
            if self.random_state is not None:
                estimator.set_params(random_state=self.random_state)
            estimator.fit(
                X,
                y,
                sample_weight,
                X_val=X_val,
                y_val=y_val,
                sample_weight_val=sample_weight_val,
            )
        with all_or_nothing(self):
            self.estimator_, self.support_ = prune(
                estimator,
                threshold=self.threshold,
                fraction=self.fraction,
                layers=self.layers,
                return_support=True,
            )
            self.n_filters_ = {
                name: int(left.sum()) for name, left in self.support_.items()
            }
            self._origin_ = self.estimator_.channel_mean_
            self.classes_ = self.estimator_.classes_
            set_attributes(self, features_of(self.estimator_))
        return self

    def predict(self, X):
        """Predict the label of every image.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        y : ndarray of shape (n,)
        """
        return self._fitted(X, "predict").predict(X)

    def predict_proba(self, X):
        """Predict the probability of every class.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            The columns as in `classes_`.
        """
        return self._fitted(X, "predict_proba").predict_proba(X)

    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of every class.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes)
        """
        return self._fitted(X, "predict_log_proba").predict_log_proba(X)

    def decision_function(self, X):
        """Return the logits of the network.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        scores : ndarray of shape (n,) or (n, n_classes)
            For two classes their difference: positive where the second is predicted.
        """
        return self._fitted(X, "decision_function").decision_function(X)

    def _fitted(self, X, method):
        check_is_fitted(self)
        check_namespace(
            self, X, "_origin_", method
        )  # so that a message names this class
        return self.estimator_

    def _own(self):
        """Return a copy of the estimator that can be trained."""
        if self.estimator is None:
            return L2CNNClassifier(alpha=3e-4, penalty="group")
        return clone(self.estimator)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._own())
        tags.input_tags = inner.input_tags
        tags.array_api_support = inner.array_api_support
        return tags
