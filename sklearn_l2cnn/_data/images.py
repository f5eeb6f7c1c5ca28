"""What an image array is: layouts, dtypes, rows, and every message about them.

Inside the package images are one thing: a tensor of shape
``(n, height, width, channels)`` that holds uint8, float32 or float64. uint8 counts as
[0, 1], all other numbers count as they are.
"""

import math
import warnings
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from sklearn.utils import check_array

from sklearn_l2cnn._data.arrays import (
    as_tensor,
    as_tensor_if_dispatched,
    dtype_name,
    is_sparse,
    tensor_to_numpy,
)
from sklearn_l2cnn._data.files import describe_source, is_file
from sklearn_l2cnn._data.lazy import LazyImages
from sklearn_l2cnn._data.stored import StoredImages
from sklearn_l2cnn._data.stores import map_of

_READER = (
    "If these are images or paths of image files, let "
    "sklearn_l2cnn.preprocessing.ImageReader read them: "
    "make_pipeline(ImageReader(), L2CNNClassifier())."
)

# Bytes of images that are read into memory once, though they could be left where they
# are: what is computed with them is then a little faster.
_IN_MEMORY = 1 << 26


def as_images(
    X,
    *,
    image_shape=None,
    channels="last",
    expected=None,
    name="X",
    estimator=None,
    stored=False,
):
    """Validate an array-like and return it as images.

    Parameters
    ----------
    X : array-like
        Images ``(n, height, width)``, ``(n, height, width, channels)`` or, with
        ``channels="first"``, ``(n, channels, height, width)``; or rows
        ``(n, n_features)``, each an image flattened in the layout that `channels`
        names.
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)`` as the user gave it.
    channels : {"last", "first"}, default="last"
        Where the channels of X stand.
    expected : tuple of int, default=None
        ``(height, width, channels)`` that a fitted estimator needs. None while
        fitting.
    name : str, default="X"
        What the messages call the array.
    estimator : estimator, default=None
        Who the messages say is asking.
    stored : bool, default=False
        Whether large images that are not in memory may stay where they are.

    Returns
    -------
    images : Tensor of shape (n, height, width, channels), or StoredImages
        uint8, float32 or float64, only to be read: a view of X where that is possible.
    """
    lazy = left_in_place(X) if stored else None
    if lazy is not None:
        X = lazy
    else:
        X = X.read() if isinstance(X, LazyImages) else X
        X = _as_numbers(X, name, estimator)
    if expected is not None:
        shape = _matching_shape(tuple(X.shape), expected, channels, name, estimator)
    else:
        shape = _chosen_shape(tuple(X.shape), image_shape, channels, name)
    if lazy is None:
        return _laid_out(X, shape, channels)
    if lazy.dtype.kind not in "biuf":
        _as_numbers(lazy[:1].read(), name, estimator)  # says why these are none
    read = partial(_read, lazy.store, shape, channels, name)
    dtype = getattr(torch, _working_dtype(lazy))
    return StoredImages(read, lazy.rows, shape, dtype, repr(lazy.store))


def left_in_place(X):
    """Return X as lazy images where it is large and not in memory, else None."""
    if map_of(X) is not None and X.dtype.kind in "biuf":
        X = LazyImages(X)
    return X if isinstance(X, LazyImages) and X.nbytes > _IN_MEMORY else None


def _read(store, shape, channels, name, rows):
    """Read images from a store."""
    return _laid_out(_in_working_dtype(store.read(rows), name, rows), shape, channels)


def traced_images(X, expected, channels):
    """Return a tensor of numbers as images, with what torch can record as a graph.

    It is `as_images` without a look at the values.

    Parameters
    ----------
    X : Tensor
        As a user gives it: images, or rows.
    expected : tuple (height, width, channels)
    channels : {"last", "first"}

    Returns
    -------
    images : Tensor of shape (n, height, width, channels)
        uint8, float32 or float64.
    """
    X = X.to(getattr(torch, _working_dtype(X)))
    shape = _matching_shape(tuple(X.shape), expected, channels, "X", None)
    return _laid_out(X, shape, channels)


