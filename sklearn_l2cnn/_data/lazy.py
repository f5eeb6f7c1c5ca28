"""Images that are read when they are needed."""

import numpy as np

from sklearn_l2cnn._data.arrays import as_array, rows_at
from sklearn_l2cnn._data.cached import cached
from sklearn_l2cnn._data.stores import MapStore, store_of


class LazyImages:
    """Images that stay where they are, and are read when they are needed.

    To scikit-learn this is an array: some rows of it are such an object again, so that
    splitters, searches and pipelines copy nothing, and other processes get only its
    description. `fit`, `partial_fit`, `predict`, `score` and searches read it batch by
    batch, in threads, ahead of what is computed, and learn what they learn from the
    same images in memory, to the last bit. All else, such as ``numpy.asarray``, reads
    it as a whole.

    Files of images are read by
    ``sklearn_l2cnn.preprocessing.ImageReader(lazy=True).transform(paths)``, which
    returns such an object.

    Parameters
    ----------
    source : memory map, array or data set
        A ``numpy.memmap``; an array of zarr, of HDF5 (``h5py``) or of dask, or any that
        has a ``shape`` and a ``dtype`` and gives some rows for an increasing array of
        them; or a data set of torch whose samples are images, or begin with one, such
        as torchvision's ``ImageFolder``. The samples of data sets other than those of
        files are asked for by one thread at a time.

    rows : array-like of int, default=None
        Which images, in which order. None is all.

    cache : str or path, default=None
        A folder in which images are kept once they have been read, so that this
        process, others and later ones read them as from a memory map. A source is known
        by its description: after a change of the images behind it, pass another folder
        or delete this one. Memory maps are read as ever.

    Attributes
    ----------
    shape : tuple of int
        As the images are given: ``(n, height, width)``, ``(n, height, width,
        channels)``, with ``channels="first"`` ``(n, channels, height, width)``, or rows
        ``(n, n_features)``.

    dtype : numpy.dtype

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.datasets import LazyImages
    >>> X, y = load_digits(return_X_y=True)
    >>> path = os.path.join(tempfile.mkdtemp(), "digits.npy")
    >>> np.save(path, X.reshape(-1, 8, 8).astype(np.float32))
    >>> X = LazyImages(np.load(path, mmap_mode="r"))
    >>> X[100:300].shape
    (200, 8, 8)
    >>> clf = L2CNNClassifier(max_epochs=5, random_state=0).fit(X[:1000], y[:1000])
    >>> clf.score(X[1000:], y[1000:]) > 0.8
    True
    """

    def __init__(self, source, rows=None, *, cache=None):
        if isinstance(source, LazyImages):
            rows = source.rows if rows is None else rows_at(source.rows, _as_rows(rows))
            source = source.store
        store = store_of(source)
        if store is None:
            raise TypeError(
                f"LazyImages of {type(source).__name__}: a numpy.memmap, an array with "
                "a shape and a dtype, or a torch.utils.data.Dataset with a length was "
                "expected. Paths of files are read by "
                "sklearn_l2cnn.preprocessing.ImageReader(lazy=True).transform(paths)."
            )
        if cache is not None and not isinstance(store, MapStore):
            store = cached(store, cache)
        self.store = store
        self.rows = range(store.shape[0]) if rows is None else _as_rows(rows)
        self.shape = len(self.rows), *store.shape[1:]
        self.dtype = np.dtype(store.dtype)

    def __len__(self):
        return len(self.rows)

    @property
    def ndim(self):
        """Dimensions of the images."""
        return len(self.shape)

    @property
    def nbytes(self):
        """Bytes that the images would take in memory."""
        return int(np.prod(self.shape, dtype=float)) * self.dtype.itemsize

    def __getitem__(self, rows):
        if isinstance(rows, tuple):  # of scikit-learn: images[rows, ...]
            rows, *others = rows
            if any(part not in (Ellipsis, slice(None)) for part in others):
                raise IndexError(
                    f"LazyImages are indexed by rows alone, and {others!r} came as "
                    "well. np.asarray(images) is an array with all dimensions."
                )
        if isinstance(rows, int | np.integer):
            return self[rows : rows + 1 or None].read()[0]
        return LazyImages(self.store, rows_at(self.rows, _as_rows(rows)))

    def read(self):
        """Read the images into memory.

        Returns
        -------
        images : ndarray of shape (n, ...)
        """
        return self.store.read(as_array(self.rows))

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("LazyImages cannot be an array without being read.")
        return self.read().astype(dtype or self.dtype, copy=False)

    def __repr__(self):
        return f"LazyImages(shape={self.shape}, dtype={self.dtype}, of {self.store!r})"


def _as_rows(rows):
    """Return what indexes rows as what numpy takes."""
    if isinstance(rows, slice | range):
        return rows
    rows = np.asarray(rows)
    return rows if rows.dtype == bool else rows.astype(int, casting="same_kind")
