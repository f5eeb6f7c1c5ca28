"""Sample weights, class weights and the held-out fraction."""

import math
from numbers import Real

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight


def normalized_weights(weight, factors=1.0):
    """Scale weights, times factors, to mean 1, as float32.

    float32 hides the rounding of float64: weights that are multiples of each other
    come out bit for bit the same.
    """
    if weight.strides == (0,) and np.ndim(factors) == 0:  # one number, repeated
        return np.broadcast_to(np.float32(1), len(weight))
    with np.errstate(over="ignore"):
        weight = weight * factors  # an array of its own, changed below
        total = weight.sum()
    if not weight.any():
        raise ValueError(
            "Sample weights times class_weight are zero for every image: class_weight "
            "must leave at least one class of y a positive weight."
        )
    if not np.isfinite(total):
        raise ValueError(
            "Sample weights times class_weight overflow: their largest product is "
            f"{weight.max():.3g}. Divide one of the two by a constant, which has no "
            "effect on what is learnt."
        )
    weight /= weight.max()
    weight *= len(weight) / weight.sum()
    return weight.astype(np.float32)


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
        present = mass > 0
        factors = np.ones(len(classes))
        factors[present] = mass.sum() / (present.sum() * mass[present])
        return factors
    for label, factor in (class_weight or {}).items():
        if not isinstance(factor, Real) or not 0 <= factor < math.inf:
            raise ValueError(
                f"class_weight gives the class {label!r} the weight {factor!r}; finite "
                "numbers >= 0 were expected, 0 to leave a class out."
            )
    return compute_class_weight(class_weight, classes=classes, y=classes)


def entropy(mass):
    """Return the entropy of classes: the data loss of the best constant prediction.

    Parameters
    ----------
    mass : ndarray of shape (n_classes,)
        Summed weights of each class.
    """
    share = torch.from_numpy(mass / mass.sum())
    return float(torch.special.entr(share).sum())


def held_out(labels, fraction, generator):
    """Choose rows to validate on, of every class its share.

    Parameters
    ----------
    labels : ndarray of int of shape (n,)
    fraction : float
        Between 0 and 1; the number of rows is rounded up.
    generator : numpy.random.RandomState

    Returns
    -------
    train, valid : ndarray of int
        Sorted rows. Every class keeps at least one row to be learnt from; classes that
        are too small to be split evenly share what rounding leaves at random.
    """
    wanted = math.ceil(fraction * len(labels))
    order = generator.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    quota = fraction * counts
    take = np.minimum(np.floor(quota), counts - 1).astype(int)
    remainder = np.where(take < counts - 1, quota - take, -1.0)
    by_remainder = np.lexsort((generator.random_sample(len(counts)), -remainder))
    extra = [k for k in by_remainder if remainder[k] >= 0]
    take[extra[: max(0, wanted - take.sum())]] += 1
    starts = np.cumsum(counts) - counts
    place = np.arange(len(labels)) - np.repeat(starts, counts)
    chosen = place < np.repeat(take, counts)
    if not chosen.any():
        raise ValueError(
            f"early_stopping=True has nothing to validate on: n_samples={len(labels)} "
            f"distinct images, of which validation_fraction={fraction} is held out "
            "while every class keeps one to be learnt from. Pass X_val and y_val, or "
            "more images, or early_stopping=False."
        )
    return np.sort(order[~chosen]), np.sort(order[chosen])
