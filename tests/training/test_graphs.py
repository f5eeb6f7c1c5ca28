"""Recorded steps: that they are the steps they were recorded from, and where not.

There is no need of CUDA for most of it: a recorder that keeps a tape of torch's
operations replays them, on the tensors they were recorded on, as a graph does.
"""

import logging

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import step as _steps
from sklearn_l2cnn._training.analysis import analysis_of
from sklearn_l2cnn._training.graphs import _WARM_UP, CudaRecorder
from sklearn_l2cnn._training.upload import Upload
from tests.conftest import SmallNet, tiny


class Tape(TorchDispatchMode):
    """Keep every operation with what it was given and what it returned."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        result = operation(*arguments, **(options or {}))
        self.operations.append((operation, arguments, options or {}, result))
        return result

    def replay(self):
        """Do everything again, on the same tensors and into the same."""
        with torch.no_grad():
            for operation, arguments, options, result in self.operations:
                again = operation(*arguments, **options)
                pairs = zip(tree_leaves(result), tree_leaves(again), strict=True)
                for old, new in pairs:
                    if isinstance(old, torch.Tensor) and not shares(old, new):
                        old.copy_(new)


def shares(one, other):
    """Say whether two tensors are one: a view, or changed in place."""
    return one is other or one.data_ptr() == other.data_ptr()


class TapeRecorder:
    """Stand in for the recorder of CUDA graphs."""

    def __init__(self):
        self.n_warm = self.n_recorded = self.n_replayed = 0

    def warm_up(self, function):
        self.n_warm += 1
        function()

    def record(self, function):
        self.n_recorded += 1
        with Tape() as tape:
            function()
        self.done = True  # a graph records without doing; this has done it once

        def replay():
            self.n_replayed += 1
            if self.done:
                self.done = False
            else:
                tape.replay()

        return replay


@pytest.fixture
def recorder(monkeypatch):
    recorder = TapeRecorder()
    monkeypatch.setattr(_steps, "recorder_for", lambda device: recorder)

    def in_one_piece(*arguments, **options):
        return analysis_of(*arguments, **options)._replace(whole="it is recorded")

    monkeypatch.setattr(_steps, "analysis_of", in_one_piece)
    return recorder


def fitted(digits, **parameters):
    X, y = digits
    defaults = {
        "batch_size": 64,
        "max_epochs": 4,
        "lr": 2.0**-7,  # the same in float32, in which a recorded step reads it
        "lr_schedule": None,
        "alpha": 0.01,
        "random_state": 0,
    }
    return L2CNNClassifier(**(defaults | parameters)).fit(X, y)


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
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_recorded_steps_are_the_steps(digits, recorder, monkeypatch, name):
    clf = fitted(digits, **CONFIGURATIONS[name])
    n_full, n_rows = divmod(len(digits[1]) - 30 * clf.early_stopping, 64)
    assert n_rows > 1  # there is a tail, which nobody records
    assert recorder.n_warm == _WARM_UP and recorder.n_recorded == 1
    assert recorder.n_replayed == clf.n_epochs_ * n_full - _WARM_UP
    monkeypatch.setattr(_steps, "recorder_for", lambda device: None)
    eager = fitted(digits, **CONFIGURATIONS[name])
    assert clf.loss_curve_ == eager.loss_curve_
    assert np.array_equal(clf.predict_proba(digits[0]), eager.predict_proba(digits[0]))


@pytest.mark.parametrize("lr_schedule", ["cosine", "onecycle"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("penalty", ["l2", "group"])
def test_recorded_steps_follow_the_learning_rate(
    digits, recorder, monkeypatch, lr_schedule, optimizer, penalty
):
    parameters = {
        "architecture": tiny,
        "lr_schedule": lr_schedule,
        "optimizer": optimizer,
        "penalty": penalty,
    }
    clf = fitted(digits, **parameters)
    assert recorder.n_replayed > 5
    rates = [group["lr"] for group in clf.net_.optimizer_.param_groups]
    assert rates == [clf.lr] and isinstance(rates[0], float)
    monkeypatch.setattr(_steps, "recorder_for", lambda device: None)
    eager = fitted(digits, **parameters)
    np.testing.assert_allclose(clf.loss_curve_, eager.loss_curve_, rtol=1e-4)
    constant = fitted(digits, **(parameters | {"lr_schedule": None}))
    assert abs(constant.loss_curve_[-1] / eager.loss_curve_[-1] - 1) > 1e-3


class Curious(nn.Module):
    """A network that looks at its numbers, which no graph can do."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.body = tiny(input_shape, n_classes)

    def forward(self, X):
        return self.body(X) * (1.0 if X.mean().item() < 1e6 else 0.5)


