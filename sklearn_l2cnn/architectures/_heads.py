"""The end of a network: its last layer, and dropout in front of it."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear


def last_layer(network):
    """Find the last dense layer, or the last convolution if there is none.

    Returns
    -------
    name : str
        Full name, such as ``"classifier.6"``; empty if it is the network itself.
    layer : torch.nn.Module or None
        None if there is neither.
    """
    for kind in (nn.Linear, nn.Conv2d):
        found = [
            (name, layer)
            for name, layer in network.named_modules()
            if isinstance(layer, kind)
            # those inside attention are no heads
            and not isinstance(layer, NonDynamicallyQuantizableLinear)
        ]
        if found:
            return found[-1]
    return "", None


def replace_layer(network, name, layer):
    """Replace the layer of the given name."""
    owner, _, own_name = name.rpartition(".")
    setattr(network.get_submodule(owner), own_name, layer)


def begin_at_zero(layer):
    """Let the new last layer of a loaded network begin at 0, in place.

    All classes are then as likely at first, and the gradient of the loaded weights is
    small until the last layer has learnt something: random last layers of published
    networks give losses far above that of a guess, and spoil what was loaded
    (Kolesnikov et al., Big Transfer, ECCV 2020, begin so too).
    """
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()


def dropout_layers(network):
    """List the dropout layers of a network."""
    return [layer for layer in network.modules() if isinstance(layer, _DropoutNd)]


def set_dropout(network, rate):
    """Set the rate of all dropout layers of a network, in place.

    A network without dropout gets a layer in front of its last one.

    Parameters
    ----------
    network : torch.nn.Module
    rate : float
    """
    layers = dropout_layers(network)
    for layer in layers:
        layer.p = rate
    if layers or not rate:
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
