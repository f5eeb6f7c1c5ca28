"""Predictions: an image gets the same bits alone and in any company."""

import os
import pickle
import signal
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import chunks
from sklearn_l2cnn._training.chunks import chunks_of, known_of
from sklearn_l2cnn._training.runtime import (
    each_in_one_thread,
    lone_threads,
    torch_threads,
)
from tests.conftest import SmallNet, quick
from tests.pretended import is_pretended
from tests.training.networks import BY_IMAGE, WHOLE, Base, made
from tests.training.random_networks import learnt, that_vary
from tests.training.test_rowwise import PROCESSORS, printed_on


def known(clf, side=8):
    images = torch.zeros(1, side, side, 1, dtype=torch.uint8)
    clf.net_.module_.eval()
    return known_of(clf.net_, images)


def fitted(digits, architecture, **parameters):
    X, y = digits
    options = {"max_epochs": 1, "random_state": 0, **parameters}
    return L2CNNClassifier(architecture=architecture, **options).fit(X, y)


@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 8, 9, 31])
@pytest.mark.parametrize("sizes", [[1], [4], [1, 2, 4], [2, 4, 8, 16]])
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_chunks_hold_every_row_once(n_rows, sizes, workers):
    found = chunks_of(n_rows, sizes, workers)
    rows = [row for part, _ in found for row in range(part.start, part.stop)]
    assert rows == list(range(n_rows))
    for part, size in found:
        assert size in sizes and part.stop - part.start <= size
        assert size < 2 * (part.stop - part.start) or size == sizes[0]


def in_threads(_):
    return threading.current_thread(), torch.get_num_threads()


def test_threads_of_predictions_are_kept():
    found = {*each_in_one_thread(in_threads, range(9), 2)}
    found |= {*each_in_one_thread(in_threads, range(9), 2)}
    assert len(found) <= 2 and {number for _, number in found} == {1}


def test_nobody_else_has_the_threads_meanwhile():
    with lone_threads(2) as mine, lone_threads(2) as yours:
        assert mine is not yours
    with lone_threads(2) as again:
        assert again in (mine, yours)


def test_a_thread_that_had_nothing_to_do_yet_computes_alone_later():
    number = 11  # nobody else has had threads of
    with lone_threads(number) as pool:
        list(pool.map(id, range(number)))
    with torch_threads(3), lone_threads(number) as again:
        assert again is pool
        found = list(again.map(in_threads, range(9)))
    assert {number for _, number in found} == {1}


def test_turns_are_as_they_were_when_the_last_pool_is_back():
    before = sys.getswitchinterval()
    with lone_threads(2):
        with lone_threads(2):
            sooner = sys.getswitchinterval()
        assert sooner == sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before
    with pytest.raises(KeyError), lone_threads(1):
        raise KeyError
    assert sys.getswitchinterval() == before


def test_threads_of_predictions_do_not_wait_for_each_other():
    def outer(_):
        return each_in_one_thread(in_threads, range(3), 2)

    assert len(each_in_one_thread(outer, range(4), 2)) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_threads_of_predictions_are_made_anew_in_a_fork():
    each_in_one_thread(in_threads, range(9), 2)
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends a child that waits for threads of its parent
        os._exit(len(each_in_one_thread(in_threads, range(9), 2)))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9


# Their predictions are random, or are others after some.
RANDOM = "Counter", "Noise", "NumpyNoise", "StochasticDepth"


@pytest.mark.parametrize("name", [n for n in (*BY_IMAGE, *WHOLE) if n not in RANDOM])
def test_an_image_gets_the_same_bits_alone_and_in_company(digits, name):
    X, _ = digits
    clf = fitted(digits, made((BY_IMAGE | WHOLE)[name]))
    whole = clf.predict_proba(X)
    orders = slice(0, 1), slice(3, 5), np.arange(300)[::-3], slice(7, 106)
    for threads in (1, 2, 3):
        with torch_threads(threads):
            for rows in orders:
                assert np.array_equal(clf.predict_proba(X[rows]), whole[rows])


@pytest.fixture(scope="module", params=[8, pytest.param(500, marks=pytest.mark.slow)])
def classifiers(request, tmp_path_factory):
    """Return a file of classifiers with random networks, for all processors."""
    path = tmp_path_factory.mktemp("networks") / "classifiers.pickle"
    path.write_bytes(pickle.dumps(list(learnt(request.param))))
    return path


@pytest.mark.long
@pytest.mark.parametrize("processor", PROCESSORS)
def test_random_networks_keep_to_it(processor, classifiers):
    assert printed_on(processor, that_vary, str(classifiers)) == "[]"


def test_one_image_is_a_chunk_of_one(digits):
    X, _ = digits
    clf = fitted(digits, made(WHOLE["LastBatch"]))
    clf.predict(X[:1])
    assert len(clf.module_.seen) == 1


