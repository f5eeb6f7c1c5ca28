"""What only a GPU can settle, in one command, with a table for benchmarks/README.md.

python -m benchmarks.on_gpu [--data DIR] [--seconds 480] [--only NAME ...]
python -m benchmarks.on_gpu --pretend      tiny, on a pretended device: does it run?

The parts come in the order of what is most wanted; when the seconds are used up the
others are left out, and the table says so.
"""

import sys

if "--pretend" in sys.argv:
    import tests.pretended.cuda  # noqa: F401  before torch

import argparse
import gc
import logging
import threading
import time
import traceback

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from torch import nn

from benchmarks import _cifar, _tasks
from benchmarks._measure import Figure, interleaved, no_waits, ratio
from benchmarks._networks import NETWORKS
from benchmarks._peers import PEERS
from benchmarks.bench_speed import same_curve
from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn._training.net import Net
from sklearn_l2cnn._utils.devices import CudaRecorder, generators_of
from sklearn_l2cnn._utils.errors import first_line


class Size:
    """How much is computed: something, or next to nothing on a pretended device."""

    def __init__(self, pretended):
        self.pretended = pretended
        self.images = 20 if pretended else 4096
        self.side = 8 if pretended else 32
        self.batch = 8 if pretended else 128
        self.epochs = 2 if pretended else 4
        self.fits = 3 if pretended else 20
        self.upload = (1 << 20) if pretended else (2 << 30)
        self.repeats = 1 if pretended else 5


def data(size):
    """Return noise with a bright bar whose place is the label."""
    task = _tasks.synthetic(size.images, size.side, depth=3, n_test=64)
    return task.X, task.y


def classifier(size, **parameters):
    """Return a classifier for the device."""
    defaults = {"batch_size": size.batch, "max_epochs": size.epochs, "random_state": 0}
    return L2CNNClassifier(device="cuda", **(defaults | parameters))


# -- what is tried --------------------------------------------------------------------


def failed_captures(size, options):
    """Let recordings fail in several ways; say what is left behind."""
    device = torch.device("cuda", torch.cuda.current_device())
    x = torch.ones(8, device=device)

    def run_out_of_memory():
        raise torch.cuda.OutOfMemoryError("made up")

    ways = {
        "item": lambda: x.sum().item(),
        "copy from the host": lambda: x.copy_(torch.ones(8)),
        "error in Python": lambda: [][0],
        "dropout, then item": lambda: nn.functional.dropout(x).sum().item(),
        "no memory": run_out_of_memory,
    }
    for name, function in ways.items():
        stream, before = torch.cuda.current_stream(), torch.cuda.memory_allocated()
        states = [generator.get_state() for generator in generators_of(device)]
        try:
            CudaRecorder(device).record(function)
            raised = "nothing was raised"
        except Exception as error:
            raised = type(error).__name__
            traceback.clear_frames(error.__traceback__)
        left = []
        if torch.cuda.current_stream() != stream:
            left.append("the stream")
        found = [generator.get_state() for generator in generators_of(device)]
        if not all(map(torch.equal, states, found)):
            left.append("random numbers")
        if torch.cuda.memory_allocated() > before:
            left.append("memory")
        nn.functional.dropout(x).sum().item()  # or it raises: the generator is captured
        replay = CudaRecorder(device).record(lambda: x.add_(1))
        value = x[0].item()
        replay()
        if x[0].item() != value + 1:
            left.append("recording is broken")
        what = f"capture fails by {name}: left behind"
        yield Figure(what, ", ".join(left) or "nothing", note=raised)


CONFIGURATIONS = {
    "plain": {},
    "resnet18": {"architecture": "resnet18"},
    "unet": {"architecture": "unet"},
}
VARIED = {
    "": {},
    ", mixup and rotate": {"augment": ["mixup", "rotate"]},
    ", dropout": {"dropout": 0.3},
}


def graphs(size, options):
    """Compare training with and without graphs, in both precisions."""
    X, y = data(size)
    for name, network in CONFIGURATIONS.items():
        for precision in ("float32", "bfloat16"):
            for varied, parameters in VARIED.items():
                every = {**network, **parameters, "precision": precision}
                seconds, curves = {}, {}
                for cuda_graph in (True, False):
                    start = time.perf_counter()
                    clf = classifier(size, cuda_graph=cuda_graph, **every).fit(X, y)
                    seconds[cuda_graph] = time.perf_counter() - start
                    curves[cuda_graph] = np.array(clf.loss_curve_)
                apart = np.abs(curves[True] / curves[False] - 1).max()
                note = f"{seconds[False] / seconds[True]:.2f} times as fast, once"
                what = f"{name}, {precision}{varied}: losses apart from eager ones"
                yield Figure(what, float(apart), note=note)


