"""Features of a network for any other estimator."""

from sklearn_l2cnn.feature_extraction._features import CNNFeatures

__all__ = ["CNNFeatures"]
