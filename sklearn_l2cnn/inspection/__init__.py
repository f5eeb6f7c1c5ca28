"""Displays of a network and of the effect of the penalty, and saliency maps."""

from sklearn_l2cnn.inspection._alpha_path import AlphaPathDisplay
from sklearn_l2cnn.inspection._effective_rate import EffectiveRateDisplay
from sklearn_l2cnn.inspection._embedding import EmbeddingDisplay
from sklearn_l2cnn.inspection._layer_displays import ActivationDisplay, FilterDisplay
from sklearn_l2cnn.inspection._learning_rate import LearningRateDisplay
from sklearn_l2cnn.inspection._maps import saliency
from sklearn_l2cnn.inspection._mistakes import MistakesDisplay
from sklearn_l2cnn.inspection._saliency_display import SaliencyDisplay
from sklearn_l2cnn.inspection._shrinkage import ShrinkageDisplay
from sklearn_l2cnn.inspection._training_curve import TrainingCurveDisplay

__all__ = [
    "ActivationDisplay",
    "AlphaPathDisplay",
    "EffectiveRateDisplay",
    "EmbeddingDisplay",
    "FilterDisplay",
    "LearningRateDisplay",
    "MistakesDisplay",
    "SaliencyDisplay",
    "ShrinkageDisplay",
    "TrainingCurveDisplay",
    "saliency",
]
