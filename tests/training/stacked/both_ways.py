"""Networks to be trained together and one by one, and what must be the same."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._data.validation import check_labelled_images
from sklearn_l2cnn._search import stacks
from sklearn_l2cnn._search.candidates import Candidates, sources_of
from sklearn_l2cnn._search.fitting import by_fold, fit_networks
from sklearn_l2cnn._search.one_by_one import fit_one_by_one
from sklearn_l2cnn._search.progress import Progress

ALPHAS = [1e-3, 0.1, 1e-2]


def convolutions(input_shape, n_classes):
    """Two convolutions, the second nested, and two dense layers in float64."""
    depth, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(depth, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(4, 6, 3, padding="same"), nn.Tanh()),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * (height // 4) * (width // 4), 5, bias=False),
        nn.GELU(),
        nn.Linear(5, n_classes),
    ).double()


def windows(input_shape, n_classes):
    """Many filters on grey images, in a stride, far apart, without biases."""
    first = nn.Conv2d(1, 22, (3, 4), stride=2, padding=(2, 1), dilation=2, bias=False)
    layers = first, nn.ReLU(), nn.Conv2d(22, 4, 1), nn.Flatten()
    return nn.Sequential(*layers, nn.LazyLinear(n_classes)).double()


def many_filters(input_shape, n_classes):
    """The plainest network with many filters."""
    layers = nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(24 * 16, n_classes)).double()


def normed(input_shape, n_classes):
    """Batch norms of maps and of rows, one without weights, and a group norm."""
    depth = input_shape[0]
    return nn.Sequential(
        nn.BatchNorm2d(depth, affine=False),
        nn.Conv2d(depth, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4, momentum=None),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 6, bias=False),
        nn.BatchNorm1d(6),
        nn.LeakyReLU(0.1),
        nn.Linear(6, n_classes),
    ).double()


def reused(input_shape, n_classes):
    """One activation that stands in several places."""
    tanh = nn.Tanh()
    layers = nn.Conv2d(input_shape[0], 4, 3), tanh, nn.Flatten(), nn.Linear(144, 5)
    return nn.Sequential(*layers, tanh, nn.Linear(5, n_classes)).double()


def biased(input_shape, n_classes):
    """A convolution with a bias in front of a batch norm."""
    layers = nn.Conv2d(input_shape[0], 4, 3), nn.BatchNorm2d(4), nn.ReLU()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(144, n_classes)).double()


def dense(input_shape, n_classes):
    """No convolution at all."""
    return nn.Sequential(
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 8),
        nn.ReLU(),
        nn.Linear(8, n_classes),
    ).double()


def averaged(input_shape, n_classes):
    """Logits from a convolution in groups on images of several channels."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3),
        nn.ReLU(),
        nn.Conv2d(6, n_classes, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).double()


def of(alphas):
    return [{"alpha": alpha} for alpha in alphas]


def both_ways(
    X, y, weight=None, path="independent", folds=None, settings=None, **options
):
    """Fit all settings to all folds together, and one by one."""
    settings = settings or of(ALPHAS)
    options = {
        "architecture": convolutions,
        "max_epochs": 4,
        "batch_size": 16,
        "lr": 1e-2,
    } | options
    template = L2CNNClassifier(random_state=0, **options)
    folds = folds or list(StratifiedKFold(3).split(X, y))
    labelled = check_labelled_images(template, X, y, weight)
    together = fit_together(template, settings, labelled, folds, path)
    if path == "warm":
        candidates = Candidates(template, settings, warm=True)
        found = sources_of(candidates, labelled, dict(enumerate(folds)))
        return together, by_fold(fit_one_by_one(candidates, found.sources), len(folds))
    weight = np.ones(len(y)) if weight is None else weight
    one_by_one = [
        [fitted(clone(template).set_params(**s), X, y, weight, *f) for s in settings]
        for f in folds
    ]
    return together, one_by_one


def count_stacks(monkeypatch):
    """Return a list that the number of networks of every stack is added to."""
    sizes = []

    class Counted(stacks.StackedTraining):
        def __init__(self, members, *others):
            super().__init__(members, *others)
            sizes.append(len(members))

    monkeypatch.setattr(stacks, "StackedTraining", Counted)
    return sizes


def fit_together(template, settings, labelled, folds, path="independent"):
    """Fit all settings to all folds, as a search does."""
    progress = Progress(template, settings, len(folds))
    candidates = Candidates(template, settings, path == "warm", progress=progress)
    found = sources_of(candidates, labelled, dict(enumerate(folds)))
    return by_fold(fit_networks(candidates, found), len(folds))


def fitted(clf, X, y, weight, train, test):
    """Fit a classifier to some rows, the oracle, or return the error that it raises."""
    validation = {}
    rows = test[(weight[test] > 0) & np.isin(y[test], y[train[weight[train] > 0]])]
    if not (clf.early_stopping or clf.lr_schedule == "plateau") and len(rows):
        validation = {"X_val": X[rows], "y_val": y[rows]}
        validation["sample_weight_val"] = weight[rows]
    try:
        return clf.fit(X[train], y[train], weight[train], **validation)
    except ValueError as error:
        return error


def parameters_of(clf):
    return [parameter.detach() for parameter in clf.module_.parameters()]


def assert_same(together, one_by_one, X, tolerance=1e-9):
    for ours, others in zip(together, one_by_one, strict=True):
        for clf, other in zip(ours, others, strict=True):
            assert not isinstance(other, ValueError), other
            pairs = zip(
                clf.module_.state_dict().items(),
                other.module_.state_dict().values(),
                strict=True,
            )
            for (name, value), expected in pairs:
                scale = float(expected.abs().max()) or 1.0
                worst = float((value - expected).abs().max()) / scale
                assert worst <= tolerance, (name, worst)
                assert value.untyped_storage().nbytes() == value.nbytes, name
            assert_same_history(clf.net_.history, other.net_.history, tolerance)
            assert clf.n_epochs_ == other.n_epochs_
            assert clf.best_epoch_ == other.best_epoch_
            proba, expected = clf.predict_proba(X), other.predict_proba(X)
            assert np.allclose(proba, expected, rtol=0, atol=100 * tolerance)


def assert_same_history(history, expected, tolerance):
    assert len(history) == len(expected)
    for row, other in zip(history, expected, strict=True):
        assert row.keys() == other.keys()
        for name in row.keys() - {"dur", "batches"}:
            assert row[name] == pytest.approx(other[name], rel=100 * tolerance), name
