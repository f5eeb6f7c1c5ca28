"""From images to logits: standardise, run the network, return its own dtype."""

import numpy as np
import torch
from torch import nn

from sklearn_l2cnn._training.runtime import autocast


def pixel_map(mean, scale, dtype, device):
    """Return gain and shift that standardise uint8 pixels, which count as [0, 1]."""
    gain = np.asarray(1.0 / (255.0 * scale))
    shift = np.asarray(-mean / scale)
    return tuple(
        torch.tensor(part[:, np.newaxis, np.newaxis], dtype=dtype, device=device)
        for part in (gain, shift)
    )


def network_input(images, gain, shift):
    """Return what a network sees of images: uint8 is standardised, floats are it."""
    if images.dtype == torch.uint8:
        return torch.addcmul(shift, images.to(gain.dtype), gain)
    return images


def logits_of(images, forward, pixels, lower, generator=None):
    """Return the logits of a batch of images.

    Parameters
    ----------
    images : Tensor of shape (n, channels, height, width)
        As `to_tensor` makes them.
    forward : callable
        Of `forward_of`.
    pixels : tuple (gain, shift)
        Of `pixel_map`, in the dtype and on the device of the network.
    lower : torch.dtype or None
        What products are computed in instead, if not in that dtype.
    generator : torch.Generator, default=None
        What dropout draws from, if not from torch's own.

    Returns
    -------
    logits : Tensor of shape (n, n_classes)
    """
    gain, shift = pixels
    images = network_input(images.to(gain.device), gain, shift)
    with autocast(lower, gain.device):
        logits = forward(images, generator)
    return logits if lower is None else logits.to(gain.dtype)


# To write and read back one value between two layers takes about as long as so many
# multiplications.
_PER_VALUE = 150


def work(layers, images):
    """Say how much work the layers have with one image, in multiplications."""
    total = 0
    with torch.no_grad():
        for layer in layers:
            images = layer(images)
            values = images[0].numel()
            weight = getattr(layer, "weight", None)
            products = 0 if weight is None else weight[0].numel()
            total += values * (products + _PER_VALUE)
    return total


def cheaper_order(layers):
    """Let every maximum pooling go before the ReLU in front of it.

    A ReLU and a maximum can change places, exactly, in the values and in the gradients;
    after the pooling there are fewer values.

    Parameters
    ----------
    layers : list of torch.nn.Module

    Returns
    -------
    layers : list of torch.nn.Module
    """
    layers = list(layers)
    for k in range(len(layers) - 1):
        if type(layers[k]) is nn.ReLU and type(layers[k + 1]) is nn.MaxPool2d:
            layers[k], layers[k + 1] = layers[k + 1], layers[k]
    return layers


def draws(layers):
    """Say whether layers draw random numbers when they are trained."""
    return any(type(layer) is nn.Dropout and layer.p for layer in layers)


def forward_of(module, layers, reorder=True):
    """Return the cheapest function with the same values as a network.

    Parameters
    ----------
    module : torch.nn.Module
    layers : list of torch.nn.Module or None
        Of `layers_by_image`.
    reorder : bool, default=True
        Whether layers may change places, so that values between them do.

    Returns
    -------
    forward : callable
        From images, and the torch.Generator that dropout draws from or None, to logits.
        Where the layers are not known it is the module, which draws by itself.
    """
    if layers is None:
        return lambda images, generator=None: module(images)
    if reorder:
        layers = cheaper_order(layers)

    def forward(images, generator=None):
        for layer in layers:
            if generator is not None and type(layer) is nn.Dropout and layer.training:
                images = dropped_out(images, layer.p, generator)
            else:
                images = layer(images)
        return images

    return forward


def dropped_out(values, rate, generator):
    """Drop values at random, as a dropout layer does, with draws of a generator."""
    if not rate:
        return values
    kept = torch.empty_like(values).bernoulli_(1 - rate, generator=generator)
    # of a rate of 1 nothing is kept, and 0 / 0 would be the scale
    return values * kept.div_(max(1 - rate, 1e-30))
