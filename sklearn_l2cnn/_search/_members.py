"""Training the members of a search: every alpha of every fold."""

import math

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed
from skorch.history import History

from sklearn_l2cnn._data.arrays import is_tensor, on_host
from sklearn_l2cnn._search._together import fit_together
from sklearn_l2cnn._utils.sklearn_compat import safe_indexing


def fit_members(members, X, y, sample_weight, folds, *, path, n_jobs=None, then=None):
    """Fit every member of a search on the training rows of its fold.

    Parameters
    ----------
    members : list of list of L2CNNClassifier
        One list for each fold, of unfitted classifiers that differ in `alpha` alone;
        the alphas are the same in all folds.
    X : array-like of n images
        Whatever a classifier takes and an index can choose rows from.
    y : array of shape (n,)
    sample_weight : array of shape (n,) or None
    folds : list of tuple (train, test)
        Positions of the rows that each fold trains on, and of those it is scored on.
    path : {"independent", "warm"}
        ``"warm"`` starts each network from the weights that the next larger alpha has
        ended with, in its own fold.
    n_jobs : int, default=None
        Processes for networks that cannot be trained together.
    then : callable, default=None
        ``then(classifier, X, y, test)`` is called where a member was trained, in a
        process of its own maybe, with all images and the test rows of its fold; what
        it returns is kept in place of the classifier, so that not all networks have to
        be held at once.

    Returns
    -------
    outcomes : list of list
        ``outcomes[fold][alpha]``: the fitted classifier, what `then` made of it, or the
        ValueError that the fit ended with.
    """
    alphas = range(len(members[0]))
    together = fit_together(
        [[clone(member) for member in row] for row in members],
        lambda k: _parts(members[k][0], X, y, sample_weight, folds[k]),
        _bytes(X),
        _from_strong(members[0]) if path == "warm" else alphas,
        path == "warm",
        lambda classifier, k: _kept(classifier, X, y, folds[k], then),
    )
    return together or fit_one_by_one(
        members, X, y, sample_weight, folds, path=path, n_jobs=n_jobs, then=then
    )


def fit_one_by_one(
    members, X, y, sample_weight, folds, *, path, n_jobs=None, then=None
):
    """Do what `fit_members` does, every network by itself."""
    parallel = Parallel(n_jobs=n_jobs)
    n_alphas = len(members[0])
    if path == "warm":
        return parallel(
            delayed(_fit_fold)(row, X, y, sample_weight, fold, then)
            for row, fold in zip(members, folds, strict=True)
        )
    flat = parallel(
        delayed(_fit_one)(member, X, y, sample_weight, fold, then)
        for row, fold in zip(members, folds, strict=True)
        for member in row
    )
    return [flat[k : k + n_alphas] for k in range(0, len(flat), n_alphas)]


def fit_path(members, data, watched):
    """Fit classifiers from the largest alpha to the smallest, each from the last.

    Parameters
    ----------
    members : list of L2CNNClassifier
    data : dict
        ``X``, ``y`` and ``sample_weight`` of a fit.
    watched : dict
        ``X_val``, ``y_val`` and ``sample_weight_val``, or nothing.

    Yields
    ------
    position : int
        In `members`.
    outcome : L2CNNClassifier or ValueError
    """
    earlier = None
    for position in _from_strong(members):
        outcome = _fit(members[position], data, watched, earlier)
        if not isinstance(outcome, ValueError):
            earlier = outcome
        yield position, outcome


def _bytes(X):
    """Return how many bytes images take on their way to a network, about."""
    if hasattr(X, "dtype"):
        return math.prod(X.shape) * (1 if "uint8" in str(X.dtype) else 4)
    return 4 * np.asarray(X).size


def _from_strong(members):
    """Return the positions of classifiers, that of the largest alpha first."""
    return sorted(range(len(members)), key=lambda k: -members[k].alpha)


def take(array, rows):
    """Return some rows of an array, a frame, a tensor, a list or None."""
    if array is None:
        return None
    if is_tensor(array):
        return array[torch.as_tensor(rows, device=array.device)]
    return safe_indexing(array, rows)


def _fit_one(member, X, y, sample_weight, fold, then):
    data, watched = _parts(member, X, y, sample_weight, fold)
    return _kept(_fit(member, data, watched), X, y, fold, then)


def _fit_fold(members, X, y, sample_weight, fold, then):
    outcomes = [None] * len(members)
    data, watched = _parts(members[0], X, y, sample_weight, fold)
    for position, outcome in fit_path(members, data, watched):
        # the path holds on to the last network, which the next starts from
        outcomes[position] = _kept(outcome, X, y, fold, then)
    return outcomes


def _kept(outcome, X, y, fold, then):
    if then is None or isinstance(outcome, ValueError):
        return outcome
    _, test = fold
    return then(outcome, X, y, test)


def _fit(member, data, watched, earlier=None):
    """Return the fitted member, or the error that its fit ended with."""
    try:
        if earlier is None:
            return member.fit(**data, **watched)
        _start_from(member, earlier)
        return member.fit(**data, **watched).set_params(warm_start=False)
    except ValueError as error:
        return error


def _start_from(member, earlier):
    """Let a member start from another's weights, with a history of its own."""
    member.net_ = earlier.net_.snapshot()
    member.net_.history = History()
    member._seen_, member.image_shape_ = earlier._seen_, earlier.image_shape_
    member.set_params(warm_start=True)


def _parts(member, X, y, sample_weight, fold):
    """Return what a member is trained on and what its training is watched on."""
    train, test = fold
    data = {
        "X": take(X, train),
        "y": take(y, train),
        "sample_weight": take(sample_weight, train),
    }
    if _listens(member):
        return data, {}
    seen = _watchable(y, sample_weight, train, test)
    if not len(seen):
        return data, {}
    return data, {
        "X_val": take(X, seen),
        "y_val": take(y, seen),
        "sample_weight_val": take(sample_weight, seen),
    }


def _listens(member):
    """Say whether what is watched would have a say in what is learnt.

    The rows that a member is scored on must not: early stopping then holds out rows of
    the training part, as it does in any fit.
    """
    return bool(
        member.early_stopping or member.lr_schedule == "plateau" or member.callbacks
    )


def _watchable(y, sample_weight, train, test):
    """Return the rows of a test fold that weigh and whose labels are learnt."""
    y = on_host(y)
    if sample_weight is not None:
        weighs = on_host(sample_weight) > 0
        train, test = train[weighs[train]], test[weighs[test]]
    return test[np.isin(y[test], y[train])]
