"""How many epochs do few images need? Accuracy after 20 epochs and after more steps.

python -m benchmarks.bench_epochs [--quick | --full] [--data DIR] [--task NAME]
"""

import time

import numpy as np

from benchmarks import _options, _tasks
from benchmarks._measure import Figure
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training.batches import auto_batch_size, batch_bounds

EPOCHS = 20
LEAST = 0, 250, 500, 1000  # steps


def tasks(options):
    """Yield tasks, with the number of seeds for every number of images."""
    if not options.full:
        yield _tasks.digits(), {50: 1}
        return
    yield _tasks.digits(), {50: 5, 100: 5, 300: 5, 1000: 5}
    if options.data:
        yield _tasks.mnist(options.data), {50: 5, 100: 5, 300: 5, 1000: 3, 5000: 2}
        yield _tasks.cifar10(options.data), {100: 3, 300: 3, 1000: 3}


def plans(n):
    """Return the numbers of steps that are tried on n images, by those of epochs."""
    a_pass = len(batch_bounds(n, auto_batch_size(n)))
    tried = {max(EPOCHS, -(-least // a_pass)) for least in LEAST}
    if len(tried) == 1:  # many images: is more ever better?
        tried.add(2 * EPOCHS)
    return {epochs: epochs * a_pass for epochs in sorted(tried)}


def outcome(task, n, epochs, seed, device):
    """Return the test accuracy of a fit to n images, and how many seconds it took."""
    rows = np.random.RandomState(seed).permutation(len(task.X))[:n]
    clf = L2CNNClassifier(max_epochs=epochs, random_state=seed, device=device)
    start = time.perf_counter()
    clf.fit(task.X[rows], task.y[rows])
    seconds = time.perf_counter() - start
    return 100 * clf.score(task.X_test, task.y_test), seconds


def run(options):
    """Return what more steps gain, and print it."""
    figures = []
    for task, seeds in tasks(options):
        for n, n_seeds in seeds.items() if options.task in task.name else ():
            first = None
            for epochs, steps in plans(n).items():
                found = [
                    outcome(task, n, epochs, seed, options.device)
                    for seed in range(n_seeds)
                ]
                scores, seconds = np.transpose(found)
                first = scores if first is None else first
                gains = scores - first
                what = f"{task.name}, {n} images, {epochs} epochs, {steps} steps"
                note = (
                    f"gain {gains.mean():.2f} ({gains.min():.2f} to {gains.max():.2f}) "
                    f"points, {np.median(seconds):.1f} s"
                )
                figures.append(Figure(what, float(scores.mean()), note=note))
                _options.show(figures[-1:])
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
