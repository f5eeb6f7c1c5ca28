"""Places in a network where features are taken: from `layer` to columns with names."""

import fnmatch
import math
from contextlib import contextmanager
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch

from sklearn_l2cnn._utils.trace import (
    at_rest,
    chosen_layer,
    last_with_weights,
    trace,
    watching,
)

POOLS = ("flatten", "mean", "max")


class Place(NamedTuple):
    """A place in a network where values are taken from.

    Attributes
    ----------
    label : str
        What its features are called after.
    layer : str
        Name of a module.
    entering : bool
        Whether what the layer is given is taken, rather than what it gives out.
    shape : tuple of int
        Of the values of one image.
    """

    label: str
    layer: str
    entering: bool
    shape: tuple


def find_places(network, image, layer, headless=False):
    """Find the places that `layer` means.

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
        Each once, in the order of `layer`; those of a pattern as they run.
    """
    layers = trace(network, image)
    wanted = layer if isinstance(layer, list | tuple) else [layer]
    if not wanted:
        raise ValueError(
            "layer is empty: one layer at least was expected, such as layer='last'."
        )
    places = {}
    for one in wanted:
        for place in _places_of(network, image, layers, one, headless):
            places.setdefault((place.layer, place.entering), place)
    return list(places.values())


def _places_of(network, image, layers, one, headless):
    names = [name for name, _, _ in layers]
    if isinstance(one, Integral) or one in names:
        name, _, shape = chosen_layer(layers, one)
        return [Place(name or "network", name, False, shape)]
    if one == "last":
        return [_last(network, image, layers, headless)]
    if isinstance(one, str):
        found = [entry for entry in layers if fnmatch.fnmatchcase(entry[0], one)]
        if found:
            return [Place(name, name, False, shape) for name, _, shape in found]
        if any(name.startswith(f"{one}.") for name in names):
            shape = _shape_at(network, image, one, entering=False)
            return [Place(one, one, False, shape)]  # a part that is made of layers
    chosen_layer(layers, one)  # says which there are
    raise AssertionError(one)


def _last(network, image, layers, headless):
    """Return the place whose values the last layer with weights is given."""
    if headless:
        name, _, shape = layers[-1]
        return Place("last", name, False, shape)
    entry, _ = last_with_weights(layers)
    if entry is None:
        raise ValueError(
            "layer='last' is what the last dense layer or convolution is given, and "
            "this network has none. Name a layer: they are "
            f"{', '.join(repr(name) for name, _, _ in layers)}."
        )
    return Place("last", entry[0], True, _shape_at(network, image, entry[0], True))


def _shape_at(network, image, name, entering):
    place = Place("", name, entering, ())
    with torch.no_grad(), at_rest(network), looking_at([place], network) as values_of:
        return tuple(values_of(image)[0].shape[1:])


@contextmanager
def looking_at(places, network):
    """Watch a network at some places.

    Parameters
    ----------
    places : list of Place
    network : torch.nn.Module

    Yields
    ------
    values_of : callable
        Of images. It runs the network and returns the values, a tensor for each place;
        several threads may call it at a time.
    """
    leaving = [place.layer for place in places if not place.entering]
    entering = [place.layer for place in places if place.entering]
    with watching(network, leaving, entering) as run:

        def values_of(images):
            _, outputs, inputs = run(images)
            return [(inputs if p.entering else outputs)[p.layer] for p in places]

        yield values_of


def pooled(values, pool):
    """Make a row of the values of every image.

    Parameters
    ----------
    values : Tensor of shape (n, ...)
    pool : {"flatten", "mean", "max"}
        What becomes of maps ``(n, channels, height, width)``; anything else is
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
    """Name the features that a place has: its label, and where in it each one is.

    Examples
    --------
    >>> from sklearn_l2cnn.feature_extraction._places import Place, feature_names
    >>> feature_names(Place("conv1", "conv1", False, (1, 2, 2)), "flatten")
    ['conv1_0_0_0', 'conv1_0_0_1', 'conv1_0_1_0', 'conv1_0_1_1']
    >>> feature_names(Place("conv1", "conv1", False, (2, 3, 3)), "mean")
    ['conv1_0', 'conv1_1']
    """
    shape = _pooled_shape(place, pool)
    return ["_".join([place.label, *map(str, index)]) for index in np.ndindex(shape)]


def n_features(place, pool):
    """Count the features that a place has."""
    return math.prod(_pooled_shape(place, pool))


def _pooled_shape(place, pool):
    maps = len(place.shape) == 3
    return place.shape[:1] if maps and pool != "flatten" else place.shape