def _laid_out(X, shape, channels):
    """Return a tensor of images of a shape as ``(n, height, width, channels)``."""
    if channels == "first" and X.ndim != 3:
        height, width, depth = shape
        return X.reshape(X.shape[0], depth, height, width).permute(0, 2, 3, 1)
    return X.reshape(X.shape[0], *shape)


def _as_numbers(X, name, estimator):
    """Return X as a finite real tensor of a dtype that the package works in.

    Parameters
    ----------
    X : array-like
    name, estimator
        As for `as_images`.
    """
    if X is None or hasattr(X, "__next__"):
        what = "None" if X is None else f"a generator: pass list({name})"
        raise ValueError(f"{name} is {what}. Images were expected. {_READER}")
    tensor = as_tensor_if_dispatched(X)
    X = _stack_lists(tensor_to_numpy(X), name) if tensor is None else tensor
    kind = getattr(getattr(X, "dtype", None), "kind", None)
    if kind == "c" or (tensor is not None and X.is_complex()):
        raise ValueError(
            f"Complex data not supported: {name} has dtype {X.dtype}, real numbers "
            f"were expected. Pass {name}.real, or np.abs({name}) for magnitudes."
        )
    if kind in ("U", "S"):
        raise ValueError(
            f"{name} holds text (dtype {X.dtype}), numbers were expected. {_READER}"
        )
    if kind in ("M", "m"):
        raise ValueError(
            f"{name} holds dates or durations (dtype {X.dtype}), numbers were expected."
        )
    if tensor is not None:
        X = X.to(getattr(torch, _working_dtype(X)))
    try:
        X = check_array(
            X,
            allow_nd=True,
            ensure_all_finite=False,  # _check_finite says where
            input_name=name,
            estimator=estimator,
        )
    except (TypeError, ValueError) as error:
        plain = tensor is None and not is_sparse(X)
        held = _described_if_readable(X, name, error) if plain else None
        if held is None:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} holds {held}") from error
    if X.ndim > 2 and 0 in X.shape:
        raise ValueError(
            f"Found images without pixels: {name} has shape {tuple(X.shape)}, and "
            "every dimension must be at least 1."
        )
    if tensor is None:
        return _in_working_dtype(X, name)
    _check_finite(X, name)
    return X


def _in_working_dtype(X, name, rows=None):
    """Return an array of numbers as a tensor, or raise where some are not finite.

    Parameters
    ----------
    X : ndarray
    name : str
    rows : ndarray of int, default=None
        Which rows of an array X consists of; None means that it is all of it.
    """
    X = as_tensor(X.astype(_working_dtype(X), copy=False))
    _check_finite(X, name, rows)
    return X


def _check_finite(X, name, which=None):
    """Raise where a tensor holds values that are not numbers, and say in which rows."""
    # a sum is finite unless there is something to find, or it overflows
    if not X.is_floating_point() or torch.isfinite(X.sum()):
        return
    bad = ~torch.isfinite(X).flatten(1).all(dim=1)
    rows = bad.nonzero().flatten().tolist()
    n_bad, n_all = len(rows), f" of {len(X)}" if which is None else ""
    if which is not None:
        rows = np.asarray(which)[rows].tolist()
    if not rows:
        return
    what = f"infinity or a value too large for dtype({dtype_name(X)!r})"
    pixels = "the pixels, by numbers as large as the others."
    if X[bad].isnan().any():
        what, pixels = "NaN", f"the pixels: np.nan_to_num({name})."
    more = f" and {len(rows) - 10} more" if len(rows) > 10 else ""
    raise ValueError(
        f"Input {name} contains {what} in {n_bad}{n_all} images, row "
        f"{', '.join(map(str, rows[:10]))}{more}. Leave them out, or replace {pixels}"
    )


def _described_if_readable(X, name, error):
    """Say what X holds, and what to do, where it is text, mappings or images."""
    names = list(getattr(X, "columns", ()))
    for k, value in enumerate(np.asarray(X, dtype=object).flat):
        column = names[k % len(names)] if names else None
        if isinstance(value, np.ndarray):
            cells = f"{name}[{column!r}]" if names else name
            return f"an array in every cell: pass np.stack({cells})."
        if isinstance(value, str):
            where = f" in the column {column!r}" if names else ""
            advice = _READER
            if len(names) > 1:
                advice = "Leave the column out, if the others are pixels. " + _READER
            return f"text{where}: {error}. {advice}"
        if isinstance(value, Mapping):
            keys = ", ".join(map(repr, value))
            return f"mappings with the keys {keys}: {error}. {_READER}"
        if is_file(value):
            return f"images such as {describe_source(value)}: {error}. {_READER}"
    return None


