"""Stacks: their sizes, networks that leave early, what cannot be stacked, prints."""

import logging
import re
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._data.validation import check_labelled_images
from sklearn_l2cnn._search import stacks as search_stacks
from sklearn_l2cnn._training.stacked import batches, plan, training
from sklearn_l2cnn._training.stacked.network import StackedNetwork
from tests.conftest import SmallNet
from tests.training.stacked.both_ways import (
    ALPHAS,
    assert_same,
    both_ways,
    count_stacks,
    fit_together,
    normed,
    of,
)


@pytest.fixture
def images(digits):
    """Ninety-seven digits: no fold is like another, and no last batch full."""
    X, y = digits
    return X[:97], y[:97] % 4


@pytest.mark.long
@pytest.mark.parametrize(
    ("step", "largest"), [(1, 1), (5e6, 2), (1.2e7, 4), (1e8, 6), (1e12, 12)]
)
def test_the_size_of_stacks_has_no_effect(images, step, largest, monkeypatch):
    X, y = images
    sizes = count_stacks(monkeypatch)
    monkeypatch.setattr(plan, "_STEP", step)
    assert_same(*both_ways(X, y, settings=of([1e-3, 1e-2, 0.1, 1.0])), X)
    assert sum(sizes) == 12
    assert max(sizes) == largest


@pytest.mark.parametrize(
    ("n_folds", "width", "most", "expected"),
    [
        (5, 8, 7, [4] * 10),  # a fold is more than a stack
        (5, 8, 8, [8, 8, 8, 8, 4, 4]),
        (5, 8, 16, [8, 16, 8, 8]),
        (5, 8, 99, [20, 20]),
        (4, 8, 99, [16, 16]),
        (5, 1, 20, [2, 3]),
        (5, 1, 99, [5]),  # too little for two threads
        (2, 4, 99, [8]),
        (1, 5, 20, [2, 3]),
        (1, 1, 99, [1]),
    ],
)
def test_sizes_of_stacks(n_folds, width, most, expected):
    members = [list(range(width))] * n_folds
    stacks = plan.plan_stacks(members, ["alike"] * n_folds, {"alike": most})
    assert [sum(len(own) for _, own in stack) for stack in stacks] == expected
    found = sorted((fold, k) for stack in stacks for fold, own in stack for k in own)
    assert found == [(fold, k) for fold in range(n_folds) for k in range(width)]
    kinds = [*range(n_folds)]
    apart = plan.plan_stacks(members, kinds, dict.fromkeys(kinds, most))
    assert all(len(stack) == 1 for stack in apart)


def test_a_budget_splits_the_networks_and_the_folds(images, monkeypatch):
    X, y = images
    sizes = count_stacks(monkeypatch)
    monkeypatch.setattr(plan, "_STACK_BYTES", 1)
    monkeypatch.setattr(search_stacks, "_IMAGE_BYTES", 1)
    assert_same(*both_ways(X, y), X)
    assert sizes == [1] * 9


def test_validation_chunks_of_any_size_have_no_effect(images, monkeypatch):
    X, y = images
    monkeypatch.setattr(batches, "_VALIDATED_VALUES", 64 * 7)
    assert_same(*both_ways(X, y), X)


@pytest.mark.long
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
    together, one_by_one = both_ways(X, y, settings=of([1e-3, 1e40, 1e-2]), **options)
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
    one, _ = both_ways(X, y, settings=of(ALPHAS[:1]), **options)
    assert np.allclose(
        three[1][0].predict_proba(X), one[1][0].predict_proba(X), atol=1e-4
    )
    again, _ = both_ways(X, y, **options)
    assert np.array_equal(three[2][1].predict_proba(X), again[2][1].predict_proba(X))


def test_dropout_is_each_networks_own_and_of_its_rate():
    modules = [dropping((1, 8, 8), 3) for _ in range(3)]
    generators = [torch.Generator().manual_seed(k) for k in range(3)]
    stack = StackedNetwork(modules, generators, torch.zeros(3, dtype=torch.int64))
    drop = stack.calls[-3]  # before flattening and the dense layers
    out = drop(torch.ones(400, 24, 6, 6))
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


