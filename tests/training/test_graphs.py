"""Recorded steps: that they are the steps they were recorded from, and where not.

All of it needs CUDA, real or pretended.
"""

import copy
import functools
import logging
import pickle
import random
import threading
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import EfficiencyWarning
from skorch.callbacks import Callback
from torch import nn

from benchmarks._measure import no_waits
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import step as _steps
from sklearn_l2cnn._training.graphs import _WARM_UP
from sklearn_l2cnn._training.net import Net
from sklearn_l2cnn._training.upload import Upload
from sklearn_l2cnn._utils.devices import CudaRecorder, OutOfMemory
from sklearn_l2cnn.augmentation import NAMES
from tests.conftest import SmallNet, drawn, tiny
from tests.pretended import is_pretended

# -- uploads --------------------------------------------------------------------------


@pytest.mark.parametrize("buffered", [True, False])
def test_uploads_arrive(buffered):
    upload = Upload(torch.device("cpu"), buffered=buffered)
    source = torch.arange(600, dtype=torch.int32).reshape(100, 3, 2)
    target = torch.zeros_like(source)
    for start, stop in ((0, 40), (40, 50), (50, 100)):
        upload(source[start:stop], out=target[start:stop])
    assert torch.equal(target, source)
    pixels = torch.arange(12, dtype=torch.uint8).reshape(3, 4)
    results = [upload(pixels + k) for k in range(4)]
    for k, result in enumerate(results):
        assert torch.equal(result, pixels + k)


def test_buffers_are_reused_and_grow():
    upload = Upload(torch.device("cpu"), buffered=True)
    for n_rows in (10, 8, 20, 10):
        upload(torch.zeros(n_rows, 5))
    assert [len(buffer) for buffer in upload.buffers] == [200, 400]


class CountingRecorder(CudaRecorder):
    """The recorder of CUDA graphs, which counts what it is asked for."""

    def __init__(self, device):
        super().__init__(device)
        self.n_warm = self.n_recorded = self.n_replayed = 0

    def warm_up(self, function):
        self.n_warm += 1
        return super().warm_up(function)

    def record(self, function):
        self.n_recorded += 1
        replay = super().record(function)

        def counted():
            self.n_replayed += 1
            replay()

        return counted


@pytest.fixture
def recorders(cuda, monkeypatch):
    """Those of all trainings, in their order."""
    made = []

    def counting(device):
        made.append(CountingRecorder(device))
        return made[-1]

    monkeypatch.setattr(_steps, "recorder_for", counting)
    return made


def in_float64(input_shape, n_classes):
    return tiny(input_shape, n_classes).double()


def fitted(some, **parameters):
    X, y = some
    defaults = {
        "batch_size": 32,
        "max_epochs": 4,
        "lr_schedule": None,
        "alpha": 0.01,
        "random_state": 0,
        "device": "cuda",
    }
    # a penalty may count
    return L2CNNClassifier(**(defaults | copy.deepcopy(parameters))).fit(X, y)


def assert_same_training(some, tolerance=1e-6, **parameters):
    """Compare a training with graphs to one without; return the first."""
    clf = fitted(some, **parameters)
    eager = fitted(some, cuda_graph=False, **parameters)
    # on a real device sums have an order that changes
    rtol = tolerance if is_pretended() else 5e-2
    np.testing.assert_allclose(clf.loss_curve_, eager.loss_curve_, rtol=rtol)
    return clf


