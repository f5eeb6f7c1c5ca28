"""How soon is MNIST known to 99%, from `fit` to done, data preparation included?

python -m benchmarks.bench_accuracy --data DIR [--full] [--device DEVICE]
"""

import statistics
import time

from torch import nn

from benchmarks import _options, _tasks
from benchmarks._measure import Figure
from sklearn_l2cnn import L2CNNClassifier


def quick_reader(input_shape, n_classes):
    """Build a network that reads digits of 28 x 28 with little work."""
    layers = [
        nn.Conv2d(input_shape[0], 16, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(800, 64),
        nn.ReLU(),
        nn.Linear(64, n_classes),
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
        lr=8e-3,
        lr_schedule="onecycle",
        batch_size=128,
        max_epochs=3,
        device=device,
        random_state=seed,
    )


def run(options):
    """Return seconds and accuracy over the seeds, and print them."""
    if not options.data:
        note = Figure("MNIST to 99%", "not run: --data DIR was not given")
        _options.show([note])
        return [note]
    task = _tasks.mnist(options.data, width=0, batch_size=0, epochs=0)
    seconds, scores = [], []
    for seed in range(5 if options.full else 2):
        start = time.perf_counter()
        fitted = model(seed, options.device).fit(task.X, task.y)
        seconds.append(time.perf_counter() - start)
        scores.append(fitted.score(task.X_test, task.y_test))
    seeds = f"{len(scores)} seeds: {', '.join(f'{score:.4f}' for score in scores)}"
    times = ", ".join(f"{value:.1f}" for value in seconds)
    figures = [
        Figure("MNIST, mean test accuracy", statistics.mean(scores), 0.99, note=seeds),
        Figure(
            "its mean time in seconds", statistics.mean(seconds), 10, False, note=times
        ),
    ]
    _options.show(figures)
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
