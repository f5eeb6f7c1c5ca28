"""Networks by name, made again without their weights."""

from typing import NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from sklearn_l2cnn._utils.layers import contiguous
from sklearn_l2cnn._utils.seeds import generators_kept
from sklearn_l2cnn._utils.state import state_of
from sklearn_l2cnn.architectures._heads import set_dropout
from sklearn_l2cnn.architectures._registry import ARCHITECTURES
from sklearn_l2cnn.architectures._torchvision import (
    adapt,
    published_network,
    torchvision_network,
)


class Recipe(NamedTuple):
    """What a named network is made by, except for its weights.

    Attributes
    ----------
    architecture : str
        One of `list_architectures`.
    input_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int
    dropout : float or None
    published : bool
        Whether it has the first layers that it is published with.
    """

    architecture: str
    input_shape: tuple
    n_classes: int
    dropout: object
    published: bool

    def bare(self):
        """Return the network with weights that take no memory, on the device meta."""
        name, *shape = self[:3]
        with generators_kept(), torch.device("cpu"), _Unallocated():
            if name in ARCHITECTURES:
                network = ARCHITECTURES[name](*shape)
            elif self.published:
                network = adapt(published_network(name, shape[0]), *shape, keep=True)
            else:
                network = torchvision_network(name, *shape)
            if self.dropout is not None:
                set_dropout(network, self.dropout)
        return network

    def made(self, weights):
        """Return the network with weights, which it takes over.

        Parameters
        ----------
        weights : dict of Tensor
            Its state dict.
        """
        network = self.bare()
        network.load_state_dict(weights, assign=True)
        return contiguous(network)


class _Unallocated(TorchFunctionMode):
    """Let what layers begin with as memory without values take none."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.empty:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def recipe_of(network, architecture, dropout, input_shape, n_classes):
    """Return the recipe that makes a network, None if there is none.

    None is what networks are of which the user has the class, and those that were
    changed since they were made.
    """
    if not isinstance(architecture, str):
        return None
    for published in (False, True):
        recipe = Recipe(architecture, input_shape, n_classes, dropout, published)
        if _alike(recipe.bare(), network):
            return recipe
    return None


def _alike(bare, network):
    """Say whether networks do the same, if they had the same weights.

    The first one takes on what training changes in the second.
    """
    for ours, theirs in zip(bare.modules(), network.modules(), strict=False):
        ours.training = theirs.training
    for ours, theirs in zip(bare.parameters(), network.parameters(), strict=False):
        ours.requires_grad_(theirs.requires_grad)
    return state_of(bare).content == state_of(network).content
