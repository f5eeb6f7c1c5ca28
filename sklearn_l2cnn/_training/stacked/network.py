"""Networks of one shape as one: their parameters laid one after the other.

A stack of K networks computes what they compute one by one. Maps of all lie side by
side as channels, ``(n, K * channels, height, width)``, so that their convolutions are
one convolution in groups; rows lie as ``(K, values, n)``, so that their dense layers
are one product of batches of matrices. Up to the first layer with weights the networks
of a fold share the values, and the first convolution has a group for each fold.
"""

import torch
from torch import nn

from sklearn_l2cnn._training.stacked.layers import (
    convolved,
    dropped,
    flattened,
    group_normed,
    multiplied,
    multiplied_patches,
    normed,
    own_maps,
    own_rows,
    patches_pay,
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


def why_not_stacked(module):
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
        if not _can_be_stacked(layer, flat):
            return f"layer {name!r}, {layer}, cannot be stacked"
        flat = flat or type(layer) is nn.Flatten
    return None if flat else "the network has no torch.nn.Flatten"


def _can_be_stacked(layer, flat):
    kind = type(layer)
    if kind in _PLAIN or kind is nn.Dropout:
        return True
    if kind is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    if kind is (nn.BatchNorm1d if flat else nn.BatchNorm2d):
        # otherwise its output for an image depends on the others, in prediction too
        return layer.track_running_stats
    if flat:
        return kind is nn.Linear
    if kind is nn.Conv2d:
        return layer.padding_mode == "zeros"
    if kind is nn.MaxPool2d or kind is nn.AdaptiveMaxPool2d:
        return not layer.return_indices
    return kind in _OF_MAPS or kind is nn.GroupNorm


def rows_meet(module):
    """Say whether what a row becomes depends on how many rows a batch has."""
    norms = nn.BatchNorm1d, nn.BatchNorm2d
    return any(
        isinstance(layer, norms) or (type(layer) is nn.Dropout and layer.p)
        for _, layer in leaves(module)
    )


def signature(module):
    """Return what networks have in common that can be in one stack."""
    shapes = tuple((n, tuple(t.shape), t.dtype) for n, t in module.state_dict().items())
    trained = tuple(parameter.requires_grad for parameter in module.parameters())
    return repr(module), shapes, trained


class StackedNetwork:
    """Networks of one shape as one, which take their parameters back changed.

    Parameters
    ----------
    modules : list of torch.nn.Module
        Of one `signature`; from now on their parameters and statistics are views of
        the stack's.
    generators : list of torch.Generator
        For the dropout of each network.
    owners : Tensor of int64 of shape (K,)
        The fold of each network, in ascending order.

    Attributes
    ----------
    parameters : list of torch.nn.Parameter
        In the order of those of a single network, the networks one after the other
        along the first dimension.
    training : bool
    """

    def __init__(self, modules, generators, owners):
        self.modules = modules
        self.generators = generators
        self.owners = owners
        self.training = True
        self.steps = 0
        self.parameters = [
            nn.Parameter(joined(tensors), requires_grad=tensors[0].requires_grad)
            for tensors in zip(*(m.parameters() for m in modules), strict=True)
        ]
        self.states = {}
        self._hand_out()
        self.calls = self._calls()

    @property
    def size(self):
        """The number of networks."""
        return len(self.modules)

    def _hand_out(self):
        """Make the parameters and statistics of every network views of the stack's."""
        for k, module in enumerate(self.modules):
            own = module.parameters()
            for parameter, joined in zip(own, self.parameters, strict=True):
                parameter.data = joined.data.chunk(self.size)[k]
        for name in _STATES:
            lists = [[layer for _, layer in leaves(m)] for m in self.modules]
            for position, layers in enumerate(zip(*lists, strict=True)):
                own = [getattr(layer, name, None) for layer in layers]
                if own[0] is None:
                    continue
                joined = self.states[position, name] = torch.cat(own)
                for layer, view in zip(layers, joined.chunk(self.size), strict=True):
                    setattr(layer, name, view)

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

    def _calls(self):
        """List what is done, in order, as functions of values."""
        layers = [layer for _, layer in leaves(self.modules[0])]
        joined = iter(self.parameters)
        own = {
            id(layer): [next(joined) for _ in layer.parameters()] for layer in layers
        }
        place = {id(layer): k for k, layer in enumerate(layers)}
        counts = self.owners.bincount().tolist()
        calls, flat = [], False
        # groups of a convolution are of one size
        shared = min(counts) == max(counts)
        if not shared:
            calls.append(own_maps(self.owners))
        for layer in _pool_first(layers):
            kind = type(layer)
            if kind is nn.Flatten:
                if not flat:
                    calls.append(flattened(len(counts) if shared else self.size))
                flat = True
            elif kind in _PLAIN or kind in _OF_MAPS:
                calls.append(layer.forward)
            elif kind is nn.Dropout and not layer.p:
                continue
            else:
                first = shared and kind is nn.Conv2d and layer.groups == 1
                if shared and not first:
                    calls.append((own_rows if flat else own_maps)(self.owners))
                tensors = own[id(layer)]
                if first and patches_pay(layer, len(counts), tensors[0]):
                    calls.append(multiplied_patches(layer, len(counts), *tensors))
                elif kind is nn.Conv2d:
                    groups = len(counts) if first else self.size * layer.groups
                    calls.append(convolved(layer, groups, *tensors))
                else:
                    calls.append(self._call(layer, tensors, place[id(layer)]))
                shared = False
        return calls

    def _call(self, layer, tensors, place):
        """Return the function of a layer, no convolution, that has own values."""
        kind = type(layer)
        if kind is nn.Linear:
            return multiplied(layer, self.size, *tensors)
        if kind is nn.GroupNorm:
            return group_normed(layer, self.size, *tensors)
        if kind is nn.Dropout:
            return dropped(layer, self)
        states = [self.states[place, name] for name in _STATES]
        return normed(layer, self, *states, *tensors)

    def logits(self, images):
        """Return the logits of a batch.

        Parameters
        ----------
        images : Tensor of shape (n, folds * channels, height, width)

        Returns
        -------
        logits : Tensor of shape (K, n_classes, n)
        """
        for call in self.calls:
            images = call(images)
        self.steps += self.training
        return images


def _pool_first(layers):
    """Let every maximum pooling go before the ReLU in front of it; see `pool_first`."""
    layers = list(layers)
    for k in range(len(layers) - 1):
        if type(layers[k]) is nn.ReLU and type(layers[k + 1]) is nn.MaxPool2d:
            layers[k], layers[k + 1] = layers[k + 1], layers[k]
    return layers


def by_row(values, weight):
    """Give every row of a stacked weight the value of its network."""
    rows = values.repeat_interleave(len(weight) // len(values))
    return rows.view(-1, *[1] * (weight.ndim - 1))


def joined(tensors):
    """Lay tensors one after the other, kernels in memory channels last."""
    long = torch.cat([tensor.detach() for tensor in tensors])
    if long.ndim == 4:
        return long.contiguous(memory_format=torch.channels_last)
    return long.contiguous()
