"""The training set as a weighted set of images: the canonical form.

What is learnt may depend on which images are there and how much each weighs, and on
nothing else: not on the order of the rows, not on whether an image comes once with
weight 2 or twice with weight 1, not on rows of weight 0. Rounding makes that fail as
soon as the same sum is taken in another order, so the rows are brought to one form
before anything is computed: no row of weight 0, identical (image, label) rows merged,
sorted by a hash of their bytes, weights of mean 1 in float32.
"""

from typing import NamedTuple

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import (
    arange,
    as_words,
    cast,
    class_sums,
    dtype_name,
    flatnonzero,
    group_sums,
    is_tensor,
    lexsort,
)
from sklearn_l2cnn._data.pixels import pieces


class ImageSet(NamedTuple):
    """Labelled images with weights: `rows` of an array, in canonical order.

    Attributes
    ----------
    images : ndarray or Tensor of shape (n, height, width, channels)
        All that came; never copied. The others are of its kind.
    rows : array of int of shape (m,)
    labels : array of int of shape (m,)
    weight : array of float64 of shape (m,)
    """

    images: object
    rows: object
    labels: object
    weight: object

    def take(self, positions):
        """Return the part that stands at some positions."""
        return ImageSet(
            self.images,
            self.rows[positions],
            self.labels[positions],
            self.weight[positions],
        )

    def class_mass(self, n_classes):
        """Return the summed weights of every class."""
        return class_sums(self.labels, self.weight, n_classes)


def canonical_set(images, labels, weight):
    """Bring labelled images with weights to the canonical form, as an ImageSet."""
    rows, weight = canonical_form(images, labels, weight)
    return ImageSet(images, rows, labels[rows], weight)


def canonical_form(images, labels, weight):
    """Drop, merge and sort the rows of a weighted set of labelled images.

    Parameters
    ----------
    images : ndarray or Tensor of shape (n, height, width, channels)
    labels : array of int of shape (n,)
    weight : array of float64 of shape (n,)
        Finite and not negative.

    Returns
    -------
    rows : array of int of shape (m,)
        Where in `images` each distinct (image, label) stands, in canonical order.
    weight : array of float64 of shape (m,)
        The summed weights of each.
    """
    rows = flatnonzero(weight > 0)
    labels, weight = labels[rows], weight[rows]
    key = row_hashes(images, rows)
    order, starts = _groups(key, labels, weight)
    if not _groups_are_equal(images, rows[order], starts):
        # Two different images share a hash. It has never been seen with 64 bits, but
        # then the promise is "exactly": rank the rows by their bytes.
        key = _byte_ranks(images, rows)
        order, starts = _groups(key, labels, weight)
    # Within a group the weights are sorted, so that their sum has one order as well.
    return rows[order[starts]], group_sums(weight[order], starts)


def normalized_weights(weight):
    """Scale weights to mean 1, as float32.

    float32 hides the rounding of float64: weights that are multiples of each other
    come out bit for bit the same.
    """
    if not weight.any():
        raise ValueError(
            "Sample weights times class_weight are zero for every image: class_weight "
            "must leave at least one class of y a positive weight."
        )
    weight = weight / weight.max()
    return cast(weight * (len(weight) / weight.sum()), "float32")


def _groups(key, labels, weight):
    """Sort rows by key, label, weight; return the order and where each group starts."""
    order = lexsort((weight, labels, key))
    key, labels = key[order], labels[order]
    first = order >= 0  # all of them
    first[1:] = (key[1:] != key[:-1]) | (labels[1:] != labels[:-1])
    return order, flatnonzero(first)


def _groups_are_equal(images, rows, starts):
    """Say whether all the images within each group of sorted rows are the same."""
    within = rows >= 0
    within[starts] = False
    later = flatnonzero(within)
    return all(
        bool((images[rows[later[part]]] == images[rows[later[part] - 1]]).all())
        for part in pieces(len(later), images.shape[1:])
    )


def row_hashes(images, rows):
    """Hash images to 64 bits each, by the bytes of their values (-0.0 is 0.0).

    The hash of a row is the sum of its words, each mixed with its position by the
    finaliser of SplitMix64: the same on every platform, device and memory layout. They
    are integers with a sign, shifted so that they sort as those without one would.

    Parameters
    ----------
    images : ndarray or Tensor of shape (n, height, width, channels)
    rows : array of int of shape (m,)

    Returns
    -------
    hashes : array of int64 of shape (m,)
    """
    hashes = rows * 0
    for part in pieces(len(rows), images.shape[1:]):
        words = _words(images[rows[part]])
        position = arange(1, words.shape[1] + 1, like=words)
        words = words + position * _signed(0x9E3779B97F4A7C15)
        words ^= _shifted(words, 30)
        words *= _signed(0xBF58476D1CE4E5B9)
        words ^= _shifted(words, 27)
        words *= _signed(0x94D049BB133111EB)
        words ^= _shifted(words, 31)
        hashes[part] = words.sum(axis=1) ^ _signed(1 << 63)
    return hashes


def _signed(word):
    """Return the 64-bit integer with a sign that has the bits of one without."""
    return word - (1 << 64) if word >> 63 else word


def _shifted(words, bits):
    """Shift to the right, zeros following from the left."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def _byte_ranks(images, rows):
    """Rank images by their bytes: exact and slow."""
    cuts = pieces(len(rows), images.shape[1:])
    words = [_words(images[rows[part]]) for part in cuts]
    if is_tensor(images):
        return torch.unique(torch.cat(words), dim=0, return_inverse=True)[1]
    ranks = np.unique(np.concatenate(words), axis=0, return_inverse=True)[1]
    return ranks.reshape(-1)


def _words(images):
    """View a few images as rows of 64-bit words."""
    rows = images.reshape(len(images), -1)
    return as_words(rows if dtype_name(rows) == "uint8" else rows + 0.0)
