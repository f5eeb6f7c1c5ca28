"""The order of images: by one pixel and, where that is the same, by the next.

Pixels are packed into words of 64 bits that sort as the pixels do, one after another.
Of each image a few words are kept at a time; only images that still cannot be told
apart are looked at again.
"""

from functools import partial

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import on_host, stacked
from sklearn_l2cnn._data.pixels import in_chunks

# Pixels after which images that still are the same are probably so altogether.
_ENOUGH = 64
# Bytes that are kept of all images at a time: of very many a few pixels of each.
_KEPT_BYTES = 1 << 26
# Images of which two neighbours are compared at a time.
_BLOCK = 1 << 18


def room_for(images):
    """Return memory for some words of every image."""
    most = -(-_ENOUGH // _per_word(images))
    few = _KEPT_BYTES // (8 * max(1, len(images)))
    return np.empty(len(images) * max(1, min(most, few)), np.uint64)


def value_ranks(images, places, room):
    """Rank images by the values of their pixels, one pixel after another.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    places : ndarray of int
        All of an image that is flattened, in the order in which they are compared.
    room : ndarray of uint64
        With the words of the first places.

    Returns
    -------
    ranks : ndarray of int of shape (n,)
        How many of the others are smaller; the same for identical images.
    """
    n_places, words = len(places), words_in(room, len(images), images)
    ranks, tied = _first_ranks(words[:, 0])
    tied = _ranked(ranks, tied, words[tied, 1:])
    while len(tied):
        places = places[words.shape[1] * _per_word(images) :]
        if n_places - len(places) >= _ENOUGH:
            places = places[_vary(images, tied, ranks)[places]]
        if not len(places):  # all that is tied is the same
            break
        words = words_in(room, len(tied), images)
        look = partial(packed, places=places, n_words=words.shape[1])
        parts = ((part,) for part in in_chunks(images, tied, look))
        stacked(parts, len(tied), [words])
        tied = _ranked(ranks, tied, words)
    return ranks


def same_as_before(values, order):
    """Say of values in an order which are the same as the ones before them."""
    found = np.zeros(len(order), dtype=bool)
    for start in range(1, len(order), _BLOCK):
        block = values[order[start - 1 : start + _BLOCK]]
        np.equal(block[1:], block[:-1], out=found[start : start + _BLOCK])
    return found


def in_groups(same):
    """Say which values have a neighbour that is the same, of `same_as_before`."""
    found = same.copy()
    found[:-1] |= same[1:]
    return found


# -- words ----------------------------------------------------------------------------


def _per_word(images):
    """Return how many pixels make a word."""
    return 8 // images.dtype.itemsize


def words_in(room, n_images, images):
    """Return the part of the room that has words of so many images, a row for each."""
    most = -(-_ENOUGH // _per_word(images))
    n_words = min(most, len(room) // n_images)
    return room[: n_images * n_words].reshape(n_images, n_words)


def packed(images, places, n_words):
    """Return the values in the first places as words, which sort as these do.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    places : ndarray of int
    n_words : int
        Where there are fewer places they end with zeros.

    Returns
    -------
    words : ndarray of uint64 of shape (n, n_words)
    """
    places = places[: n_words * _per_word(images)]
    where = np.unravel_index(places, images.shape[1:])
    values = on_host(images[(slice(None), *map(torch.from_numpy, where))])
    values = _as_unsigned(values)
    shape = len(values), n_words * _per_word(images)
    packed = np.zeros(shape, values.dtype.newbyteorder(">"))
    packed[:, : values.shape[1]] = values
    return packed.view(">u8")


def _as_unsigned(values):
    """Return numbers as unsigned integers of the same order, floats by their bits."""
    if values.dtype.kind == "u":
        return values
    dtype = np.dtype(f"u{values.itemsize}")
    bits = (values + 0).view(dtype)  # the sign of zero is nothing
    sign = dtype.type(1 << (8 * values.itemsize - 1))
    return np.where(bits & sign, ~bits, bits | sign)


# -- ranks ----------------------------------------------------------------------------


def _first_ranks(word):
    """Rank images by their first word.

    Parameters
    ----------
    word : ndarray of uint64 of shape (n,)

    Returns
    -------
    ranks : ndarray of int of shape (n,)
    tied : ndarray of int
        Positions of those that share their rank with others, ascending.
    """
    order = np.argsort(word)
    same = same_as_before(word, order)
    small = len(word) <= np.iinfo(np.int32).max
    starts = _starts(same, np.int32 if small else np.int64)
    ranks = np.empty_like(starts)
    ranks[order] = starts
    return ranks, np.sort(order[in_groups(same)].astype(ranks.dtype))


def _ranked(ranks, tied, words):
    """Rank images of the same rank by more words; return those still the same.

    Parameters
    ----------
    ranks : ndarray of int of shape (n,)
        Those of the images that are ranked are changed.
    tied : ndarray of int of shape (n_tied,)
        Positions of images that share their rank with others.
    words : ndarray of uint64 of shape (n_tied, n_words)

    Returns
    -------
    tied : ndarray of int
        Ascending, so that they are read one after another.
    """
    left = np.arange(len(tied))
    for word in words.T:
        if not len(left):
            break
        left = left[_ranked_by_word(ranks, tied[left], word[left])]
    return tied[left]


def _ranked_by_word(ranks, tied, word):
    """Do as `_ranked` does with one word; return the places in `tied`, ascending."""
    before = ranks[tied]
    order = np.lexsort((word, before))
    old = same_as_before(before, order)
    same = old & same_as_before(word, order)
    # a group stays where the one was that it was a part of
    moved = _starts(same, ranks.dtype)
    moved -= _starts(old, ranks.dtype)
    moved += before[order]
    ranks[tied[order]] = moved
    return np.sort(order[in_groups(same)])


def _starts(same, dtype):
    """Return where the group of each begins, of `same_as_before`."""
    starts = np.arange(len(same), dtype=dtype)
    starts[same] = 0
    return np.maximum.accumulate(starts, out=starts)


def _vary(images, tied, ranks):
    """Say for each place whether it differs among images of the same rank.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    tied : ndarray of int of shape (m,)
        Positions of images that share their rank with others.
    ranks : ndarray of int of shape (n,)

    Returns
    -------
    vary : ndarray of bool
        By place in an image that is flattened.
    """
    order = np.argsort(ranks[tied])
    rows, [later] = tied[order], np.nonzero(same_as_before(ranks[tied], order))
    vary = torch.zeros(images.shape[1:], dtype=torch.bool, device=images.device)
    pairs = (in_chunks(images, rows[places]) for places in (later, later - 1))
    for here, before in zip(*pairs, strict=True):
        vary |= (here != before).any(dim=0)
    return on_host(vary).ravel()
