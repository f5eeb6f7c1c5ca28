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

from sklearn_l2cnn._images import pieces


class ImageSet(NamedTuple):
    """Labelled images with weights: `rows` of an array, in canonical order.

    Attributes
    ----------
    images : ndarray of shape (n, height, width, channels)
        All that came; never copied.
    rows : ndarray of int of shape (m,)
    labels : ndarray of int of shape (m,)
    weight : ndarray of float64 of shape (m,)
    """

    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    weight: np.ndarray

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
        return np.bincount(self.labels, weights=self.weight, minlength=n_classes)


def canonical_set(images, labels, weight):
    """Bring labelled images with weights to the canonical form, as an ImageSet."""
    rows, weight = canonical_form(images, labels, weight)
    return ImageSet(images, rows, labels[rows], weight)


def canonical_form(images, labels, weight):
    """Drop, merge and sort the rows of a weighted set of labelled images.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels)
    labels : ndarray of int of shape (n,)
    weight : ndarray of float64 of shape (n,)
        Finite and not negative.

    Returns
    -------
    rows : ndarray of int of shape (m,)
        Where in `images` each distinct (image, label) stands, in canonical order.
    weight : ndarray of float64 of shape (m,)
        The summed weights of each.
    """
    present = np.flatnonzero(weight > 0)
    images_present, labels = images[present], labels[present]
    weight = weight[present]
    key = row_hashes(images_present)
    order, starts = _groups(key, labels, weight)
    if not _groups_are_equal(images_present, order, starts):
        # Two different images share a hash. It has never been seen with 64 bits, but
        # then the promise is "exactly": rank the rows by their bytes.
        key = _byte_ranks(images_present)
        order, starts = _groups(key, labels, weight)
    # Within a group the weights are sorted, so that their sum has one order as well.
    return present[order[starts]], np.add.reduceat(weight[order], starts)


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
    return (weight * (len(weight) / weight.sum())).astype(np.float32)


def _groups(key, labels, weight):
    """Sort rows by key, label, weight; return the order and where each group starts."""
    order = np.lexsort((weight, labels, key))
    key, labels = key[order], labels[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (key[1:] != key[:-1]) | (labels[1:] != labels[:-1])
    return order, np.flatnonzero(first)


def _groups_are_equal(images, order, starts):
    """Say whether all the images within each group are the same."""
    within = np.ones(len(order), dtype=bool)
    within[starts] = False
    later = np.flatnonzero(within)
    return all(
        np.array_equal(images[order[later[part]]], images[order[later[part] - 1]])
        for part in pieces(len(later), images.shape[1:])
    )


def row_hashes(images):
    """Hash every image to 64 bits, by the bytes of its values (-0.0 is 0.0).

    The hash of a row is the sum of its words, each mixed with its position by the
    finaliser of SplitMix64: the same on every platform and for every memory layout.
    """
    hashes = np.empty(len(images), dtype=np.uint64)
    for rows in pieces(len(images), images.shape[1:]):
        words = _words(images[rows])
        position = np.arange(1, words.shape[1] + 1, dtype=np.uint64)
        words = words + position * np.uint64(0x9E3779B97F4A7C15)
        words ^= words >> np.uint64(30)
        words *= np.uint64(0xBF58476D1CE4E5B9)
        words ^= words >> np.uint64(27)
        words *= np.uint64(0x94D049BB133111EB)
        words ^= words >> np.uint64(31)
        hashes[rows] = words.sum(axis=1, dtype=np.uint64)
    return hashes


def _byte_ranks(images):
    """Rank every image by its bytes: exact and slow."""
    cuts = pieces(len(images), images.shape[1:])
    words = np.concatenate([_words(images[rows]) for rows in cuts])
    return np.unique(words, axis=0, return_inverse=True)[1].reshape(-1)


def _words(images):
    """View the rows of a few images as 64-bit words, the last one padded with zeros."""
    rows = images.reshape(len(images), -1)
    if rows.dtype.kind == "f":
        rows = rows + 0.0  # -0.0 becomes 0.0
    rows = np.ascontiguousarray(rows).view(np.uint8)
    short = -rows.shape[1] % 8
    if short:
        rows = np.pad(rows, ((0, 0), (0, short)))
    return np.ascontiguousarray(rows).view(np.uint64)
