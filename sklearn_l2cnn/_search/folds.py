"""The folds of a search, and rows of what a user gave."""

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils import indexable

from sklearn_l2cnn._data.arrays import as_tensor_if_dispatched, is_tensor
from sklearn_l2cnn._data.images import left_in_place
from sklearn_l2cnn._utils.sklearn_compat import num_samples, safe_indexing


def folds_of(cv, X, y, params, least=1):
    """Return the rows that each fold trains on, and those that it is scored on.

    Parameters
    ----------
    cv : int, cross-validation generator or iterable
    X : array-like
    y : ndarray of shape (n,)
    params : dict
        Metadata of the splitter.
    least : int, default=1
        How many folds are needed.

    Returns
    -------
    folds : list of tuple (train, test)
        Positions.
    """
    splitter = check_cv(cv, y, classifier=True)
    splits = enumerate(splitter.split(X, y, **params))
    folds = [_rows_of_fold(number, split, len(y)) for number, split in splits]
    if len(folds) < least:
        raise ValueError(
            f"cv={cv!r} makes {len(folds)} folds, {least} or more were expected"
            f"{': the scores of one have no standard deviation' if least > 1 else ''}."
        )
    return folds


def _rows_of_fold(number, split, n_samples):
    """Return the rows of a fold as positions; a splitter may give masks."""
    rows, parts = np.arange(n_samples), tuple(split)
    try:
        found = [rows[part] for part in parts]
    except IndexError as error:
        raise ValueError(
            f"cv gives fold {number} rows that there are not ({error}). Positions "
            f"from 0 to {n_samples - 1} were expected, or masks of so many rows."
        ) from error
    if len(found) != 2 or any(part.ndim != 1 or not len(part) for part in found):
        raise ValueError(
            f"cv gives fold {number} parts of the shapes {[*map(np.shape, parts)]}; "
            "two were expected, the rows to train on and those to be scored on, "
            "neither of them empty."
        )
    return tuple(found)


def rows_of(params, test, n_samples):
    """Return the part of metadata that belongs to some rows; other values as is."""
    return {
        name: take(value, test) if _counts(value, n_samples) else value
        for name, value in params.items()
    }


def take(array, rows):
    """Return some rows of an array, a frame, a tensor or a list."""
    return array[rows] if is_tensor(array) else safe_indexing(array, rows)


def _counts(value, n_samples):
    has_rows = hasattr(value, "shape") or isinstance(value, list | tuple)
    return has_rows and num_samples(value) == n_samples


def indexable_images(X):
    """Return X as something that rows can be chosen from, for the scorers."""
    lazy, tensor = left_in_place(X), as_tensor_if_dispatched(X)
    if lazy is not None:
        return lazy
    return indexable(X)[0] if tensor is None else tensor
