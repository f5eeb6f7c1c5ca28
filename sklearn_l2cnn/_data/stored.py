"""Images inside the package that are not in memory."""

import math

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import as_array, rows_at
from sklearn_l2cnn._utils.ahead import ahead
from sklearn_l2cnn._utils.surroundings import allowed_threads

# Bytes that a thread reads at a time where all images are looked at.
_CHUNK_BYTES = 1 << 22


class StoredImages:
    """Images that are read when they are asked for, as a tensor of some of them.

    Parameters
    ----------
    read : callable
        From rows to a tensor of these images. Several threads call it at a time.
    rows : ndarray of int of shape (n,), or range
        That the images have there.
    shape : tuple (height, width, channels)
    dtype : torch.dtype
    name : str
        Where they are.
    """

    device = torch.device("cpu")

    def __init__(self, read, rows, shape, dtype, name):
        self._read = read
        self.rows = rows
        self.shape = torch.Size((len(rows), *shape))
        self.dtype = dtype
        self.name = name

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, rows):
        rows = np.asarray(rows) if isinstance(rows, torch.Tensor) else rows
        return self.read(rows_at(self.rows, rows))

    def read(self, rows):
        """Read images by their rows in the store."""
        return self._read(as_array(rows))

    def part(self, where):
        """Return a slice of the images, of which none is read yet."""
        form = self.shape[1:], self.dtype, self.name
        return StoredImages(self._read, self.rows[where], *form)

    def in_chunks(self, rows=None, function=None):
        """Yield images, or what is made of them, in order; threads are ahead."""
        rows = self.rows if rows is None else rows_at(self.rows, rows)
        n_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        step = max(1, _CHUNK_BYTES // n_bytes)
        parts = (rows[start : start + step] for start in range(0, len(rows), step))

        def made(rows):
            chunk = self.read(rows)
            return chunk if function is None else function(chunk)

        yield from ahead(made, parts, allowed_threads())


def is_stored(images):
    """Say whether images are not in memory."""
    return isinstance(images, StoredImages)


def part_of(images, where):
    """Return a slice of images; those that are not in memory stay where they are."""
    return images.part(where) if is_stored(images) else images[where]


def at_hand(images, n=64):
    """Return images that are in memory: all of them, or a few that are read."""
    if not is_stored(images):
        return images
    return images[np.linspace(0, len(images) - 1, min(n, len(images))).astype(int)]
