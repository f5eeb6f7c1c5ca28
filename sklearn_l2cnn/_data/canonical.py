"""The training set as a weighted set of images: the canonical form.

A result may depend on which images are there and how much each weighs, and on nothing
else: not on the order of the rows, not on whether an image comes once with weight 2 or
twice with weight 1, not on rows of weight 0. Rounding breaks that as soon as the same
sum is taken in another order, so the rows are brought to one form before anything is
computed: no row of weight 0, identical (image, label) rows merged, sorted by the values
of their pixels, weights of mean 1 in float32.

Images are compared as words are in a dictionary: by one pixel and, where that is the
same, by the next. Only which of two pixels is the larger counts, so that uint8 k, the
float32 k / 255 and the float64 k / 255 or k make one order, and train one network up to
rounding. Keys that are computed, such as a sum or a hash of rounded values, would not
do: somewhere among many images rounding tips the one but not the other.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._data.pixels import Moments, in_chunks, moments_of

# Pixels that images are compared by at a time, and those after which images that still
# are the same are probably so altogether.
_PLACES = 32
_ENOUGH = 64


class Survey(NamedTuple):
    """Images, and what has to be known of each of them before any is trained on.

    Attributes
    ----------
    images : Tensor of shape (n, height, width, channels)
    ranks : ndarray of int of shape (n,)
        `value_ranks`.
    moments : Moments
    """

    images: object
    ranks: object
    moments: Moments


class ImageSet(NamedTuple):
    """Labelled images with weights: `rows` of an array, in canonical order.

    Attributes
    ----------
    images : Tensor of shape (n, height, width, channels)
        All that there are; never copied.
    rows : ndarray of int of shape (m,)
    labels : ndarray of int of shape (m,)
    weight : ndarray of float64 of shape (m,)
    """

    images: object
    rows: object
    labels: object
    weight: object

    def take(self, positions):
        """Return the images at some positions."""
        rows, labels, weight = (part[positions] for part in self[1:])
        return ImageSet(self.images, rows, labels, weight)

    def class_mass(self, n_classes):
        """Return the summed weights of every class."""
        return np.bincount(self.labels, weights=self.weight, minlength=n_classes)


def survey(images):
    """Look at all images once, and at those again that can hardly be told apart.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)

    Returns
    -------
    survey : Survey
    """
    places = np.random.RandomState(0).permutation(math.prod(images.shape[1:]))
    values = []

    def seen():
        for chunk in in_chunks(images):
            values.append(_at(chunk, places[:_ENOUGH]))
            yield chunk

    moments = moments_of(seen())
    ranks = value_ranks(images, np.concatenate(values), places)
    return Survey(images, ranks, moments)


def canonical_set(survey, labels, weight, rows=None):
    """Drop, merge and sort the rows of a weighted set of labelled images.

    Parameters
    ----------
    survey : Survey
        Of the images.
    labels : ndarray of int of shape (m,)
    weight : ndarray of float64 of shape (m,)
        Finite and not negative.
    rows : ndarray of int of shape (m,), default=None
        Which images the labels and weights belong to; None means all.

    Returns
    -------
    image_set : ImageSet
    """
    if rows is None:
        rows = np.arange(len(survey.images))
    counts = weight > 0
    rows, labels, weight = rows[counts], labels[counts], weight[counts]
    key = survey.ranks[rows]
    # Within a group the weights are sorted, so that their sum has one order as well.
    order = np.lexsort((weight, labels, key))
    starts = np.flatnonzero(_differs(key[order]) | _differs(labels[order]))
    summed = np.add.reduceat(weight[order], starts)
    first = order[starts]
    return ImageSet(survey.images, rows[first], labels[first], summed)


def value_ranks(images, values, places):
    """Rank images by the values of their pixels, one pixel after another.

    A few pixels that lie all over the image tell most images apart. Those that they do
    not tell apart are sorted further, by the pixels in which any of these differ.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    values : ndarray of shape (n, n_places)
        Their pixels in the first few of the places.
    places : ndarray of int
        All of an image that is flattened, in the order in which they are compared.

    Returns
    -------
    ranks : ndarray of int of shape (n,)
        How many of the others are smaller; the same for identical images.
    """
    ranks, tied = np.zeros(len(values), dtype=int), np.arange(len(values))
    n_seen = values.shape[1]
    for start in range(0, n_seen, _PLACES):
        tied = _refine(ranks, tied, values[tied, start : start + _PLACES])
    places = places[n_seen:]
    while len(tied):
        places = places[_vary(images, tied, ranks[tied])[places]]
        if not len(places):  # they are the same
            break
        found = [_at(chunk, places[:_PLACES]) for chunk in in_chunks(images, tied)]
        tied = _refine(ranks, tied, np.concatenate(found))
        places = places[_PLACES:]
    return ranks


def _refine(ranks, tied, values):
    """Rank images of the same rank by more values; return those still the same.

    Parameters
    ----------
    ranks : ndarray of int of shape (n,)
        Those of the images that are ranked are changed.
    tied : ndarray of int
        Positions of images that share their rank with others.
    values : ndarray of shape (n_tied, n_places)

    Returns
    -------
    tied : ndarray of int
    """
    values = values.T
    order = np.lexsort((*values[::-1], ranks[tied]))
    tied, before = tied[order], ranks[tied[order]]
    starts = _differs(before)
    for value in values:
        starts |= _differs(value[order])
    starts = np.flatnonzero(starts)
    sizes = np.diff(starts, append=len(tied))
    # a group stays where the one was that it was a part of
    ranks[tied] = before - np.searchsorted(before, before) + starts.repeat(sizes)
    return tied[(sizes > 1).repeat(sizes)]


def _differs(values):
    """Say of each value whether it differs from the one before; the first does."""
    found = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found


def _at(images, places):
    """Return the values in some places of images: a row for each image."""
    where = np.unravel_index(places, images.shape[1:])
    return on_host(images[(slice(None), *map(torch.from_numpy, where))])


def _vary(images, rows, ranks):
    """Say for each place whether it differs among images of the same rank.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    rows, ranks : ndarray of int of shape (m,)
        Images of the same rank follow one another.

    Returns
    -------
    vary : ndarray of bool
        By place in an image that is flattened.
    """
    later = np.flatnonzero(~_differs(ranks))
    vary = torch.zeros(images.shape[1:], dtype=torch.bool, device=images.device)
    pairs = (in_chunks(images, rows[places]) for places in (later, later - 1))
    for here, before in zip(*pairs, strict=True):
        vary |= (here != before).any(dim=0)
    return on_host(vary).ravel()
