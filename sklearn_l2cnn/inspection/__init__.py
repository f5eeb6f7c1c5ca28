"""Pictures of what a network learnt, and the arithmetic behind them."""

from sklearn_l2cnn.inspection._layer_displays import ActivationDisplay, FilterDisplay
from sklearn_l2cnn.inspection._maps import saliency
from sklearn_l2cnn.inspection._mistakes import MistakesDisplay
from sklearn_l2cnn.inspection._saliency_display import SaliencyDisplay

__all__ = [
    "ActivationDisplay",
    "FilterDisplay",
    "MistakesDisplay",
    "SaliencyDisplay",
    "saliency",
]
