"""Networks by name: (input shape, classes) -> torch.nn.Module."""

from sklearn_l2cnn.architectures._plain import plain
from sklearn_l2cnn.architectures._registry import (
    ARCHITECTURES,
    build_network,
    compute_dtype,
)

__all__ = ["ARCHITECTURES", "build_network", "compute_dtype", "plain"]
