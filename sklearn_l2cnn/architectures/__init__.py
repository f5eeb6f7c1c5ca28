"""Networks by name: (input shape, classes) -> torch.nn.Module."""

from sklearn_l2cnn._utils.layers import compute_dtype
from sklearn_l2cnn.architectures._backbone import build_backbone
from sklearn_l2cnn.architectures._plain import plain
from sklearn_l2cnn.architectures._registry import (
    ARCHITECTURES,
    build_network,
    list_architectures,
)
from sklearn_l2cnn.architectures._sequences import (
    conv_dropout,
    conv_pool,
    four_conv,
    two_conv,
)
from sklearn_l2cnn.architectures._unet import unet

__all__ = [
    "ARCHITECTURES",
    "build_backbone",
    "build_network",
    "compute_dtype",
    "conv_dropout",
    "conv_pool",
    "four_conv",
    "list_architectures",
    "plain",
    "two_conv",
    "unet",
]
