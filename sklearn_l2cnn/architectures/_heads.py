"""The end of a network: its last layer, and dropout in front of it."""

from collections import OrderedDict

from torch import nn
from torch.nn.modules.dropout import _DropoutNd


def last_layer(network):
    """Find the last dense layer, or the last convolution where there is none.

    Returns
    -------
    name : str
        Its full name, ``"classifier.6"``; empty where it is the network itself.
    layer : torch.nn.Module, or None where there is neither
    """
    for kind in (nn.Linear, nn.Conv2d):
        # linear layers inside attention are of a class of their own, and no heads
        found = [both for both in network.named_modules() if type(both[1]) is kind]
        if found:
            return found[-1]
    return "", None


def replace_layer(network, name, layer):
    """Put a layer in the place of another."""
    owner, _, own_name = name.rpartition(".")
    setattr(network.get_submodule(owner), own_name, layer)


def has_dropout(network):
    """Say whether a network has dropout layers."""
    return any(isinstance(part, _DropoutNd) for part in network.modules())


def set_dropout(network, rate):
    """Give all dropout layers of a network a rate, in place.

    A network without any gets one in front of its last layer.

    Parameters
    ----------
    network : torch.nn.Module
    rate : float
    """
    if has_dropout(network):
        for part in network.modules():
            if isinstance(part, _DropoutNd):
                part.p = rate
        return
    if not rate:
        return
    name, last = last_layer(network)
    owner, _, own_name = name.rpartition(".")
    owner = network.get_submodule(owner)
    if type(owner) is nn.Sequential:
        children = dict(owner.named_children())
        for child in children:
            delattr(owner, child)
        for child, layer in children.items():
            if child == own_name:
                owner.add_module("dropout", nn.Dropout(rate))
            owner.add_module(child, layer)
    else:
        both = OrderedDict(dropout=nn.Dropout(rate), logits=last)
        replace_layer(network, name, nn.Sequential(both))
