"""How fast are `fit` and `predict` beside the same training written otherwise?

python -m benchmarks.bench_speed [--quick | --full] [--data DIR] [--device DEVICE]
"""

import numpy as np

from benchmarks import _options, _tasks
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from benchmarks._peers import PEERS

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
    """Yield tasks of about a second a fit, with what is wanted of them."""
    longer = 2 if options.full else 1
    common = {"device": options.device}
    for width in (8, 32):
        epochs = (12 if width == 8 else 8) * longer
        yield "8", _tasks.digits(width=width, epochs=epochs, **common)
    for width in (8, 32):
        n = (8000 if width == 8 else 2500) * longer
        recipe = {"width": width, "batch_size": 128, "epochs": 1, **common}
        if options.data:
            yield "28", _tasks.mnist(options.data, n=n, **recipe)
        else:
            yield "28", _tasks.synthetic(n, 28, **recipe)
        if width == 32:
            lower = {**recipe, "precision": "bfloat16"}
            yield "bfloat16", _tasks.synthetic(n, 28, **lower)
    if options.full and options.data:
        recipe = {"width": 32, "batch_size": 128, "epochs": 1, **common}
        yield "32", _tasks.cifar10(options.data, n=4000, **recipe)


def run(options):
    """Return the figures of every task, and print them as they come."""
    figures = []
    for kind, task in tasks(options):
        figures += one_task(kind, task, options)
    return figures


def one_task(kind, task, options):
    peers = dict(PEERS)
    if kind == "bfloat16":
        # the peers stay in float32: what is asked is what a user gains
        peers = {name: PEERS[name] for name in ("ours", "tuned loop", "stock skorch")}
    elif not _options.has_keras():
        del peers["Keras"]

    def learner(name):
        own = task
        if kind == "bfloat16" and name == "stock skorch":
            own = task._replace(precision="float32")
        return lambda: peers[name](own)

    ways = {name: learner(name) for name in peers}
    for name in ways:  # libraries load, kernels are chosen
        peers[name](task._replace(epochs=1))
    seconds, trained = interleaved(ways, options.repeats, control="tuned loop")
    apart, quiet = control_pair(seconds, "tuned loop")
    name = f"{task.name}, width {task.width}, {task.precision}"
    figures = [Figure(f"{name}: fit, control pair", apart)]
    throughput, prediction, overhead = WANTED.get((kind, task.width), (None,) * 3)
    for peer in peers:
        found = ratio(seconds, peer, "tuned loop")
        loss = f"last loss {trained[peer].losses[-1]:.4f}"
        wanted = overhead if peer == "ours" else None
        what = f"{name}: fit, {peer} / tuned loop (time)"
        figures.append(Figure(what, found, wanted, False, quiet, loss))
    found = ratio(seconds, "stock skorch", "ours")
    what = f"{name}: training throughput over stock skorch"
    figures.append(Figure(what, found, throughput, True, quiet, same_curve(trained)))
    _options.show(figures)
    return figures + predictions(name, task, trained, prediction, options)


def same_curve(trained):
    """Say how far our last loss is from the tuned loop's."""
    apart = abs(trained["ours"].losses[-1] / trained["tuned loop"].losses[-1] - 1)
    return f"last losses of ours and the tuned loop {100 * apart:.3f}% apart"


def predictions(name, task, trained, wanted, options):
    X = task.X_test
    if len(X) < 2000:  # so that a call takes longer than its noise
        X = np.concatenate([X] * (2000 // len(X) + 1))
    ways = {
        peer: (lambda model=model: model.predict(X)) for peer, model in trained.items()
    }
    ways.pop("the same again", None)
    seconds, labels = interleaved(ways, 2 * options.repeats, control="tuned loop")
    apart, quiet = control_pair(seconds, "tuned loop")
    figures = [Figure(f"{name}: predict, control pair", apart)]
    for peer in ways:
        found = ratio(seconds, peer, "tuned loop")
        agree = (
            f"{(labels[peer] == labels['tuned loop']).mean():.4f} of the labels agree"
        )
        what = f"{name}: predict, {peer} / tuned loop (time)"
        figures.append(Figure(what, found, note=agree))
    found = ratio(seconds, "stock skorch", "ours")
    what = f"{name}: prediction over stock skorch"
    figures.append(Figure(what, found, wanted, True, quiet))
    _options.show(figures)
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