CONFIGURATIONS = {
    "plain": {},
    "norm and dropout": {"architecture": SmallNet},
    "sgd": {"optimizer": "sgd", "architecture": tiny},
    "weights": {"class_weight": "balanced", "architecture": tiny},
    "early stopping": {"architecture": tiny, "early_stopping": True},
    "bfloat16": {"architecture": tiny, "precision": "bfloat16"},
    "l1": {"architecture": tiny, "penalty": "l1"},
    "l1 with sgd": {"architecture": tiny, "penalty": "l1", "optimizer": "sgd"},
    "group": {"architecture": tiny, "penalty": "group"},
    "l2-sp": {"architecture": drawn(tiny, (1, 8, 8), 10), "penalty": "l2-sp"},
    "decoupled": {"architecture": tiny, "optimizer": "adamw"},
    "by layer": {
        "architecture": tiny,
        "penalty": "elasticnet",
        "alpha": {"0": 2.0**-7, "3": 2.0**-9},
    },
    "activity": {"architecture": tiny, "activity_alpha": 0.01},
    "bounds": {
        "architecture": tiny,
        "max_norm": 0.5,
        "gradient_clip": 0.5,
        "label_smoothing": 0.1,
    },
    "augmented": {"architecture": tiny, "augment": list(NAMES)},  # by all there is
    **{name: {"architecture": tiny, "augment": [name]} for name in NAMES},
    "float64": {"architecture": in_float64},
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_recorded_steps_are_the_steps(some, recorders, name):
    clf = assert_same_training(some, **CONFIGURATIONS[name])
    [recorder] = recorders
    n_full, n_rows = divmod(len(some[1]) - 15 * clf.early_stopping, 32)
    assert n_rows > 1  # there is a tail, which nobody records
    assert recorder.n_warm == _WARM_UP and recorder.n_recorded == 1
    assert recorder.n_replayed == clf.n_epochs_ * n_full - _WARM_UP


@pytest.mark.gpu
@pytest.mark.parametrize("lr_schedule", ["cosine", "onecycle", "plateau"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "sgdw"])
def test_recorded_steps_follow_the_learning_rate(
    some, recorders, lr_schedule, optimizer
):
    parameters = {
        "architecture": tiny,
        "lr_schedule": lr_schedule,
        "optimizer": optimizer,
        "penalty": "group" if lr_schedule == "onecycle" else "l2",
        "lr": 0.003,
    }
    clf = assert_same_training(some, **parameters)
    assert recorders[0].n_replayed > 5
    # not rounded to float32
    assert [group["lr"] for group in clf.net_.optimizer_.param_groups] == [0.003]
    if (lr_schedule, optimizer) == ("cosine", "adam"):
        constant = fitted(some, **(parameters | {"lr_schedule": None}))
        assert abs(constant.loss_curve_[-1] / clf.loss_curve_[-1] - 1) > 1e-3


@pytest.mark.gpu
@pytest.mark.parametrize(
    "optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD]
)
def test_optimizers_as_classes_are_recorded(some, recorders, optimizer):
    assert_same_training(some, architecture=tiny, optimizer=optimizer)
    assert recorders[0].n_replayed > 5


@pytest.mark.gpu
@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.RMSprop,
        functools.partial(torch.optim.SGD, foreach=True),
        functools.partial(torch.optim.Adam, foreach=True),
    ],
)
def test_optimizers_that_compute_on_the_host_are_not(some, recorders, optimizer):
    clf = fitted(some, architecture=tiny, optimizer=optimizer)
    assert sum(recorder.n_warm for recorder in recorders) == 0
    assert all(isinstance(g["lr"], float) for g in clf.net_.optimizer_.param_groups)


def pools_in_use():
    """Return the pools of memory that captures have; a real device does not say."""
    if not is_pretended():
        return None
    from tests.pretended import driver

    return set(driver.pools_in_use)


class Curious(nn.Module):
    """A network that looks at its numbers, which no graph can do."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.body = tiny(input_shape, n_classes)

    def forward(self, X):
        return self.body(X) * (1.0 if X.mean().item() < 1e6 else 0.5)


class Beside(nn.Module):
    """A network during whose recording another thread predicts."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.body = tiny(input_shape, n_classes)

    def forward(self, X):
        if self.training and torch.cuda.is_current_stream_capturing():
            thread = threading.Thread(target=self.predict)
            thread.start()
            thread.join()
        return self.body(X)


@pytest.mark.gpu
def test_other_threads_predict_while_steps_are_recorded(some, recorders):
    X, _ = some
    clf, found = fitted(some, architecture=tiny), []
    expected = clf.predict_proba(X)

    def predict():
        for _ in range(4):  # buffers are used again, and waited for
            found.append(clf.predict_proba(X))

    # nobody looks into a partial: a step that changes its network is not recorded
    Beside.predict = functools.partial(predict)
    recorders.clear()
    fitted(some, architecture=Beside)
    assert recorders[0].n_recorded == 1 and recorders[0].n_replayed > 5
    assert len(found) == 4
    assert all(np.array_equal(each, expected) for each in found)


