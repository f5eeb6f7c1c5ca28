"""From images to logits: standardise, run the network, return its own dtype."""

from functools import partial

import numpy as np
import torch

from sklearn_l2cnn._training.runtime import autocast
from sklearn_l2cnn._utils.devices import sent


def pixel_map(mean, scale, dtype, device):
    """Return gain and shift that standardise uint8 pixels, which count as [0, 1]."""
    gain = np.asarray(1.0 / (255.0 * scale))
    shift = np.asarray(-mean / scale)
    return tuple(
        sent(torch.tensor(part[:, np.newaxis, np.newaxis], dtype=dtype), device)
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
    return lowered(forward, lower, images, generator)


def lowered(forward, lower, images, *others):
    """Return the logits of what a network sees, with products in a lower precision.

    Parameters
    ----------
    forward : callable
        Of `forward_of`.
    lower : torch.dtype or None
        None leaves all in the dtype of the images.
    images : Tensor of shape (n, channels, height, width)
    *others
        What else `forward` gets.

    Returns
    -------
    logits : Tensor of shape (n, n_classes)
        Of the dtype of the images.
    """
    if lower is None:
        return forward(images, *others)
    with autocast(lower, images.device):
        return forward(images, *others).to(images.dtype)


def forward_of(module, program=None):
    """Return a function from images, and the generator of dropout or None, to logits.

    Parameters
    ----------
    module : torch.nn.Module
    program : callable, default=None
        Of `program_of`. Without one the module does what it does, and draws by itself.
    """
    if program is None:
        return lambda images, generator=None: module(images)
    return partial(program, module)
