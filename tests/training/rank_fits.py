"""Fits that several ranks share: run by one process, or by each rank of a job.

python -m tests.training.rank_fits FOLDER NAME ... runs some of them, and writes what
came of each to a file for each rank.
"""

import contextlib
import functools
import hashlib
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

from sklearn_l2cnn import L2CNNClassifierCV
from sklearn_l2cnn._data import images as _images
from sklearn_l2cnn._training import shards
from sklearn_l2cnn._training.ranks import ranks_of_process
from sklearn_l2cnn._training.streaming import StreamedImages
from sklearn_l2cnn._utils.devices import OutOfMemory
from sklearn_l2cnn.datasets import LazyImages
from tests.conftest import SmallNet, double, quick, tiny
from tests.training.networks import functional


@functools.cache
def data():
    X, y = load_digits(return_X_y=True)
    return (X[:230].reshape(-1, 8, 8) * 15).astype(np.uint8), y[:230]


def dropping(input_shape, n_classes):
    network = tiny(input_shape, n_classes)
    return nn.Sequential(*network[:3], nn.Dropout(0.3), network[3])


def with_idle(input_shape, n_classes):
    """Build a network of which a parameter is not reached, and another is float64."""

    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.idle = nn.Parameter(torch.ones(3))
            self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))
            self.network = tiny(input_shape, n_classes)

        def forward(self, images):
            return self.network(images) * self.scale.float()

    return Idle()


class Batches(Callback):
    """Keep what comes of every batch."""

    def __init__(self):
        self.seen = []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.seen.append(sum(float(p.grad.sum()) for _, p in named_parameters))

    def on_batch_end(self, net, batch, training, y_pred, **kwargs):
        self.seen += [len(batch[1]), training, float(y_pred.sum())]


# -- fits whose bits do not depend on the ranks ----------------------------------------


def of(clf):
    """Return all that a classifier has learnt, to the last bit."""
    state = clf.module_.state_dict().values()
    content = b"".join(tensor.contiguous().numpy().tobytes() for tensor in state)
    curves = clf.loss_curve_, clf.validation_loss_curve_, clf.validation_scores_
    return hashlib.sha256(content).hexdigest(), repr(curves)


def fitted(weighted=False, images=None, **parameters):
    X, y = data()
    X = X if images is None else images
    y = y[: len(X)]
    weight = np.random.RandomState(0).randint(0, 4, len(y)) if weighted else None
    defaults = {"max_epochs": 2, "batch_size": 64, "device": "cpu"}
    clf = quick(**(defaults | parameters))
    return of(clf.fit(X, y, sample_weight=weight))


def partly_fitted(folder):
    X, y = data()
    clf = quick(batch_size=30)
    for start in (0, 75, 150):
        rows = slice(start, start + 75)
        clf.partial_fit(X[rows], y[rows], classes=np.arange(10))
    return of(clf)


def went_on(folder):
    clf = quick(batch_size=64, max_epochs=1, warm_start=True)
    return of(clf.fit(*data()).fit(*data()))


def followed(folder):
    callback = Batches()
    return fitted(callbacks=[callback], early_stopping=True), callback.seen


def stopped_early(folder):
    options = {"early_stopping": True, "n_iter_no_change": 2, "lr": 3e-2}
    clf = quick(batch_size=64, max_epochs=30, **options).fit(*data())
    assert 3 <= clf.n_epochs_ < 30
    return of(clf)


@contextlib.contextmanager
def images_left_in_place(folder):
    """Yield images that are read when they are needed, and count what is read."""
    path, n_read, read = Path(folder) / f"{os.getpid()}.npy", [], StreamedImages.read
    np.save(path, data()[0])

    def counted(self, rows):
        found = read(self, rows)
        n_read.append(len(found))
        return found

    before, _images._IN_MEMORY = _images._IN_MEMORY, 0
    StreamedImages.read = counted
    try:
        yield LazyImages(np.load(path, mmap_mode="r")), n_read
    finally:
        StreamedImages.read, _images._IN_MEMORY = read, before


def lazy(folder):
    with images_left_in_place(folder) as (images, _):
        return fitted(images=images), fitted(images=images, augment="shift")


def searched(folder):
    search = GridSearchCV(quick(batch_size=64), {"alpha": [1e-3, 1.0]}, cv=2)
    search.fit(*data())
    return of(search.best_estimator_), search.cv_results_["mean_test_score"].tolist()


