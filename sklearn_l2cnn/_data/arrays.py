"""Arrays at the door: tensors inside, the user's own kind outside.

Inside the package images are torch tensors that share the memory of what the user gave,
numpy's or, under scikit-learn's array API dispatch, any library's, on the device where
it lies. Labels, weights and the positions of rows are numpy arrays.
"""

from types import SimpleNamespace

import numpy as np
import torch
from sklearn import get_config

from sklearn_l2cnn._utils.devices import widest_float
from sklearn_l2cnn._utils.sklearn_compat import moved_to_namespace_of

_WIDE = torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128


def is_tensor(array):
    """Say whether an array is torch's."""
    return isinstance(array, torch.Tensor)


def is_sparse(X):
    """Say whether X is a sparse matrix of scipy, some of which are mappings as well."""
    return hasattr(X, "toarray") and hasattr(X, "nnz")


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
        On the device of X, sharing its memory where the two libraries can; on the CPU
        where that device has no float64.
    """
    if not is_dispatched(X):
        return None
    if is_tensor(X):
        refuse_tensor_without_numbers(X)
        has_float64 = widest_float(X.device) == torch.float64
        return X.detach() if has_float64 else X.detach().cpu()
    try:
        return torch.from_dlpack(X)
    except (BufferError, RuntimeError, TypeError, ValueError):
        # of a device that torch does not know, such as the pretended ones of a library
        # that is made for testing
        info = X.__array_namespace__().__array_namespace_info__()
        return torch.from_dlpack(X.to_device(info.default_device()))


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
        dtype = tensor.dtype
        dtype = widest_float(X.device) if dtype == torch.float64 else dtype
        return tensor.to(X.device, dtype)
    return moved_to_namespace_of(X, tensor, on_host)


def give_back_numbers(array, X):
    """Return a numpy array as `give_back` does, unchanged if it has no numbers."""
    if not is_dispatched(X) or not holds_numbers(array):
        return array
    return give_back(torch.from_numpy(array), X)


def origin_of(X):
    """Return an empty array of the namespace, and on the device, of X."""
    return give_back(torch.zeros(0), X)


def tensor_to_numpy(X):
    """Turn a torch tensor into the numpy array it stands for, leave the rest alone."""
    if not is_tensor(X):
        return X
    refuse_tensor_without_numbers(X)
    X = X.detach().cpu().resolve_conj().resolve_neg()
    if X.dtype not in _WIDE and (X.is_floating_point() or X.is_complex()):
        # numpy has no bfloat16, no float of 8 bits, no half a complex number; all of
        # these are float32, or twice as much
        X = X.to(torch.complex64 if X.is_complex() else torch.float32)
    return X.numpy()


def refuse_tensor_without_numbers(X):
    """Raise where a tensor is no array of numbers in the memory of a device.

    Parameters
    ----------
    X : object
        All else but tensors is left alone.
    """
    found = why_without_numbers(X) if is_tensor(X) else None
    if found is not None:
        what, advice = found
        raise TypeError(
            f"A {what} came, and a plain one was expected, or a numpy array. {advice}"
        )


def why_without_numbers(tensor):
    """Say what a tensor is that is no plain one, and what to make of it.

    Returns
    -------
    what, advice : str, or None where it is a plain one
    """
    if tensor.is_nested:
        return "nested tensor", "Pass torch.stack(X.unbind()), if all are of one size."
    if tensor.is_meta:
        return (
            "tensor of the device 'meta', without values",
            "It has a shape alone.",
        )
    if tensor.is_quantized:
        return "quantized tensor", "Pass X.dequantize()."
    if tensor.layout != torch.strided:
        return f"tensor of the layout {tensor.layout}", "Pass X.to_dense()."
    return None


def without_namespace(values):
    """Return an array of any namespace and device as numpy's, leave the rest alone."""
    tensor = as_tensor_if_dispatched(values)
    return tensor_to_numpy(values if tensor is None else tensor)


def on_host(values):
    """Return values as a numpy array, wherever they are."""
    return np.asarray(without_namespace(values))


def one_array(values, name):
    """Return values as a numpy array, or raise where they differ in shape."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} has members that differ in shape; one value for each image was "
            "expected."
        ) from error


def as_tensor(array):
    """Return an array as a tensor that shares its memory, and is only to be read."""
    if is_tensor(array):
        return array
    whole = all(
        stride >= 0 and stride % array.itemsize == 0 for stride in array.strides
    )
    if not (whole and array.flags.aligned):  # torch takes no such memory
        array = np.array(array, order="C")
    if not array.flags.writeable:
        # torch warns of such arrays, though all that is done here is to read them, and
        # to copy a memory map would be to read it whole: the same memory, writeable
        interface = array.__array_interface__
        interface["data"] = interface["data"][0], False
        memory = SimpleNamespace(__array_interface__=interface, owner=array)
        array = np.asarray(memory)
    return torch.from_numpy(array)


def stacked(parts, n_rows, into=()):
    """Put arrays that come in parts together, one part after another.

    Parameters
    ----------
    parts : iterable of tuple of ndarray
        The next rows of every array.
    n_rows : int
        Of each array.
    into : sequence of ndarray
        Memory for the first arrays; the others get some.

    Returns
    -------
    arrays : list of ndarray
    """
    arrays, stop = list(into), 0
    for part in parts:
        for values in part[len(arrays) :]:
            arrays.append(np.empty((n_rows, *values.shape[1:]), values.dtype))
        start, stop = stop, stop + len(part[0])
        for array, values in zip(arrays, part, strict=True):
            array[start:stop] = values
    return arrays


def rows_at(rows, which):
    """Return some of the rows.

    Parameters
    ----------
    rows : ndarray of int, or range
        Of millions that follow one another a range takes no memory.
    which : slice, or array of int or bool

    Returns
    -------
    rows : ndarray of int, or range for a slice of a range
    """
    if isinstance(rows, np.ndarray) or isinstance(which, slice):
        return rows[which]
    which, n_rows = np.asarray(which), len(rows)
    if which.dtype == bool:
        return as_array(rows)[which]
    if len(which) and not -n_rows <= which.min() <= which.max() < n_rows:
        raise IndexError(
            f"Rows from {which.min()} to {which.max()} were asked for; there are "
            f"{n_rows}."
        )
    return rows.start + rows.step * (which % n_rows)


def as_array(rows):
    """Return rows as an array of int."""
    if isinstance(rows, range):
        return np.arange(rows.start, rows.stop, rows.step)
    return np.asarray(rows)


def holds_numbers(array):
    """Say whether a numpy array could be a tensor as well: not text, not objects."""
    return array.dtype.kind in "biuf"


def dtype_name(array):
    """Return ``"uint8"``, ``"float32"`` ...: the same for numpy and for torch."""
    return str(array.dtype).removeprefix("torch.")
