"""Images that are decoded once and kept in a file.

A folder has two files for every form of images: the keys that its images are known by,
16 bytes each, and in the same order the images, each behind a sum of its key and its
bytes. The sum says that an image is there, whole and the one that is meant, so that any
number of threads and processes may read and write at a time, and may be killed:
whatever does not add up is decoded again. A lock is for those who give out new places.
"""

import os
import shutil
import zlib

import numpy as np

from sklearn_l2cnn._data.stores import MapStore, Store, runs_of

_KEY_BYTES = 16
# Seconds to wait for others that give out places, which takes them a moment.
_PATIENCE = 300


def cached(store, folder):
    """Return a store that keeps in a folder what it has read from another one.

    Parameters
    ----------
    store : Store
    folder : str or path
        Is made where there is none.
    """
    folder = os.path.abspath(os.path.expanduser(folder))
    os.makedirs(folder, exist_ok=True)
    name = "x".join(map(str, store.shape[1:])) + f"-{store.dtype}"
    path, keys = os.path.join(folder, name), store.keys()
    places = places_for(keys, path, _record_of(store).itemsize)
    salts = np.array([zlib.crc32(key or b"") for key in keys], dtype=np.uint32)
    return CachedStore(store, path, places, salts)


class CachedStore(Store):
    """The images of another store, each of which is read from there once.

    Parameters
    ----------
    store : Store
    path : str
        Of the files, without their extensions.
    places : ndarray of int of shape (n,)
        Of `places_for`.
    salts : ndarray of uint32 of shape (n,)
        What the sums of the images begin with.
    """

    def __init__(self, store, path, places, salts):
        self.store, self.path, self.places, self.salts = store, path, places, salts
        self.shape, self.dtype = store.shape, store.dtype
        self.record = _record_of(store)
        self.kept = None  # of no image
        if len(places) and places.max() >= 0:
            shape = int(places.max()) + 1, self.record.itemsize
            file = np.memmap(f"{path}.images", np.uint8, "r", shape=shape)
            self.kept = MapStore(file)

    def attempt(self, rows):
        """Return some of the images, and which of them could be read."""
        rows = np.asarray(rows, dtype=int)
        images, there = self._kept_of(rows)
        missing = np.flatnonzero(~there)
        if len(missing):
            images[missing], there[missing] = self.store.attempt(rows[missing])
            new = missing[there[missing] & (self.places[rows[missing]] >= 0)]
            self._keep(rows[new], images[new])
        return images, there

    def _kept_of(self, rows):
        """Return what is kept of images, and which of it is there."""
        images = np.empty((len(rows), *self.shape[1:]), self.dtype)
        there = np.zeros(len(rows), dtype=bool)
        places = self.places[rows]
        given = np.flatnonzero(places >= 0)
        if len(given):
            records = self.kept.read(places[given]).view(self.record)[:, 0]
            sums = _sums(records["image"], self.salts[rows[given]])
            there[given] = records["sum"] == sums
            images[given] = records["image"]
        return images, there

    def _keep(self, rows, images):
        """Write images into their places of the file."""
        order = np.argsort(self.places[rows])
        rows, images = rows[order], images[order]
        records, places = np.empty(len(rows), self.record), self.places[rows]
        records["sum"], records["image"] = _sums(images, self.salts[rows]), images
        try:
            with open(f"{self.path}.images", "r+b") as file:
                for start, stop in runs_of(places):
                    file.seek(int(places[start]) * self.record.itemsize)
                    file.write(records[start:stop].tobytes())
        except OSError as error:
            raise type(error)(
                error.errno,
                f"Images could not be kept in {self.path + '.images'!r} "
                f"({error.strerror}). Pass another folder as cache=, or None",
            ) from error

    def __reduce__(self):
        return CachedStore, (self.store, self.path, self.places, self.salts)

    def __repr__(self):
        return f"{self.store!r}, kept in {os.path.dirname(self.path)!r}"


def _record_of(store):
    return np.dtype([("sum", "<u8"), ("image", store.dtype, store.shape[1:])])


def _sums(images, salts):
    """Return a sum of the bytes of each image, beginning with a salt; it is never 0."""
    pairs = zip(map(np.ascontiguousarray, images), salts.tolist(), strict=True)
    return np.array([1 << 32 | zlib.crc32(*pair) for pair in pairs], dtype=np.uint64)


def places_for(keys, path, n_bytes):
    """Return where images are kept; those that are new get the next free places.

    Parameters
    ----------
    keys : list of bytes or None
        What each image is known by, None for one that is not kept.
    path : str
        Of the files, without their extensions.
    n_bytes : int
        That an image takes there.

    Returns
    -------
    places : ndarray of int of shape (n,)
        -1 for images that are not kept.
    """
    from filelock import FileLock

    with FileLock(f"{path}.lock", timeout=_PATIENCE), open(f"{path}.keys", "a+b") as f:
        f.seek(0)
        known = f.read()
        n_known = len(known) // _KEY_BYTES
        starts = range(0, n_known * _KEY_BYTES, _KEY_BYTES)
        place_of = {known[k : k + _KEY_BYTES]: k // _KEY_BYTES for k in starts}
        place_of[None] = -1
        new = [key for key in dict.fromkeys(keys) if key not in place_of]
        if new:
            _check_room(path, len(new), n_bytes)
            f.truncate(n_known * _KEY_BYTES)  # of a process that was killed here
            f.write(b"".join(new))
            place_of.update(zip(new, range(n_known, n_known + len(new)), strict=True))
        with open(f"{path}.images", "ab") as images:
            images.truncate((n_known + len(new)) * n_bytes)
    return np.array([place_of[key] for key in keys], dtype=int)


def _check_room(path, n_images, n_bytes):
    """Raise where a disk has no room for so many images."""
    free = shutil.disk_usage(os.path.dirname(path)).free
    if n_images * n_bytes > free:
        raise OSError(
            f"{n_images:,} images of {n_bytes:,} bytes were to be kept in "
            f"{os.path.dirname(path)!r}, where {free:,} bytes are free. Pass another "
            "folder as cache=, or None."
        )
