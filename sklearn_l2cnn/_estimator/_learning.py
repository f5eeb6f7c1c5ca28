"""The methods that learn, of estimators that hold a net."""

from sklearn_l2cnn._estimator.fitting import fit, partial_fit
from sklearn_l2cnn._utils.estimators import all_or_nothing
from sklearn_l2cnn._utils.sklearn_compat import fit_context


class LearningMixin:
    """fit and partial_fit, of which nothing is left behind where they fail."""

    @fit_context(prefer_skip_nested_validation=True)
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
        """Fit the network to images and their labels.

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
            Images to watch the training on, instead of a held-out part of X: with
            `early_stopping` they end it, without they are only scored.

        Returns
        -------
        self : L2CNNClassifier
        """
        with all_or_nothing(self):
            return fit(self, X, y, sample_weight, (X_val, y_val, sample_weight_val))

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Go over some images once, going on from where the last call ended.

        The statistics that pixels are standardised with, and the totals of a balanced
        `class_weight`, are those of all images seen so far. `early_stopping` and
        `max_epochs` play no part.

        Parameters
        ----------
        X : array-like
            Images or rows, as for :meth:`fit`.
        y : array-like of shape (n,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images.

        Returns
        -------
        self : L2CNNClassifier
        """
        with all_or_nothing(self):
            return partial_fit(self, X, y, classes, sample_weight)
