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
    return mapped(values, torch.Tensor, lambda tensor: tensor.detach().cpu().numpy())


def in_tensors(values):
    """Return values with tensors for arrays, which share memory that can be written."""
    return mapped(values, np.ndarray, _tensor)


def mapped(values, kind, function):
    """Return values with what a function makes of those of a kind among them."""
    if isinstance(values, kind):
        return function(values)
    if isinstance(values, dict):
        return {key: mapped(value, kind, function) for key, value in values.items()}
    if type(values) in (list, tuple):
        return type(values)(mapped(value, kind, function) for value in values)
    return values


def _tensor(array):
    return torch.from_numpy(array if array.flags.writeable else array.copy())