def test_what_remembers_something_runs_in_one_thread_and_is_tried_on_a_copy(digits):
    X, _ = digits
    clf = fitted(digits, made(WHOLE["Counter"]))
    assert known(clf).alone and known(clf).program is None
    before = clf.module_.n_seen
    clf.predict(X[:1])
    assert clf.module_.n_seen == before + 1
    assert not known(fitted(digits, made(BY_IMAGE["residual"]))).alone


def test_a_norm_over_the_batch_that_has_no_statistics_sees_an_image_twice(digits):
    X, _ = digits
    norm = nn.BatchNorm1d(64, track_running_stats=False)
    clf = fitted(digits, nn.Sequential(nn.Flatten(), norm, nn.Linear(64, 10)))
    assert known(clf).least == 2
    whole = clf.predict_proba(X)
    assert np.array_equal(clf.predict_proba(X[5:6]), whole[5:6])


class PlaceInBatch(Base):
    """Gives an image other bits by how many there are."""

    def inside(self, X):
        return X * (1 + 1e-3 * (X.shape[0] > 4))


def test_sizes_that_do_not_agree_are_not_used(digits):
    X, _ = digits
    clf = fitted(digits, PlaceInBatch())
    whole = clf.predict_proba(X)
    assert known(clf).sizes == [1, 2, 4]
    assert np.array_equal(clf.predict_proba(X[7:8]), whole[7:8])


class PlaceInBatchOfDevice(Base):
    """Gives an image other bits by how few there are, as kernels of a device may."""

    def inside(self, X):
        return X * (1 + 1e-3 * (X.shape[0] < 64))


@pytest.mark.gpu
def test_sizes_on_a_device_are_those_that_agree_with_the_largest(digits, cuda):
    X, _ = digits
    clf = fitted(digits, PlaceInBatchOfDevice(), device="cuda")
    whole = clf.predict_proba(X)
    assert known(clf).sizes[0] == 64
    assert np.array_equal(clf.predict_proba(X[7:8]), whole[7:8])


@pytest.mark.gpu
def test_trying_sizes_waits_some_times_only(digits, cuda):
    if not is_pretended():
        pytest.skip("a real device does not count the waits")
    from tests.pretended import driver

    clf = fitted(digits, SmallNet, device="cuda")
    chunks._known.clear()
    driver.waits.clear()
    clf.predict_proba(digits[0])
    sizes = len(known(clf).sizes)
    assert sizes > 4
    # sixteen chunks of each size, or as many as there are, and what else is waited for
    assert driver.waits.total() <= 16 * (sizes + 1), driver.waits


def test_what_is_known_does_not_travel(digits):
    X, _ = digits
    clf = fitted(digits, SmallNet)
    expected = clf.predict_proba(X)
    again = pickle.loads(pickle.dumps(clf))
    chunks._known.clear()
    size = len(pickle.dumps(again))
    assert np.array_equal(again.predict_proba(X), expected)
    assert len(pickle.dumps(again)) == size


def test_attributes_that_change_are_followed(digits):
    class Switch(Base):
        double = False

        def inside(self, X):
            return 2 * X if self.double else X

    X, _ = digits
    clf = fitted(digits, Switch())
    before = clf.predict_proba(X)
    clf.module_.double = True
    after = clf.predict_proba(X)
    assert not np.array_equal(before, after)
    with torch.no_grad():
        images = torch.from_numpy((X / 255 - clf.channel_mean_) / clf.channel_scale_)
        logits = clf.module_(images[:, None].float())
    np.testing.assert_allclose(
        after, torch.softmax(logits, dim=1), rtol=1e-4, atol=1e-6
    )


def test_hooks_are_called_in_predictions(digits):
    X, _ = digits
    clf, seen = fitted(digits, made(BY_IMAGE["functional"])), []
    before = clf.predict_proba(X)
    hook = clf.module_.conv1.register_forward_hook(lambda *of: seen.append(len(of[2])))
    np.testing.assert_allclose(clf.predict_proba(X), before, rtol=1e-5, atol=1e-7)
    assert len(X) <= sum(seen) < 2 * len(X), "of these images alone"
    assert max(seen) > 1
    hook.remove()
    assert np.array_equal(clf.predict_proba(X), before)


def test_functions_of_the_network_are_found_in_forward_functions():
    """In whatever way a dense layer, a convolution or a sigmoid is written."""

    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(5, 1, 3, 3))
            self.matrix = nn.Parameter(torch.randn(180, 7))
            self.last = nn.Parameter(torch.randn(10, 7))

        def forward(self, X):
            X = torch.conv2d(X, self.kernel).sigmoid()
            X = (F.silu(X.flatten(1) @ self.matrix) + 1) ** 1.5
            return F.linear(X, self.last)

    clf = quick(architecture=Written(), max_epochs=1)
    X = np.random.RandomState(0).uniform(size=(50, 8, 8))
    clf.fit(X, np.arange(50) % 10)
    whole = clf.predict_proba(X)
    assert known(clf).program is not None and len(known(clf).sizes) > 3
    for k in range(50):
        assert np.array_equal(clf.predict_proba(X[k : k + 1]), whole[k : k + 1])
