"""Kinds of layers, and sequences of them."""

import torch
from torch import nn

# Activations that do the same to every number, whatever stands next to it.
ELEMENTWISE = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
    nn.Threshold,
)

# Layers that treat every image by itself, and every channel of it, and keep no state;
# what dropout draws, it draws for every number by itself.
BY_CHANNEL = (
    *ELEMENTWISE,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.Dropout,
    nn.Flatten,
    nn.Identity,
    nn.MaxPool2d,
    nn.ZeroPad2d,
)
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


class TakesLogits:
    """A hook that takes the logits out of what a network returns.

    As a hook it holds wherever the network is called, and names of layers stay. It is
    part of the network, and not taken off copies of it.

    Parameters
    ----------
    key : str or int
        Of the mapping or sequence.
    """

    def __init__(self, key):
        self.key = key

    def __call__(self, network, inputs, output):
        """Return the logits; a network may return them alone in another mode."""
        return output if isinstance(output, torch.Tensor) else output[self.key]


def has_hooks(module):
    """Say whether something is called besides the forward function of a layer."""
    return any(getattr(module, hooks) for hooks in _HOOKS)


def leaves(sequence):
    """List the layers of a sequence, those of sequences in it too, with their names.

    A layer that stands in several places has as many names; a sequence with hooks of
    its own counts as one layer.

    Parameters
    ----------
    sequence : torch.nn.Sequential

    Returns
    -------
    layers : list of tuple (str, torch.nn.Module)
    """
    found = []
    for name, layer in sequence._modules.items():  # `named_children` names each once
        if type(layer) is nn.Sequential and not has_hooks(layer):
            found += [(f"{name}.{inner}", part) for inner, part in leaves(layer)]
        else:
            found.append((name, layer))
    return found


def calls_others(network):
    """Say whether parts of a network, or its parameters, have hooks."""
    names = "_backward_hooks", "_post_accumulate_grad_hooks"
    return any(map(has_hooks, network.modules())) or any(
        getattr(parameter, name, None)
        for parameter in network.parameters()
        for name in names
    )


def without_hooks(network):
    """Take the hooks of layers off a network, a copy of the user's, and return it."""
    for part in network.modules():
        for hooks in _HOOKS:
            found = getattr(part, hooks)
            for key, hook in list(found.items()):
                if not isinstance(hook, TakesLogits):
                    del found[key]
    return network


def compute_dtype(network):
    """Return the floating dtype that a network computes in: that of its parameters."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def contiguous(network):
    """Lay the weights of a network out as torch does by itself, in place.

    So they can be written to files as they are. On CPUs kernels that are given images
    channels last are as fast with them; what is moved to CUDA is laid out anew there.

    Parameters
    ----------
    network : torch.nn.Module

    Returns
    -------
    network : torch.nn.Module
    """
    for weight in network.parameters():
        if not weight.is_contiguous():  # others may be channels last at the same time
            weight.data = weight.data.contiguous()
    return network
