"""Selection of pixels and filters by a trained network."""

from sklearn_l2cnn.feature_selection._filter_selector import FilterSelector
from sklearn_l2cnn.feature_selection._pixel_selector import PixelSelector
from sklearn_l2cnn.feature_selection._prune import prune

__all__ = ["FilterSelector", "PixelSelector", "prune"]