@pytest.mark.gpu
def test_what_cannot_be_captured_goes_on_step_by_step(some, recorders, caplog, cuda):
    stream, drawn = torch.cuda.current_stream(), torch.cuda.get_rng_state()
    pools = pools_in_use()
    with caplog.at_level(logging.INFO, logger="sklearn_l2cnn"):
        assert_same_training(some, architecture=Curious)
    [line] = caplog.records
    assert "without a graph" in line.getMessage()
    assert recorders[0].n_recorded == 1 and recorders[0].n_replayed == 0
    # the failure leaves nothing behind: stream, random numbers, pools of memory
    assert torch.cuda.current_stream() == stream
    assert torch.equal(torch.cuda.get_rng_state(), drawn)
    torch.rand(3, device=cuda)
    assert pools_in_use() == pools


@pytest.mark.gpu
def test_a_graph_for_which_there_is_no_memory(some, recorders, monkeypatch):
    def fail(self, function):
        raise OutOfMemory("CUDA out of memory. Tried to allocate 1.00 GiB.\nMore.")

    monkeypatch.setattr(CountingRecorder, "record", fail)
    with pytest.warns(EfficiencyWarning, match="1.00 GiB. A smaller batch_size"):
        clf = fitted(some, architecture=tiny)
    eager = fitted(some, architecture=tiny, cuda_graph=False)
    np.testing.assert_allclose(clf.loss_curve_, eager.loss_curve_, rtol=1e-6)


# -- what changes on the host ---------------------------------------------------------


class AtEpochs(Callback):
    """Do something to the net before the third epoch."""

    def __init__(self, change):
        self.change = change

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            self.change(net)


def lower_rate(net):
    net.optimizer_.param_groups[0]["lr"] /= 10


def decay(net):
    net.optimizer_.param_groups[0]["weight_decay"] = 0.5


def less_momentum(net):
    net.optimizer_.param_groups[0]["betas"] = (0.5, 0.9)


def freeze_a_layer(net):
    next(net.module_.parameters()).requires_grad_(False)


def replace_weights(net):
    for parameter in net.module_.parameters():
        parameter.data = parameter.data.clone() * 0.5


def change_an_attribute(net):
    net.module_.scale = 0.25


def add_a_hook(net):
    net.module_.register_forward_hook(lambda module, x, logits: logits * 0.5)


class Scaled(nn.Module):
    """A network with a number in Python."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.body = tiny(input_shape, n_classes)
        self.scale = 1.0

    def forward(self, X):
        return self.body(X) * self.scale


CHANGES = [
    lower_rate,
    decay,
    less_momentum,
    freeze_a_layer,
    replace_weights,
    change_an_attribute,
    add_a_hook,
]


@pytest.mark.gpu
@pytest.mark.parametrize("change", CHANGES)
def test_what_a_callback_changes_is_followed(some, recorders, change):
    parameters = {"architecture": Scaled, "max_epochs": 6}
    clf = assert_same_training(some, callbacks=[AtEpochs(change)], **parameters)
    # a learning rate is read on the device, everything else is recorded anew
    n_recorded = sum(recorder.n_recorded for recorder in recorders)
    assert n_recorded == (1 if change is lower_rate else 2)
    unchanged = fitted(some, **parameters)
    assert abs(clf.loss_curve_[-1] / unchanged.loss_curve_[-1] - 1) > 1e-3


class Counting(Scaled):
    """It scales its logits by a number that grows."""

    def forward(self, X):
        if self.training:
            self.scale *= 1.01
        return super().forward(X)


class Drawing(Scaled):
    """It scales its logits by a random number of Python's, numpy's or torch's."""

    draw = staticmethod(random.random)

    def forward(self, X):
        return super().forward(X) * (1 + float(self.draw()))


class DrawingOfNumpy(Drawing):
    draw = staticmethod(np.random.random_sample)


class DrawingOfTorch(Drawing):
    draw = staticmethod(lambda: torch.rand(()))


