"""Same-shaped networks as one: their parameters laid one after the other.

A stack of K networks computes what they compute one by one. Maps of all of them lie
side by side as channels, ``(n, K * channels, height, width)``, so that a convolution of
each is one convolution in groups; rows lie as ``(K, values, n)``, so that a dense layer
of each is one product of batches of matrices. Networks that learn from the same images
make a group: until the first layer with weights they share what they see.
"""

from typing import NamedTuple

import torch
from torch import nn

from sklearn_l2cnn._training.forward import cheaper_order
from sklearn_l2cnn._training.stacked.layers import (
    added_bias,
    convolved,
    dropped_out,
    group_normed,
    normed,
    side_by_side,
)
from sklearn_l2cnn._utils.layers import ELEMENTWISE, has_hooks, leaves

_PLAIN = (*ELEMENTWISE, nn.Identity)
_OF_MAPS = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.ZeroPad2d,
)
_STATES = ("running_mean", "running_var")


def why_not(module):
    """Say why a network cannot be one of a stack; None where it can."""
    if type(module) is not nn.Sequential:
        return f"a network of class {type(module).__name__} is no torch.nn.Sequential"
    if any(map(has_hooks, module.modules())):
        return "the network has hooks"
    layers, flat = leaves(module), False
    tensors = [
        id(tensor)
        for _, layer in layers
        for tensor in (*layer.parameters(), *layer.buffers())
    ]
    if len(set(tensors)) < len(tensors):
        return "layers of the network share parameters"
    for name, layer in layers:
        if not _is_held(layer, flat):
            return f"layer {name!r}, {layer}, cannot be stacked"
        flat = flat or type(layer) is nn.Flatten
    return None if flat else "the network has no torch.nn.Flatten"


def _is_held(layer, flat):
    kind = type(layer)
    if kind in _PLAIN or kind is nn.Dropout:
        return True
    if kind is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    if kind is (nn.BatchNorm1d if flat else nn.BatchNorm2d):
        # otherwise what it makes of an image depends on the others, in prediction too
        return layer.track_running_stats
    if flat:
        return kind is nn.Linear
    if kind is nn.Conv2d:
        return layer.padding_mode == "zeros"
    if kind is nn.MaxPool2d or kind is nn.AdaptiveMaxPool2d:
        return not layer.return_indices
    return kind in _OF_MAPS or kind is nn.GroupNorm


def signature(module):
    """Return what networks have in common that can be in one stack."""
    shapes = tuple((n, tuple(t.shape), t.dtype) for n, t in module.state_dict().items())
    trained = tuple(parameter.requires_grad for parameter in module.parameters())
    return repr(module), shapes, trained


class Ragged(NamedTuple):
    """Which rows of a batch are images, where not all groups have as many.

    Attributes
    ----------
    mask : Tensor of shape (n, K)
        1 for an image, 0 for what fills up.
    counts : Tensor of shape (K,)
    """

    mask: torch.Tensor
    counts: torch.Tensor