def _stack_lists(X, name):
    """Turn lists and arrays of images into one array, or say why it cannot be."""
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1 and len(X):
        X = list(X)
    if not isinstance(X, list | tuple):
        return X
    try:
        return np.asarray([tensor_to_numpy(image) for image in X])
    except ValueError as error:
        shapes = sorted({np.shape(image) for image in X}, key=str)[:4]
        raise ValueError(
            f"{name} is a list whose members differ in shape (the first few: "
            f"{', '.join(map(str, shapes))}), and one array of equal images was "
            "expected. sklearn_l2cnn.preprocessing.ImageReader brings them to one."
        ) from error


def _working_dtype(X):
    """Say which of uint8, float32, float64 holds every value of the dtype of X."""
    name = dtype_name(X)
    if name in ("uint8", "float32"):
        return name
    # bool, int8, int16, uint16, float16, bfloat16; or anything larger
    return "float32" if X.dtype.itemsize <= 2 else "float64"


def _matching_shape(shape, expected, channels, name, estimator):
    """Check that arrays of `shape` hold images of the expected shape."""
    who = type(estimator).__name__ if estimator is not None else "the estimator"
    wanted = math.prod(expected)
    if len(shape) == 2:
        if shape[1] == wanted:
            return expected
        hint = ""
        if shape == expected[:2]:
            hint = f" One image alone is passed as {name}[np.newaxis]."
        raise ValueError(
            f"X has {shape[1]} features, but {who} is expecting {wanted} features as "
            f"input. It was fitted on images of {describe(expected)}.{hint}"
        )
    found = _image_shape_of(shape, channels, name)
    if found == expected:
        return expected
    hint = f"Resize {name}, or fit again on images of this shape."
    if len(shape) == 3 and shape == expected:
        hint = f"One image alone is passed as {name}[np.newaxis]."
    elif len(shape) == 4 and _other_layout(shape, channels) == expected:
        source, target = (1, -1) if channels == "last" else (-1, 1)
        hint = (
            f"These axes look like channels={_other(channels)!r}: pass "
            f"np.moveaxis({name}, {source}, {target})."
        )
    raise ValueError(
        f"{name} of shape {shape} holds images of {describe(found)}, but {who} is "
        f"expecting images of {describe(expected)} as input. {hint}"
    )


def _chosen_shape(shape, image_shape, channels, name):
    """Decide the (height, width, channels) of images that come for the first time."""
    given = None
    if image_shape is not None:
        given = (*map(int, image_shape), 1)[:3]  # (height, width) has one channel
    if len(shape) == 2:
        return _shape_of_rows(shape[1], given, image_shape, name)
    found = _image_shape_of(shape, channels, name)
    if given is not None and found != given:
        advice = "leave it out, or make the two agree"
        if math.prod(found) == math.prod(given):
            advice = f"pass {name}.reshape(len({name}), -1), or leave it out"
        raise ValueError(
            f"{name} of shape {shape} holds images of {describe(found)} with "
            f"channels={channels!r}, but image_shape={image_shape!r} says "
            f"{describe(given)}. image_shape is needed for rows alone: {advice}."
        )
    if given is None and len(shape) == 4:
        _question_channels(shape, found, channels, name)
    return found


def _shape_of_rows(n_features, given, image_shape, name):
    """Decide the image shape of rows: as given, a square, or a strip."""
    if given is None:
        side = math.isqrt(n_features)
        if side * side == n_features:
            return (side, side, 1)
        _warn_about_colours(n_features, name)
        return (1, n_features, 1)
    if math.prod(given) != n_features:
        raise ValueError(
            f"{name} has rows of {n_features} values, but image_shape={image_shape!r} "
            f"makes {' x '.join(map(str, given))} = {math.prod(given)}. Give the "
            "(height, width) or (height, width, channels) of your images."
        )
    return given


