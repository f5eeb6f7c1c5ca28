"""Values in dicts, lists and tuples: tensors as arrays, and back."""

import numpy as np
import torch


def in_arrays(values):
    """Return values with arrays for tensors, which share their memory on a CPU.

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn._utils.trees import in_arrays
    >>> in_arrays({"step": torch.tensor(3.0), "betas": (0.9, 0.99)})
    {'step': array(3., dtype=float32), 'betas': (0.9, 0.99)}
    """
    return _mapped(values, torch.Tensor, lambda tensor: tensor.detach().cpu().numpy())


def in_tensors(values):
    """Return values with tensors for arrays, which share memory that can be written."""
    return _mapped(values, np.ndarray, _tensor)


def _tensor(array):
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _mapped(values, kind, function):
    if isinstance(values, kind):
        return function(values)
    if isinstance(values, dict):
        return {key: _mapped(value, kind, function) for key, value in values.items()}
    if type(values) in (list, tuple):
        return type(values)(_mapped(value, kind, function) for value in values)
    return values
