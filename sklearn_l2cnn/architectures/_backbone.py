"""A network without its head, whose weights serve data with other classes."""

from torch import nn

from sklearn_l2cnn.architectures._heads import last_layer, replace_layer
from sklearn_l2cnn.architectures._registry import build_network
from sklearn_l2cnn.architectures._states import read_state


def build_backbone(name, input_shape, pretrained):
    """Build a named network with pretrained weights and without its head.

    Parameters
    ----------
    name : str
        One of `list_architectures`.
    input_shape : tuple of int
        ``(channels, height, width)``.
    pretrained : True or path
        As for `build_network`.

    Returns
    -------
    network : torch.nn.Module
        Maps ``(n, channels, height, width)`` to the input of the last layer. The
        dense layer that this package adds to the head of a residual network is
        removed as well, unless the weights include it.

    Examples
    --------
    >>> import os, tempfile
    >>> import torch
    >>> from sklearn_l2cnn.architectures import build_backbone, build_network
    >>> network = build_network("conv_pool", (1, 8, 8), 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.pt")
    ...     torch.save(network.state_dict(), path)
    ...     backbone = build_backbone("conv_pool", (1, 8, 8), path)
    >>> backbone(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 128])
    """
    network = build_network(name, input_shape, 2, pretrained=pretrained)
    head, _ = last_layer(network)
    owner = head.rpartition(".")[0]
    added = f"{owner}.dense.weight"
    if added in network.state_dict() and (
        pretrained is True or added not in read_state(pretrained)
    ):
        head = owner  # its dense layer is as untrained as its last
    replace_layer(network, head, nn.Identity())
    return network
