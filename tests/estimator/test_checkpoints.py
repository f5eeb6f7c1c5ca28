"""Checkpoints: a training that was ended anywhere ends where it would have ended."""

import copy
import errno
import os
import signal
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn._training.checkpoint import Checkpoint
from sklearn_l2cnn._training.net import Net
from tests.conftest import double, quick, tiny
from tests.training.networks import functional

ALPHAS = [1e-3, 1.0, 0.03]
# On CUDA steps that are recorded round otherwise than the first ones after a resume.
FIXED = {"random_state": 0, "device": "cpu"}
small = partial(quick, device="cpu")


class Killed(BaseException):
    """Nothing catches it, as nothing catches the end of a process."""


@pytest.fixture
def killed_after(monkeypatch):
    """Let a training end once so many states are written, or never again."""

    def set_number(number):
        seen, write, lock = [], Checkpoint.write, threading.Lock()

        def written(self, *arguments):
            write(self, *arguments)
            with lock:
                seen.append(self)
                if number is not None and len(seen) == number:
                    self.wait()
                    raise Killed

        monkeypatch.setattr(Checkpoint, "write", written)
        return seen

    yield set_number
    monkeypatch.undo()


@pytest.fixture
def n_epochs(monkeypatch):
    """Count the epochs that networks are trained one by one."""
    seen, epoch = [], Net._epoch

    def counted(*arguments):
        seen.append(1)
        epoch(*arguments)

    monkeypatch.setattr(Net, "_epoch", counted)
    return seen


def state(estimator):
    """All that a fit ends with, without times."""
    net = estimator.net_
    history = [{k: v for k, v in row.items() if k != "dur"} for row in net.history]
    weights = {k: v.numpy().tobytes() for k, v in net.module_.state_dict().items()}
    order, groups = net.generator.get_state(), net.optimizer_.param_groups
    rates = [{k: v for k, v in group.items() if k != "params"} for group in groups]
    trained = [p.requires_grad for p in net.module_.parameters()]
    return history, weights, order[1].tolist(), order[2:], rates, trained


def let_end(estimator, data, killed_after, after, **fit):
    """Let a fit end after so many states, and the next ones go to their end."""
    killed_after(after)
    with pytest.raises(Killed):
        estimator.fit(*data, **fit)
    killed_after(None)


def assert_goes_on(make, data, folder, killed_after, after, **fit):
    """Fit once as a whole, once ended after so many states and begun again."""
    whole = make(None).fit(*data, **fit)
    let_end(make(folder), data, killed_after, after, **fit)
    again = make(folder).fit(*data, **fit)
    assert state(again) == state(whole)
    return whole, again


class Freezes(Callback):
    """Freezes the first layer after an epoch, and remembers what it has seen."""

    def __init__(self):
        self.seen = []

    def on_epoch_end(self, net, **kwargs):
        self.seen.append(net.history[-1, "train_loss"])
        self.net = net
        self.unpickled = lambda: None
        net.history.record("as numpy has it", np.float32(len(self.seen)))
        if len(self.seen) == 2:
            for parameter in net.module_[0].parameters():
                parameter.requires_grad_(False)


CASES = {
    "plain": {},
    "one by one": {"architecture": functional},
    "batch norm": {"architecture": "conv_dropout", "threads": 1},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 2},
    "best of all": {"early_stopping": True, "n_iter_no_change": np.inf},
    "what draws": {
        "architecture": "conv_dropout",
        "threads": 1,
        "augment": ["flip", "shift", "mixup"],
    },
    "sgd, one cycle": {"optimizer": "sgd", "lr_schedule": "onecycle"},
    "plateau": {"lr_schedule": "plateau", "lr": 0.1},
    "lbfgs": {"optimizer": torch.optim.LBFGS, "lr": 0.1, "batch_size": 100},
    "group penalty": {"penalty": "group", "alpha": 0.01, "max_norm": 1.0},
    "all at once": {
        "architecture": "plain",
        "early_stopping": True,
        "dropout": 0.3,
        "augment": ["flip", "rotate"],
        "class_weight": "balanced",
        "label_smoothing": 0.1,
        "gradient_clip": 1.0,
        "freeze": "conv1",
        "optimizer": "adamw",
    },
    "schedules of torch": {
        "callbacks": [
            ("decay", LRScheduler(LambdaLR, lr_lambda=lambda k: 0.9**k)),
            LRScheduler(ReduceLROnPlateau, monitor="train_loss", patience=0),
        ]
    },
    "steps of torch": {
        "callbacks": [
            LRScheduler(OneCycleLR, max_lr=0.1, total_steps=200, step_every="batch")
        ]
    },
    "callbacks": {
        "callbacks": [
            Freezes(),
            EpochScoring("accuracy", on_train=True, name="on_train"),
            EarlyStopping("train_loss", patience=3, load_best=True),
        ]
    },
}


