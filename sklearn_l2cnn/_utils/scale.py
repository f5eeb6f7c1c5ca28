"""Whether the scale of weights matters: norms take it out again."""

import copy

import torch
from torch import nn
from torch.func import functional_call

from sklearn_l2cnn._utils.layer_names import layer_of

# Images that a network is tried on, of random numbers.
_TRIED = 4
_SAME = 1e-3
# Weights are tried so many times as large: what norms add to a variance is little.
_LARGE = 2**8


def scale_has_no_effect(module, names, image, frozen):
    """Say whether a network does the same if any of some weights is twice as large.

    Weights that are 0 are tried as ones: a last layer may begin there.

    Parameters
    ----------
    module : torch.nn.Module
    names : list of str
        Of the weights.
    image : Tensor of shape (1, channels, height, width)
    frozen : Frozen
        Parts whose norms do what they do in prediction.

    Returns
    -------
    same : bool
        But for biases that are added before a norm.
    """
    # a copy that shares the weights: forward may change attributes
    tensors = *module.parameters(), *module.buffers()
    twin = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    for layer in twin.modules():
        layer.training = not isinstance(layer, nn.modules.dropout._DropoutNd)
    frozen.keep(twin)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_TRIED, *image.shape[1:], generator=generator).to(image)
    values = {name: buffer.clone() for name, buffer in module.named_buffers()}
    for name in names:
        bias = dict(module.named_parameters()).get(f"{layer_of(name)}.bias")
        if bias is not None:
            values[f"{layer_of(name)}.bias"] = torch.zeros_like(bias)
    weights = {name: _tried(weight) for name, weight in module.named_parameters()}

    def logits(name, factor):
        large = {**weights, name: factor * weights[name]}
        return functional_call(twin, {**values, **large}, (images,))

    with torch.no_grad():
        for name in reversed(names):  # the last layer is the one that feeds no norm
            one, other = logits(name, _LARGE), logits(name, 2 * _LARGE)
            if not (one - other).abs().amax() <= _SAME * one.abs().amax():
                return False
    return True


def _tried(weight):
    """Return a weight, or ones where it has the shape of one and is 0."""
    return weight if weight.ndim < 2 or weight.any() else torch.ones_like(weight)
