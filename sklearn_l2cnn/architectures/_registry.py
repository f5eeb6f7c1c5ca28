"""Building a network from the `architecture` parameter, the images and the classes."""

import copy
import difflib
import fnmatch
import os

import numpy as np
import torch

from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn._utils.layers import contiguous
from sklearn_l2cnn.architectures._heads import dropout_layers, set_dropout
from sklearn_l2cnn.architectures._logits import SHAPE_ERRORS, ensure_logits
from sklearn_l2cnn.architectures._plain import plain
from sklearn_l2cnn.architectures._sequences import (
    conv_dropout,
    conv_pool,
    four_conv,
    two_conv,
)
from sklearn_l2cnn.architectures._states import load_state, mismatches, read_state
from sklearn_l2cnn.architectures._timm import (
    is_of_timm,
    timm_names,
    timm_network,
    timm_published,
)
from sklearn_l2cnn.architectures._torchvision import (
    adapt,
    published_network,
    sizes_that_fit,
    torchvision_names,
    torchvision_network,
    torchvision_published,
)
from sklearn_l2cnn.architectures._unet import UNet

ARCHITECTURES = {
    maker.__name__.lower(): maker
    for maker in (plain, two_conv, conv_pool, four_conv, conv_dropout, UNet)
}


def list_architectures(pattern=None):
    """List the names of the available architectures.

    Parameters
    ----------
    pattern : str, default=None
        Of :mod:`fnmatch`, for the names to list. One that begins with ``"timm:"`` means
        networks of timm, which are more than a thousand.

    Returns
    -------
    names : list of str
        The networks of this package, then the classifiers of torchvision; or those of
        timm.

    Examples
    --------
    >>> from sklearn_l2cnn.architectures import list_architectures
    >>> names = list_architectures()
    >>> names[:6]
    ['plain', 'two_conv', 'conv_pool', 'four_conv', 'conv_dropout', 'unet']
    >>> "resnet18" in names, "vgg11" in names
    (True, True)
    >>> list_architectures("wide*")
    ['wide_resnet101_2', 'wide_resnet50_2']
    """
    names = timm_names() if is_of_timm(pattern) else _names()
    return names if pattern is None else fnmatch.filter(names, pattern)


def _names():
    return [*ARCHITECTURES, *torchvision_names()]


def build_network(
    architecture, input_shape, n_classes, *, dropout=None, pretrained=False
):
    """Build the network for an architecture and check it on blank images.

    Parameters
    ----------
    architecture : str, torch.nn.Module or callable
        One of `list_architectures`, or ``"timm:NAME"``; a module, which is copied; or
        ``callable(input_shape, n_classes)`` that returns a module.
    input_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int
    dropout : float, default=None
        Rate of all dropout layers; a named network without dropout gets a layer. None
        leaves the rates unchanged.
    pretrained : bool or path, default=False
        Whether to load the published weights, or the path of a state dict to load.

    Returns
    -------
    network : torch.nn.Module
        With all lazy layers initialised, and contiguous weights.

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn.architectures import build_network
    >>> network = build_network("conv_pool", (3, 32, 32), 10)
    >>> network(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    shape, make = (input_shape, n_classes), _make_network
    pretrained = _without_numpy(pretrained)
    if is_of_timm(architecture):
        make = _make_timm
    elif isinstance(architecture, str) and architecture not in ARCHITECTURES:
        make = _make_torchvision
    with torch.device("cpu"):  # the same random weights whatever the default device
        network = make(architecture, shape, pretrained is True)
        _apply_dropout(network, architecture, dropout)
        if not isinstance(pretrained, bool):
            network = _with_state(network, architecture, shape, dropout, pretrained)
    return contiguous(network)


def _make_network(architecture, shape, published):
    """Build a network of this package, or take the user's."""
    if published:
        raise ValueError(
            "pretrained=True needs a network of torchvision or timm, such as "
            "'resnet18' or 'timm:resnet18'; there are no published weights for "
            f"architecture={architecture!r}. The path of a state dict works with any "
            "network."
        )
    if isinstance(architecture, torch.nn.Module):
        network = copy.deepcopy(architecture)
    elif isinstance(architecture, str):
        network = ARCHITECTURES[architecture](*shape)
    else:
        network = architecture(*shape)
    if not isinstance(network, torch.nn.Module):
        raise TypeError(
            f"architecture={architecture!r} returned {type(network).__name__} for "
            f"input_shape={shape[0]}, n_classes={shape[1]}; a torch.nn.Module was "
            "expected."
        )
    ensure_logits(network.cpu(), *shape)
    return network


