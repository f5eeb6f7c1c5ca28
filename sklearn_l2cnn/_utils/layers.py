"""Networks that are a sequence of layers, each of them working on single images.

Of such a network more is known than of any other: a batch may be cut anywhere, what a
layer costs can be counted, and some layers can change places.
"""

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
# Layers that treat every image by itself and keep no state.
_ROWWISE = (*BY_CHANNEL, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, nn.Linear)
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


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


def layers_by_image(module):
    """List the layers of a network that treats every image by itself.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    layers : list of torch.nn.Module or None
        In the order in which they run. None where it is not certain: only sequences of
        torch's own layers are, without hooks and without norms over the batch.
    """
    if has_hooks(module):
        return None
    if type(module) is nn.Sequential:
        parts = [layers_by_image(child) for child in module]
        return None if None in parts else [layer for part in parts for layer in part]
    if type(module) not in _ROWWISE:
        return None
    if type(module) is nn.Flatten and module.start_dim != 1:
        return None
    if any(parameter._backward_hooks for parameter in module.parameters()):
        return None
    return [module]


def remembers_nothing(module):
    """Say whether a network may run in several threads at a time, in evaluation.

    Only layers of known libraries are trusted to keep nothing of what they see.
    """
    known = "torch", "torchvision", "sklearn_l2cnn"
    return all(
        type(part).__module__.partition(".")[0] in known and not has_hooks(part)
        for part in module.modules()
    )


def compute_dtype(network):
    """Return the floating dtype that a network computes in: that of its parameters."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32
