"""Networks of torchvision, fitted to the images: channels, stem, and a head of our own.

torchvision is imported when one of them is asked for, not before.
"""

import contextlib
import io
import math
import os
from collections import OrderedDict

import torch
from torch import nn

from sklearn_l2cnn.architectures._heads import last_layer, replace_layer

# Images with a shorter side below this are small: a stem that reduces them to a quarter
# would leave next to nothing.
_SMALL = 64

_HIDDEN = 128

# What the builders of a few networks are told: no second head for training.
_OPTIONS = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
_WITH_BATCH_NORM = {"vgg11": "vgg11_bn"}

# Sides that are tried where an image does not fit.
_SIDES = (8, 16, 32, 48, 64, 75, 96, 112, 128, 160, 192, 224, 256, 299)


def torchvision_names():
    """List the classifiers of torchvision."""
    from torchvision import models

    return models.list_models(module=models)


def torchvision_network(name, input_shape, n_classes, pretrained=False):
    """Build a network of torchvision for images of a size.

    Parameters
    ----------
    name : str
        As :func:`torchvision.models.get_model` knows it; ``"vgg11"`` has batch norm.
    input_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int
    pretrained : bool, default=False
        With the published weights: then the stem stays as they have it.

    Returns
    -------
    network : torch.nn.Module
    """
    name = _WITH_BATCH_NORM.get(name, name)
    if name.startswith("vgg") and is_small(input_shape) and not pretrained:
        network = _small_vgg(name, *input_shape)
    else:
        network = _published(name, input_shape, pretrained)
    return adapted(network, input_shape, n_classes, keep=pretrained)


def is_small(input_shape):
    """Say whether images are too small for the first layers of large networks."""
    return min(input_shape[1:]) < _SMALL


def _published(name, input_shape, pretrained=False):
    """Build a network as it was published, for three channels and 1,000 classes."""
    from torchvision import models

    options = _OPTIONS.get(name, {})
    if pretrained:
        weights = models.get_model_weights(name).DEFAULT
        # the weights bring their own options along
        quiet = io.StringIO()  # torch says on one stream or another that it downloads
        with (
            _download(name, weights),
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
        ):
            network = models.get_model(name, weights=weights, progress=False)
        return _without_second_head(network)
    height, width = input_shape[1:]
    if name.startswith("vit_"):
        options = {"image_size": height}  # of no other networks is a size built in
    elif name.startswith("maxvit_"):
        options = {"input_size": (height, width)}
    return models.get_model(name, weights=None, **options)


def published_network(name, input_shape):
    """Build a network without weights as torchvision publishes it."""
    name = _WITH_BATCH_NORM.get(name, name)
    return _published(name, input_shape)


def _without_second_head(network):
    """Let a network have one output in training too."""
    if getattr(network, "aux_logits", False):
        network.aux_logits = False
        for name in ("AuxLogits", "aux1", "aux2"):
            if hasattr(network, name):
                setattr(network, name, None)
    return network


@contextlib.contextmanager
def _download(name, weights):
    """Say where a file belongs that could not be downloaded."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        folder = os.path.join(torch.hub.get_dir(), "checkpoints")
        file = os.path.join(folder, os.path.basename(weights.url))
        raise OSError(
            f"The published weights of {name!r} could not be downloaded ({error}). "
            f"Where there is a connection, download {weights.url} and put it at "
            f"{file}, or anywhere and give its path as pretrained=. pretrained=False "
            "starts from random weights."
        ) from error


def adapted(network, input_shape, n_classes, keep=False):
    """Fit a published network to images and classes, in place.

    Parameters
    ----------
    network : torch.nn.Module
        From `published_network`.
    input_shape : tuple of int
    n_classes : int
    keep : bool
        Whether its weights are worth keeping: then no layer but the last is replaced,
        and the first takes other channels than three from what it knows of three.

    Returns
    -------
    network : torch.nn.Module
    """
    from torchvision.models import ResNet

    depth = input_shape[0]
    if not keep and is_small(input_shape) and isinstance(network, ResNet):
        first = nn.Conv2d(depth, network.conv1.out_channels, 3, padding=1, bias=False)
        _draw(first)
        network.conv1, network.maxpool = first, nn.Identity()
    _take_channels(network, depth, keep)
    if depth != 3 and hasattr(network, "transform_input"):
        network.transform_input = False  # it would rescale red, green and blue
    name, last = last_layer(network)
    if isinstance(network, ResNet):
        head = OrderedDict(
            dense=nn.Linear(last.in_features, _HIDDEN),
            norm=nn.BatchNorm1d(_HIDDEN),
            relu=nn.ReLU(),
            logits=nn.Linear(_HIDDEN, n_classes),
        )
        replace_layer(network, name, nn.Sequential(head))
    else:
        replace_layer(network, name, _for_classes(last, n_classes))
    return network


def _for_classes(last, n_classes):
    """Return a new last layer like the given one, with one output a class."""
    if isinstance(last, nn.Conv2d):
        return nn.Conv2d(last.in_channels, n_classes, last.kernel_size)
    return nn.Linear(last.in_features, n_classes)


def _take_channels(network, depth, keep):
    """Let the first convolution take images of other than three channels."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            if layer.in_channels != depth:
                replace_layer(network, name, _first_layer(layer, depth, keep))
            return


def _first_layer(layer, depth, keep):
    first = nn.Conv2d(
        depth,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        bias=layer.bias is not None,
    )
    if keep:
        # a grey image, seen as three equal channels, gives what it would have given
        with torch.no_grad():
            mean = layer.weight.mean(dim=1, keepdim=True)
            scale = layer.in_channels / depth
            first.weight.copy_((scale * mean).expand_as(first.weight))
            if layer.bias is not None:
                first.bias.copy_(layer.bias)
    else:
        _draw(first)
    return first


def _small_vgg(name, depth, height, width):
    """Build a VGG for small images: as many poolings as fit, a small dense layer."""
    from torchvision import models

    with torch.device("meta"):  # the large dense layers need not be drawn
        published = models.get_model(name, weights=None)
    sides, layers = [height, width], []
    for layer in published.features:
        if isinstance(layer, nn.MaxPool2d):
            window = tuple(min(2, side) for side in sides)
            sides = [side // length for side, length in zip(sides, window, strict=True)]
            if window == (1, 1):
                continue
            layer = nn.MaxPool2d(window)
        elif isinstance(layer, nn.Conv2d):
            filters = layer.out_channels
            layer = nn.Conv2d(depth, filters, 3, padding=1)
            depth = filters
        elif isinstance(layer, nn.BatchNorm2d):
            layer = nn.BatchNorm2d(depth)
        layers.append(layer)
    published.features = nn.Sequential(*layers)
    published.avgpool = nn.AdaptiveAvgPool2d(1)
    published.classifier = nn.Sequential(
        nn.Linear(depth, depth), nn.ReLU(), nn.Dropout(0.5), nn.Linear(depth, 1000)
    )
    for layer in published.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            _draw(layer)
    return published


def _draw(layer):
    """Draw weights that keep the scale of a signal through ReLUs, and no bias."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def sizes_that_fit(name, depth):
    """List the sides of square images that a network of torchvision takes.

    Tried on torch's meta device, where nothing is computed.
    """
    fitting = []
    for side in _SIDES:
        try:
            with torch.device("meta"), torch.no_grad():
                network = torchvision_network(name, (depth, side, side), 2).eval()
                shape = network(torch.zeros(2, depth, side, side)).shape
        except (RuntimeError, ValueError, AssertionError, ZeroDivisionError):
            continue
        if math.prod(shape) == 4:
            fitting.append(side)
    return fitting