def waits(size, options):
    """Train with torch's sync debug mode on from the second epoch on."""
    X, y = data(size)
    train_epoch = Net._train_epoch
    for name, network in CONFIGURATIONS.items():
        for cuda_graph in (True, False):
            done = []

            def without_waits(net, *arguments, done=done):
                done.append(1)
                if len(done) == 1:
                    return train_epoch(net, *arguments)
                with no_waits():
                    return train_epoch(net, *arguments)

            Net._train_epoch = without_waits
            try:
                classifier(size, cuda_graph=cuda_graph, **network).fit(X, y)
                found = "none"
            except RuntimeError as error:
                found = first_line(error)
            finally:
                Net._train_epoch = train_epoch
            way = "with a graph" if cuda_graph else "step by step"
            yield Figure(f"{name}, {way}: waits between steps", found)


def beside_threads(size, options):
    """Let a thread predict while fits are recorded."""
    X, y = data(size)
    clf = classifier(size, max_epochs=1).fit(X, y)
    expected = clf.predict_proba(X[:64])
    ended, errors, apart = threading.Event(), [], []

    def predict():
        while not ended.is_set():
            try:
                apart.append(np.abs(clf.predict_proba(X[:64]) - expected).max())
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}".splitlines()[0])

    thread = threading.Thread(target=predict)
    thread.start()
    curves = set()
    try:
        for _ in range(size.fits):
            curves.add(tuple(classifier(size, max_epochs=1).fit(X, y).loss_curve_))
    finally:
        ended.set()
        thread.join()
    what = f"predictions in a thread while {size.fits} fits are recorded"
    note = f"{len(apart)} predictions, {len(errors)} errors; {len(curves)} loss curves"
    yield Figure(what, errors[0] if errors else "no error", note=note)
    yield Figure(f"{what}: apart", float(max(apart, default=np.nan)))


def searches(size, options):
    """Search in two processes, and with all networks as one."""
    X, y = data(size)
    alphas = [1e-5, 1e-4, 1e-3, 1e-2]
    n_jobs = 1 if size.pretended else 2  # a worker knows of no pretended device
    start = time.perf_counter()
    search = GridSearchCV(classifier(size), {"alpha": alphas}, cv=2, n_jobs=n_jobs)
    search.fit(X, y)
    seconds = time.perf_counter() - start
    yield Figure(f"GridSearchCV, n_jobs={n_jobs}: seconds", seconds)
    start = time.perf_counter()
    clf = L2CNNClassifierCV(
        alphas,
        cv=2,
        device="cuda",
        batch_size=size.batch,
        max_epochs=size.epochs,
        random_state=0,
    ).fit(X, y)
    both = clf.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    apart = float(np.abs(both[0] - both[1]).max())
    own = time.perf_counter() - start
    note = f"scores at most {apart:.4f} apart; {seconds / own:.2f} times as fast"
    yield Figure("L2CNNClassifierCV: seconds", own, note=note)


def memory(size, options):
    """Look at the memory of the device after ten fits."""
    X, y = data(size)
    classifier(size).fit(X, y)
    gc.collect()
    before = torch.cuda.memory_allocated()
    kept = [classifier(size).fit(X, y) for _ in range(10)]
    left = torch.cuda.memory_allocated() - before
    yield Figure(f"bytes left by {len(kept)} fits", left, 0, at_least=False)