class GrowingPenalty:
    """An L2 penalty that counts."""

    def __init__(self):
        self.n = 0

    def value(self, weight):
        return weight.square().sum() / 2

    def gradient(self, weight):
        self.n += 1
        return weight * (1 + self.n / 100)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "parameters",
    [
        {"architecture": Counting},
        {"architecture": Drawing},
        {"architecture": DrawingOfNumpy},
        {"architecture": DrawingOfTorch},
        {"architecture": tiny, "penalty": GrowingPenalty(), "alpha": 1.0},
    ],
    ids=["counter", "random", "numpy", "torch", "penalty"],
)
def test_what_changes_in_a_step_is_not_recorded(some, recorders, caplog, parameters):
    with caplog.at_level(logging.INFO, logger="sklearn_l2cnn"):
        assert_same_training(some, **parameters)
    [line] = caplog.records
    assert "on the host" in line.getMessage()
    assert recorders[0].n_replayed == 0


@pytest.mark.gpu
def test_what_somebody_listens_to_is_not_recorded(some, recorders):
    from tests.training.test_callbacks import Listener

    fitted(some, architecture=tiny, callbacks=[Listener()])
    fitted(some, architecture=tiny, cuda_graph=False)
    assert sum(recorder.n_warm for recorder in recorders) == 0


# -- waits and memory -----------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize(
    "name, cuda_graph",
    [
        ("plain", True),
        ("norm and dropout", True),
        ("early stopping", True),
        ("augmented", True),
        ("plain", False),
        ("l1 with sgd", False),
        ("early stopping", False),
        ("bounds", False),
    ],
)
def test_nobody_waits_between_the_steps(some, cuda, monkeypatch, name, cuda_graph):
    train_epoch, n_epochs = Net._train_epoch, []

    def without_waits(net, *arguments):
        n_epochs.append(1)
        if cuda_graph and len(n_epochs) == 1:  # torch waits for a recording
            return train_epoch(net, *arguments)
        with no_waits():
            return train_epoch(net, *arguments)

    monkeypatch.setattr(Net, "_train_epoch", without_waits)
    fitted(some, cuda_graph=cuda_graph, **CONFIGURATIONS[name])
    assert len(n_epochs) == 4


@pytest.mark.gpu
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_an_epoch_waits_once(some, cuda, name):
    if not is_pretended():
        pytest.skip("a real device does not count the waits")
    from tests.pretended import driver

    counts = []
    for max_epochs in (3, 6):
        driver.waits.clear()
        fitted(some, **(CONFIGURATIONS[name] | {"max_epochs": max_epochs}))
        counts.append(driver.waits.total())
    assert counts[1] - counts[0] == 3, driver.waits


@pytest.mark.gpu
def test_models_are_parked_after_a_fit(some, cuda):
    clf = fitted(some)
    assert {p.device.type for p in clf.module_.parameters()} == {"cpu"}
    clf.partial_fit(*some)
    clf.net_.offload()
    clf.predict(some[0][:3])
    assert {p.device.type for p in clf.module_.parameters()} == {"cuda"}
    state = clf.net_.optimizer_.state
    assert {t.device.type for each in state.values() for t in each.values()} == {"cpu"}
    assert clf.device_ == str(cuda)
    clf.partial_fit(*some)
    for weight, memory in clf.net_.optimizer_.state.items():
        assert weight.is_cuda
        if weight.ndim == 4:
            assert weight.is_contiguous(memory_format=torch.channels_last)
        # kernels of all weights at once take them as they lie in memory
        assert memory["exp_avg"].stride() == weight.stride()
    clf.net_.offload()
    assert all(p.is_contiguous() for p in clf.module_.parameters())


@pytest.mark.gpu
@pytest.mark.parametrize("cuda_graph", [True, False])
def test_fits_leave_no_memory_behind(some, cuda, cuda_graph):
    fitted(some)
    before = torch.cuda.memory_allocated(cuda)
    models = [fitted(some, cuda_graph=cuda_graph) for _ in range(3)]
    assert torch.cuda.memory_allocated(cuda) <= before
    assert len(models) == 3


@pytest.mark.gpu
def test_a_pickle_of_a_recorded_training(some, cuda):
    clf = fitted(some, architecture=tiny)
    back = pickle.loads(pickle.dumps(clf))
    assert np.array_equal(back.predict_proba(some[0]), clf.predict_proba(some[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back.partial_fit(*some)
    again = clone(clf).fit(*some)
    rtol = 1e-6 if is_pretended() else 5e-2
    np.testing.assert_allclose(again.loss_curve_, clf.loss_curve_, rtol=rtol)
