"""Where images are that are not in memory, and how some of them are read."""

import math
import mmap
import os
import threading
import weakref
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
from torch.utils.data import Dataset

from sklearn_l2cnn._data.arrays import tensor_to_numpy
from sklearn_l2cnn._utils.identity import identity


class Store:
    """What images are read from.

    Subclasses have the attributes ``shape`` and ``dtype`` of the array that they stand
    for, and ``read`` or ``attempt``, of an array of rows, which several threads may
    call at a time. Other processes get their description, never their images.
    """

    def read(self, rows):
        """Return some of the images."""
        return self.attempt(rows)[0]

    def attempt(self, rows):
        """Return some of the images, and which of them are no stand-ins."""
        return self.read(rows), np.ones(len(rows), dtype=bool)

    def keys(self):
        """Return what every image is known by among those of all stores: 16 bytes.

        Two images of one key are the same. None is an image that has no such key.
        """
        own = bytes.fromhex(identity(type(self), self.shape, self.description()))[:8]
        return [own + row.to_bytes(8, "little") for row in range(self.shape[0])]

    def description(self):
        """Return what tells the images of this store from those of others."""
        return self.__reduce__()


def store_of(source):
    """Return the store of what a user gave, or None where there is none for it.

    Parameters
    ----------
    source : Store, memory map, array that is stored elsewhere, or data set of torch
    """
    if isinstance(source, Store):
        return source
    if map_of(source) is not None:
        return MapStore(source)
    if isinstance(source, Dataset) and hasattr(source, "__len__"):
        return SampleStore(source)
    has_form = hasattr(source, "shape") and hasattr(source, "dtype")
    if has_form and hasattr(source, "__getitem__"):
        return ArrayStore(source)
    return None


def runs_of(rows):
    """Return where runs of rows that follow one another start and end."""
    return pairwise([*np.flatnonzero(np.diff(rows, prepend=-2) != 1), len(rows)])