class Stack:
    """Networks of one shape as one, which take their parameters back changed.

    Parameters
    ----------
    modules : list of torch.nn.Module
        Of one `signature`; from now on their parameters and statistics are views of
        the stack's.
    groups : list of int
        Which images each of them sees, counted from 0; equal ones stand together.

    Attributes
    ----------
    parameters : list of torch.nn.Parameter
        In the order of those of a single network, the networks one after the other
        along the first dimension.
    generators : list of torch.Generator
        What the dropout of each network draws from.
    """

    def __init__(self, modules, groups, generators):
        self.modules = modules
        self.generators = generators
        self.n_groups = len(set(groups))
        self.sizes = [groups.count(group) for group in dict.fromkeys(groups)]
        self.index = torch.repeat_interleave(
            torch.arange(self.n_groups), torch.tensor(self.sizes)
        ).to(next(modules[0].parameters()).device)
        self.parameters = [
            nn.Parameter(_joined(tensors), requires_grad=tensors[0].requires_grad)
            for tensors in zip(*(m.parameters() for m in modules), strict=True)
        ]
        self.states = {}
        self._hand_out()
        self.steps = 0
        self._plan()

    @property
    def size(self):
        """The number of networks."""
        return len(self.modules)

    def _hand_out(self):
        """Make the parameters and statistics of every network views of the stack's."""
        for k, module in enumerate(self.modules):
            own = module.parameters()
            for parameter, joined in zip(own, self.parameters, strict=True):
                rows = len(parameter)
                parameter.data = joined.data[k * rows : (k + 1) * rows]
        for name in _STATES:
            lists = [[layer for _, layer in leaves(m)] for m in self.modules]
            for position, layers in enumerate(zip(*lists, strict=True)):
                parts = [getattr(layer, name, None) for layer in layers]
                if parts[0] is None:
                    continue
                joined = self.states[position, name] = torch.cat(parts)
                rows = len(parts[0])
                for k, layer in enumerate(layers):
                    setattr(layer, name, joined[k * rows : (k + 1) * rows])

    def release(self):
        """Give every network parameters and statistics of its own again."""
        for module in self.modules:
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.data = tensor.data.clone()

    def count_steps(self):
        """Tell the batch norms of all networks how many steps were made since."""
        for module in self.modules:
            for layer in module.modules():
                counted = getattr(layer, "num_batches_tracked", None)
                if counted is not None:
                    counted.add_(self.steps)
        self.steps = 0

    # -- what it computes -------------------------------------------------------------

    def _plan(self):
        """List what is done, in order, as functions of values and of the batch."""
        layers = [layer for _, layer in leaves(self.modules[0])]
        tensors = iter(self.parameters)
        own = {
            id(layer): [next(tensors) for _ in layer.parameters()] for layer in layers
        }
        place = {id(layer): k for k, layer in enumerate(layers)}
        self.calls = []
        shared, flat = True, False
        for layer in cheaper_order(layers):
            kind = type(layer)
            if kind is nn.Flatten:
                if not flat:
                    n = self.n_groups if shared else self.size
                    self.calls.append(_flattening(n))
                flat = True
            elif kind is nn.Identity or (kind is nn.Dropout and not layer.p):
                continue
            elif kind in _PLAIN or kind in _OF_MAPS:
                self.calls.append(_calling(layer))
            else:
                first = shared and kind is nn.Conv2d and layer.groups == 1
                if shared and not first:
                    self._repeat(flat)
                call = self._with_weights(
                    layer, own[id(layer)], place[id(layer)], first
                )
                self.calls.append(call)
                shared = False

    def _repeat(self, flat):
        """Let every network have its own copy of what its group has in common."""
        if self.n_groups == self.size:
            return
        index = self.index
        if flat:
            self.calls.append(lambda x, batch: x.index_select(0, index))
        else:
            self.calls.append(lambda x, batch: side_by_side(x, index, self.n_groups))

    def _with_weights(self, layer, tensors, place, first):
        kind, n = type(layer), self.size
        if kind is nn.Conv2d:
            sizes = self.sizes if first else None
            return convolved(layer, *tensors, n=n, sizes=sizes)
        if kind is nn.Linear:
            return added_bias(layer, *tensors, n=n)
        if kind is nn.GroupNorm:
            return group_normed(layer, *tensors, n=n)
        if kind is nn.Dropout:
            return dropped_out(layer, self)
        states = [self.states.get((place, name)) for name in _STATES]
        return normed(layer, tensors, states, self)

    def logits(self, images, training, ragged=None):
        """Return the logits of a batch of every group.

        Parameters
        ----------
        images : Tensor of shape (n, groups * channels, height, width)
        training : bool
        ragged : Ragged, default=None
            Where the groups have not all n images.

        Returns
        -------
        logits : Tensor of shape (K, n_classes, n)
        """
        self.training = training
        for call in self.calls:
            images = call(images, ragged)
        if training:
            self.steps += 1
        return images


def _joined(tensors):
    """Lay tensors one after the other, kernels in memory channels last."""
    joined = torch.cat([tensor.detach() for tensor in tensors])
    if joined.ndim == 4:
        return joined.contiguous(memory_format=torch.channels_last)
    return joined.contiguous()


def _calling(layer):
    return lambda x, batch: layer.forward(x)


def _flattening(n):
    def flatten(x, batch):
        rows = x.unflatten(1, (n, -1)).transpose(0, 1).flatten(2)
        return rows.transpose(1, 2)

    return flatten
