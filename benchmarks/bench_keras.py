"""How fast is Keras on each of its backends, and when it need not compile any more?

python -m benchmarks.bench_keras [--quick | --full] [--data DIR]

Keras takes one backend a process, so that every backend that is installed trains in
processes of its own; ours does too, and all take turns. A process says what its first
fit takes, what later ones take, each with a new model as a search fits them, and how
long it trains a model further that is compiled. With all backends this takes minutes,
and ``python -m benchmarks --quick`` leaves it out.
"""

import importlib.util
import statistics
from typing import NamedTuple

from benchmarks import _options
from benchmarks._measure import (
    CONTROL,
    Figure,
    control_pair,
    in_new_process,
    ratio,
    timed,
    turns,
)
from benchmarks.bench_speed import seldom

BACKENDS = ("tensorflow", "jax", "torch")
N_FITS = 3

OURS = """
from benchmarks import _tasks, bench_keras
from benchmarks._peers import ours
bench_keras.report(ours, _tasks.{task})
"""
KERAS = """
import os
os.environ["KERAS_BACKEND"] = {backend!r}
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # no word of instructions and accelerators
from benchmarks import _tasks, bench_keras
from benchmarks._keras import keras
bench_keras.report(keras, _tasks.{task})
"""


class Seen(NamedTuple):
    """What a process saw.

    Attributes
    ----------
    first, later, compiled, predict : float
        Seconds of the first fit, of one after it, of one that trains a model further,
        and of the predictions of the test images; medians where there are several.
    loss : float
        The last of a fit. Keras' has the penalty in it.
    accuracy : float
        Of the test images.
    """

    first: float
    later: float
    compiled: float
    predict: float
    loss: float
    accuracy: float


def report(peer, task):
    """Print what there is to see of a peer, in the process of its own."""
    first, _ = timed(lambda: peer(task))
    later, trained = several(lambda: peer(task))
    compiled, _ = several(trained.again or (lambda: peer(task)))
    trained = peer(task)  # what was trained further has learnt more than the others
    trained.predict(task.X_test)
    predict, labels = several(lambda: trained.predict(task.X_test))
    accuracy = (labels == task.y_test).mean()
    print(*Seen(first, later, compiled, predict, trained.losses[-1], accuracy))


def several(call):
    """Return the median of the seconds of some calls, and what the last returned."""
    seconds, results = zip(*[timed(call) for _ in range(N_FITS)], strict=True)
    return statistics.median(seconds), results[-1]


def tasks(options):
    """Yield how the tasks are made: digits alone unless there is time."""
    yield "digits(width=8, epochs=20)"
    if options.full and options.data:
        yield f"mnist({options.data!r}, n=4096, width=8, epochs=3)"
    elif options.full:
        yield "synthetic(4096, 28, width=8, epochs=3)"


def installed():
    """Return the backends of Keras that there are."""
    if importlib.util.find_spec("keras") is None:
        return []
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def run(options):
    """Return the figures of all backends, and print them as they come."""
    backends = installed()
    figures = [
        Figure(f"Keras on {name}", "not run: it is not installed")
        for name in BACKENDS
        if name not in backends
    ]
    _options.show(figures)
    if backends:
        for task in tasks(options):
            figures += one_task(task, backends, options)
    return figures


def one_task(task, backends, options):
    """Compare all backends on one task, a process each in every round."""
    codes = dict.fromkeys(["ours", CONTROL], OURS.format(task=task))
    for name in backends:
        codes[f"Keras on {name}"] = KERAS.format(task=task, backend=name)
    seen = {peer: [] for peer in codes}
    for peer in turns(codes, seldom(options)):
        seen[peer].append(Seen(*in_new_process(codes[peer])))
    figures = of_ours(task, seen)
    for peer in [*codes][2:]:
        figures += of_keras(task, peer, seen)
    _options.show(figures)
    return figures


def of_ours(task, seen):
    """Return what ours takes and learns, and how far its processes are apart."""
    figures = []
    for kind in ("first", "later", "predict"):
        apart, _ = control_pair(column(seen, kind), "ours")
        median = statistics.median(column(seen, kind)["ours"])
        figures.append(Figure(f"{task}: ours, {kind}, seconds", median))
        figures.append(Figure(f"{task}: ours, {kind}, control pair", apart))
    return [*figures, *learnt(task, "ours", seen)]


def of_keras(task, peer, seen):
    """Return how many times as long as ours a backend of Keras takes."""
    figures = []
    for kind, of_ours in {
        "first": "first",
        "later": "later",
        "compiled": "later",
        "predict": "predict",
    }.items():
        seconds = {
            peer: column(seen, kind)[peer],
            "ours": column(seen, of_ours)["ours"],
        }
        note = f"{statistics.median(seconds[peer]):.3g} s"
        what = f"{task}: {peer}, {kind} / ours, {of_ours} (time)"
        figures.append(Figure(what, ratio(seconds, peer, "ours"), note=note))
    return [*figures, *learnt(task, peer, seen)]


def learnt(task, peer, seen):
    """Return the accuracy of a peer, with its last loss."""
    loss, accuracy = (
        statistics.median(column(seen, kind)[peer]) for kind in ("loss", "accuracy")
    )
    what = f"{task}: test accuracy of {peer}"
    return [Figure(what, accuracy, note=f"last loss {loss:.4f}")]


def column(seen, kind):
    """Return one of the numbers of all processes, by peer."""
    return {peer: [getattr(one, kind) for one in rows] for peer, rows in seen.items()}


if __name__ == "__main__":
    run(_options.parse(__doc__))
