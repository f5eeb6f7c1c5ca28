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

from typing import NamedTuple

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._data.pixels import chunks

# Pixels that images are compared by at a time, and those after which images that still
# are the same are probably so altogether.
_PLACES = 32
_ENOUGH = 64


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


def canonical_set(images, labels, weight, rows=None, ranks=None):
    """Drop, merge and sort the rows of a weighted set of labelled images.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    labels : ndarray of int of shape (m,)
    weight : ndarray of float64 of shape (m,)
        Finite and not negative.
    rows : ndarray of int of shape (m,), default=None
        Which images the labels and weights belong to; None means all.
    ranks : ndarray of int of shape (n,), default=None
        `value_ranks` of all images, where they are known.

    Returns
    -------
    image_set : ImageSet
    """
    if rows is None:
        rows = np.arange(len(images))
    counts = weight > 0
    rows, labels, weight = rows[counts], labels[counts], weight[counts]
    key = value_ranks(images, rows) if ranks is None else ranks[rows]
    # Within a group the weights are sorted, so that their sum has one order as well.
    order = np.lexsort((weight, labels, key))
    starts = np.flatnonzero(_differs(key[order]) | _differs(labels[order]))
    summed = np.add.reduceat(weight[order], starts)
    first = order[starts]
    return ImageSet(images, rows[first], labels[first], summed)


def value_ranks(images, rows):
    """Rank images by the values of their pixels, one pixel after another.

    A few pixels that lie all over the image tell most images apart. Those that they do
    not tell apart are sorted further, by the pixels in which any of these differ.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    rows : ndarray of int of shape (m,)

    Returns
    -------
    ranks : ndarray of int of shape (m,)
        How many of the others are smaller; the same for identical images.
    """
    ranks, tied = np.zeros(len(rows), dtype=int), np.arange(len(rows))
    places = np.random.RandomState(0).permutation(images[0].numel())
    few = len(places) - _ENOUGH
    while len(tied) > 1 and len(places):
        values = _pixels(images, rows[tied], places[:_PLACES])
        places = places[_PLACES:]
        order = np.lexsort((*values[::-1], ranks[tied]))
        tied, before = tied[order], ranks[tied[order]]
        starts = _differs(before)
        for value in values:
            starts |= _differs(value[order])
        starts = np.flatnonzero(starts)
        sizes = np.diff(starts, append=len(tied))
        # a group stays where the one was that it was a part of
        ranks[tied] = before - np.searchsorted(before, before) + starts.repeat(sizes)
        tied = tied[(sizes > 1).repeat(sizes)]
        if len(places) <= few:
            places = places[_vary(images, rows[tied], ranks[tied])[places]]
    return ranks


def _differs(values):
    """Say of each value whether it differs from the one before; the first does."""
    found = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found


def _pixels(images, rows, places):
    """Return the values in some places of some images: an array for each place."""
    rows = torch.from_numpy(rows).to(images.device)
    where = zip(*np.unravel_index(places, images.shape[1:]), strict=True)
    return [on_host(images[(rows, *map(int, place))]) for place in where]


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
    for chunk in chunks(len(later), images.shape[1:]):
        here, before = images[rows[later[chunk]]], images[rows[later[chunk] - 1]]
        vary |= (here != before).any(dim=0)
    return on_host(vary).ravel()
