"""Pictures of fitted networks: what they learnt, and what the penalty did."""

from sklearn_l2cnn.inspection._alpha_path import AlphaPathDisplay
from sklearn_l2cnn.inspection._embedding import EmbeddingDisplay
from sklearn_l2cnn.inspection._shrinkage import ShrinkageDisplay
from sklearn_l2cnn.inspection._training_curve import TrainingCurveDisplay

__all__ = [
    "AlphaPathDisplay",
    "EmbeddingDisplay",
    "ShrinkageDisplay",
    "TrainingCurveDisplay",
]
