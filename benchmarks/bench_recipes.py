"""How far do the best recipes go, and where does L2 help?

python -m benchmarks.bench_recipes --data DIR [--only NAME ...] [--seeds N]

Not part of ``python -m benchmarks``: an hour and more on two cores.
"""

import argparse
import time

import numpy as np
from joblib import Parallel, delayed
from torch import nn

from benchmarks import _tasks
from sklearn_l2cnn import L2CNNClassifier

ALPHAS = (0, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1)


def digit_reader(input_shape, n_classes):
    """Build seven small layers with batch norm and dropout, for 28 x 28 pixels.

    Twice two convolutions 3 x 3 and one of 5 x 5 that takes every second pixel instead
    of a pooling, then a dense layer.
    """
    depth, layers = input_shape[0], []
    for filters in (32, 64):
        for side, stride, padding in ((3, 1, 0), (3, 1, 0), (5, 2, 2)):
            layers += [
                nn.Conv2d(depth, filters, side, stride, padding, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
            ]
            depth = filters
        layers.append(nn.Dropout(0.4))
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(128, n_classes),
    )


def best_on_mnist():
    """The best recipe for MNIST: without augmentation, one network."""
    return L2CNNClassifier(
        alpha=0,
        architecture=digit_reader,
        lr=3e-3,
        lr_schedule="onecycle",
        batch_size=128,
        max_epochs=15,
    )


def best_of_conv_pool():
    """The second system with the best schedule, dropout and an alpha for all layers."""
    return L2CNNClassifier(
        alpha=1e-3,
        architecture="conv_pool",
        dropout=0.5,
        lr=4e-3,
        lr_schedule="onecycle",
        batch_size=128,
        max_epochs=30,
    )


def fitted(clf, task, seed):
    """Return test accuracy and minutes of a fit."""
    start = time.perf_counter()
    clf.set_params(random_state=seed).fit(task.X, task.y)
    minutes = (time.perf_counter() - start) / 60
    return clf.score(task.X_test, task.y_test), minutes


def seeds_of(make, task, options):
    """Fit with several seeds, and print every accuracy."""
    start = time.perf_counter()
    found = Parallel(n_jobs=options.jobs)(
        delayed(fitted)(make(), task, seed) for seed in range(options.seeds)
    )
    scores, minutes = zip(*found, strict=True)
    print(
        f"{make.__doc__.splitlines()[0]}\n"
        f"  {task.name}, {make().max_epochs} epochs, seeds 0 to {options.seeds - 1}: "
        f"{', '.join(f'{score:.4f}' for score in scores)}; mean {np.mean(scores):.4f}; "
        f"{np.mean(minutes):.1f} minutes a fit, {options.jobs} at a time, "
        f"{(time.perf_counter() - start) / 60:.1f} in all",
        flush=True,
    )


def few(task, alpha, seed):
    """Fit the default network to 1,000 images that the seed chooses."""
    rows = np.random.RandomState(seed).permutation(len(task.y))[:1000]
    part = task._replace(X=task.X[rows], y=task.y[rows])
    return fitted(L2CNNClassifier(alpha), part, seed)[0]


def few_images(options):
    """Print the test accuracy after 1,000 images of MNIST against alpha."""
    task, seeds = _tasks.mnist(options.data), range(10)
    scores = np.array(
        Parallel(n_jobs=options.jobs)(
            delayed(few)(task, alpha, seed) for alpha in ALPHAS for seed in seeds
        )
    ).reshape(len(ALPHAS), len(seeds))
    print("1,000 images of MNIST, the default network, other images for every seed:")
    for alpha, row in zip(ALPHAS, scores, strict=True):
        gains = row - scores[0]
        print(
            f"  alpha {alpha:<7g} accuracy {row.mean():.4f}, standard error "
            f"{_error(row):.4f}; against alpha 0 {100 * gains.mean():+.2f} points, "
            f"standard error {100 * _error(gains):.2f}",
            flush=True,
        )


def _error(values):
    return values.std(ddof=1) / len(values) ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of MNIST and CIFAR-10")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    names = ("few", "conv_pool", "mnist")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    if "few" in options.only:
        few_images(options)
    if "conv_pool" in options.only:
        seeds_of(best_of_conv_pool, _tasks.cifar10(options.data), options)
    if "mnist" in options.only:
        seeds_of(best_on_mnist, _tasks.mnist(options.data), options)


if __name__ == "__main__":
    main()
