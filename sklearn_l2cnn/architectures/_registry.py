"""From the `architecture` parameter to a network that fits the images."""

import copy

import torch

from sklearn_l2cnn.architectures._plain import plain

ARCHITECTURES = {"plain": plain}


def build_network(architecture, input_shape, n_classes):
    """Build the network that `architecture` stands for and try it on blank images.

    Parameters
    ----------
    architecture : str, torch.nn.Module or callable
        A registered name; a module, which is copied; or
        ``callable(input_shape, n_classes)`` that returns a module.
    input_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int

    Returns
    -------
    network : torch.nn.Module
        Lazy layers have their shapes. Convolutions lie in memory channels last.
    """
    with torch.device("cpu"):  # the same draws, whatever the default device is
        network = _make_network(architecture, input_shape, n_classes).cpu()
        _check_logits(network, input_shape, n_classes)
    return network.to(memory_format=torch.channels_last)


def _make_network(architecture, input_shape, n_classes):
    if isinstance(architecture, torch.nn.Module):
        return copy.deepcopy(architecture)
    make = ARCHITECTURES.get(architecture, architecture)
    network = make(input_shape, n_classes)
    if isinstance(network, torch.nn.Module):
        return network
    raise TypeError(
        f"architecture={architecture!r} returned {type(network).__name__} for "
        f"input_shape={input_shape}, n_classes={n_classes}; a torch.nn.Module was "
        "expected."
    )


def compute_dtype(network):
    """Return the floating dtype that a network computes in: that of its parameters."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def _check_logits(network, input_shape, n_classes):
    """Raise unless the network maps two blank images to two rows of logits."""
    training = network.training
    network.eval()  # a blank batch must not enter the statistics of a batch norm
    try:
        with torch.no_grad():
            blank = torch.zeros((2, *input_shape), dtype=compute_dtype(network))
            logits = network(blank)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise ValueError(
            f"The architecture does not take images of input_shape={input_shape}, "
            f"which is (channels, height, width): {error}"
        ) from error
    network.train(training)
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits)
    if found != (2, n_classes):
        raise ValueError(
            f"The architecture gives an output of shape {found} for 2 images, but "
            f"logits of shape (2, {n_classes}) were expected: y has {n_classes} "
            "class(es). Let its last layer have one output per class, or pass a "
            "callable(input_shape, n_classes) that builds it for the data."
        )
