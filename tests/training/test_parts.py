"""The parts of training: batches, devices, seeds, weights, held-out rows."""

import random
import threading

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from sklearn_l2cnn._data.arrays import as_tensor
from sklearn_l2cnn._data.weights import class_factors, held_out
from sklearn_l2cnn._training.batches import (
    auto_batch_size,
    batch_bounds,
    to_tensor,
)
from sklearn_l2cnn._training.forward import network_input, pixel_map
from sklearn_l2cnn._training.runtime import isolated
from sklearn_l2cnn._utils.devices import resolve_device
from sklearn_l2cnn._utils.seeds import draw_seeds

CPU = torch.device("cpu")


# -- batches --------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("n_rows", range(1, 20))
def test_batches_cover_all_rows_once_and_leave_none_alone(n_rows, batch_size):
    bounds = batch_bounds(n_rows, batch_size)
    assert [k for start, stop in bounds for k in range(start, stop)] == list(
        range(n_rows)
    )
    sizes = [stop - start for start, stop in bounds]
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size + 1
    if batch_size > 1 and n_rows > 1:
        assert min(sizes) > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_network_sees_standardised_pixels(kind, dtype):
    images = np.random.RandomState(0).randint(0, 256, size=(6, 3, 4, 2)).astype(kind)
    mean, scale = np.array([0.3, 0.5]), np.array([0.2, 0.7])
    tensor = to_tensor(as_tensor(images), np.array([4, 0, 2]), mean, scale, dtype)
    tensor = tensor.permute(0, 3, 1, 2)
    assert tensor.dtype == (torch.uint8 if kind == "uint8" else dtype)
    seen = network_input(tensor, *pixel_map(mean, scale, dtype, CPU))
    pixels = images / 255 if kind == "uint8" else images.astype(float)
    expected = ((pixels - mean) / scale)[[4, 0, 2]].transpose(0, 3, 1, 2)
    assert seen.dtype == dtype
    rtol = 1e-12 if dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(seen.numpy(), expected, rtol=rtol, atol=1e-6)


def test_read_only_images_are_copied(recwarn):
    images = np.zeros((3, 2, 2, 1), dtype=np.uint8)
    images.flags.writeable = False
    tensor = as_tensor(images)
    to_tensor(tensor, slice(0, 2), np.zeros(1), np.ones(1), torch.float32).add_(1)
    assert not images.any()
    assert not [w for w in recwarn if "writable" in str(w.message)]


# -- devices --------------------------------------------------------------------------


def test_devices_that_are_there():
    assert resolve_device("cpu") == CPU
    assert resolve_device("cpu:0") == CPU
    assert resolve_device(torch.device("cpu")) == CPU
    auto = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == auto


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "meta", "mps"])
def test_unknown_devices_are_named(device):
    with pytest.raises(
        ValueError, match=f"device='{device}' is not a device .*'cuda:N'"
    ):
        resolve_device(device)


def test_cuda_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match="device='cuda:1' was asked for.*Use device='cpu'"
    ):
        resolve_device("cuda:1")


def test_a_cuda_device_beyond_the_last(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda") == torch.device("cuda:0")
    with pytest.raises(ValueError, match="has 2 CUDA device.*'cuda:0' to 'cuda:1'"):
        resolve_device("cuda:2")


# -- the world as it was --------------------------------------------------------------


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()


def test_isolation_seeds_and_restores():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    before = states()
    draws = []
    for _ in range(2):
        with isolated(7, CPU):
            assert torch.get_num_threads() == 1
            draws.append((random.random(), np.random.rand(), float(torch.rand(()))))
    assert draws[0] == draws[1]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    after = states()
    assert before[:2] == after[:2] and torch.equal(before[2], after[2])


def test_isolation_undoes_what_would_stop_training():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), torch.inference_mode(), isolated(0, CPU):
            weight = torch.ones(2, requires_grad=True)
            weight.sum().backward()
            assert weight.dtype == torch.float32 and weight.grad is not None
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_isolation_restores_after_an_error():
    before = states()
    with pytest.raises(KeyError), isolated(0, CPU):
        torch.rand(5)
        raise KeyError
    assert torch.equal(before[2], states()[2])


def test_threads_take_turns():
    inside, most = [], []

    def work():
        with isolated(0, CPU):
            inside.append(1)
            most.append(len(inside))
            nn.Linear(50, 50)(torch.ones(50, 50)).sum().backward()
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 8


def test_seeds():
    assert draw_seeds(3, 4) == draw_seeds(3, 4) != draw_seeds(4, 4)
    mine = np.random.RandomState(3)
    assert draw_seeds(mine, 4) == draw_seeds(3, 4) != draw_seeds(mine, 4)
    before = np.random.get_state()[1].tolist()
    assert draw_seeds(None, 2) != draw_seeds(None, 2)
    assert np.random.get_state()[1].tolist() == before


# -- weights --------------------------------------------------------------------------


def test_class_factors_are_those_of_scikit_learn():
    y = np.array([0] * 5 + [1] * 3 + [2] * 2)
    classes, mass = np.arange(3), np.bincount(y).astype(float)
    expected = compute_class_weight("balanced", classes=classes, y=y)
    np.testing.assert_allclose(class_factors("balanced", classes, mass), expected)
    assert class_factors(None, classes, mass).tolist() == [1, 1, 1]
    assert class_factors({0: 2, 1: 3, 2: 0.5}, classes, mass).tolist() == [2, 3, 0.5]


def test_balanced_leaves_classes_alone_that_have_not_come_yet():
    factors = class_factors("balanced", np.arange(3), np.array([4.0, 0.0, 1.0]))
    assert factors.tolist() == [5 / 8, 1, 5 / 2]


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(
    "counts", [(10, 10), (1, 1, 30), (2, 3, 5, 7), (100, 1), (40,)]
)
def test_held_out_rows_are_shared_by_the_classes(counts, fraction):
    labels = np.random.RandomState(0).permutation(
        np.repeat(np.arange(len(counts)), counts)
    )
    train, valid = held_out(labels, fraction, np.random.RandomState(1))
    assert sorted([*train, *valid]) == list(range(len(labels)))
    kept = np.bincount(labels[train], minlength=len(counts))
    out = np.bincount(labels[valid], minlength=len(counts))
    assert (kept >= 1).all()
    assert (out >= np.minimum(np.floor(fraction * np.array(counts)), kept - 1)).all()
    # one more at most, in the place of a class that is too small to give any
    assert (out <= np.ceil(fraction * np.array(counts)) + 1).all()
    assert 1 <= len(valid) <= np.ceil(fraction * len(labels))


def test_held_out_rows_are_drawn():
    labels = np.zeros(100, dtype=int)
    first, again, other = (
        held_out(labels, 0.1, np.random.RandomState(seed))[1].tolist()
        for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize("labels", [[0], [0, 1], [0, 1, 2]])
def test_too_few_to_hold_any_out(labels):
    with pytest.raises(
        ValueError, match=f"n_samples={len(labels)} .* Pass X_val and y_val"
    ):
        held_out(np.array(labels), 0.1, np.random.RandomState(0))


def test_auto_batch_size_grows_with_the_data():
    sizes = [auto_batch_size(n) for n in (1, 1797, 12800, 25600, 60000, 10**7)]
    assert sizes == sorted(sizes)
    assert sizes == [32, 32, 32, 64, 128, 256]