def test_what_cannot_be_recorded_goes_on_eagerly(digits, recorder, monkeypatch, caplog):
    with caplog.at_level(logging.INFO, logger="sklearn_l2cnn"):
        clf = fitted(digits, architecture=Curious)
    [line] = caplog.records
    assert "without a graph: operation not permitted" in line.getMessage()
    assert recorder.n_recorded == 1 and recorder.n_replayed == 0
    monkeypatch.setattr(_steps, "recorder_for", lambda device: None)
    assert clf.loss_curve_ == fitted(digits, architecture=Curious).loss_curve_


def test_what_somebody_listens_to_is_not_recorded(digits, recorder):
    from tests.training.test_callbacks import Listener

    fitted(digits, architecture=tiny, callbacks=[Listener()])
    fitted(digits, architecture=tiny, optimizer=torch.optim.RMSprop)
    assert recorder.n_warm == recorder.n_recorded == 0


def test_a_pickle_of_a_recorded_training(digits, recorder):
    import pickle

    clf = fitted(digits, architecture=tiny)
    back = pickle.loads(pickle.dumps(clf))
    again = clone(clf)
    assert np.array_equal(back.predict_proba(digits[0]), clf.predict_proba(digits[0]))
    assert again.fit(*digits).loss_curve_ == clf.loss_curve_


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


# -- on CUDA itself -------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_graphs_on_cuda_are_close_to_eager_steps(digits, cuda, monkeypatch, name):
    clf = fitted(digits, device="cuda", **CONFIGURATIONS[name])
    monkeypatch.setattr(_steps, "recorder_for", lambda device: None)
    eager = fitted(digits, device="cuda", **CONFIGURATIONS[name])
    np.testing.assert_allclose(clf.loss_curve_, eager.loss_curve_, rtol=5e-2)


class CountingRecorder(CudaRecorder):
    """The recorder of CUDA graphs, which counts what it is asked for."""

    def __init__(self, device):
        super().__init__(device)
        self.n_warm = self.n_recorded = self.n_replayed = 0

    def warm_up(self, function):
        self.n_warm += 1
        super().warm_up(function)

    def record(self, function):
        self.n_recorded += 1
        replay = super().record(function)

        def counted():
            self.n_replayed += 1
            replay()

        return counted


@pytest.mark.gpu
def test_a_graph_is_used_on_cuda(digits, cuda, monkeypatch):
    recorders = []

    def counting(device):
        recorders.append(CountingRecorder(device))
        return recorders[-1]

    monkeypatch.setattr(_steps, "recorder_for", counting)
    clf = fitted(digits, device="cuda")
    [recorder] = recorders
    assert recorder.device.type == "cuda"
    assert recorder.n_warm == _WARM_UP and recorder.n_recorded == 1
    n_full = len(digits[1]) // 64
    assert recorder.n_replayed == clf.n_epochs_ * n_full - _WARM_UP > 0


@pytest.mark.gpu
def test_a_network_that_cannot_be_captured_learns_on_cuda(digits, cuda, caplog):
    with caplog.at_level(logging.INFO, logger="sklearn_l2cnn"):
        clf = fitted(digits, device="cuda", architecture=Curious)
    assert len(caplog.records) == 1
    assert clf.loss_curve_[-1] < clf.loss_curve_[0]


@pytest.mark.gpu
def test_models_are_parked_after_a_fit(digits, cuda):
    clf = fitted(digits, device="cuda")
    assert {p.device.type for p in clf.module_.parameters()} == {"cpu"}
    clf.predict(digits[0][:3])
    assert {p.device.type for p in clf.module_.parameters()} == {"cuda"}
    assert clf.device_ == str(cuda)


@pytest.mark.gpu
def test_many_fits_leave_no_memory_behind(digits, cuda):
    fitted(digits, device="cuda")
    before = torch.cuda.memory_allocated(cuda)
    models = [fitted(digits, device="cuda") for _ in range(5)]
    assert torch.cuda.memory_allocated(cuda) <= before + 1024
    assert len(models) == 5
