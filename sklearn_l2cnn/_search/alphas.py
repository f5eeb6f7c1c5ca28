"""The alphas of a search: those that are given, or a grid that the data decide."""

from collections.abc import Mapping

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_array

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._data.validation import encode_labels
from sklearn_l2cnn._data.weights import class_factors, entropy
from sklearn_l2cnn._estimator.network import new_network
from sklearn_l2cnn._estimator.parameters import check_strengths, objective_of
from sklearn_l2cnn._training.freezing import freeze
from sklearn_l2cnn._training.regularization import strengths, total_value
from sklearn_l2cnn._training.runtime import isolated
from sklearn_l2cnn._utils.devices import resolve_device
from sklearn_l2cnn._utils.seeds import draw_seeds

# The smallest alpha of a grid as a part of the largest, and the digits of each: enough
# to tell them apart, too few for the order in which weights are summed to show.
DECADES = 4
DIGITS = 3


def check_alphas(alphas):
    """Validate the alphas that a user gives.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,)
        Of numbers, or of mappings from layers to numbers.

    Returns
    -------
    alphas : ndarray of shape (n_alphas,)
        Of float64, or of objects where there is a mapping.
    """
    expected = "Numbers >= 0 were expected, such as np.logspace(-5, -1, 9)"
    if isinstance(alphas, Mapping):
        raise ValueError(
            f"alphas={alphas!r} is a mapping; an array-like of alphas was expected, of "
            "which each may be a mapping from layers to numbers. All combinations are "
            f"alphas=[*sklearn.model_selection.ParameterGrid({alphas!r})]."
        )
    if np.ndim(alphas) == 1 and any(isinstance(one, Mapping) for one in alphas):
        return _mappings(alphas)
    alphas = on_host(alphas)
    if alphas.dtype.kind not in "iufO":
        raise ValueError(f"alphas={alphas.tolist()!r} holds no numbers. {expected}.")
    alphas = check_array(
        alphas,
        ensure_2d=False,
        ensure_min_samples=0,
        input_name="alphas",
        dtype=float,
    )
    if alphas.ndim != 1 or not len(alphas):
        raise ValueError(f"alphas has shape {alphas.shape}. {expected}.")
    check_strengths(float(alphas.max()), "alphas")
    if (alphas < 0).any():
        negative = alphas[alphas < 0][:10].tolist()
        raise ValueError(f"alphas holds negative numbers: {negative}. {expected}.")
    values, counts = np.unique(alphas, return_counts=True)
    if (counts > 1).any():
        repeated = values[counts > 1][:10].tolist()
        raise ValueError(f"alphas holds {repeated} more than once. {expected}.")
    return alphas.copy()


def _mappings(alphas):
    checked = np.empty(len(alphas), dtype=object)
    for k, alpha in enumerate(alphas):
        if isinstance(alpha, Mapping):
            check_strengths(alpha, "alphas")
            checked[k] = alpha
        else:
            [checked[k]] = check_alphas([alpha]).tolist()
        if checked[k] in checked[:k].tolist():
            raise ValueError(f"alphas holds {alpha!r} more than once.")
    return checked


def alpha_grid(n_alphas, clf, labelled):
    r"""Return a logarithmic grid of alphas that the data decide.

    The largest is :math:`H / \Omega_0`: H is the entropy of the class frequencies,
    which is the data loss of the best constant prediction, and :math:`\Omega_0` the
    penalty of the initial network at a strength of 1. At this alpha the initial penalty
    is as large as all that the data loss can fall. The smallest is a ten-thousandth of
    it.

    Parameters
    ----------
    n_alphas : int
    clf : L2CNNClassifier
        Unfitted.
    labelled : LabelledImages

    Returns
    -------
    alphas : ndarray of float64 of shape (n_alphas,)
        Ascending.
    """
    if clf.penalty is None:
        raise ValueError(
            f"alphas={n_alphas} lets the penalty of the network decide which alphas to "
            "try, but penalty=None has none. Give alphas as an array, or a penalty."
        )
    classes = labelled.classes()
    if len(classes) < 2:
        raise ValueError(
            f"alphas={n_alphas} lets the data decide which alphas to try, but y has "
            f"only one class, {classes.tolist()}: there is nothing to learn. Give "
            "alphas as an array."
        )
    labels = encode_labels(labelled.y, labelled.weight, classes, "y")
    mass = np.bincount(labels, weights=labelled.weight, minlength=len(classes))
    mass *= class_factors(clf.class_weight, classes, mass)
    start = _initial_penalty(clone(clf), labelled.info.image_shape, len(classes))
    if not start > 0:
        raise ValueError(
            f"alphas={n_alphas} lets the penalty of the network decide which alphas to "
            f"try, but that of the initial network is {start}. Give alphas as an array."
        )
    grid = entropy(mass) / start * np.logspace(-DECADES, 0, n_alphas)
    return np.array([float(f"{alpha:.{DIGITS}g}") for alpha in grid])


def _initial_penalty(clf, image_shape, n_classes):
    """Return the penalty, at a strength of 1, of the network that a fit begins with."""
    seed, *_ = draw_seeds(clf.random_state, 3)
    with isolated(seed, resolve_device(clf.device)):
        network = new_network(clf, image_shape, n_classes)
    freeze(network, clf.freeze)
    groups = strengths(network, 1.0, clf.penalize)
    return float(total_value(objective_of(clf).penalty, groups))