class Interrupts(Callback):
    """Interrupt the training before a step, on the last rank."""

    def __init__(self, at):
        self.at = at

    def before_step(self, net):
        self.at -= 1
        if not self.at and net.ranks_.rank == net.ranks_.size - 1:
            os.kill(os.getpid(), signal.SIGINT)


def interrupted(folder):
    clf = quick(batch_size=64, callbacks=[Interrupts(6)])
    try:
        clf.fit(*data())
    except KeyboardInterrupt as error:
        return of(clf), clf.n_epochs_, error.__notes__
    raise AssertionError("it was not interrupted")


FITS = {
    "sequential": lambda folder: fitted(),
    "few shards": lambda folder: fitted(batch_size=20),
    "functional": lambda folder: fitted(architecture=functional),
    "dropout": lambda folder: fitted(architecture=dropping, batch_size=50),
    "float64": lambda folder: fitted(architecture=double, penalty="l1", alpha=1e-2),
    "idle": lambda folder: fitted(architecture=with_idle, optimizer="sgd"),
    "augment": lambda folder: fitted(augment=["flip", "shift", "mixup"]),
    "group": lambda folder: fitted(penalty="group", alpha=1e-2, gradient_clip=0.1),
    "average": lambda folder: fitted(average=0.9, early_stopping=True),
    "accumulate": lambda folder: fitted(batch_size=16, accumulate=4),
    "weights": lambda folder: fitted(weighted=True, class_weight="balanced"),
    "activity": lambda folder: fitted(activity_alpha=1e-3, label_smoothing=0.1),
    "lbfgs": lambda folder: fitted(optimizer=torch.optim.LBFGS, lr=0.1, max_epochs=1),
    "onecycle": lambda folder: fitted(lr_schedule="onecycle", batch_size=37),
    "early stopping": stopped_early,
    "partial_fit": partly_fitted,
    "warm_start": went_on,
    "batches": followed,
    "lazy": lazy,
    "search": searched,
    "interrupt": interrupted,
    "diverged": lambda folder: raised(lambda: fitted(lr=1e30)),
}


# -- what else ranks do ----------------------------------------------------------------


def probabilities(images=None, **parameters):
    """Return predictions, and what was printed."""
    X, y = data()
    clf = quick(**({"batch_size": 64, "verbose": 1} | parameters))
    with contextlib.redirect_stdout(io.StringIO()) as told:
        clf.fit(X if images is None else images, y)
    return clf.predict_proba(data()[0][:20]).tolist(), told.getvalue()


def dense_norm(input_shape, n_classes):
    """Build a network with a batch norm of vectors, float64, and functional dropout."""
    network = double(input_shape, n_classes)
    return nn.Sequential(
        *network, nn.Dropout(0.2), nn.BatchNorm1d(n_classes, momentum=None).double()
    )


def small_double(input_shape, n_classes):
    """Build a network of which rounding does not grow to anything in a few steps."""
    return SmallNet(input_shape, n_classes).double()