def _warn_about_colours(n_features, name):
    """Warn where rows that become strips look like flattened colour images."""
    side = math.isqrt(n_features // 3)
    if side >= 8 and 3 * side * side == n_features:
        warnings.warn(
            f"{name} has rows of {n_features} values, which are taken as strips one "
            f"pixel high. If they are colour images of {side} x {side} pixels, pass "
            f"image_shape=({side}, {side}, 3), with channels='first' where the colours "
            "of an image follow one another.",
            UserWarning,
            stacklevel=4,
        )


def _image_shape_of(shape, channels, name):
    """Read (height, width, channels) off an array of images."""
    if len(shape) == 3:
        return (*shape[1:], 1)
    if len(shape) != 4:
        raise ValueError(
            f"{name} has {len(shape)} dimensions (shape {shape}), but images have 3, "
            "(n, height, width), or 4, (n, height, width, channels), and rows have 2."
        )
    if channels == "first":
        return (shape[2], shape[3], shape[1])
    return tuple(shape[1:])


def _question_channels(shape, found, channels, name):
    """Raise or warn where the axes of X say that its channels stand elsewhere.

    A square image with its channels on the wrong side would be learnt as a sliver with
    as many channels as it has rows, without an error and badly. With 1, 3 or 4 channels
    it is clear; with others it is likely where the image would not be square as it is.
    """
    height, width, depth = swapped = _other_layout(shape, channels)
    if height != width or found[2] <= 4 or found[0] == found[1]:
        return
    if depth in (1, 3, 4):
        raise ValueError(
            f"{name} of shape {shape} with channels={channels!r} would be images of "
            f"{describe(found)}; {describe(swapped)} is more likely. Pass "
            f"channels={_other(channels)!r}, or image_shape={found} if you mean it."
        )
    warnings.warn(
        f"{name} of shape {shape} is taken as images of {describe(found)}. If they are "
        f"{describe(swapped)}, pass channels={_other(channels)!r}; image_shape={found} "
        "says that they are not.",
        UserWarning,
        stacklevel=4,
    )


def _other(channels):
    return "first" if channels == "last" else "last"


def _other_layout(shape, channels):
    return _image_shape_of(shape, _other(channels), "X")


def ndim_of(X):
    """Return how many dimensions an array-like of images has."""
    if isinstance(X, list | tuple):
        return 1 + (ndim_of(X[0]) if len(X) else 0)
    X = X if hasattr(X, "ndim") else np.asarray(X)
    if X.ndim == 1 and dtype_name(X) == "object":  # an array of images
        return 1 + ndim_of(X[0])
    return X.ndim


def in_form(images, ndim, channels):
    """Return images as rows, without an axis of channels, or with one where it belongs.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    ndim : int
        2 for rows, 3 for ``(n, height, width)`` where there is a single channel, else
        images of four dimensions.
    channels : {"last", "first"}

    Returns
    -------
    X : Tensor
        Contiguous.
    """
    if ndim == 3 and images.shape[3] == 1:
        return images[..., 0].contiguous()
    if channels == "first":
        images = images.permute(0, 3, 1, 2)
    return images.flatten(1) if ndim == 2 else images.contiguous()


def pixel_names(image_shape, channels):
    """Name the values of an image, in the order that a row has them.

    Examples
    --------
    >>> from sklearn_l2cnn._data.images import pixel_names
    >>> pixel_names((1, 2, 1), "last").tolist()
    ['pixel_0_0', 'pixel_0_1']
    >>> pixel_names((1, 1, 2), "first").tolist()
    ['pixel_0_0_0', 'pixel_0_0_1']
    """
    height, width, depth = image_shape
    names = np.empty(image_shape, dtype=object)
    for place in np.ndindex(height, width, depth):
        names[place] = "pixel_" + "_".join(map(str, place[: 3 if depth > 1 else 2]))
    return (names.transpose(2, 0, 1) if channels == "first" else names).ravel()


def describe(image_shape):
    """Say an image shape in words: ``28 x 28 pixels with 1 channel``."""
    height, width, depth = image_shape
    plural = "" if depth == 1 else "s"
    return f"{height} x {width} pixels with {depth} channel{plural}"