def _make_torchvision(name, shape, published):
    """Build a network of torchvision, with its published weights if requested."""
    if name not in torchvision_names():
        close = difflib.get_close_matches(name, _names(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"architecture={name!r} is not the name of a network.{hint} Names are "
            f"{', '.join(ARCHITECTURES)}, and the classifiers of torchvision: "
            "sklearn_l2cnn.architectures.list_architectures() lists all. "
            f"'timm:{name}' would be one of timm. Any other network is passed as "
            "a torch.nn.Module, or as a function of (input_shape, n_classes) that "
            "returns one."
        )
    _check_size(name, shape, published)
    try:
        network = torchvision_network(name, *shape, published)
        ensure_logits(network, *shape)
    except SHAPE_ERRORS as error:
        raise ValueError(_size_message(name, shape[0], error)) from error
    return network


def _make_timm(name, shape, published):
    """Build a network of timm, with its published weights if requested."""
    _check_size(name, shape, published)
    network = timm_network(name, *shape, published)
    ensure_logits(network, *shape)
    return network


def _without_numpy(pretrained):
    """Return a path as it is, and True or False for those of numpy too."""
    return bool(pretrained) if isinstance(pretrained, np.bool_) else pretrained


def _check_size(name, shape, published):
    """Warn of images that are too small for the published weights, if these are wanted.

    There may be none, which loading them will say.
    """
    trained_on = published_for(name) if published else None
    if trained_on is not None:
        trained_on.check_size(name, shape[0])


def published_for(architecture):
    """Return what the published weights of a network were trained on.

    Parameters
    ----------
    architecture : str, torch.nn.Module or callable

    Returns
    -------
    published : Published or None
        None where none are published.
    """
    if is_of_timm(architecture):
        return timm_published(architecture)
    named = isinstance(architecture, str) and architecture in torchvision_names()
    return torchvision_published(architecture) if named else None


def pixels_of_weights(architecture, pretrained, depth, low, high):
    """Return what images are standardised with for the weights that are loaded.

    Parameters
    ----------
    architecture : str, torch.nn.Module or callable
    pretrained : bool or path
        Weights of a file are the published ones if their last layer is.
    depth : int
        Channels of the images.
    low, high : float
        Of all pixels, uint8 counted as [0, 1].

    Returns
    -------
    pixels : tuple of ndarray of shape (depth,), or None
        Mean and scale; None leaves it to the images.

    Examples
    --------
    >>> from sklearn_l2cnn.architectures import pixels_of_weights
    >>> mean, scale = pixels_of_weights("resnet18", True, 3, 0, 1)
    >>> mean.round(3).tolist(), scale.round(3).tolist()
    ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    >>> pixels_of_weights("plain", False, 1, 0, 1) is None
    True
    """
    pretrained = _without_numpy(pretrained)
    published = published_for(architecture) if pretrained is not False else None
    if published is None:
        return None
    if pretrained is not True and not published.holds(read_state(pretrained)):
        return None
    return published.pixels(depth, low, high)


def _apply_dropout(network, architecture, dropout):
    if dropout is None:
        return
    if not isinstance(architecture, str) and not dropout_layers(network):
        raise ValueError(
            f"dropout={dropout:g} has no place in this architecture: it has no "
            "torch.nn.Dropout. Add one, of any rate, or set dropout=None."
        )
    set_dropout(network, dropout)


def _with_state(network, architecture, shape, dropout, path):
    """Return a network with the weights of a state dict from a file.

    For a network of torchvision or timm, these may be the weights of this network or of
    the one that is published. The latter of torchvision keeps its stem, whatever the
    size of the images.
    """
    state = read_state(path)
    wrong = mismatches(network, state)
    if wrong and is_of_timm(architecture):
        network = timm_network(architecture, *shape, path)
        _apply_dropout(network, architecture, dropout)
        return network
    published = bool(wrong) and architecture in torchvision_names()
    if published:
        network = published_network(architecture, shape[0])
        wrong = min(wrong, mismatches(network, state), key=len)
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(
            f"pretrained={os.fspath(path)!r} holds the weights of another network than "
            f"architecture={architecture!r}: {'; '.join(wrong[:5])}{more}."
        )
    load_state(network, state)
    if published:
        network = adapt(network, *shape, keep=True)
        ensure_logits(network, *shape)
        _apply_dropout(network, architecture, dropout)
    return network


def _size_message(name, input_shape, error):
    depth, height, width = input_shape
    sides = ", ".join(map(str, sizes_that_fit(name, depth))) or "none"
    reason = first_line(error)
    return (
        f"architecture={name!r} does not take images of {height} x {width} pixels "
        f"({reason}). Among the sizes that were tried, it takes square images of "
        f"{depth} channel(s) with sides of {sides}. Resize the images, or choose "
        "'plain' or 'resnet18', which take every size."
    )
