"""Networks of torchvision, adapted to the images and classes: channels, stem, head.

torchvision is only imported when one of its networks is used.
"""

import contextlib
import io
import math
import os
from collections import OrderedDict

import torch
from torch import nn

from sklearn_l2cnn.architectures._heads import begin_at_zero, last_layer, replace_layer
from sklearn_l2cnn.architectures._published import Published

# Images with a shorter side below this are small: a stem that reduces them to a quarter
# would leave too few pixels.
_SMALL = 64

_HIDDEN = 128

# Networks that have a second head in training.
_TWO_HEADS = ("googlenet", "inception_v3")

# Sides to suggest from, for images of a size that a network does not take.
_SIDES = (8, 16, 32, 48, 64, 75, 96, 112, 128, 160, 192, 224, 256, 299)


def torchvision_names():
    """List the classifiers of torchvision."""
    from torchvision import models

    return models.list_models(module=models)


def torchvision_published(name):
    """Return what the weights that torchvision publishes were trained on."""
    from torchvision import models

    weights = models.get_model_weights(name).DEFAULT
    made = weights.transforms()
    [side] = made.crop_size
    return Published(made.mean, made.std, (side, side), len(weights.meta["categories"]))


def torchvision_network(name, input_shape, n_classes, pretrained=False):
    """Build a network of torchvision for images of the given shape.

    Parameters
    ----------
    name : str
        As in :func:`torchvision.models.get_model`, except that ``"vgg11"`` has batch
        norm.
    input_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int
    pretrained : bool, default=False
        Whether to load the published weights. If True, the stem is kept.

    Returns
    -------
    network : torch.nn.Module
    """
    if name.startswith("vgg") and _is_small(input_shape) and not pretrained:
        network = _small_vgg(name, *input_shape)
    else:
        network = published_network(name, input_shape, pretrained)
    return adapt(network, input_shape, n_classes, keep=pretrained)


def _is_small(input_shape):
    """Return whether images are too small for the first layers of large networks."""
    return min(input_shape[1:]) < _SMALL


def published_network(name, input_shape, pretrained=False):
    """Build a network as torchvision does, for three channels and 1,000 classes."""
    from torchvision import models

    name = "vgg11_bn" if name == "vgg11" else name
    if pretrained:
        network = _pretrained_network(name)
        if name in _TWO_HEADS:
            network.aux_logits = False
            for head in ("AuxLogits", "aux1", "aux2"):
                if hasattr(network, head):
                    setattr(network, head, None)
        return network
    options, (height, width) = {}, input_shape[1:]
    if name in _TWO_HEADS:
        options = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        options = {"image_size": height}  # only these two depend on a size
    elif name.startswith("maxvit_"):
        options = {"input_size": (height, width)}
    return models.get_model(name, weights=None, **options)


def _pretrained_network(name):
    """Build a network with its published weights, or say where to put their file."""
    from torchvision import models

    weights = models.get_model_weights(name).DEFAULT
    quiet = io.StringIO()  # torch reports downloads on stdout or stderr
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            # no options: the weights set their own
            return models.get_model(name, weights=weights, progress=False)
    except (OSError, RuntimeError) as error:
        folder = os.path.join(torch.hub.get_dir(), "checkpoints")
        file = os.path.join(folder, os.path.basename(weights.url))
        raise OSError(
            f"The published weights of {name!r} could not be downloaded ({error}). "
            f"Download {weights.url} on a machine with a connection and put it at "
            f"{file}, or pass its path as pretrained=. pretrained=False starts from "
            "random weights."
        ) from error


def adapt(network, input_shape, n_classes, keep=False):
    """Adapt a published network to images and classes, in place.

    Parameters
    ----------
    network : torch.nn.Module
        From `published_network`.
    input_shape : tuple of int
    n_classes : int
    keep : bool
        Whether to keep its weights. If True, only the last layer is replaced, by one
        of zeros, and the first one if there are not three channels, with the mean of
        its weights.

    Returns
    -------
    network : torch.nn.Module
    """
    from torchvision.models import ResNet

    depth = input_shape[0]
    if not keep and _is_small(input_shape) and isinstance(network, ResNet):
        first = nn.Conv2d(depth, network.conv1.out_channels, 3, padding=1, bias=False)
        _initialise(first)
        network.conv1, network.maxpool = first, nn.Identity()
    _adapt_first_layer(network, depth, keep)
    if depth != 3 and hasattr(network, "transform_input"):
        network.transform_input = False  # which rescales red, green and blue
    name, last = last_layer(network)
    if isinstance(network, ResNet):
        layers = OrderedDict(
            dense=nn.Linear(last.in_features, _HIDDEN),
            norm=nn.BatchNorm1d(_HIDDEN),
            relu=nn.ReLU(),
            logits=nn.Linear(_HIDDEN, n_classes),
        )
        head = nn.Sequential(layers)
    elif isinstance(last, nn.Conv2d):
        head = nn.Conv2d(last.in_channels, n_classes, last.kernel_size)
    else:
        head = nn.Linear(last.in_features, n_classes)
    replace_layer(network, name, head)
    if keep:
        begin_at_zero(last_layer(network)[1])
    return network


def _adapt_first_layer(network, depth, keep):
    """Replace the first convolution if it takes another number of channels."""
    found = (both for both in network.named_modules() if isinstance(both[1], nn.Conv2d))
    name, layer = next(found)
    if layer.in_channels == depth:
        return
    first = nn.Conv2d(
        depth,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        bias=layer.bias is not None,
    )
    replace_layer(network, name, first)
    if not keep:
        _initialise(first)
        return
    # equal channels give the same output as three equal channels did
    with torch.no_grad():
        mean = layer.weight.mean(dim=1, keepdim=True)
        first.weight.copy_(layer.in_channels / depth * mean)
        if layer.bias is not None:
            first.bias.copy_(layer.bias)


def _small_vgg(name, depth, height, width):
    """Build a VGG for small images, with as much pooling as fits and a small head."""
    with torch.device("meta"):  # the large dense layers need not be initialised
        published = published_network(name, (depth, height, width))
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
            _initialise(layer)
    return published


def _initialise(layer):
    """Initialise weights to keep the scale of a signal through ReLUs, biases to 0."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def sizes_that_fit(name, depth):
    """List the sides of square images that a network of torchvision takes.

    The network is built on torch's meta device, where nothing is computed.
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
