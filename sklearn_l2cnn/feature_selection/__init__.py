"""Selecting what matters: pixels that a trained network looks at."""

from sklearn_l2cnn.feature_selection._pixel_selector import PixelSelector

__all__ = ["PixelSelector"]
