"""Sample weights, class weights and the held-out fraction."""

import math

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from sklearn_l2cnn._data.arrays import class_sums, lexsort, same_kind, sorted_unique


def class_factors(class_weight, classes, mass):
    """Return the factor that each class multiplies its samples' weights with.

    Parameters
    ----------
    class_weight : None, "balanced" or dict
    classes : ndarray of shape (n_classes,)
    mass : ndarray of shape (n_classes,)
        Summed sample weights of each class: ``"balanced"`` makes them equal.

    Returns
    -------
    factors : ndarray of float64 of shape (n_classes,)
    """
    if class_weight == "balanced":
        seen = mass > 0
        factors = np.ones(len(classes))
        factors[seen] = mass.sum() / (seen.sum() * mass[seen])
        return factors
    return compute_class_weight(class_weight, classes=classes, y=classes)


def held_out(labels, fraction, generator):
    """Choose rows to validate on, of every class its share.

    Parameters
    ----------
    labels : array of int of shape (n,)
    fraction : float
        Between 0 and 1; the number of rows is rounded up.
    generator : numpy.random.RandomState

    Returns
    -------
    train, valid : array of int, of the kind of `labels`
        Sorted rows. Every class keeps at least one row to be learnt from; classes that
        are too small to be split evenly share what rounding leaves at random.
    """
    wanted = math.ceil(fraction * len(labels))
    order = same_kind(generator.permutation(len(labels)), labels)
    order = order[lexsort((labels[order],))]
    ones = same_kind(np.ones(len(labels)), labels)
    counts = class_sums(labels, ones, int(labels.max()) + 1)
    counts = counts[counts > 0].astype(int)
    quota = fraction * counts
    take = np.minimum(np.floor(quota), counts - 1).astype(int)
    remainder = np.where(take < counts - 1, quota - take, -1.0)
    by_remainder = np.lexsort((generator.random_sample(len(counts)), -remainder))
    extra = [k for k in by_remainder if remainder[k] >= 0]
    take[extra[: max(0, wanted - take.sum())]] += 1
    starts = np.cumsum(counts) - counts
    place = np.arange(len(labels)) - np.repeat(starts, counts)
    chosen = same_kind(place < np.repeat(take, counts), labels)
    if not chosen.any():
        raise ValueError(
            f"early_stopping=True has nothing to validate on: n_samples={len(labels)} "
            f"distinct images, of which validation_fraction={fraction} is held out "
            "while every class keeps one to be learnt from. Pass X_val and y_val, or "
            "more images, or early_stopping=False."
        )
    return sorted_unique(order[~chosen]), sorted_unique(order[chosen])
