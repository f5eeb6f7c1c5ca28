"""Penalties by name: a new one is a file of its own and a line in `PENALTIES`."""

import inspect

from sklearn_l2cnn.penalties._elasticnet import ElasticNet
from sklearn_l2cnn.penalties._group import Group
from sklearn_l2cnn.penalties._l1 import L1
from sklearn_l2cnn.penalties._l2 import L2
from sklearn_l2cnn.penalties._l2sp import L2SP

PENALTIES = {
    "l2": L2,
    "l1": L1,
    "elasticnet": ElasticNet,
    "group": Group,
    "l2-sp": L2SP,
}


def list_penalties():
    """List the names that `penalty` takes.

    Returns
    -------
    names : list of str

    Examples
    --------
    >>> from sklearn_l2cnn.penalties import list_penalties
    >>> list_penalties()
    ['l2', 'l1', 'elasticnet', 'group', 'l2-sp']
    """
    return [*PENALTIES]


def build_penalty(penalty, parameters):
    """Return the penalty that a parameter `penalty` stands for.

    Parameters
    ----------
    penalty : str, object or None
        A name of `list_penalties`; an object is the penalty itself, None is no penalty.
    parameters : mapping
        Of an estimator, by name, from which a named penalty takes its own.

    Returns
    -------
    penalty : object or None

    Examples
    --------
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.penalties import build_penalty
    >>> clf = L2CNNClassifier(penalty="elasticnet", l1_ratio=0.2)
    >>> build_penalty(clf.penalty, clf.get_params()).l1_ratio
    0.2
    """
    if isinstance(penalty, str):
        make = PENALTIES[penalty]
        return make(
            **{name: parameters[name] for name in inspect.signature(make).parameters}
        )
    if penalty is not None:
        _check_penalty(penalty)
    return penalty


def _check_penalty(penalty):
    """Raise where a penalty does not know how to act."""
    if isinstance(penalty, type):
        raise TypeError(
            f"penalty={penalty.__name__} is a class; an instance was expected: "
            f"{penalty.__name__}()."
        )
    if not hasattr(penalty, "gradient") and not hasattr(penalty, "prox"):
        raise TypeError(
            f"penalty={penalty!r} has a value, but neither gradient(weight) nor "
            "prox(weight, step): it could not act on anything. "
            "sklearn_l2cnn.penalties says what they are."
        )
