"""The training set as a weighted set of images: the canonical form.

A result may depend on which images are there and how much each weighs, and on nothing
else: not on the order of the rows, not on whether an image comes once with weight 2 or
twice with weight 1, not on rows of weight 0. Rounding breaks that as soon as the same
sum is taken in another order, so the rows are brought to one form before anything is
computed: no row of weight 0, identical (image, label) rows merged, sorted by a hash of
their bytes, weights of mean 1 in float32.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import pad

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._data.pixels import chunks


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


def canonical_set(images, labels, weight, rows=None, hashes=None):
    """Drop, merge and sort the rows of a weighted set of labelled images.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    labels : ndarray of int of shape (m,)
    weight : ndarray of float64 of shape (m,)
        Finite and not negative.
    rows : ndarray of int of shape (m,), default=None
        Which images the labels and weights belong to; None means all.
    hashes : ndarray of int64 of shape (n,), default=None
        `row_hashes` of all images, where they are known.

    Returns
    -------
    image_set : ImageSet
    """
    if rows is None:
        rows = np.arange(len(images))
    counts = weight > 0
    rows, labels, weight = rows[counts], labels[counts], weight[counts]
    key = row_hashes(images, rows) if hashes is None else hashes[rows]
    order, starts = _groups(key, labels, weight)
    if not _groups_are_equal(images, rows[order], starts):
        # Two different images share a hash. It has never happened with 64 bits, but
        # then the promise is "exactly": rank the rows by their bytes.
        key = _byte_ranks(images, rows)
        order, starts = _groups(key, labels, weight)
    # Within a group the weights are sorted, so that their sum has one order as well.
    summed = np.add.reduceat(weight[order], starts)
    first = order[starts]
    return ImageSet(images, rows[first], labels[first], summed)


def _groups(key, labels, weight):
    """Sort rows by key, label, weight; return the order and where each group starts."""
    order = np.lexsort((weight, labels, key))
    key, labels = key[order], labels[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (key[1:] != key[:-1]) | (labels[1:] != labels[:-1])
    return order, np.flatnonzero(first)


def _groups_are_equal(images, rows, starts):
    """Say whether all the images within each group of sorted rows are the same."""
    later = np.delete(np.arange(len(rows)), starts)
    return all(
        bool((images[rows[later[chunk]]] == images[rows[later[chunk] - 1]]).all())
        for chunk in chunks(len(later), images.shape[1:])
    )


def row_hashes(images, rows):
    """Hash images to 64 bits each, by the bytes of their values (-0.0 is 0.0).

    The hash of a row is the sum of its words, each mixed with its position by the
    finaliser of SplitMix64: the same on every platform, device and memory layout. They
    are integers with a sign, shifted so that they sort as those without one would.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    rows : ndarray of int of shape (m,)

    Returns
    -------
    hashes : ndarray of int64 of shape (m,)
    """
    hashes = np.empty(len(rows), dtype=np.int64)
    for chunk in chunks(len(rows), images.shape[1:]):
        words = _words(images[rows[chunk]])
        position = torch.arange(1, words.shape[1] + 1, device=words.device)
        words = words + position * _signed(0x9E3779B97F4A7C15)
        words ^= _shifted(words, 30)
        words *= _signed(0xBF58476D1CE4E5B9)
        words ^= _shifted(words, 27)
        words *= _signed(0x94D049BB133111EB)
        words ^= _shifted(words, 31)
        hashes[chunk] = on_host(words.sum(dim=1) ^ _signed(1 << 63))
    return hashes


def _signed(word):
    """Return the 64-bit integer with a sign that has the bits of one without."""
    return word - (1 << 64) if word >> 63 else word


def _shifted(words, bits):
    """Shift to the right, zeros following from the left."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def _byte_ranks(images, rows):
    """Rank images by their bytes: exact and slow."""
    cuts = chunks(len(rows), images.shape[1:])
    words = torch.cat([_words(images[rows[chunk]]) for chunk in cuts])
    return on_host(torch.unique(words, dim=0, return_inverse=True)[1])


def _words(images):
    """View a few images as rows of 64-bit words, the last padded with zeros."""
    rows = images.reshape(len(images), -1)
    rows = rows if rows.dtype == torch.uint8 else rows + 0.0
    rows = rows.contiguous().view(torch.uint8)
    return pad(rows, (0, -rows.shape[1] % 8)).contiguous().view(torch.int64)