@pytest.mark.parametrize("after", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_a_fit_goes_on_to_the_same_bits(case, after, digits, tmp_path, killed_after):
    X, y = digits

    def make(checkpoint):
        given = {"architecture": tiny, "max_epochs": 6, **FIXED}
        given |= copy.deepcopy(CASES[case])
        return L2CNNClassifier(**given, checkpoint=checkpoint)

    fit = {"sample_weight": 1 + np.arange(200) % 3, "X_val": X[200:], "y_val": y[200:]}
    if "early" in case or "best" in case or "all" in case:
        fit = {}
    assert_goes_on(make, (X[:200], y[:200]), tmp_path, killed_after, after, **fit)


def test_callbacks_remember_what_they_had_seen(digits, tmp_path, killed_after):
    X, y = (part[:100] for part in digits)

    def make(checkpoint):
        own = [("freezes", Freezes())]
        return small(max_epochs=5, callbacks=own, checkpoint=checkpoint)

    whole, again = assert_goes_on(make, (X, y), tmp_path, killed_after, 3)
    assert again.callbacks[0][1].seen == whole.callbacks[0][1].seen
    assert again.callbacks[0][1].net is again.net_


def test_an_interrupt_leaves_where_to_go_on(digits, tmp_path, monkeypatch):
    X, y = (part[:100] for part in digits)
    epoch = Net._epoch

    def interrupted(net, *arguments):
        if len(net.history) == 3:
            raise KeyboardInterrupt
        epoch(net, *arguments)

    clf = small(max_epochs=5, checkpoint=tmp_path)
    with monkeypatch.context() as changed, pytest.raises(KeyboardInterrupt):
        changed.setattr(Net, "_epoch", interrupted)
        clf.fit(X, y)
    assert clf.n_epochs_ == 2
    assert state(clf.fit(X, y)) == state(small(max_epochs=5).fit(X, y))


def test_what_has_ended_is_loaded(digits, tmp_path, n_epochs):
    X, y = (part[:100] for part in digits)
    clf = small(checkpoint=tmp_path)
    whole = state(clf.fit(X, y))
    [path] = tmp_path.iterdir()
    del n_epochs[:]
    # neither the order of the rows nor what a fit does not depend on makes another
    again = clone(clf).set_params(tta="flip", random_state=0)
    assert state(again.fit(X[::-1], y[::-1])) == whole
    assert not n_epochs and [*tmp_path.iterdir()] == [path]
    assert state(again.set_params(alpha=0.1).fit(X, y)) != whole
    assert len(n_epochs) == 3 and len([*tmp_path.iterdir()]) == 2
    for change in (
        {"max_epochs": 4},
        {"random_state": 1},
        {"architecture": functional},
        {"penalize": lambda name, weight: True},
        {"penalize": lambda name, weight: weight.ndim > 1},
    ):
        clone(clf).set_params(**change).fit(X, y)
    clf.fit(X[:99], y[:99])
    clf.fit(X, y, sample_weight=[2, *[1] * 99])
    assert len([*tmp_path.iterdir()]) == 9


def test_other_code_is_another_training(digits, tmp_path, n_epochs):
    X, y = (part[:60] for part in digits)
    source = """
from torch import nn
class Network(nn.Module):
    def __init__(self, shape, n_classes):
        super().__init__()
        self.layer = nn.Linear(64, n_classes)
    def forward(self, X):
        return self.layer(X.flatten(1)) * {factor}
"""
    for n_files, factor in enumerate((1.5, 2.5), start=1):
        names = {"__name__": "of_the_user"}
        exec(source.format(factor=factor), names)
        network = {"architecture": names["Network"], "max_epochs": 1}
        small(**network, checkpoint=tmp_path).fit(X, y)
        assert len([*tmp_path.iterdir()]) == len(n_epochs) == n_files


@pytest.mark.parametrize("keep", [False, True])
def test_files_of_epochs(keep, digits, tmp_path):
    X, y = (part[:60] for part in digits)
    folder = tmp_path / "made" / "here"
    small(max_epochs=4, checkpoint=folder, checkpoint_keep=keep).fit(X, y)
    names = [path.name for path in sorted(folder.iterdir())]
    name = names[-1].removesuffix(".pt")
    epochs = [f"{name}-{k:06d}.pt" for k in (1, 2, 3)]
    assert names == [*(epochs if keep else []), f"{name}.pt"]


# -- searches -------------------------------------------------------------------------


def dropping(input_shape, n_classes):
    """Build a network that drops values."""
    *layers, last = double(input_shape, n_classes)
    return torch.nn.Sequential(*layers, torch.nn.Dropout(), last)


SEARCHES = {
    "stacked": {},
    "stacked, what draws": {
        "architecture": dropping,
        "dropout": 0.3,
        "augment": ["flip", "shift"],
        "early_stopping": True,
        "n_iter_no_change": 1,
        "lr": 0.02,
    },
    "stacked, warm": {"path": "warm"},
    "one by one": {"architecture": functional},
    "one by one, warm": {"architecture": functional, "path": "warm"},
}


@pytest.mark.parametrize("after", [1, 3, 5])
@pytest.mark.parametrize("case", SEARCHES)
def test_a_search_goes_on_to_the_same_bits(case, after, digits, tmp_path, killed_after):
    def make(checkpoint):
        given = {"architecture": double, "max_epochs": 4, "cv": 2, **FIXED}
        return L2CNNClassifierCV(
            ALPHAS, **given | SEARCHES[case], checkpoint=checkpoint
        )

    whole, again = assert_goes_on(
        make, [part[:120] for part in digits], tmp_path, killed_after, after
    )
    for key, values in whole.cv_results_.items():
        if "time" not in key:
            np.testing.assert_array_equal(again.cv_results_[key], values, key)
    for name in ("scores_path_", "losses_path_", "norms_path_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name), name)


@pytest.mark.parametrize("after", [3, 10])
def test_a_grid_search_goes_on(after, digits, tmp_path, killed_after, n_epochs):
    def make(checkpoint):
        clf = small(checkpoint=checkpoint)
        return GridSearchCV(clf, {"alpha": ALPHAS}, cv=2, error_score="raise")

    X, y = (part[:80] for part in digits)
    whole = make(None).fit(X, y)
    let_end(make(tmp_path), (X, y), killed_after, after)
    del n_epochs[:]
    again = make(tmp_path).fit(X, y)
    # all that were whole are taken from their files
    assert len(n_epochs) == 7 * 3 - after
    assert state(again.best_estimator_) == state(whole.best_estimator_)
    for key, values in whole.cv_results_.items():
        if "time" not in key:
            np.testing.assert_array_equal(again.cv_results_[key], values, key)


@pytest.mark.gpu
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_on_cuda_a_fit_goes_on_up_to_rounding(
    cuda_graph, digits, tmp_path, killed_after, cuda
):
    X, y = digits

    def make(checkpoint):
        return L2CNNClassifier(
            max_epochs=5,
            batch_size=32,
            dropout=0.2,
            early_stopping=True,
            cuda_graph=cuda_graph,
            random_state=0,
            device=cuda,
            checkpoint=checkpoint,
        )

    whole = make(None).fit(X, y)
    let_end(make(tmp_path), (X, y), killed_after, 2)
    again = make(tmp_path).fit(X, y)
    np.testing.assert_allclose(again.loss_curve_, whole.loss_curve_, rtol=1e-3)
    assert again.loss_curve_[:2] == whole.loss_curve_[:2]


@pytest.mark.gpu
def test_on_cuda_a_stack_goes_on_up_to_rounding(digits, tmp_path, killed_after, cuda):
    X, y = (part[:80] for part in digits)

    def make(checkpoint):
        given = {"architecture": tiny, "max_epochs": 4, "cv": 2, "random_state": 0}
        return L2CNNClassifierCV(ALPHAS, **given, device=cuda, checkpoint=checkpoint)

    whole = make(None).fit(X, y)
    let_end(make(tmp_path), (X, y), killed_after, 2)
    again = make(tmp_path).fit(X, y)
    np.testing.assert_allclose(again.losses_path_, whole.losses_path_, rtol=1e-3)


# -- what goes wrong ------------------------------------------------------------------


def test_a_full_disk_is_a_warning(digits, tmp_path, monkeypatch):
    X, y = (part[:60] for part in digits)

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    whole = state(small().fit(X, y))
    monkeypatch.setattr(torch, "save", full)
    with pytest.warns(UserWarning, match="could not be written .*No space left") as got:
        clf = small(checkpoint=tmp_path).fit(X, y)
    assert state(clf) == whole and len(got) == 3
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("damage", ["cut", "emptied", "changed"])
def test_a_damaged_file_is_a_warning(damage, digits, tmp_path):
    X, y = (part[:60] for part in digits)
    whole = state(small(checkpoint=tmp_path).fit(X, y))
    [path] = tmp_path.iterdir()
    data = path.read_bytes()
    changed = bytearray(data)
    changed[len(data) // 3] ^= 255
    path.write_bytes(
        {"cut": data[:-100], "emptied": b"", "changed": bytes(changed)}[damage]
    )
    with pytest.warns(UserWarning, match="checkpoint .* cannot be read"):
        again = small(checkpoint=tmp_path).fit(X, y)
    assert state(again) == whole
    assert state(small(checkpoint=tmp_path).fit(X, y)) == whole  # it is whole again


def test_a_random_state_and_a_folder_are_needed(digits, tmp_path):
    X, y = digits
    for estimator in (L2CNNClassifier(), L2CNNClassifierCV()):
        estimator.set_params(checkpoint=tmp_path)
        with pytest.raises(ValueError, match="needs a random_state"):
            estimator.fit(X, y)
        assert not hasattr(estimator, "classes_")
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "inside", "\0"):
        with pytest.raises(ValueError, match="not a folder that can be made"):
            small(checkpoint=path).fit(X, y)


@pytest.mark.parametrize("kind", [L2CNNClassifier, L2CNNClassifierCV])
def test_a_callback_that_raises_leaves_the_estimator_as_it_was(kind, digits):
    X, y = (part[:60] for part in digits)

    class Raises(Callback):
        at = None

        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == self.at:
                raise RuntimeError("of the user")

    given = {"architecture": tiny, "max_epochs": 3, **FIXED}
    if kind is L2CNNClassifierCV:
        given |= {"alphas": [0.1, 1.0], "cv": 2}
    clf = kind(**given, callbacks=[("raises", Raises())]).fit(X, y)
    before, fitted = state(clf), {k: v for k, v in vars(clf).items() if k[-1] == "_"}
    for warm_start in (False, True)[: 1 + (kind is L2CNNClassifier)]:
        if warm_start:
            clf.set_params(warm_start=True)
        Raises.at = 2 + 3 * warm_start
        with pytest.raises(RuntimeError, match="of the user"):
            clf.fit(X, y)
        assert state(clf) == before
        assert {k: v for k, v in vars(clf).items() if k[-1] == "_"} == fitted
    if kind is L2CNNClassifier:
        Raises.at = 4
        with pytest.raises(RuntimeError, match="of the user"):
            clf.partial_fit(X, y)
        assert state(clf) == before


TERMINATED = """
import sys, threading, time
import numpy as np
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import checkpoint

write, begun = checkpoint.torch.save, threading.Event()

def slow(*arguments):
    print("writes", flush=True)
    time.sleep(1)
    write(*arguments)

checkpoint.torch.save = slow
X, y = np.random.RandomState(0).rand(40, 8, 8), np.arange(40) % 2
L2CNNClassifier(max_epochs=10**6, random_state=0, checkpoint=sys.argv[1]).fit(X, y)
"""


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="there are no signals")
def test_sigterm_ends_after_writing(tmp_path):
    command = [sys.executable, "-c", TERMINATED, str(tmp_path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "writes\n"
        assert not [path for path in tmp_path.iterdir() if path.suffix == ".pt"]
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=30)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == -signal.SIGTERM
    [path] = tmp_path.iterdir()
    assert path.name.endswith("-000001.pt")


def test_handlers_and_threads_are_left_as_they_were(digits, tmp_path):
    X, y = (part[:60] for part in digits)
    before = signal.getsignal(signal.SIGTERM)
    small(checkpoint=tmp_path).fit(X, y)
    assert signal.getsignal(signal.SIGTERM) == before
    assert not [t for t in threading.enumerate() if "checkpoint" in t.name]
    other = threading.Thread(
        target=small(checkpoint=tmp_path, alpha=0.1).fit, args=(X, y)
    )
    other.start()
    other.join()
    assert len([*tmp_path.iterdir()]) == 2
