"""The few verbs that the package needs of an array: numpy's, or torch's on any device.

Images, labels and weights travel as numpy arrays. Under scikit-learn's array API
dispatch, arrays of any other namespace travel as torch tensors instead, on the device
where they lie, and what comes out goes back to where they came from.
"""

import numpy as np
import torch
from sklearn import get_config

from sklearn_l2cnn._utils.sklearn_compat import moved_to_namespace_of


def is_tensor(array):
    """Say whether an array is torch's."""
    return isinstance(array, torch.Tensor)


def is_dispatched(X):
    """Say whether X is an array that array API dispatch keeps in its own namespace.

    numpy's arrays, lists and data frames are none.
    """
    if not get_config()["array_api_dispatch"]:
        return False
    return not isinstance(X, np.ndarray | np.generic) and hasattr(X, "__dlpack__")


def as_tensor_if_dispatched(X):
    """Return X as a tensor where array API dispatch asks for that, else None.

    Parameters
    ----------
    X : object

    Returns
    -------
    tensor : Tensor or None
        On the device of X, sharing its memory where the two libraries can.
    """
    if not is_dispatched(X):
        return None
    if is_tensor(X):
        return X.detach()
    try:
        return torch.from_dlpack(X)
    except (BufferError, RuntimeError, TypeError, ValueError):
        # of a device that torch does not know, such as the pretended ones of a library
        # that is made for testing
        return _moved(X, torch.zeros(0))


def give_back(tensor, X):
    """Return a result as an array of the namespace, and on the device, of X.

    Parameters
    ----------
    tensor : Tensor
    X : object
        What the user gave. Without array API dispatch every result is numpy's.
    """
    if not is_dispatched(X):
        return on_host(tensor)
    if is_tensor(X):
        return tensor.to(X.device)
    return _moved(tensor, X)


def give_back_numbers(array, X):
    """Return a numpy array as `give_back` does, itself where it holds no numbers."""
    if not is_dispatched(X) or not holds_numbers(array):
        return array
    return give_back(torch.from_numpy(array), X)


def _moved(array, like):
    return moved_to_namespace_of(like, array, on_host)


def same_kind(values, like):
    """Return values as an array of the kind, and on the device, of another."""
    if is_tensor(like):
        return torch.as_tensor(values, device=like.device)
    return on_host(values)


def tensor_to_numpy(X):
    """Turn a torch tensor into the numpy array it stands for, leave the rest alone."""
    if not is_tensor(X):
        return X
    X = X.detach().cpu()
    # numpy has no bfloat16; every value of it is a float32
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy()


def as_tensor(array):
    """Return an array as a tensor, which shares its memory where it can be written."""
    if is_tensor(array):
        return array
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = copied(array)
    return torch.from_numpy(array)


def on_host(values):
    """Return values as a numpy array, wherever they are."""
    return np.asarray(tensor_to_numpy(values))


def holds_numbers(array):
    """Say whether a numpy array could be a tensor as well: not text, not objects."""
    return array.dtype.kind in "biuf"


def dtype_name(array):
    """Return ``"uint8"``, ``"float32"`` ...: the same for numpy and for torch."""
    return str(array.dtype).removeprefix("torch.")


def cast(array, name):
    """Return an array in the dtype of that name, itself if it has it already."""
    if is_tensor(array):
        return array.to(getattr(torch, name))
    return array.astype(name, copy=False)


def copied(array):
    """Return a copy in C order, never a read-only view."""
    if is_tensor(array):
        return array.clone(memory_format=torch.contiguous_format)
    return np.array(array, order="C")


def empty(shape, name, like):
    """Return an array of the kind of another, with nothing in it yet."""
    if is_tensor(like):
        return torch.empty(shape, dtype=getattr(torch, name), device=like.device)
    return np.empty(shape, dtype=name)


def as_words(rows):
    """View rows of numbers as 64-bit integers, the last of a row padded with zeros."""
    if not is_tensor(rows):
        rows = np.ascontiguousarray(rows).view(np.uint8)
        short = -rows.shape[1] % 8
        rows = np.pad(rows, ((0, 0), (0, short))) if short else rows
        return np.ascontiguousarray(rows).view(np.int64)
    rows = rows.contiguous().view(torch.uint8)
    short = -rows.shape[1] % 8
    return torch.nn.functional.pad(rows, (0, short)).contiguous().view(torch.int64)


def arange(start, stop, like):
    """Return int64 integers of the kind of an array."""
    if is_tensor(like):
        return torch.arange(start, stop, device=like.device)
    return np.arange(start, stop, dtype=np.int64)


def flatnonzero(mask):
    """Return where a one-dimensional mask is true."""
    return mask.nonzero().reshape(-1) if is_tensor(mask) else np.flatnonzero(mask)


def lexsort(keys):
    """Return the order of rows by several keys, the last of them first, stably."""
    if not is_tensor(keys[0]):
        return np.lexsort(keys)
    order = torch.argsort(keys[0], stable=True)
    for key in keys[1:]:
        order = order[torch.argsort(key[order], stable=True)]
    return order


def group_sums(values, starts):
    """Sum values from each start to the next, one after the other."""
    if not is_tensor(values):
        return np.add.reduceat(values, starts)
    ends = torch.tensor([len(values)], device=starts.device)
    offsets = torch.cat([starts, ends])
    return torch.segment_reduce(values, "sum", offsets=offsets)


def class_sums(labels, weight, n_classes):
    """Sum the weights of every class, as a numpy array."""
    if not is_tensor(labels):
        return np.bincount(labels, weights=weight, minlength=n_classes)
    # on CUDA a bincount adds in any order; sorted, the order is one
    order = torch.argsort(labels, stable=True)
    classes = torch.arange(n_classes + 1, device=labels.device)
    offsets = torch.searchsorted(labels[order], classes)
    return on_host(torch.segment_reduce(weight[order], "sum", offsets=offsets))


def positions(classes, values):
    """Return where values stand in sorted classes, both of one kind."""
    if is_tensor(values):
        return torch.searchsorted(classes, values)
    return np.searchsorted(classes, values)


def sorted_unique(values):
    """Return the distinct values, sorted."""
    return torch.unique(values) if is_tensor(values) else np.unique(values)


def channel_range(planes):
    """Return least and largest value of every channel of (n, channels, pixels)."""
    if is_tensor(planes):
        return planes.amin(dim=(0, 2)), planes.amax(dim=(0, 2))
    return planes.min(axis=2).min(axis=0), planes.max(axis=2).max(axis=0)


def all_finite(array):
    """Say whether no value is infinite or not a number."""
    finite = torch.isfinite(array) if is_tensor(array) else np.isfinite(array)
    return bool(finite.all())
