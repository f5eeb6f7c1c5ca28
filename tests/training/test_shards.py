"""Shards of a batch: the same gradient in any number of threads, and for whom."""

import copy
import threading
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import shards as _shards
from sklearn_l2cnn._training.runtime import lone_threads, torch_threads
from sklearn_l2cnn._training.shards import Shards, shard_count
from sklearn_l2cnn._training.step import summed_loss
from sklearn_l2cnn.architectures._plain import plain
from tests.conftest import tiny
from tests.training.networks import functional


def batch(n_rows, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n_rows, 1, 12, 12, generator=generator, dtype=dtype)
    labels = torch.randint(0, 5, (n_rows,), generator=generator)
    weight = torch.rand(n_rows, generator=generator, dtype=dtype)
    return images, labels, weight


def gradients(network, images, labels, weight, threads, n_shards=None):
    """Return loss, logits and gradients from shards, on a copy of the network."""
    network = copy.deepcopy(network)
    parameters = list(network.parameters())

    def loss(images, labels, weight, generator=None):
        logits = network(images)
        return summed_loss(logits, labels, weight).reshape(1), logits

    count = shard_count if n_shards is None else lambda *of_batch: n_shards
    with (
        mock.patch.object(_shards, "shard_count", count),
        torch_threads(1),
        lone_threads(threads) as pool,
    ):
        shards = Shards(parameters, 1e9, pool, threads)
        losses, logits = shards(loss, images, labels, weight)
    return losses[0], logits, [parameter.grad for parameter in parameters]


@pytest.mark.parametrize("n_rows", [16, 37])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_shards", [1, 2, 4, 8])
def test_shards_add_up_to_the_gradient(n_rows, weighted, n_shards):
    network = plain((1, 12, 12), 5).double()
    images, labels, weight = batch(n_rows, dtype=torch.float64)
    weight = weight if weighted else None
    loss, logits, found = gradients(network, images, labels, weight, 2, n_shards)

    expected = network(images)
    losses = nn.functional.cross_entropy(expected, labels, reduction="none")
    mean = (losses if weight is None else losses * weight).mean()
    mean.backward()
    assert torch.allclose(loss, mean, rtol=1e-12)
    assert torch.allclose(logits, expected, rtol=1e-12)
    assert not logits.requires_grad and not loss.requires_grad
    for parameter, gradient in zip(network.parameters(), found, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("n_rows", [128, 77])
def test_the_number_of_threads_does_not_show_in_a_bit(n_rows):
    network = plain((1, 12, 12), 5).to(memory_format=torch.channels_last)
    assert shard_count(n_rows, 1e9) > 4
    expected = gradients(network, *batch(n_rows), threads=1)
    for threads in (2, 3, 4, 7, 40):
        found = gradients(network, *batch(n_rows), threads=threads)
        assert torch.equal(found[0], expected[0])
        for one, other in zip(found[2], expected[2], strict=True):
            assert torch.equal(one, other)


def test_gradients_lie_in_memory_as_their_parameters():
    # fused optimizers rely on it; the gradient of a convolution comes channels last
    images, labels, weight = batch(32)
    for layout in (torch.contiguous_format, torch.channels_last):
        network = nn.Sequential(nn.Conv2d(1, 4, 3), plain((4, 10, 10), 5))
        network = network.to(memory_format=layout)
        images = images.contiguous(memory_format=torch.channels_last)
        found = gradients(network, images, labels, weight, 2)[2]
        for parameter, gradient in zip(network.parameters(), found, strict=True):
            assert parameter.stride() == gradient.stride()


def test_a_parameter_that_is_not_reached_has_no_gradient():
    network = nn.Sequential(plain((1, 12, 12), 5))
    network.idle = nn.Parameter(torch.ones(2))
    network.append(nn.Identity())
    parameters = [network.idle, *network[0].parameters()]
    images, labels, weight = batch(64)
    with lone_threads(1) as pool, torch_threads(1):
        shards = Shards(parameters, 1e9, pool, 2)
        shards(
            lambda x, y, w, _: (summed_loss(network[0](x), y, w), network[0](x)),
            images,
            labels,
            weight,
        )
    assert network.idle.grad is None and parameters[1].grad is not None


def test_threads_work_at_the_same_time_and_are_kept():
    meeting = threading.Barrier(2, timeout=60)
    parameter = nn.Parameter(torch.ones(()))
    seen = set()

    def loss(images, labels, weight, generator=None):
        if threading.current_thread() not in seen:  # idents are used again
            seen.add(threading.current_thread())
            meeting.wait()  # passed only where another thread comes as well
        return (images * parameter).sum(), images

    for _ in range(2):
        with lone_threads(1) as pool, torch_threads(1):
            Shards([parameter], 1e9, pool, 2)(loss, *batch(64))
    assert len(seen) == 2


def test_an_error_in_a_shard_is_raised(monkeypatch):
    def loss(images, labels, weight, generator=None):
        raise RuntimeError(f"shard of {len(images)}")

    monkeypatch.setattr(_shards, "shard_count", lambda *of_batch: 8)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="shard of 4"), lone_threads(2) as pool:
        pool.submit(threading.active_count).result()
        Shards([], 1e9, pool, 3)(loss, *batch(32))
    assert threading.active_count() <= before, "these threads are not kept"


def test_the_count_of_shards_is_a_power_of_two_within_its_bounds():
    for n_rows in (1, 2, 7, 8, 31, 32, 128, 5000):
        for cost in (1.0, 1e4, 1e6, 1e8, 1e12):
            count = shard_count(n_rows, cost)
            assert count & (count - 1) == 0
            assert 1 <= count <= max(1, min(16, n_rows // 8))


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["plain", tiny, functional])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_fits_with_shards_agree_in_every_bit(
    digits, monkeypatch, architecture, n_classes
):
    X, y = digits
    monkeypatch.setattr(_shards, "_STEP", 1e3)  # shards even for images this small
    used = []
    gradient = Shards.__call__

    def spied(self, loss, images, labels, weight):
        count = shard_count(len(images), self.work)
        used.append((count, self.threads))
        return gradient(self, loss, images, labels, weight)

    monkeypatch.setattr(Shards, "__call__", spied)
    clf = L2CNNClassifier(
        architecture=architecture,
        max_epochs=2,
        batch_size=64,
        early_stopping=True,
        random_state=0,
    )
    results = []
    for threads in (1, 2, 3):
        with torch_threads(threads):
            results.append(clf.fit(X, y % n_classes).predict_proba(X))
    assert all(np.array_equal(results[0], other) for other in results[1:])
    assert {threads for count, threads in used if count > 1} == {1, 2, 3}


def test_a_fit_with_shards_learns_what_a_fit_without_learns(digits, monkeypatch):
    X, y = digits
    clf = L2CNNClassifier(max_epochs=2, batch_size=64, random_state=0)
    one = clf.fit(X, y).loss_curve_
    monkeypatch.setattr(_shards, "_STEP", 1e3)
    np.testing.assert_allclose(clf.fit(X, y).loss_curve_, one, rtol=1e-4)