def upload(size, options):
    """Bring many images to the device, and learn from them."""
    n = max(64, size.upload // (3 * size.side**2))
    X = np.random.default_rng(0).integers(
        0, 256, (n, size.side, size.side, 3), np.uint8
    )
    y = np.arange(n) % 10
    start = time.perf_counter()
    classifier(size, max_epochs=1, batch_size=max(32, n // 16)).fit(X, y)
    seconds = time.perf_counter() - start
    what = f"one epoch of {n:,} images of {X.nbytes / (1 << 30):.2f} GiB: seconds"
    yield Figure(what, seconds)


def speed(size, options):
    """Compare fits with a tuned loop, its steps recorded or not, and stock skorch."""
    tasks = {
        "sequence, width 32": {"width": 32},
        "resnet18, small stem": {"build": NETWORKS["resnet18, small stem"]},
    }
    for name, recipe in tasks.items():
        for precision in ("float32", "bfloat16"):
            task = _tasks.synthetic(
                size.images,
                size.side,
                batch_size=size.batch,
                epochs=size.epochs,
                n_test=64,
                device="cuda",
                precision=precision,
                **recipe,
            )
            peers = "ours", "tuned loop", "stock skorch"
            ways = {peer: (lambda p=peer, t=task: PEERS[p](t)) for peer in peers}
            seconds, trained = interleaved(ways, size.repeats, control="tuned loop")
            what, note = f"{name}, {precision}: fit, ours", same_curve(trained)
            found = ratio(seconds, "ours", "tuned loop")
            yield Figure(f"{what} / tuned loop", found, 1.0, False, note=note)
            found = ratio(seconds, "ours", "stock skorch")
            yield Figure(f"{what} / stock skorch", found, 1.0, False)


def mnist(size, options):
    """Train on MNIST until 99%, where its files are given."""
    if not options.data:
        yield Figure("MNIST to 99%", "left out: no --data")
        return
    task = _tasks.mnist(options.data, n=500 if size.pretended else None)
    for epochs in (1,) if size.pretended else (1, 2, 4, 8):
        start = time.perf_counter()
        clf = L2CNNClassifier(
            architecture="conv_pool",
            device="cuda",
            max_epochs=epochs,
            batch_size=512,
            lr=0.005,
            lr_schedule="onecycle",
            precision="auto",
            random_state=0,
        ).fit(task.X, task.y)
        seconds = time.perf_counter() - start
        accuracy = clf.score(task.X_test, task.y_test)
        what = f"MNIST, {epochs} epochs: seconds"
        yield Figure(what, seconds, note=f"test accuracy {accuracy:.4f}")
        if accuracy >= 0.99:
            return


def cifar10(size, options):
    """Train on CIFAR-10 until 94%, beside a loop by hand of the same recipe."""
    recipe = {
        "build": _cifar.blocks,
        "device": "cuda",
        "precision": "bfloat16",
        "batch_size": size.batch if size.pretended else 1000,
        "lr": 0.4,
        "alpha": 5e-4,
    }
    if size.pretended:
        task = _tasks.synthetic(40, 32, depth=3, n_test=20, width=4, **recipe)
    elif options.data:
        task = _tasks.cifar10(options.data, width=64, **recipe)
    else:
        yield Figure("CIFAR-10 to 94%", "left out: no --data")
        return
    ways = {"ours": _cifar.ours, "a loop by hand": _cifar.loop}
    for train in ways.values():  # what is loaded and compiled, once
        train(task._replace(epochs=1))
    for epochs in (1,) if size.pretended else (8, 16, 32, 64):
        now = task._replace(epochs=epochs)
        for way, train in ways.items():
            start = time.perf_counter()
            trained = train(now)
            seconds = time.perf_counter() - start
            found = _cifar.accuracy(trained, now)
            what = f"CIFAR-10, {epochs} epochs, {way}: seconds"
            yield Figure(what, seconds, note=f"test accuracy {found:.4f}")
            if found >= 0.94:
                ways = {name: of for name, of in ways.items() if name != way}


PARTS = {
    "captures": failed_captures,
    "waits": waits,
    "memory": memory,
    "threads": beside_threads,
    "graphs": graphs,
    "searches": searches,
    "speed": speed,
    "upload": upload,
    "mnist": mnist,
    "cifar10": cifar10,
}


# -- the command ----------------------------------------------------------------------


def main():
    """Run the parts one after another, and print a table of what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pretend", action="store_true", help="a pretended device")
    parser.add_argument("--data", help="folder of MNIST and CIFAR-10")
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device; --pretend runs everything on none.")
    logging.getLogger("sklearn_l2cnn").setLevel(logging.ERROR)
    size, start, rows = Size(options.pretend), time.perf_counter(), []
    for name in options.only:
        if time.perf_counter() - start > options.seconds:
            rows.append(Figure(name, "left out: no time"))
            continue
        try:
            for figure in PARTS[name](size, options):
                rows.append(figure)
                print(line(figure), flush=True)
        except Exception as error:
            traceback.print_exc()
            rows.append(Figure(name, f"FAILED: {type(error).__name__}: {error}"[:200]))
    print_table(rows, time.perf_counter() - start)
    sys.exit(any(str(row.value).startswith("FAILED") for row in rows))


def line(figure):
    """Return a row of the table."""
    value = figure.value
    value = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"| {figure.what} | {value} | {figure.verdict} | {figure.note} |"


def print_table(rows, seconds):
    """Print what was seen, to be pasted."""
    name, capability = (
        torch.cuda.get_device_name(),
        torch.cuda.get_device_capability(),
    )
    print(f"\n## On {name}, {time.strftime('%Y-%m-%d')}\n")
    print(f"Capability {capability}, torch {torch.__version__}, {seconds:.0f} s.\n")
    print("| what | seen | wanted | |\n|---|---|---|---|")
    print("\n".join(map(line, rows)))


if __name__ == "__main__":
    main()
