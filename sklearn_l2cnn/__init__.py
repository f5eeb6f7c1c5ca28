"""A convolutional image classifier that is an ordinary scikit-learn estimator."""

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._classifier_cv import L2CNNClassifierCV
from sklearn_l2cnn._search_cv import L2CNNSearchCV

__version__ = "0.1.0.dev0"
__all__ = ["L2CNNClassifier", "L2CNNClassifierCV", "L2CNNSearchCV"]
