"""Networks trained together: the same answer as one by one.

The oracle is `fit_one_by_one`, which trains every network by itself. In float64 both
must agree to rounding, whatever the folds, the weights, the penalty and the schedule.
"""

import logging
import re
import threading

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._members import fit_members, fit_one_by_one
from sklearn_l2cnn.training import _fleet, _fleet_batches, _stack, _waves
from tests.conftest import SmallNet, double

ALPHAS = [1e-3, 0.1, 1e-2]


def named(options):
    return ", ".join(f"{k}={getattr(v, '__name__', v)}" for k, v in options.items())


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


def both_ways(
    X, y, weight=None, path="independent", folds=None, alphas=ALPHAS, **options
):
    """Fit all alphas to all folds together, and one by one."""
    options = {
        "architecture": convolutions,
        "max_epochs": 4,
        "batch_size": 16,
        "lr": 1e-2,
    } | options
    template = L2CNNClassifier(random_state=0, **options)
    folds = folds or list(StratifiedKFold(3).split(X, y))
    members = [[clone(template).set_params(alpha=a) for a in alphas] for _ in folds]
    one_by_one = fit_one_by_one(
        [[clone(m) for m in row] for row in members], X, y, weight, folds, path=path
    )
    return fit_members(members, X, y, weight, folds, path=path), one_by_one


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


@pytest.fixture
def images(digits):
    """Ninety-seven digits: no fold is like another, and no last batch full."""
    X, y = digits
    return X[:97], y[:97] % 4


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"architecture": double},
        {"architecture": dense},
        {"penalty": "l1"},
        {"penalty": "group", "optimizer": "sgd"},
        {"penalty": "elasticnet", "optimizer": "adamw"},
        {"penalty": None},
        {"optimizer": "adamw", "penalize": "all"},
        {"optimizer": "sgd", "decoupled": True, "lr_schedule": "cosine"},
        {"optimizer": "sgd", "max_norm": 0.4, "momentum": 0.0},
        {"gradient_clip": 0.5, "label_smoothing": 0.2},
        {"class_weight": "balanced", "standardize": False},
        {"lr_schedule": "onecycle"},
        {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.0, "max_epochs": 12},
        {"early_stopping": True, "lr_schedule": "plateau", "max_epochs": 9},
        {"lr_schedule": "plateau", "optimizer": "sgd", "lr": 1.0, "max_epochs": 9},
        {"lr_schedule": "plateau", "penalty": "l1", "lr": 0.3, "max_epochs": 9},
        {"augment": ["flip", "shift", "cutout"]},
        {"augment": ["crop", "mixup"], "early_stopping": True},
        {"batch_size": 64},
    ],
    ids=named,
)
def test_together_is_one_by_one(images, options):
    X, y = images
    assert_same(*both_ways(X, y, **options), X)


def test_with_sample_weights(images):
    X, y = images
    weight = np.random.RandomState(0).randint(0, 4, len(y)) / 2
    assert_same(*both_ways(X, y, weight, class_weight={0: 2.0}), X)
    assert_same(*both_ways(X, y, weight, early_stopping=True, max_epochs=9), X)


def test_with_norms(images):
    X, y = images
    assert_same(*both_ways(X, y, architecture=normed), X)
    assert_same(*both_ways(X, y, architecture=normed, optimizer="sgd"), X)
    # a bias in front of a norm has no gradient but rounding, which Adam makes large
    together, one_by_one = both_ways(X, y, architecture=biased)
    for row, others in zip(together, one_by_one, strict=True):
        for clf, other in zip(row, others, strict=True):
            for p, q in zip(parameters_of(clf), parameters_of(other), strict=True):
                assert torch.allclose(p, q, rtol=1e-6, atol=1e-6)


def test_with_colours(colours):
    X, y = colours
    assert_same(*both_ways(X[:60], y[:60], architecture=averaged), X[:60])


def test_with_strengths_of_layers(images):
    X, y = images
    alphas = [{"0": 0.1, "3": 0.01}, {"*": 0.3}, {"8": 1.0}]
    assert_same(*both_ways(X, y, alphas=alphas), X)


