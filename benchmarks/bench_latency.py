"""What do the smallest calls cost: one image, a fit of twenty, an estimator, its clone?

python -m benchmarks.bench_latency [--quick | --full] [--task NAME] [--device DEVICE]

Every call is one of many: what the first of a process costs more is in `bench_first`.
"""

import copy
import statistics

import numpy as np
import torch
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier
from torch import nn

from benchmarks import _options, _tasks
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from benchmarks._networks import NETWORKS
from benchmarks._peers import Pixels, mlp, optimizer
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.architectures._plain import plain

# name: the network, side and channels of an image, and calls in a round
TASKS = {
    "plain 8x8": ("plain", 8, 1, 20),
    "plain 28x28": ("plain", 28, 1, 20),
    "resnet18, small stem, 32x32": ("resnet18, small stem", 32, 3, 2),
    "resnet18, stock stem, 64x64": ("resnet18 64x64", 64, 3, 2),
}
BATCH_SIZE = 32  # what "auto" is for few images

# How many times as long as what is written by hand, or how many seconds longer where
# that is more
ONE_IMAGE, FIT = (1.5, 1e-3), (3.0, 0.0)


def run(options):
    """Return the figures of all small calls, and print them as they come."""
    figures = []
    for name, (network, side, depth, n_calls) in TASKS.items():
        if options.task in name:
            task = _tasks.synthetic(20, side, depth, n_test=1, device=options.device)
            figures += one_image(name, network, task, n_calls, options)
    parts = {"fit of 20 images": fit_of_twenty, "estimator": estimators}
    for name, part in parts.items():
        if options.task in name:
            task = _tasks.digits(batch_size=BATCH_SIZE, device=options.device)
            figures += part(task._replace(X=task.X[:20], y=task.y[:20]), options)
    return figures


def one_image(name, network, task, n_calls, options):
    """Compare the probabilities of one image with a call of the module alone."""
    build = NETWORKS.get(network)
    clf = classifier(build(task.X.shape[1:], 0, False) if build else network, task)
    clf.fit(task.X, task.y)
    ways = {
        "module": module_alone(clf, task),
        "ours": lambda: clf.predict_proba(task.X_test),
    }
    if network == "plain":
        dense = mlp(task)
        ways["MLPClassifier.predict"] = lambda: dense.predict(task.X_test)
    what = f"{name}: predict_proba of one image"
    return compare(what, ways, ONE_IMAGE, n_calls, options)


def classifier(architecture, task):
    """Return the estimator with its defaults, for one epoch."""
    return L2CNNClassifier(
        architecture=architecture, max_epochs=1, device=task.device, random_state=0
    )


def module_alone(clf, task):
    """Return a call of the trained module on an image that is prepared."""
    module = copy.deepcopy(clf.module_).eval().to(task.device)
    image = Pixels(task.X)(task.X_test)

    def call():
        with torch.inference_mode():
            return torch.softmax(module(image.to(task.device)), dim=1).cpu()

    np.testing.assert_allclose(call(), clf.predict_proba(task.X_test), atol=1e-4)
    return call


def fit_of_twenty(task, options):
    """Compare a fit of 20 images for one epoch with the same training by hand."""
    clf = classifier("plain", task)
    ways = {
        "loop": lambda: by_hand(task),
        "ours": lambda: clf.fit(task.X, task.y),
        "MLPClassifier": lambda: mlp(task),
    }
    return compare("plain 8x8: fit of 20 images", ways, FIT, 3, options)


def by_hand(task):
    """Train the default network for one epoch in a loop without any checks."""
    height, width, depth = task.X.shape[1:]
    network = plain((depth, height, width), 10)
    network = network.to(task.device, memory_format=torch.channels_last)
    criterion, step = nn.CrossEntropyLoss(), optimizer(task, network)
    images = Pixels(task.X)(task.X).to(task.device)
    labels = torch.from_numpy(task.y).to(task.device)
    network.train()
    for rows in torch.randperm(len(labels)).to(task.device).split(task.batch_size):
        loss = criterion(network(images[rows]), labels[rows])
        step.zero_grad()
        loss.backward()
        step.step()
    return network.cpu()


def estimators(task, options):
    """Compare making and cloning an estimator with scikit-learn's dense network."""
    ours, dense = L2CNNClassifier(), MLPClassifier()
    figures = []
    parts = {"making": (lambda clf: type(clf)(), 2000), "cloning": (clone, 50)}
    for what, (call, n_calls) in parts.items():
        ways = {
            "MLPClassifier": lambda call=call: call(dense),
            "ours": lambda call=call: call(ours),
        }
        figures += compare(f"{what} an estimator", ways, None, n_calls, options)
    return figures


def compare(what, ways, wanted, n_calls, options):
    """Time several calls a round; the first of the ways is what ours is compared with.

    Parameters
    ----------
    what : str
    ways : dict of callable
    wanted : tuple of float or None
        The largest ratio to the first way, or the most seconds more than it.
    n_calls : int
        In a round, so that a round is longer than the clock's and the caches' noise.
    options : argparse.Namespace

    Returns
    -------
    figures : list of Figure
    """
    for way in ways.values():
        way()
    first = next(iter(ways))
    repeated = {name: several(way, n_calls) for name, way in ways.items()}
    rounds = options.repeats * (2 if options.full else 1)
    seconds, _ = interleaved(repeated, rounds, control=first)
    calls = {name: statistics.median(seconds[name]) / n_calls for name in ways}
    apart, quiet = control_pair(seconds, first)
    note = ", ".join(f"{name} {1e3 * call:.3g} ms" for name, call in calls.items())
    if wanted is not None:
        wanted = largest_ratio(*wanted, calls[first])
    found = ratio(seconds, "ours", first)
    figures = [
        Figure(f"{what}, control pair", apart),
        Figure(f"{what}, ours / {first} (time)", found, wanted, False, quiet, note),
    ]
    for name in [*ways][2:]:
        found = ratio(seconds, "ours", name)
        figures.append(Figure(f"{what}, ours / {name} (time)", found))
    _options.show(figures)
    return figures


def largest_ratio(factor, seconds_more, seconds):
    """Return the ratio to `seconds` that is allowed, whichever of the two is more."""
    return round(max(factor, 1 + seconds_more / seconds), 2)


def several(call, n):
    """Return a function that makes a call n times."""

    def calls():
        for _ in range(n):
            call()

    return calls


if __name__ == "__main__":
    run(_options.parse(__doc__))