def map_of(array):
    """Return the memory map that an array lies in, None where it lies elsewhere."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
            return array
        array = array.base
    return None


class MapStore(Store):
    """The images of a file that is mapped into memory.

    Parameters
    ----------
    array : ndarray
        A part of a `numpy.memmap`.
    """

    def __init__(self, array):
        self.array, self.map = np.asarray(array), map_of(array)
        self.shape, self.dtype = array.shape, array.dtype
        self.file = self._opened()

    def read(self, rows):
        """Return some of the images.

        They are read from the file: pages of the map that were touched would stay with
        the process until the system needs their memory.
        """
        if self.file is None:
            return self.array[rows]
        # ranks have 4 bytes, and places in a file may need more
        return self._read_from(self.file, np.asarray(rows, dtype=np.int64))

    def _opened(self):
        """Open the file; None where images do not lie in it one after another as here.

        In mode "c" what a process writes stays in pages of its own.
        """
        own = self.map.filename is None or self.map.mode == "c"
        alike = len(self.array) and self.array[:1].flags.c_contiguous
        if own or not alike or not hasattr(os, "preadv"):
            return None
        ends = np.unique([0, len(self.array) - 1])
        try:
            # it is read from for as long as this is there
            file = open(self.map.filename, "rb", buffering=0)  # noqa: SIM115
            if np.array_equal(self._read_from(file, ends), self.array[ends]):
                weakref.finalize(self, file.close)
                return file
            file.close()
        except OSError:  # it is there no more, or another one
            pass
        return None

    def _read_from(self, file, rows):
        _, offset, *_, (step, *_) = self._description()
        shape = len(rows), *self.shape[1:]
        n_bytes = math.prod(shape[1:]) * self.dtype.itemsize
        # rows that follow one another are read at once
        runs = list(runs_of(rows)) if step == n_bytes else ()
        if 2 * len(runs) > len(rows) or step != n_bytes:
            places = (offset + rows * step).tolist()
            parts = [os.pread(file.fileno(), n_bytes, place) for place in places]
            memory = bytearray().join(parts)
            found, n_read = np.frombuffer(memory, self.dtype), len(memory)
        else:
            found, n_read = np.empty(math.prod(shape), self.dtype), 0
            memory = memoryview(found.view(np.uint8))
            for start, stop in runs:
                part = memory[start * n_bytes : stop * n_bytes]
                n_read += _read_into(file, part, offset + int(rows[start]) * step)
        if n_read < len(rows) * n_bytes:
            raise OSError(f"{self!r} is shorter than it was.")
        return found.reshape(shape)

    def __repr__(self):
        return f"the memory map {str(self.map.filename)!r}"

    def _description(self):
        """Return what `_opened_map` opens the same part of the file by."""
        starts = (
            part.__array_interface__["data"][0] for part in (self.array, self.map)
        )
        offset = self.map.offset + next(starts) - next(starts)
        form = self.dtype, self.shape, self.array.strides
        return str(self.map.filename), offset, *form

    def __reduce__(self):
        if self.map.filename is None or self.map.mode == "c":
            return MapStore, (self.array,)
        return _opened_map, self._description()


def _read_into(file, part, place):
    """Fill memory from a place of a file on; return how much could be read."""
    n_read = 0
    while n_read < len(part):
        more = os.preadv(file.fileno(), [part[n_read:]], place + n_read)
        if not more:
            break
        n_read += more
    return n_read


def _opened_map(filename, offset, dtype, shape, strides):
    """Open a part of a file as a store, to be read only."""
    steps = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    before = -sum(step for step in steps if step < 0)
    n_bytes = before + sum(step for step in steps if step > 0) + dtype.itemsize
    part = np.memmap(filename, np.uint8, "r", offset - before, n_bytes)
    return MapStore(np.ndarray(shape, dtype, part, before, strides))


class ArrayStore(Store):
    """The images of an array that is stored elsewhere: zarr's, of HDF5, dask's.

    Parameters
    ----------
    array : array-like
        That gives some of its rows for an increasing array of them.
    """

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)

    def read(self, rows):
        """Return some of the images: each is asked for once, in ascending order."""
        found, places = np.unique(rows, return_inverse=True)
        if len(found) and found[-1] - found[0] == len(found) - 1:
            some = self.array[int(found[0]) : int(found[-1]) + 1]
        else:
            some = getattr(self.array, "oindex", self.array)[found]
        some = np.asarray(some)
        return some if np.array_equal(found, rows) else some[places]

    def description(self):
        """Return where the array is: it may be open for reading, or for more."""
        array = self.array
        if self._library() == "h5py":
            filename = os.path.abspath(array.file.filename)
            return filename, os.stat(filename).st_mtime_ns, array.name
        if self._library() == "dask":  # whose names are made of what is computed
            return array.name
        if hasattr(array, "store_path"):  # zarr 3
            place = str(array.store_path)
            return array if place.startswith("memory:") else place
        folder = getattr(getattr(array, "store", None), "path", None)  # zarr 2
        return array if folder is None else (os.path.abspath(folder), array.path)

    def _library(self):
        return type(self.array).__module__.partition(".")[0]

    def __reduce__(self):
        if self._library() == "h5py":  # which cannot be pickled
            return _opened_hdf5, (self.array.file.filename, self.array.name)
        return ArrayStore, (self.array,)

    def __repr__(self):
        return f"an array of {self._library()}"


def _opened_hdf5(filename, name):
    import h5py

    return ArrayStore(h5py.File(filename, "r")[name])


class SampleStore(Store):
    """The images of a data set of torch: its samples, or the first part of each.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
    """

    def __init__(self, dataset):
        self.dataset = dataset
        first = self._image(0)
        self.shape, self.dtype = (len(dataset), *first.shape), first.dtype
        # files of images are opened one by one; what else a data set does is not known
        is_of_files = hasattr(dataset, "samples")
        self.alone = nullcontext() if is_of_files else threading.Lock()

    def _image(self, row):
        sample = self.dataset[row]
        if isinstance(sample, tuple | list):
            sample = sample[0]
        return np.asarray(tensor_to_numpy(sample))

    def read(self, rows):
        """Return some of the images."""
        images = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for place, row in enumerate(rows):
            with self.alone:
                image = self._image(int(row))
            if image.shape != self.shape[1:]:
                raise ValueError(
                    f"Sample {row} of the {type(self.dataset).__name__} has shape "
                    f"{image.shape}, the first one has {self.shape[1:]}; one shape was "
                    "expected. A transform of the data set brings them to one, such as "
                    "torchvision.transforms.Resize((64, 64))."
                )
            images[place] = image
        return images

    def __reduce__(self):
        return SampleStore, (self.dataset,)

    def __repr__(self):
        return f"a {type(self.dataset).__name__}"