def test_alpha_0_beside_others(images):
    X, y = images
    assert_same(*both_ways(X, y, alphas=[0.0, 0.1], penalty="l1"), X)


def test_a_warm_path(images):
    X, y = images
    together, one_by_one = both_ways(X, y, path="warm")
    assert_same(together, one_by_one, X)
    cold, _ = both_ways(X, y)
    assert not np.array_equal(  # the strongest starts anew, the others do not
        cold[0][0].predict_proba(X), together[0][0].predict_proba(X)
    )


@pytest.mark.parametrize("sizes", [(50, 50), (80, 33, 34), (64, 30)])
def test_folds_of_very_different_sizes(images, sizes):
    X, y = images
    rows = np.arange(len(y))
    folds = [(rows[:size], rows[size:]) for size in sizes]
    assert_same(*both_ways(X, y, folds=folds), X)
    assert_same(*both_ways(X, y, folds=folds, augment="shift"), X)


def test_folds_with_other_classes(images):
    X, y = images
    rows = np.arange(len(y))
    folds = [(rows[y != 3], rows[y == 3]), (rows[y != 1], rows[::2]), (rows, rows[:9])]
    assert_same(*both_ways(X, y, folds=folds), X)


@pytest.mark.parametrize("step", [1, 1e7, 2e7, 1e12])
def test_the_size_of_fleets_does_not_matter(images, step, monkeypatch):
    X, y = images
    sizes = count_fleets(monkeypatch)
    monkeypatch.setattr(_waves, "_STEP", step)
    assert_same(*both_ways(X, y, alphas=[1e-3, 1e-2, 0.1, 1.0]), X)
    assert sum(sizes) == 12
    assert max(sizes) == {1: 1, 1e7: 4, 2e7: 8, 1e12: 6}[step]


def test_a_budget_splits_the_networks_and_the_folds(images, monkeypatch):
    X, y = images
    sizes = count_fleets(monkeypatch)
    monkeypatch.setattr(_waves, "_FLEET_BYTES", 1)
    monkeypatch.setattr("sklearn_l2cnn._together._IMAGE_BYTES", 1)
    assert_same(*both_ways(X, y), X)
    assert sizes == [1] * 9


def test_images_are_gathered_in_any_pieces(images, monkeypatch):
    X, y = images
    monkeypatch.setattr(_fleet_batches, "_GATHERED_VALUES", 1)
    monkeypatch.setattr(_fleet_batches, "_VALIDATED_VALUES", 64 * 7)
    assert_same(*both_ways(X, y), X)


def count_fleets(monkeypatch):
    sizes = []

    class Counted(_fleet.Fleet):
        def __init__(self, members, places, folds, stopped):
            super().__init__(members, places, folds, stopped)
            sizes.append(len(members))

    monkeypatch.setattr(_waves, "Fleet", Counted)
    return sizes


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_does_not_matter(images, threads):
    X, y = images
    before = torch.get_num_threads()
    options = {"architecture": "plain", "max_epochs": 2}
    expected, _ = both_ways(X, y, **options)
    try:
        torch.set_num_threads(threads)
        found, _ = both_ways(X, y, **options)
    finally:
        torch.set_num_threads(before)
    for row, others in zip(found, expected, strict=True):
        for clf, other in zip(row, others, strict=True):
            assert np.array_equal(clf.predict_proba(X), other.predict_proba(X))


def test_a_network_that_diverges_drops_out(images):
    X, y = images
    options = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "max_epochs": 5}
    together, one_by_one = both_ways(X, y, alphas=[1e-3, 1e40, 1e-2], **options)
    for row, others in zip(together, one_by_one, strict=True):
        assert isinstance(row[1], ValueError)
        message, expected = (re.sub(r"\d", "", str(one[1])) for one in (row, others))
        assert message == expected
        del row[1], others[1]
    assert_same(together, one_by_one, X)


