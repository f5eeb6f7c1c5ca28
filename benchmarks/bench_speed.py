"""How fast are `fit` and `predict` compared with the same training written otherwise?

python -m benchmarks.bench_speed [--quick | --full] [--data DIR] [--device DEVICE]
"""

import statistics
from functools import partial

import numpy as np
import torch

from benchmarks import _options, _tasks
from benchmarks._measure import CONTROL, Figure, control_pair, interleaved, ratio
from benchmarks._peers import PEERS
from sklearn_l2cnn._utils.devices import computes_bfloat16

# Compared often, side by side; the others are further away and take their time.
CLOSE = ["ours", "tuned loop", "stock skorch"]

# (throughput over stock skorch, prediction over stock skorch, overhead over the tuned
# loop) that are wanted, by kind of task and width
WANTED = {
    ("28", 8): (1.8, 3.0, 1.05),
    ("28", 32): (1.4, 2.0, 1.05),
    ("8", 8): (None, 2.5, 1.10),
    ("8", 32): (None, 2.5, 1.10),
    ("bfloat16", 32): (2.5, None, None),
}


def tasks(options):
    """Yield tasks of about half a second a fit, with what is wanted of them."""
    longer, n_test = (3, 2000) if options.full else (1, 1000)
    common = {"device": options.device}
    for width in (8, 32):
        epochs = (6 if width == 8 else 4) * longer
        yield "8", _tasks.digits(width=width, epochs=epochs, **common)
    for width in (8, 32):
        n = (4096 if width == 8 else 1536) * longer
        recipe = {"width": width, "batch_size": 128, "epochs": 1, **common}
        if options.data:
            yield "28", _tasks.mnist(options.data, n=n, **recipe)
        else:
            yield "28", _tasks.synthetic(n, 28, n_test=n_test, **recipe)
    native = computes_bfloat16(torch.device(options.device))
    if native or options.full:  # where it is emulated it takes long
        n = (2048 if native else 256) * longer
        yield "bfloat16", _tasks.synthetic(n, 28, precision="bfloat16", **recipe)
    if options.full and options.data:
        yield "32", _tasks.cifar10(options.data, n=4000, **recipe)


def run(options):
    """Return the figures of every task, and print them as they come."""
    figures = []
    for kind, task in tasks(options):
        if options.task in task.name:
            figures += one_task(kind, task, options)
    return figures


def one_task(kind, task, options):
    """Compare training and prediction on one task."""
    name = f"{task.name}, width {task.width}, {task.precision}"
    throughput, prediction, overhead = WANTED.get((kind, task.width), (None,) * 3)
    seconds, trained = fits(task, CLOSE, options.repeats)
    apart, quiet = control_pair(seconds, "tuned loop")
    images = task.epochs * len(task.y)
    figures = [
        Figure(f"{name}: fit, control pair", apart),
        throughput_of_all(f"{name}: training", images, seconds),
    ]
    found = ratio(seconds, "ours", "tuned loop")
    what = f"{name}: fit, ours / tuned loop (time)"
    curve = same_curve(trained)
    figures.append(Figure(what, found, overhead, False, quiet, curve))
    found = ratio(seconds, "stock skorch", "ours")
    what = f"{name}: training throughput over stock skorch"
    note = ""
    if kind == "bfloat16":
        native = computes_bfloat16(torch.device(options.device))
        note = f"stock skorch in float32; instructions for bfloat16 here: {native}"
    figures.append(Figure(what, found, throughput, True, quiet, note))
    if kind != "bfloat16" and (options.full or task.width == 8):
        trained |= further(task, name, options, figures)
    _options.show(figures)
    return figures + predictions(name, task, trained, prediction, options)


def throughput_of_all(what, n_images, seconds):
    """Return our images a second, and those of the others: of this run alone."""
    rates = {
        peer: round(n_images / statistics.median(values))
        for peer, values in seconds.items()
        if peer != CONTROL
    }
    return Figure(f"{what}, images a second", rates["ours"], note=f"{rates}")


def further(task, name, options, figures):
    """Train the peers that are further away, fewer times; add what was seen."""
    others = [peer for peer in PEERS if peer not in CLOSE[1:]]
    seconds, trained = fits(task, others, seldom(options))
    for peer in others[1:]:
        found = ratio(seconds, peer, "ours")
        what = f"{name}: fit, {peer} / ours (time)"
        loss = f"last losses {trained[peer].losses[-1]:.4f}, {curve_end(trained):.4f}"
        figures.append(Figure(what, found, note=loss))
    return {peer: trained[peer] for peer in others}


def seldom(options):
    """Return the rounds of a comparison where a factor is at stake, not percents."""
    return max(1, options.repeats // 5)


def fits(task, names, repeats):
    """Time the training of some peers, the tuned loop twice where it is among them."""
    ways = {}
    for name in names:
        own = task
        if name == "stock skorch":  # what is asked of bfloat16 is what a user gains
            own = task._replace(precision="float32")
        ways[name] = partial(PEERS[name], own)
        PEERS[name](own._replace(epochs=1))  # libraries load, kernels are chosen
    control = "tuned loop" if "tuned loop" in names else None
    return interleaved(ways, repeats, control=control)


def curve_end(trained):
    """Return our last loss."""
    return trained["ours"].losses[-1]


def same_curve(trained):
    """Say how far our last loss is from the tuned loop's."""
    apart = abs(curve_end(trained) / trained["tuned loop"].losses[-1] - 1)
    return f"last losses of ours and the tuned loop {100 * apart:.3f}% apart"


def predictions(name, task, trained, wanted, options):
    X = task.X_test
    if len(X) < 2000:  # so that a call takes longer than its noise
        X = np.concatenate([X] * (2000 // len(X) + 1))
    ways = {
        peer: (lambda model=model: model.predict(X))
        for peer, model in trained.items()
        if peer != CONTROL
    }
    close = {peer: ways[peer] for peer in CLOSE}
    seconds, labels = interleaved(close, options.repeats, control="tuned loop")
    apart, quiet = control_pair(seconds, "tuned loop")
    figures = [
        Figure(f"{name}: predict, control pair", apart),
        throughput_of_all(f"{name}: prediction", len(X), seconds),
    ]
    found = ratio(seconds, "stock skorch", "ours")
    what = f"{name}: prediction over stock skorch"
    figures.append(Figure(what, found, wanted, True, quiet))
    far = {peer: way for peer, way in ways.items() if peer not in CLOSE}
    if far:
        far["ours"] = ways["ours"]
        more, more_labels = interleaved(far, seldom(options))
        labels |= more_labels
    for peer in ways:
        if peer == "ours":
            continue
        found = ratio(seconds if peer in CLOSE else more, peer, "ours")
        same = (labels[peer] == labels["ours"]).mean()
        what = f"{name}: predict, {peer} / ours (time)"
        figures.append(Figure(what, found, note=f"{same:.4f} of the labels agree"))
    _options.show(figures)
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
