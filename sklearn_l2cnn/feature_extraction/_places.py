"""Places in a network where features are taken, and the names of their columns."""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from sklearn_l2cnn._utils.layer_names import is_meant
from sklearn_l2cnn._utils.trace import (
    at_rest,
    chosen_layer,
    last_with_weights,
    recording,
    trace,
)

POOLS = ("flatten", "mean", "max")


class Place(NamedTuple):
    """The output or the input of a layer, from which features are taken.

    Attributes
    ----------
    label : str
        Prefix of the names of the features.
    layer : str
        Name of a module.
    is_input : bool
        Whether the features are the input of the layer, rather than its output.
    shape : tuple of int
        Shape of the values of one image.
    """

    label: str
    layer: str
    is_input: bool
    shape: tuple


def find_places(network, image, layer, headless=False):
    """Find the places that the parameter `layer` selects.

    Parameters
    ----------
    network : torch.nn.Module
    image : Tensor of shape (1, channels, height, width)
        To try the network with.
    layer : str, int or list of such
        Names, indices or patterns of layers, or ``"last"``.
    headless : bool, default=False
        Whether the network ends with its last hidden layer.

    Returns
    -------
    places : list of Place
        Without repeats, in the order of `layer`; those of one pattern in the order in
        which they run.
    """
    layers = trace(network, image)
    wanted = layer if isinstance(layer, list | tuple) else [layer]
    if not wanted:
        raise ValueError(
            "layer is empty: at least one layer was expected, such as layer='last'."
        )
    places = {}
    for one in wanted:
        for place in _places_of(network, image, layers, one, headless):
            places.setdefault((place.layer, place.is_input), place)
    return list(places.values())


def _places_of(network, image, layers, one, headless):
    names = [name for name, _, _ in layers]
    if one == "last" and one not in names:
        return [_last(network, image, layers, headless)]
    if isinstance(one, str) and one not in names:
        if any(name.startswith(f"{one}.") for name in names):
            # a module made of layers has one output
            return [Place(one, one, False, _shape_at(network, image, one, False))]
        found = [entry for entry in layers if is_meant(one, entry[0])]
        if found:
            return [Place(name, name, False, shape) for name, _, shape in found]
    name, _, shape = chosen_layer(layers, one)  # or an error that lists the layers
    return [Place(name or "network", name, False, shape)]


def _last(network, image, layers, headless):
    """Return the input of the last layer with weights."""
    if headless:
        name, _, shape = layers[-1]
        return Place("last", name, False, shape)
    entry, _ = last_with_weights(layers)
    if entry is None:
        raise ValueError(
            "layer='last' is the input of the last dense layer or convolution, but "
            "this network has none. Name one of its layers: "
            f"{', '.join(repr(name) for name, _, _ in layers)}."
        )
    return Place("last", entry[0], True, _shape_at(network, image, entry[0], True))


def _shape_at(network, image, name, is_input):
    place = Place("", name, is_input, ())
    with torch.no_grad(), at_rest(network), recording_places([place], network) as run:
        return tuple(run(image)[0].shape[1:])


@contextmanager
def recording_places(places, network):
    """Record the values at some places of a network.

    Parameters
    ----------
    places : list of Place
    network : torch.nn.Module

    Yields
    ------
    values_of : callable
        Function of images that runs the network and returns a tensor for each place;
        several threads may call it at a time.
    """
    outputs_of = [place.layer for place in places if not place.is_input]
    inputs_of = [place.layer for place in places if place.is_input]
    with recording(network, outputs_of, inputs_of) as run:

        def values_of(images):
            _, outputs, inputs = run(images)
            return [(inputs if p.is_input else outputs)[p.layer] for p in places]

        yield values_of


def pooled(values, pool):
    """Return the values of each image as a row.

    Parameters
    ----------
    values : Tensor of shape (n, ...)
    pool : {"flatten", "mean", "max"}
        How maps ``(n, channels, height, width)`` are summarised; other values are
        flattened.

    Returns
    -------
    rows : Tensor of shape (n, n_features)
    """
    if values.ndim == 4 and pool == "mean":
        return values.mean(dim=(2, 3))
    if values.ndim == 4 and pool == "max":
        return values.amax(dim=(2, 3))
    return values.flatten(1)


def feature_names(place, pool):
    """Return the names of the features of a place: its label and their indices.

    Examples
    --------
    >>> from sklearn_l2cnn.feature_extraction._places import Place, feature_names
    >>> feature_names(Place("conv1", "conv1", False, (1, 2, 2)), "flatten")
    ['conv1_0_0_0', 'conv1_0_0_1', 'conv1_0_1_0', 'conv1_0_1_1']
    >>> feature_names(Place("conv1", "conv1", False, (2, 3, 3)), "mean")
    ['conv1_0', 'conv1_1']
    """
    shape = pooled_shape(place, pool)
    return ["_".join([place.label, *map(str, index)]) for index in np.ndindex(shape)]


def pooled_shape(place, pool):
    """Return the shape of the features of an image at a place."""
    maps = len(place.shape) == 3
    return place.shape[:1] if maps and pool != "flatten" else place.shape