def test_a_single_image_and_a_batch_norm(images):
    X, y = images
    folds = [(np.array([0]), np.array([1])), (np.arange(40), np.arange(40, 97))]
    together, one_by_one = both_ways(
        X, y, folds=folds, architecture=normed, optimizer="sgd"
    )
    assert str(together[0][0]) == str(one_by_one[0][0])
    assert "single image has no variance" in str(together[0][0])
    assert_same(together[1:], one_by_one[1:], X)


def dropping(input_shape, n_classes):
    return nn.Sequential(
        nn.Dropout(0.2),
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(288, n_classes),
    )


def test_dropout_does_not_depend_on_the_company(images):
    X, y = images
    options = {"architecture": dropping, "max_epochs": 2}
    three, _ = both_ways(X, y, **options)
    one, _ = both_ways(X, y, alphas=ALPHAS[:1], **options)
    assert np.allclose(
        three[1][0].predict_proba(X), one[1][0].predict_proba(X), atol=1e-4
    )
    again, _ = both_ways(X, y, **options)
    assert np.array_equal(three[2][1].predict_proba(X), again[2][1].predict_proba(X))


def test_dropout_is_each_networks_own_and_of_its_rate():
    modules = [dropping((1, 8, 8), 3) for _ in range(3)]
    generators = [torch.Generator().manual_seed(k) for k in range(3)]
    stack = _stack.Stack(modules, [0, 0, 0], generators)
    drop = stack.calls[-3]  # before flattening and the dense layers
    stack.training = True
    out = drop(torch.ones(400, 24, 6, 6), None)
    kept = (out > 0).float()
    assert torch.equal(out.unique(), torch.tensor([0.0, 2.0]))
    assert float(kept.mean()) == pytest.approx(0.5, abs=0.005)
    first, second, third = kept.chunk(3, dim=1)
    for one, other in ((first, second), (second, third)):
        assert float((one == other).float().mean()) == pytest.approx(0.5, abs=0.01)


class Doubled(nn.Flatten):
    def forward(self, X):
        return 2 * super().forward(X)


def with_doubled(input_shape, n_classes):
    return nn.Sequential(Doubled(), nn.Linear(64, n_classes))


def untracked(input_shape, n_classes):
    norm = nn.BatchNorm1d(64, track_running_stats=False)
    return nn.Sequential(nn.Flatten(), norm, nn.Linear(64, n_classes))


def jitter(batch):
    return batch + 0.01


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"architecture": SmallNet}, "SmallNet is no torch.nn.Sequential"),
        ({"architecture": with_doubled}, "'0', Doubled.* cannot be stacked"),
        ({"activity_alpha": 0.1}, "activity_alpha"),
        ({"optimizer": torch.optim.RMSprop}, "the optimizer is RMSprop"),
        ({"freeze": "0"}, "frozen"),
        (
            {"architecture": untracked, "batch_size": 20},
            "BatchNorm1d.* cannot be stacked",
        ),
        ({"augment": jitter}, "functions of the user"),
        ({"architecture": "unet"}, "no torch.nn.Sequential"),
    ],
)
def test_what_no_fleet_holds_is_trained_one_by_one(images, options, reason, caplog):
    X, y = images
    with caplog.at_level(logging.INFO, "sklearn_l2cnn"):
        together, one_by_one = both_ways(X, y, alphas=[0.1], max_epochs=1, **options)
    [record] = caplog.records
    assert record.levelname == "INFO"
    assert "one by one" in record.getMessage()
    assert re.search(reason, record.getMessage())
    for row, others in zip(together, one_by_one, strict=True):
        assert np.array_equal(row[0].predict_proba(X), others[0].predict_proba(X))


def test_an_interruption_ends_all_fleets(images, monkeypatch):
    X, y = images
    begun = []

    def epoch(self):
        begun.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(_fleet.Fleet, "_train_epoch", epoch)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        both_ways(X, y)
    assert begun
    assert threading.active_count() == before


def test_the_global_generators_are_left_alone(images):
    X, y = images
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    both_ways(X, y, augment="flip", max_epochs=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