def norm_twice(input_shape, n_classes):
    norm = nn.BatchNorm1d(64, affine=False)  # without parameters, but it remembers
    return nn.Sequential(nn.Flatten(), norm, nn.Tanh(), norm, nn.Linear(64, n_classes))


def dense_twice(input_shape, n_classes):
    layer = nn.Linear(64, 64)
    layers = nn.Flatten(), layer, nn.ReLU(), layer
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(64, n_classes))


def hooked(input_shape, n_classes):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))
    network.register_forward_hook(lambda module, given, logits: 2 * logits)
    return network


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
        ({"architecture": norm_twice, "batch_size": 20}, "share parameters"),
        ({"architecture": dense_twice}, "share parameters"),
        ({"architecture": hooked}, "has hooks"),
        ({"augment": jitter}, "functions of the user"),
        ({"architecture": "unet"}, "no torch.nn.Sequential"),
    ],
)
def test_what_cannot_be_stacked_is_trained_one_by_one(images, options, reason, caplog):
    X, y = images
    with caplog.at_level(logging.INFO, "sklearn_l2cnn"):
        together, one_by_one = both_ways(
            X, y, settings=of([0.1]), max_epochs=1, **options
        )
    [record] = caplog.records
    assert record.levelname == "INFO"
    assert "one by one" in record.getMessage()
    assert re.search(reason, record.getMessage())
    for row, others in zip(together, one_by_one, strict=True):
        assert np.array_equal(row[0].predict_proba(X), others[0].predict_proba(X))


def test_an_interruption_ends_all_stacks(images, monkeypatch):
    X, y = images
    begun = []

    def epoch(self, stopped):
        begun.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(training.StackedTraining, "_train_epoch", epoch)
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


def test_what_is_printed(images, capsys):
    X, y = images
    template = L2CNNClassifier(
        architecture="plain", max_epochs=2, verbose=1, random_state=0
    )
    labelled = check_labelled_images(template, X, y, None)
    folds = [(np.arange(50), np.arange(50, 97)), (np.arange(48, 97), np.arange(48))]
    fit_together(template, of([0.1, 1.0]), labelled, folds)
    lines = capsys.readouterr().out.splitlines()
    start, net, *lines = lines
    assert start == "Fitting 2 folds for each of 2 alphas, totalling 4 networks"
    assert re.fullmatch(r"device .*, [\d,]+ parameters, batch size 32, 2 steps .*", net)
    assert len(lines) == 4  # two epochs of a stack for each fold
    assert re.fullmatch(
        r"epoch 1/2, 2 of 4 networks \(alpha 0.1 to 1\), about \d+ s left: "
        r"train_data_loss [\d.]+ to [\d.]+, train_loss [\d.]+ to [\d.]+, "
        r"valid_loss [\d.]+ to [\d.]+, valid_acc [\d.]+( to [\d.]+)?",
        min(lines),
    )
    assert sum(line.startswith("epoch 2/2, 2 of 4 networks") for line in lines) == 2
    assert ", took " in lines[-1]


def test_an_alpha_that_fails_leaves_the_others_alone(images):
    X, y = images
    together, one_by_one = both_ways(X, y, settings=of([{"none": 1.0}, {"0": 1.0}]))
    for row, others in zip(together, one_by_one, strict=True):
        assert "means no layer" in str(row[0])
        assert str(row[0]) == str(others[0])
        del row[0], others[0]
    assert_same(together, one_by_one, X)


def test_weights_that_are_all_zero_fail_as_one_by_one(images):
    X, y = images
    folds = [(np.flatnonzero(y < 2), np.arange(9)), (np.arange(97), np.arange(9))]
    options = {"class_weight": {0: 0.0, 1: 0.0, 2: 1.0}}
    together, one_by_one = both_ways(X, y, folds=folds, **options)
    assert {str(error) for error in together[0]} == {str(one_by_one[0][0])}
    assert "must leave at least one class" in str(together[0][0])
    assert_same(together[1:], one_by_one[1:], X)


def test_times_are_shares(images):
    X, y = images
    start = time.perf_counter()
    together, _ = both_ways(X, y)
    wall = time.perf_counter() - start
    total = sum(
        row["dur"] for fold in together for clf in fold for row in clf.net_.history
    )
    assert 0 < total < wall * torch.get_num_threads()
