"""Networks by name, built for images of a given shape and a number of classes."""

from sklearn_l2cnn.architectures._backbone import build_backbone
from sklearn_l2cnn.architectures._registry import (
    build_network,
    list_architectures,
    pixels_of_weights,
)

__all__ = [
    "build_backbone",
    "build_network",
    "list_architectures",
    "pixels_of_weights",
]
