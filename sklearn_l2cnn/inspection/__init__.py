"""Pictures of what a network learnt, and the arithmetic behind them."""

from sklearn_l2cnn.inspection._maps import saliency

__all__ = ["saliency"]
