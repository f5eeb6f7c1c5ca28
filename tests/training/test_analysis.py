"""What may be cut is found out: who treats images one by one, and who does not."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import analysis as _analysis
from sklearn_l2cnn._training import shards as _shards
from sklearn_l2cnn._training.analysis import analysis_of
from sklearn_l2cnn._training.runtime import torch_threads
from sklearn_l2cnn._utils import state as _state
from sklearn_l2cnn._utils.operations import on_meta, run, work
from sklearn_l2cnn._utils.state import state_of
from tests.training.networks import BY_IMAGE, N_CLASSES, SHAPE, WHOLE, Functional, made

IMAGE = torch.zeros(1, *SHAPE)


def analysed(network, sizes=(64, 37), **options):
    _analysis._known.clear()
    return analysis_of(network, IMAGE, sizes, **options)


def snapshot(network):
    """Return all that an analysis might change."""
    generators = random.getstate()[1], np.random.get_state()[1].tobytes()
    numbers = {k: v.clone() for k, v in network.state_dict().items()}
    modes = [part.training for part in network.modules()]
    own = [set(vars(part)) for part in network.modules()]
    return generators, torch.get_rng_state(), numbers, modes, own


@pytest.mark.parametrize("name", [*BY_IMAGE, *WHOLE])
def test_who_treats_every_image_by_itself(name, monkeypatch):
    monkeypatch.setattr(_shards, "_STEP", 1e3)  # shards even for images this small
    network = made((BY_IMAGE | WHOLE)[name])
    before = snapshot(network)
    found = analysed(network)
    assert (found.whole is None) == (name in BY_IMAGE), found.whole
    after = snapshot(network)
    drawn = ("NumpyNoise", "StochasticDepth")  # by the network that is looked at
    assert before[0] == after[0] or name in drawn
    assert torch.equal(before[1], after[1]) and before[3:] == after[3:]
    for one, other in zip(before[2].values(), after[2].values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", [*BY_IMAGE, *WHOLE])
def test_a_program_does_what_its_network_does(name):
    """Also where it has one that need not be used."""
    network = made((BY_IMAGE | WHOLE)[name])
    program = analysed(network).program
    if program is None:
        return
    images = torch.randn(12, *SHAPE).round(decimals=1)  # so that some are equal
    results = []
    for forward in (network, lambda X: program(network, X)):
        network.zero_grad()
        torch.manual_seed(3)
        logits = forward(images.contiguous(memory_format=torch.channels_last))
        logits.square().sum().backward()
        results.append([logits, *(p.grad.clone() for p in network.parameters())])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["Counter", "Diary", "LastBatch", "StochasticDepth"])
def test_what_remembers_or_draws_by_itself_has_no_program(name):
    assert analysed(made(WHOLE[name])).program is None


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in BY_IMAGE if n != "frozen norm"])
def test_fits_agree_in_every_bit_for_any_number_of_threads(digits, name, monkeypatch):
    monkeypatch.setattr(_shards, "_STEP", 1e3)
    X, y = digits
    network = made(BY_IMAGE[name])
    fits = [
        L2CNNClassifier(
            architecture=network,
            max_epochs=2,
            batch_size=64,
            threads=threads,
            random_state=0,
        ).fit(X, y)
        for threads in (1, 2, 3)
    ]
    for other in fits[1:]:
        assert other.loss_curve_ == fits[0].loss_curve_
        assert np.array_equal(other.predict_proba(X), fits[0].predict_proba(X))


@pytest.fixture
def threads_used(monkeypatch):
    """Return a set of how many threads torch has for whole gradients."""
    seen, gradient = set(), _shards.whole_gradient

    def spied(*arguments):
        seen.add(torch.get_num_threads())
        return gradient(*arguments)

    monkeypatch.setattr(_shards, "whole_gradient", spied)
    return seen


@pytest.mark.parametrize("name", ["batch norm", "MeanOfBatch", "BranchOnSize"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_others_use_the_threads_of_torch(digits, name, threads, threads_used):
    X, y = digits
    before = torch.get_num_threads()
    clf = L2CNNClassifier(
        architecture=made(WHOLE[name]), max_epochs=2, threads=threads, random_state=0
    )
    curves = [clf.fit(X, y).loss_curve_ for _ in range(2)]
    assert threads_used == {threads} and torch.get_num_threads() == before
    assert curves[0] == curves[1]
    alone = L2CNNClassifier(**(clf.get_params() | {"threads": 1})).fit(X, y)
    np.testing.assert_allclose(alone.loss_curve_, curves[0], rtol=1e-3)


def test_torch_is_asked_for_its_threads(digits, threads_used):
    X, y = digits
    clf = L2CNNClassifier(architecture=made(WHOLE["batch norm"]), max_epochs=1)
    for threads in (1, 3):
        with torch_threads(threads):
            clf.fit(X, y)
    assert threads_used == {1, 3}


def test_what_is_known_is_known_of_networks_that_are_alike(monkeypatch):
    calls = []
    inner = _analysis._analysis
    monkeypatch.setattr(_analysis, "_analysis", lambda *a: calls.append(1) or inner(*a))
    _analysis._known.clear()
    network = Functional()
    for other in (network, copy.deepcopy(network), Functional()):
        analysis_of(other, IMAGE, [64])
    assert len(calls) == 1
    other = Functional()
    other.head.weight.requires_grad_(False)
    wide = Functional()
    wide.conv1 = nn.Conv2d(1, 8, 5, padding=2)
    resting = Functional()
    resting.conv1.eval()
    for another in (other, wide, resting):
        analysis_of(another, IMAGE, [64])
    analysis_of(network, IMAGE, [32])
    assert len(calls) == 5
    monkeypatch.setattr(_state, "_MOST_KNOWN", 5)
    analysis_of(network, IMAGE, [16])
    assert len(_analysis._known) == 1


def test_functions_with_other_variables_are_other_networks():
    def scaled(by):
        class Scaled(nn.Linear):
            def forward(self, X):
                return super().forward(X) * by

        return Scaled(2, 2)

    one, same, other = scaled(1.0), scaled(1.0), scaled(2.0)
    contents = [state_of(network).content for network in (one, same, other)]
    assert contents[0] != contents[2]
    assert contents[0] == state_of(one).content and hash(contents[0]) is not None


def test_a_state_changes_with_what_is_remembered():
    network = Functional()
    network.notes = {"a": [1, {2}], "b": np.zeros(2), "c": (object(), torch.ones(2))}
    network.itself = [network]
    before = state_of(network)
    assert state_of(network) == before and hash(before.content) is not None

    def changed():
        nonlocal before
        after = state_of(network)
        different, before = after != before, after
        return different

    network.notes["a"][1].add(3)
    assert changed()
    network.notes["b"][0] = 1
    assert changed()
    network.notes["c"][1].add_(1)
    assert changed()
    network.notes["c"] = (object(), network.notes["c"][1])
    assert changed()
    network.eval()
    assert changed() and not changed()


def test_work_counts_multiplications():
    def counted(network, *shape):
        return work(run(on_meta(network), torch.zeros(5, *shape, device="meta")))

    network = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 7)
    )
    values = 3 * 4 * 4 + 3 * 4 * 4 + 7  # flattening makes none
    products = 3 * 4 * 4 * 2 * 9 + 48 * 7
    assert counted(network, 2, 6, 6) == products + 150 * values
    assert counted(nn.Conv2d(4, 4, 3, groups=2), 4, 3, 3) == 4 * (2 * 9 + 150)
    assert counted(nn.Linear(6, 2), 6) == 2 * (6 + 150)
    assert counted(nn.Flatten(), 6) == 0


def test_a_last_batch_of_its_own_size_is_looked_at():
    network = made(WHOLE["BranchOnLastBatch"])
    assert analysed(network, sizes=(64,)).whole is None
    assert "37 images" in analysed(network, sizes=(64, 37)).whole


def test_classes_are_not_what_counts():
    class BatchNorm(nn.BatchNorm2d):  # in name alone
        def forward(self, X):
            return X * self.weight[:, None, None]

    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), BatchNorm(4), nn.Flatten(), nn.Linear(144, N_CLASSES)
    )
    # it is taken for what its class says: not cut, which is right and slower
    assert analysed(network).whole is not None
