"""How accurate is everybody, and how soon is MNIST known to 99%?

python -m benchmarks.bench_accuracy [--quick | --full] [--data DIR] [--device DEVICE]
"""

import statistics
import time

from torch import nn

from benchmarks import _options, _tasks
from benchmarks._measure import Figure
from benchmarks._peers import PEERS, mlp
from sklearn_l2cnn import L2CNNClassifier


def quick_reader(input_shape, n_classes):
    """Build a network that reads digits of 28 x 28 with little work.

    Two rows and columns at each edge, which digits leave empty, are not looked at.
    """
    layers = [
        nn.ZeroPad2d(-2),
        nn.Conv2d(input_shape[0], 16, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, n_classes),
    ]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def model(seed, device):
    """Return the estimator that is timed."""
    return L2CNNClassifier(
        architecture=quick_reader,
        lr=1e-2,
        lr_schedule="onecycle",
        batch_size=256,
        max_epochs=3,
        device=device,
        random_state=seed,
    )


def run(options):
    """Return what was seen, and print it."""
    recipe = {"width": 8, "device": options.device}
    task = _tasks.digits(epochs=60 if options.full else 10, **recipe)
    figures = of_everybody(task)
    if not options.data:
        figures.append(Figure("MNIST to 99%", "not run: --data DIR was not given"))
        _options.show(figures[-1:])
        return figures
    if options.full:
        recipe |= {"epochs": 5, "batch_size": 128}
        figures += of_everybody(_tasks.mnist(options.data, **recipe))
    return figures + mnist_to_99(options)


def of_everybody(task):
    """Return the test accuracy of every peer, and of scikit-learn's dense network."""
    figures = []
    for name, peer in {**PEERS, "MLPClassifier": mlp}.items():
        hits = peer(task).predict(task.X_test) == task.y_test
        what = f"{task.name}, {task.epochs} epochs, test accuracy of {name}"
        figures.append(Figure(what, float(hits.mean())))
    _options.show(figures)
    return figures


def mnist_to_99(options):
    """Return accuracy and time from `fit` to done, data preparation included."""
    task = _tasks.mnist(options.data)
    seconds, scores = [], []
    for seed in range(5 if options.full else 2):
        start = time.perf_counter()
        fitted = model(seed, options.device).fit(task.X, task.y)
        seconds.append(time.perf_counter() - start)
        scores.append(fitted.score(task.X_test, task.y_test))
    seeds = f"{len(scores)} seeds: {', '.join(f'{score:.4f}' for score in scores)}"
    times = ", ".join(f"{value:.1f}" for value in seconds)
    what = "MNIST to 99%"
    figures = [
        Figure(
            f"{what}, mean test accuracy", statistics.mean(scores), 0.99, note=seeds
        ),
        Figure(
            f"{what}, mean time of a fit in seconds",
            statistics.mean(seconds),
            10,
            False,
            note=times,
        ),
    ]
    _options.show(figures)
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
