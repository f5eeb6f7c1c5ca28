"""Images in any form: files, bytes, Pillow images, arrays, and mappings with one."""

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np

from sklearn_l2cnn._data.arrays import holds_numbers, is_tensor, tensor_to_numpy
from sklearn_l2cnn._data.data_sets import refuse_data_set
from sklearn_l2cnn._data.files import describe_source, is_file, is_pil

# Where a mapping has its image, the first that is there: those of data sets of the
# Hugging Face hub, of which a path may not lead anywhere where there are bytes.
_KEYS = ("bytes", "image", "img", "path")


def sources_of(X):
    """List the images of an array-like, or return None for one array of numbers.

    Parameters
    ----------
    X : object

    Returns
    -------
    sources : list or None
        Paths, bytes, Pillow images and arrays of numpy.
    """
    if is_file(X):
        raise ValueError(
            f"X is a single image, {describe_source(X)}; several were expected. Pass a "
            "list: [X]."
        )
    refuse_data_set(X)
    if not isinstance(X, list | tuple) and not _is_sequence(X):
        kind = getattr(getattr(X, "dtype", None), "kind", None)
        if kind not in ("O", "U", "T", None) or not hasattr(X, "__len__"):
            return None
        X = _column(X)
        if X is None:
            return None
    if not len(X):
        raise ValueError("X is empty, it has 0 sample(s); at least 1 is required.")
    X = [_unpacked(source) for source in X]
    if not any(is_file(source) or _is_image(source) for source in X):
        return None
    return X


def _column(X):
    """Return the single column of an array or data frame, or None if it has several."""
    shape = getattr(X, "shape", (len(X),))
    if len(shape) > 2 or is_tensor(X):
        return None
    if len(shape) == 2 and shape[1] > 1:
        # iloc, since slices of a data frame with a numeric index go by labels
        first = np.asarray(getattr(X, "iloc", X)[:1], dtype=object)
        file = next(filter(is_file, map(_unpacked, first.flat)), None)
        if file is None:
            return None
        raise ValueError(
            f"X has {shape[1]} columns, one of which contains {describe_source(file)}; "
            "a single column of images was expected. Select it by its name, or, if the "
            "other columns are needed as well, use make_pipeline(ImageReader(), "
            "ImagesToRows()) in a ColumnTransformer."
        )
    X = np.asarray(X, dtype=object)
    if X.ndim == 2:
        X = X[:, 0]
    return X if X.ndim == 1 else None


def _is_sequence(X):
    """Say whether X is a sequence of a library, such as a column of a data set."""
    return isinstance(X, Sequence) and not hasattr(X, "shape")


def _unpacked(source):
    """Return the image in a list of one or in a mapping; arrays as numpy's."""
    if isinstance(source, Mapping):
        found = (source[key] for key in _KEYS if source.get(key) is not None)
        inner = next(found, None)
        return source if inner is None else _unpacked(inner)
    if isinstance(source, list | tuple) and len(source) == 1:
        inner = _unpacked(source[0])
        return inner if is_file(inner) else source
    return tensor_to_numpy(source)


def _is_image(source):
    return isinstance(source, np.ndarray) and source.ndim in (2, 3)


def check_source(source, row):
    if _is_image(source) and not holds_numbers(source):
        raise ValueError(
            f"Row {row} of X is an array of dtype {source.dtype}; real numbers were "
            f"expected. Pass {_advice(source)}."
        )
    if not is_file(source) and not _is_image(source):
        raise ValueError(
            f"Row {row} of X is {source!r:.60}, of type {type(source).__name__}; a "
            "path, bytes, a Pillow image, an array (height, width) or (height, width, "
            f"channels), or a dict with one of them as {' or '.join(map(repr, _KEYS))} "
            "was expected."
        )


def _advice(array):
    """Say how an array that holds no real numbers becomes one that does."""
    if array.dtype.kind == "c":
        return "image.real, or np.abs(image) for magnitudes"
    return "image.astype(float) if its values are numbers"


def load_repeated(sources):
    """Decode repeated Pillow images, which two threads must not decode at once."""
    known = set()
    for source in sources:
        if is_pil(source) and id(source) in known:
            with contextlib.suppress(OSError, ValueError):
                source.load()
        known.add(id(source))


def ranges_of(sources):
    """Return the lowest and highest value of arrays of floats (True) and integers."""
    ranges = {}
    for source in sources:
        if not isinstance(source, np.ndarray) or source.dtype in (np.uint8, bool):
            continue
        if not holds_numbers(source):  # which its row is told when it is read
            continue
        finite, is_float = source[np.isfinite(source)], source.dtype.kind == "f"
        low, high = ranges.get(is_float, (0.0, 0.0))
        ranges[is_float] = finite.min(initial=low), finite.max(initial=high)
    return ranges
