"""What a strength of L2 means: over how many epochs, and in front of norms."""

import copy
import warnings

import torch
from torch import nn
from torch.func import functional_call

from sklearn_l2cnn._training.forward import network_input
from sklearn_l2cnn._training.rates import rates_of
from sklearn_l2cnn._utils.layer_names import layer_of
from sklearn_l2cnn.penalties import L2

# Images that a network is tried on, of random numbers.
_TRIED = 4
_SAME = 1e-3
# Weights are tried so many times as large: what norms add to a variance is little.
_LARGE = 2**8


def timescale(net, n_steps):
    r"""Return over how many epochs decoupled L2 lets weights forget.

    A weight is then an exponential average of the optimizer's updates, over
    :math:`1 / (lr\,\alpha)` steps (Wang and Aitchison, 2024).

    Parameters
    ----------
    net : Net
        Initialised.
    n_steps : int
        Steps in an epoch, at the learning rate that a training begins with.

    Returns
    -------
    epochs : float, dict of float or None
        By the names of layers where they differ; None where no L2 is decoupled.
    """
    if not (net.objective.decoupled and isinstance(net.objective.penalty, L2)):
        return None
    groups = zip(net.optimizer_.param_groups, rates_of(net), strict=True)
    rates = {id(p): rate for group, rate in groups for p in group["params"]}
    names = {id(p): layer_of(name) for name, p in net.module_.named_parameters()}
    found = {
        names[id(weight)]: 1 / (rates[id(weight)] * group.alpha * n_steps)
        for group in net.objective.groups(net.module_, net.starts)
        for weight in group.weights
    }
    values = set(found.values())
    return values.pop() if len(values) == 1 else found or None


def warn_of_norms(net, X):
    """Warn where all that is penalised feeds norms, which take its scale out again.

    Parameters
    ----------
    net : Net
        Initialised.
    X : Resident
        The training data.
    """
    layers = [type(layer).__name__ for layer in net.module_.modules()]
    if not any("norm" in name.lower() for name in layers):
        return
    image = network_input(X.images[:1], *net.pixels())
    groups = net.objective.groups(net.module_, net.starts)
    weights = {id(weight) for group in groups for weight in group.weights}
    named = net.module_.named_parameters()
    names = [name for name, weight in named if id(weight) in weights]
    if names and scale_has_no_effect(net.module_, names, image):
        warnings.warn(
            "Every layer that is penalised feeds a norm, which takes the scale of its "
            "weights out again: L2 then sets how far a step turns the weights, an "
            "effective learning rate, and not what the network can represent (van "
            "Laarhoven, 2017; Zhang et al., 2018). To penalise what the norms leave, "
            "let alpha mean the last layer too, or take penalize='all', which includes "
            "the scales of the norms.",
            UserWarning,
            stacklevel=2,
        )


def scale_has_no_effect(module, names, image):
    """Say whether a network does the same if any of some weights is twice as large.

    Parameters
    ----------
    module : torch.nn.Module
    names : list of str
        Of the weights.
    image : Tensor of shape (1, channels, height, width)

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
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_TRIED, *image.shape[1:], generator=generator).to(image)
    values = {name: buffer.clone() for name, buffer in module.named_buffers()}
    for name in names:
        bias = dict(module.named_parameters()).get(f"{layer_of(name)}.bias")
        if bias is not None:
            values[f"{layer_of(name)}.bias"] = torch.zeros_like(bias)

    def logits(name, factor):
        large = {name: factor * module.get_parameter(name)}
        return functional_call(twin, {**values, **large}, (images,))

    with torch.no_grad():
        for name in reversed(names):  # the last layer is the one that feeds no norm
            one, other = logits(name, _LARGE), logits(name, 2 * _LARGE)
            if not (one - other).abs().amax() <= _SAME * one.abs().amax():
                return False
    return True
