"""Selecting what matters: filters of a trained network."""

from sklearn_l2cnn.feature_selection._filter_selector import FilterSelector
from sklearn_l2cnn.feature_selection._prune import prune

__all__ = ["FilterSelector", "prune"]
