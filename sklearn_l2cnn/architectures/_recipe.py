"""Networks by name, made again without their weights."""

from typing import NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from sklearn_l2cnn._utils.layers import contiguous
from sklearn_l2cnn._utils.operations import on_meta
from sklearn_l2cnn._utils.seeds import generators_kept
from sklearn_l2cnn._utils.state import state_of
from sklearn_l2cnn.architectures._heads import replace_layer, set_dropout
from sklearn_l2cnn.architectures._registry import ARCHITECTURES
from sklearn_l2cnn.architectures._timm import is_of_timm, timm_network
from sklearn_l2cnn.architectures._torchvision import (
    adapt,
    published_network,
    torchvision_network,
)

# Attributes of layers that say how large they are; filters may have been pruned.
_SIZES = (
    *("in_channels", "out_channels", "groups"),
    *("in_features", "out_features", "num_features"),
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
    published : bool, default=False
        Whether it has the first layers that it is published with.
    removed : str, default=""
        The name of a layer that does nothing any more, the head of a backbone.
    sizes : tuple of (str, int), default=()
        Attributes of its layers that have changed since, by name.
    """

    architecture: str
    input_shape: tuple
    n_classes: int
    dropout: object
    published: bool = False
    removed: str = ""
    sizes: tuple = ()

    def made(self, weights):
        """Return the network with weights, which it takes over.

        Parameters
        ----------
        weights : dict of Tensor
            Its state dict.
        """
        network = self._bare()
        _set_sizes(network, self.sizes)
        return contiguous(_filled(network, weights))

    def _bare(self):
        """Return the network in its first sizes, with weights that take no memory."""
        name, *shape = self[:3]
        with generators_kept(), torch.device("cpu"), _Unallocated():
            if is_of_timm(name):
                network = timm_network(name, *shape)
            elif name in ARCHITECTURES:
                network = ARCHITECTURES[name](*shape)
            elif self.published:
                network = adapt(published_network(name, shape[0]), *shape, keep=True)
            else:
                network = torchvision_network(name, *shape)
            if self.dropout is not None:
                set_dropout(network, self.dropout)
        if self.removed:
            replace_layer(network, self.removed, torch.nn.Identity())
        return network


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
    changed in other ways than by weights and pruning since they were made.
    """
    if not isinstance(architecture, str):
        return None
    network = on_meta(network)  # wherever it lies
    for published in (False, True):
        recipe = Recipe(architecture, input_shape, n_classes, dropout, published)
        bare = recipe._bare()
        removed = _removed(bare, network)
        if removed:
            replace_layer(bare, removed, torch.nn.Identity())
        sizes = _changed_sizes(bare, network)
        _set_sizes(bare, sizes)
        if _does_the_same(bare, network):
            return recipe._replace(removed=removed, sizes=sizes)
    return None


def _removed(bare, network):
    """Return the name of the first layer that does nothing and once did; or nothing."""
    made = dict(bare.named_modules())
    for name, layer in network.named_modules():
        kinds = type(layer), type(made.get(name))
        if kinds[0] is torch.nn.Identity and kinds[1] is not torch.nn.Identity:
            return name
    return ""


def _set_sizes(network, sizes):
    for attribute, size in sizes:
        layer, _, own = attribute.rpartition(".")
        setattr(network.get_submodule(layer), own, size)


def _filled(network, weights):
    """Give a network all weights of a state dict, in place."""
    missing = {name for name, _ in network.named_parameters()} - set(weights)
    # a buffer that no state dict has keeps what it began with
    buffers = network.named_buffers()
    missing |= {name for name, kept in buffers if kept.is_meta and name not in weights}
    if missing:
        raise ValueError(f"There are no weights of {min(missing)}.")
    for name, values in weights.items():
        owner, _, own = name.rpartition(".")
        layer = network.get_submodule(owner)
        if own in layer._parameters:
            layer.register_parameter(own, torch.nn.Parameter(values))
        elif own in layer._buffers:
            layer.register_buffer(own, values)
        else:
            raise ValueError(f"The network has no weights of the name {name}.")
    return network


def _changed_sizes(bare, network):
    before = dict(bare.named_modules())
    return tuple(
        (f"{name}.{size}", value)
        for name, layer in network.named_modules()
        for size in _SIZES
        if (value := vars(layer).get(size)) != vars(before.get(name, layer)).get(size)
    )


def _does_the_same(bare, network):
    """Say whether a bare network would do what one of no values does."""
    try:
        made = on_meta(_filled(bare, network.state_dict()))
    except (ValueError, AttributeError):
        return False
    # what training changes
    for ours, theirs in zip(made.modules(), network.modules(), strict=False):
        ours.training = theirs.training
    for ours, theirs in zip(made.parameters(), network.parameters(), strict=False):
        ours.requires_grad_(theirs.requires_grad)
    return state_of(made).content == state_of(network).content
