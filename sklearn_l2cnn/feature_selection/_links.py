"""Links between layers of a sequence: a layer with filters, and the reader behind it.

The reader of a filter is the next layer with weights, whose input is the output of the
filter. If the layers between them treat channels independently, one channel can be
removed without changing the others; otherwise the link has a `problem`.
"""

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn

from sklearn_l2cnn._utils.layers import BY_CHANNEL, has_hooks, leaves
from sklearn_l2cnn._utils.trace import blank_image

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
# Layers of whose output each channel depends on the same channel of the input alone.
_BY_CHANNEL = {
    *BY_CHANNEL,
    *NORMS,
    nn.AlphaDropout,
    nn.CircularPad2d,
    nn.ConstantPad2d,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.FeatureAlphaDropout,
    nn.LPPool2d,
    nn.PReLU,
    nn.RReLU,
    nn.ReflectionPad2d,
    nn.ReplicationPad2d,
    nn.Upsample,
}
_WITH_FILTERS = {nn.Conv2d, nn.Linear}


class Link(NamedTuple):
    """A layer with filters or units, and its reader.

    Attributes
    ----------
    name : str
    layer : torch.nn.Conv2d or torch.nn.Linear
    shape : tuple of int
        Shape of the output of the layer for an image: ``(filters, height, width)`` or
        ``(units,)``.
    between : tuple of torch.nn.Module
        The layers between the layer and its reader.
    reader_name : str
    reader : torch.nn.Conv2d or torch.nn.Linear
    problem : str or None
        The reason why no filter can be removed, as a sentence.
    """

    name: str
    layer: nn.Module
    shape: tuple
    between: tuple
    reader_name: str
    reader: nn.Module
    problem: str | None


def find_links(network, image_shape):
    """List the links of a network, in the order in which they run.

    Parameters
    ----------
    network : torch.nn.Sequential
        In evaluation mode.
    image_shape : tuple of int
        ``(height, width, channels)``.

    Returns
    -------
    links : list of Link
    """
    if type(network) is not nn.Sequential or has_hooks(network):
        hooks = " with hooks" if has_hooks(network) else ""
        raise TypeError(
            f"The network is a {type(network).__name__}{hooks}, in which it is unknown "
            "what reads a filter; a torch.nn.Sequential of convolutions and dense "
            "layers was expected, such as the named networks 'plain', 'two_conv', "
            "'conv_pool', 'four_conv' and 'conv_dropout'."
        )
    named = leaves(network)
    # two images, so that a layer that works across images shows in the shape
    images = blank_image(network, image_shape).repeat(2, 1, 1, 1)
    shapes = _shapes([layer for _, layer in named], images)
    # ids of the parameters and buffers that have several names
    counts = Counter(map(id, network.state_dict(keep_vars=True).values()))
    shared = {key for key, count in counts.items() if count > 1}
    places = [k for k, (_, layer) in enumerate(named) if type(layer) in _WITH_FILTERS]
    return [
        _link(named[here : there + 1], shapes[here : there + 1], shared)
        for here, there in pairwise(places)
    ]


def _shapes(layers, images):
    """Return the shape of each output for an image, None if it is no tensor."""
    shapes = []
    with torch.no_grad():
        for layer in layers:
            images = layer(images)
            known = isinstance(images, torch.Tensor)
            shapes.append(tuple(images.shape[1:]) if known else None)
    return shapes


def _link(named, shapes, shared):
    """Return the link of the first layer to the last, with their output shapes."""
    first, *between, last = named
    parts = tuple(part for _, part in between)
    return Link(*first, shapes[0], parts, *last, _problem(named, shapes, shared))


def _problem(named, shapes, shared):
    """Return the reason why a link cannot lose a channel, None if it can."""
    for part_name, part in named:
        if has_hooks(part):
            return (
                f"{part_name!r} has hooks, whose effect is unknown. Remove them first; "
                "masks of torch.nn.utils.prune by its remove()."
            )
        if shared.intersection(map(id, (*part.parameters(), *part.buffers()))):
            return f"{part_name!r} shares its weights with another layer."
        if getattr(part, "groups", 1) != 1:
            return (
                f"{part_name!r} is a convolution of {part.groups} groups, from which "
                "single channels cannot be removed."
            )
        if type(part) in NORMS and part.running_mean is None:
            return (
                f"{part_name!r} has no running statistics: a {type(part).__name__} "
                "with track_running_stats=True was expected."
            )
    for (part_name, part), shape in zip(named[1:-1], shapes[1:-1], strict=True):
        if type(part) not in _BY_CHANNEL:
            return (
                f"{part_name!r}, a {type(part).__name__} behind it, may mix or move "
                "channels; a batch norm, activation, pooling, padding, dropout or "
                "Flatten was expected."
            )
        if type(part) is nn.Flatten and len(shape) != 1:
            return f"{part_name!r} does not flatten images to rows, but to {shape}."
    (name, layer), (reader_name, reader) = named[0], named[-1]
    for part, shape in ((layer, shapes[0]), (reader, shapes[-2])):
        n_dimensions, what = (3, "maps") if type(part) is nn.Conv2d else (1, "rows")
        if len(shape) != n_dimensions:
            return (
                f"the values between {name!r} and {reader_name!r} have shape {shape} "
                f"for an image; a {type(part).__name__} was expected to work on {what}."
            )
    return None