def norms(folder):
    """Train networks with batch norm, also on batches that are too small to be cut."""
    with images_left_in_place(folder) as (images, _):
        lazily = probabilities(images, architecture=small_double)
    return [
        lazily,
        probabilities(architecture=small_double, batch_size=229 // 2),
        probabilities(architecture=dense_norm, augment="shift"),
        probabilities(
            architecture=small_double, activity_alpha=1e-3, early_stopping=True
        ),
        probabilities(architecture=SmallNet, max_epochs=1),
    ]


def centred_over_the_batch(input_shape, n_classes):
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = tiny(input_shape, n_classes)

        def forward(self, images):
            return self.network(images - images.mean(0, keepdim=True))

    return Centred()


def across(folder):
    return probabilities(architecture=centred_over_the_batch)


def printed(folder):
    clf = quick(early_stopping=True, n_iter_no_change=9, max_epochs=3, verbose=1)
    with (
        contextlib.redirect_stdout(io.StringIO()) as told,
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("always")
        clf.fit(*data())
    return told.getvalue(), [str(warning.message) for warning in warned]


def raised(function):
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


class Fails(Callback):
    """Raise an error on the last rank: at the end of an epoch, or before a step."""

    def __init__(self, at_step=None):
        self.at_step = at_step

    def on_epoch_end(self, net, **kwargs):
        if self.at_step is None and net.ranks_.rank == net.ranks_.size - 1:
            raise ValueError("gone wrong")

    def before_step(self, net):
        if self.at_step is not None:
            self.at_step -= 1
        if self.at_step == 0 and net.ranks_.rank == net.ranks_.size - 1:
            raise ValueError("lost a step")


def no_network(input_shape, n_classes):
    if ranks_of_process().rank:
        raise ValueError("no network")
    return tiny(input_shape, n_classes)


def failed(folder):
    found = [raised(lambda k=k: fitted(callbacks=[Fails(k)])) for k in (None, 3, 8)]
    found.append(raised(lambda: fitted(architecture=no_network)))
    return found, fitted()  # and all of them go on


class LacksMemory(Callback):
    """Let a device of the last rank have no memory left, once."""

    n_steps = 0

    def before_step(self, net):
        self.n_steps += 1
        if self.n_steps == 3 and net.ranks_.rank == net.ranks_.size - 1:
            raise OutOfMemory("no memory")


def lacked_memory(folder):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        bits = fitted(callbacks=[LacksMemory()])
    return bits, [str(warning.message) for warning in warned]


class Stops(Callback):
    """Ask to stop, on the last rank alone."""

    def on_epoch_end(self, net, **kwargs):
        if net.ranks_.rank == net.ranks_.size - 1:
            raise KeyboardInterrupt


def stopped_by_one(folder):
    callbacks = [Stops()] if ranks_of_process().rank else None
    return fitted(callbacks=callbacks, max_epochs=9), fitted(max_epochs=1)


def different(folder):
    rank = ranks_of_process().rank
    X, y = data()
    other = X.copy()
    other[7, 3, 3] += rank
    with images_left_in_place(folder) as (images, _):
        lazily = raised(lambda: fitted(images=images[: 200 + rank], max_epochs=1))
    return [
        raised(lambda: fitted(images=other)),
        raised(lambda: fitted(random_state=None)),
        raised(lambda: fitted(alpha=0.1 * rank)),
        lazily,
        raised(lambda: L2CNNClassifierCV(2).fit(X, y)),
    ]


def rows_read(folder):
    """Return how many images the steps of an epoch have read."""
    with images_left_in_place(folder) as (images, n_read):
        fitted(images=images, max_epochs=1)
        return sum(n_read)


def size_here(*_):
    return ranks_of_process().size


def exit_with_size():
    os._exit(ranks_of_process().size)


def children(folder):
    """Return how many ranks the children of a rank take part in, each its own way."""
    fork = multiprocessing.get_context("fork").Process(target=exit_with_size)
    fork.start()
    fork.join(30)
    sizes = {"fork": fork.exitcode}
    if ranks_of_process().rank == 0:
        found = joblib.Parallel(2)(joblib.delayed(size_here)() for _ in range(2))
        return sizes | {"loky": found}
    code = "from tests.training import rank_fits; print(rank_fits.size_here())"
    command = [sys.executable, "-c", code]
    return sizes | {"subprocess": int(subprocess.check_output(command, timeout=60))}


class Dies(Callback):
    """End the last rank after three epochs, where it is to die."""

    def on_epoch_end(self, net, **kwargs):
        ranks, dies = net.ranks_, "RANK_FITS_DIE" in os.environ
        if dies and ranks.rank == ranks.size - 1 and len(net.history) == 3:
            os._exit(7)


def died(folder):
    """Lose a rank: its checkpoint is left, and an error comes soon."""
    start = time.perf_counter()
    error = raised(lambda: went_through(folder))
    return error, time.perf_counter() - start


def went_through(folder):
    clf = quick(
        max_epochs=5, batch_size=64, callbacks=[Dies()], checkpoint=folder, verbose=1
    )
    with contextlib.redirect_stdout(io.StringIO()) as told:
        clf.fit(*data())
    return of(clf), told.getvalue()


OTHERS = {
    function.__name__: function
    for function in (norms, across, printed, failed, lacked_memory, stopped_by_one)
    + (different, rows_read, children, died, went_through)
}


def run(names, folder):
    """Return what came of the fits of some names."""
    return {name: (FITS | OTHERS)[name](folder) for name in names}


def main(folder, *names):
    torch.set_num_threads(1)
    shards._STEP = 1e3  # shards even for images this small
    if "RANK_FITS_INIT" in os.environ:  # as a script begins a group by itself
        rank, size = map(int, os.environ["RANK_FITS_INIT"].split("/"))
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/group", rank=rank, world_size=size
        )
    found = run(names, folder)
    ranks = ranks_of_process()
    (Path(folder) / f"{ranks.rank}.json").write_text(json.dumps([ranks.size, found]))


if __name__ == "__main__":
    from tests.training import rank_fits  # where callbacks are unpickled from

    rank_fits.main(*sys.argv[1:])
