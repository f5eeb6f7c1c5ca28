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
    X = X.detach().cpu()
    # numpy has no bfloat16; every value of it is a float32
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy()


def without_namespace(values):
    """Return an array of any namespace and device as numpy's, leave the rest alone."""
    tensor = as_tensor_if_dispatched(values)
    return tensor_to_numpy(values if tensor is None else tensor)


def on_host(values):
    """Return values as a numpy array, wherever they are."""
    return np.asarray(without_namespace(values))


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


def holds_numbers(array):
    """Say whether a numpy array could be a tensor as well: not text, not objects."""
    return array.dtype.kind in "biuf"


def dtype_name(array):
    """Return ``"uint8"``, ``"float32"`` ...: the same for numpy and for torch."""
    return str(array.dtype).removeprefix("torch.")
