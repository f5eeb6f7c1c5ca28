"""What holds images and labels together: not X, but a line of Python away from it."""

from collections.abc import Mapping

import numpy as np
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sklearn_l2cnn._data.arrays import (
    is_sparse,
    is_tensor,
    refuse_tensor_without_numbers,
)
from sklearn_l2cnn._data.files import is_file

_READ = (
    " sklearn_l2cnn.preprocessing.ImageReader takes these: "
    "make_pipeline(ImageReader(), L2CNNClassifier()).fit(X, y)."
)
_FIRST = " torch has channels first: pass channels='first' for colours."


def refuse_data_set(X, name="X"):
    """Raise where X is no array-like but a data set, and say what to type.

    Or a tensor without numbers, which fails at whatever is asked of it.

    Parameters
    ----------
    X : object
    name : str, default="X"
        What the message calls X.
    """
    refuse_tensor_without_numbers(X)
    typed = _what_to_type(X, name)
    if typed:
        raise TypeError(
            f"{name} is of type {type(X).__name__}; an array-like of images was "
            f"expected, and their labels as y. {typed}"
        )


def _what_to_type(X, name):
    """Return the lines that make X and y, or None for what may be an array-like."""
    if isinstance(X, DataLoader):
        return f"Type: X, y = map(torch.cat, zip(*loader)).{_FIRST}"
    if isinstance(X, TensorDataset):
        return f"Type: X, y = dataset.tensors.{_FIRST}"
    if isinstance(X, Dataset) and hasattr(X, "samples") and hasattr(X, "classes"):
        return (
            "Type: X = [path for path, _ in dataset.samples]; "
            f"y = [dataset.classes[k] for k in dataset.targets].{_READ}"
        )
    if isinstance(X, Dataset) or _holds_pairs(X):
        return f"Type: X, y = map(list, zip(*dataset)).{_READ}"
    if isinstance(X, Mapping) and not is_sparse(X):
        keys = [*map(repr, X)][:10]
        return (
            f"Pass the value of one of its keys, {name}[{f'] or {name}['.join(keys)}]."
        )
    if type(X).__module__.split(".")[0] == "datasets" and hasattr(X, "column_names"):
        return (
            f"Its columns are {', '.join(map(repr, X.column_names))}. Type: "
            f"X, y = list(dataset['image']), list(dataset['label']).{_READ}"
        )
    return None


def _holds_pairs(X):
    """Say whether X is a list of an image and its label each."""
    if not isinstance(X, list | tuple) or not X or not isinstance(X[0], tuple):
        return False
    image, *label = X[0]
    is_image = is_file(image) or isinstance(image, np.ndarray) or is_tensor(image)
    return is_image and len(label) == 1 and np.ndim(label[0]) == 0
