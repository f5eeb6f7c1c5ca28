"""From the `architecture` parameter to a network that fits the images."""

import copy
import difflib
import os

import torch

from sklearn_l2cnn._utils.layers import compute_dtype
from sklearn_l2cnn.architectures._heads import has_dropout, set_dropout
from sklearn_l2cnn.architectures._plain import plain
from sklearn_l2cnn.architectures._sequences import (
    conv_dropout,
    conv_pool,
    four_conv,
    two_conv,
)
from sklearn_l2cnn.architectures._states import load_state, misfits, read_state
from sklearn_l2cnn.architectures._torchvision import (
    adapted,
    published_network,
    sizes_that_fit,
    torchvision_names,
    torchvision_network,
)
from sklearn_l2cnn.architectures._unet import unet

ARCHITECTURES = {
    maker.__name__: maker
    for maker in (plain, two_conv, conv_pool, four_conv, conv_dropout, unet)
}

# What a network may raise that does not take an image.
_REFUSALS = (
    RuntimeError,
    ValueError,
    IndexError,
    TypeError,
    AssertionError,
    ZeroDivisionError,
)


def list_architectures():
    """List the names that `architecture` takes.

    Returns
    -------
    names : list of str
        Those of this package first, then the classifiers of torchvision.

    Examples
    --------
    >>> from sklearn_l2cnn.architectures import list_architectures
    >>> names = list_architectures()
    >>> names[:6]
    ['plain', 'two_conv', 'conv_pool', 'four_conv', 'conv_dropout', 'unet']
    >>> "resnet18" in names, "vgg11" in names
    (True, True)
    """
    return [*ARCHITECTURES, *torchvision_names()]


def build_network(
    architecture, input_shape, n_classes, *, dropout=None, pretrained=False
):
    """Build the network that `architecture` stands for and try it on blank images.

    Parameters
    ----------
    architecture : str, torch.nn.Module or callable
        A name of `list_architectures`; a module, which is copied; or
        ``callable(input_shape, n_classes)`` that returns a module.
    input_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int
    dropout : float, default=None
        Rate of all dropout layers, of which a named network gets one where it has
        none; None leaves them as they are.
    pretrained : bool or path, default=False
        Published weights, or those of a state dict.

    Returns
    -------
    network : torch.nn.Module
        Lazy layers have their shapes. Convolutions lie in memory channels last.
    """
    with torch.device("cpu"):  # the same draws, whatever the default device is
        if isinstance(architecture, str) and architecture not in ARCHITECTURES:
            network = _of_torchvision(
                architecture, input_shape, n_classes, dropout, pretrained
            )
        else:
            network = _make_network(architecture, input_shape, n_classes).cpu()
            _check_logits(network, input_shape, n_classes)
            _drop_out(network, architecture, dropout)
            _load(network, architecture, pretrained)
    return network.to(memory_format=torch.channels_last)


def _make_network(architecture, input_shape, n_classes):
    if isinstance(architecture, torch.nn.Module):
        return copy.deepcopy(architecture)
    make = architecture
    if isinstance(architecture, str):
        make = ARCHITECTURES[architecture]
    network = make(input_shape, n_classes)
    if isinstance(network, torch.nn.Module):
        return network
    raise TypeError(
        f"architecture={architecture!r} returned {type(network).__name__} for "
        f"input_shape={input_shape}, n_classes={n_classes}; a torch.nn.Module was "
        "expected."
    )


def _drop_out(network, architecture, dropout):
    if dropout is None:
        return
    if not isinstance(architecture, str) and not has_dropout(network):
        raise ValueError(
            f"dropout={dropout:g} has no place in this architecture: it has no "
            "torch.nn.Dropout. Put one where it belongs, of any rate, or leave "
            "dropout=None."
        )
    set_dropout(network, dropout)


def _load(network, architecture, pretrained):
    if pretrained is False:
        return
    if pretrained is True:
        raise ValueError(
            f"pretrained=True needs a network of torchvision, such as 'resnet18'; of "
            f"architecture={architecture!r} there are no published weights. The path "
            "of a state dict works with any network."
        )
    state = read_state(pretrained)
    wrong = misfits(network, state)
    if wrong:
        raise ValueError(_not_of(architecture, pretrained, wrong))
    load_state(network, state)


def _of_torchvision(name, input_shape, n_classes, dropout, pretrained):
    """Build a network of torchvision, with the weights that are asked for.

    A state dict from a file may be of the network as it is here, or as it was
    published: then the stem stays, whatever the size of the images.
    """
    if name not in torchvision_names():
        close = difflib.get_close_matches(name, list_architectures(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"architecture={name!r} is no network that is known here.{hint} Names are "
            f"{', '.join(ARCHITECTURES)}, and the classifiers of torchvision: "
            "sklearn_l2cnn.architectures.list_architectures() lists all."
        )
    shape = input_shape, n_classes
    try:
        network = torchvision_network(name, *shape, pretrained is True)
        _check_logits(network, *shape)
    except _REFUSALS as error:
        raise ValueError(_sizes(name, input_shape, error)) from error
    _drop_out(network, name, dropout)
    if isinstance(pretrained, bool):
        return network
    state = read_state(pretrained)
    wrong = misfits(network, state)
    if not wrong:
        load_state(network, state)
        return network
    network = published_network(name, input_shape)
    wrong = min(wrong, misfits(network, state), key=len)
    if wrong:
        raise ValueError(_not_of(name, pretrained, wrong))
    load_state(network, state)
    network = adapted(network, *shape, keep=True)
    _check_logits(network, *shape)
    _drop_out(network, name, dropout)
    return network


def _not_of(architecture, path, wrong):
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return (
        f"pretrained={os.fspath(path)!r} holds the weights of another network than "
        f"architecture={architecture!r}: {'; '.join(wrong[:5])}{more}."
    )


def _sizes(name, input_shape, error):
    depth, height, width = input_shape
    sides = ", ".join(map(str, sizes_that_fit(name, depth))) or "none"
    reason = [*str(error).splitlines(), type(error).__name__][0]
    return (
        f"architecture={name!r} does not take images of {height} x {width} pixels "
        f"({reason}). Of square images with {depth} channel(s) it takes those with "
        f"sides of {sides}, among the sizes that were tried. Resize the images, or "
        "choose 'plain' or 'resnet18', which take every size."
    )


def _check_logits(network, input_shape, n_classes):
    """Raise unless the network maps two blank images to two rows of logits."""
    training = network.training
    network.eval()  # a blank batch must not enter the statistics of a batch norm
    try:
        with torch.no_grad():
            blank = torch.zeros((2, *input_shape), dtype=compute_dtype(network))
            logits = network(blank)
    except _REFUSALS as error:
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
