"""A network without its head: what there is to be had of weights for other classes."""

from torch import nn

from sklearn_l2cnn.architectures._heads import last_layer, replace_layer
from sklearn_l2cnn.architectures._registry import build_network
from sklearn_l2cnn.architectures._states import read_state


def build_backbone(name, input_shape, pretrained):
    """Build a named network with weights, and nothing behind them.

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
        Maps ``(n, channels, height, width)`` to what its last layer was given. Where
        residual networks have a head of their own here and the weights are published
        ones, the whole head is left out.
    """
    network = build_network(name, input_shape, 2, pretrained=pretrained)
    head, _ = last_layer(network)
    owner = head.rpartition(".")[0]
    ours = f"{owner}.dense.weight"
    if ours in network.state_dict() and (
        pretrained is True or ours not in read_state(pretrained)
    ):
        head = owner  # its dense layer is as new as its last
    replace_layer(network, head, nn.Identity())
    return network
