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

from sklearn_l2cnn._data.arrays import stacked
from sklearn_l2cnn._data.ordering import (
    in_groups,
    packed,
    room_for,
    same_as_before,
    value_ranks,
    words_in,
)
from sklearn_l2cnn._data.pixels import as_moments, in_chunks, moments_of_chunk


class Survey(NamedTuple):
    """Images, and what has to be known of each of them before any is trained on.

    Attributes
    ----------
    images : Tensor of shape (n, height, width, channels)
    ranks : ndarray of int of shape (n,)
        `value_ranks`.
    moments : Moments or None
        None where they are not needed.
    """

    images: object
    ranks: object
    moments: object


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


def survey(images, with_moments=True):
    """Look at all images once, and at those again that can hardly be told apart.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    with_moments : bool, default=True
        Whether to find the moments of their pixels as well.

    Returns
    -------
    survey : Survey
    """
    places = np.random.RandomState(0).permutation(math.prod(images.shape[1:]))
    room = room_for(images)
    words = words_in(room, len(images), images)

    def look(chunk):
        found = moments_of_chunk(chunk) if with_moments else ()
        return packed(chunk, places, words.shape[1]), *found

    parts = in_chunks(images, function=look)
    _, *found = stacked(parts, len(images), [words])
    moments = as_moments(images, found) if with_moments else None
    return Survey(images, value_ranks(images, places, room), moments)


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
    ranks = survey.ranks if rows is None else survey.ranks[rows]
    counts = weight > 0
    if not counts.all():
        [counts] = np.nonzero(counts)
        rows = counts if rows is None else rows[counts]
        ranks, labels, weight = ranks[counts], labels[counts], weight[counts]
    order, same = _sorted(ranks, labels, weight)
    weight = _at(weight, order)
    if same.any():
        [starts] = np.nonzero(~same)
        weight, order = np.add.reduceat(weight, starts), order[starts]
    rows = order.astype(ranks.dtype) if rows is None else rows[order]
    return ImageSet(survey.images, rows, labels[order], weight)


def _sorted(ranks, labels, weight):
    """Return the order of images, and which are the same as the ones before them.

    Within a group the weights are sorted, so that their sum has one order as well.
    """
    order = np.argsort(ranks)
    same = same_as_before(ranks, order)
    if same.any():
        [places] = np.nonzero(in_groups(same))
        some = np.sort(order[places])
        order[places] = some[np.lexsort((weight[some], labels[some], ranks[some]))]
        same &= same_as_before(labels, order)
    return order, same


def _at(values, places):
    """Return the values in some places; one that is repeated for all stays one."""
    return values[: len(places)] if values.strides == (0,) else values[places]
