"""Networks trained together: the same answer as one by one.

The oracle is `fit`, called for every network by itself. In float64 both
must agree to rounding, whatever the folds, the weights, the penalty and the schedule.
"""

import numpy as np
import pytest
import torch

from sklearn_l2cnn._training.stacked import layers
from tests.conftest import double, drawn
from tests.training.stacked.both_ways import (
    assert_same,
    averaged,
    biased,
    both_ways,
    dense,
    many_filters,
    normed,
    of,
    parameters_of,
    reused,
    windows,
)


def named(options):
    return ", ".join(f"{k}={getattr(v, '__name__', v)}" for k, v in options.items())


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
        {"architecture": reused},
        {"architecture": windows},
        {"architecture": many_filters, "max_epochs": 2},
        {"penalty": "l1"},
        {"penalty": "group", "optimizer": "sgd"},
        {"penalty": "elasticnet", "optimizer": "adamw"},
        {"penalty": "l2-sp", "architecture": drawn(double, (1, 8, 8), 4)},
        {"penalty": None},
        {"optimizer": "adamw", "penalize": "all"},
        {"optimizer": "sgdw", "lr_schedule": "cosine"},
        {"optimizer": "sgd", "max_norm": 0.4, "momentum": 0.0},
        {"gradient_clip": 0.5, "label_smoothing": 0.2},
        {"class_weight": "balanced", "standardize": False},
        {"lr_schedule": "onecycle"},
        {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.0, "max_epochs": 12},
        {"early_stopping": True, "lr_schedule": "plateau", "max_epochs": 9},
        {"lr_schedule": "plateau", "optimizer": "sgd", "lr": 1.0, "max_epochs": 9},
        # at higher rates Adam makes rounding large where L1 leaves no gradient
        {"lr_schedule": "plateau", "penalty": "l1", "lr": 0.03, "max_epochs": 9},
        {"augment": ["flip", "shift", "cutout"]},
        {"augment": ["crop", "mixup"], "early_stopping": True},
        {"batch_size": 64},
        {"average": 0.9},
        {"average": "swa", "optimizer": "sgd", "lr": 0.02},
        {
            "average": 0.5,
            "early_stopping": True,
            "n_iter_no_change": 2,
            "max_epochs": 9,
        },
    ],
    ids=named,
)
def test_together_is_one_by_one(images, options):
    X, y = images
    assert_same(*both_ways(X, y, **options), X)


@pytest.mark.parametrize("architecture", [windows, many_filters])
def test_grey_images_meet_many_filters_as_a_product(images, architecture, monkeypatch):
    """Or the two cases above would try nothing new."""
    used = []
    product = layers._product
    monkeypatch.setattr(layers, "_product", lambda *a: used.append(1) or product(*a))
    both_ways(*images, architecture=architecture, max_epochs=1)
    assert used


def test_with_sample_weights(images):
    X, y = images
    weight = np.random.RandomState(0).randint(0, 4, len(y)) / 2
    assert_same(*both_ways(X, y, weight, class_weight={0: 2.0}), X)
    assert_same(*both_ways(X, y, weight, early_stopping=True, max_epochs=9), X)


@pytest.mark.long
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
    assert_same(*both_ways(X, y, settings=of(alphas)), X)


@pytest.mark.long
def test_alpha_0_among_others(images):
    X, y = images
    assert_same(*both_ways(X, y, settings=of([0.0, 0.1]), penalty="l1"), X)


@pytest.mark.long
def test_a_warm_path(images):
    X, y = images
    together, one_by_one = both_ways(X, y, path="warm")
    assert_same(together, one_by_one, X)
    cold, _ = both_ways(X, y)
    assert not np.array_equal(  # only the strongest starts from a new network
        cold[0][0].predict_proba(X), together[0][0].predict_proba(X)
    )


@pytest.mark.long
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


def several(name, values):
    return [{"alpha": alpha, name: value} for alpha in (1e-3, 0.1) for value in values]


@pytest.mark.parametrize(
    "settings",
    [
        several("lr", [1e-3, 1e-2, 0.05]),
        several("max_norm", [None, 0.4, 0.8]),
        several("gradient_clip", [0.1, None, 1.0]),
        several("label_smoothing", [0.0, 0.2]),
        [
            {"alpha": 0.1, "lr": 0.01, "max_norm": 0.5, "label_smoothing": 0.1},
            {"alpha": 0.0, "lr": 0.02, "gradient_clip": 0.3},
            {"alpha": 1e-3, "lr": 0.003},
        ],
    ],
    ids=["lr", "max_norm", "gradient_clip", "label_smoothing", "all"],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "sgd"},
        {"optimizer": "adamw", "penalty": "elasticnet"},
        {"optimizer": "sgdw", "lr_schedule": "onecycle", "penalty": "group"},
        {"penalty": "l1", "optimizer": "sgd", "augment": "mixup"},
    ],
    ids=named,
)
def test_networks_may_differ_in_more_than_alpha(images, settings, options):
    X, y = images
    together, one_by_one = both_ways(X, y, settings=settings, **options)
    assert_same(together, one_by_one, X)
    assert not np.allclose(*(clf.predict_proba(X) for clf in together[0][:2]))


@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd", "penalty": "l1"}])
def test_rates_that_fall_at_other_epochs(images, options):
    X, y = images
    parameters = {"lr_schedule": "plateau", "lr": 0.5, "max_epochs": 12} | options
    settings = [{"alpha": alpha} for alpha in (0.0, 0.1, 1.0)]
    together, one_by_one = both_ways(X, y, settings=settings, **parameters)
    assert_same(together, one_by_one, X, tolerance=1e-7)
    rates = [[row["event_lr"] for row in clf.net_.history] for clf in together[0]]
    assert len({tuple(own) for own in rates}) > 1
