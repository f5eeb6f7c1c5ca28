"""How far do the best recipes go, and where does L2 help?

python -m benchmarks.bench_recipes --data DIR [--only NAME ...] [--seeds N]

Not part of ``python -m benchmarks``: an hour and more on two cores. ``writers`` and
``strips`` take minutes and no folder; ``strips`` takes the package mnist1d.
"""

import argparse
import time

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC
from torch import nn

from benchmarks import _tasks
from benchmarks._seeds import standard_error
from sklearn_l2cnn import L2CNNClassifier, L2CNNSearchCV
from sklearn_l2cnn.augmentation import Augmentation

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


def best_of_digits():
    """The best recipe for the digits of writers that have not been seen."""
    return L2CNNClassifier(
        dropout=0.5,
        lr=3e-3,
        max_epochs=40,
        augment=Augmentation(rotate=10, shift=0.1),
        threads=1,
    )


def strip_reader(input_shape, n_classes):
    """Build four convolutions along strips of 40 values, with batch norm."""
    depth, layers = input_shape[0], []
    for filters, stride in ((64, 1), (64, 2), (128, 1), (128, 2)):
        layers += [
            nn.Conv2d(depth, filters, (1, 5), (1, stride), (0, 2), bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]
        depth = filters
    layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(depth * 10, n_classes)]
    return nn.Sequential(*layers)


def strips(options):
    """Search for rate, strength and shift on mnist1d, and print the test accuracy."""
    from mnist1d.data import get_dataset_args, make_dataset

    made = make_dataset(get_dataset_args())
    X, X_test = (made[name].astype(np.float32)[:, None] for name in ("x", "x_test"))
    space = {
        "lr": loguniform(1e-3, 1e-2),
        "alpha": loguniform(1e-5, 1e-1),
        "augment": [None, Augmentation(shift=0.1)],
    }
    for seed in range(options.seeds):
        start = time.perf_counter()
        clf = L2CNNClassifier(
            architecture=strip_reader, max_epochs=15, batch_size=64, random_state=seed
        )
        search = L2CNNSearchCV(
            clf, space, n_candidates=9, halving=3, cv=3, random_state=seed
        ).fit(X, made["y"])
        print(
            f"mnist1d, {len(X):,} strips, seed {seed}: "
            f"{search.score(X_test, made['y_test']):.4f} on {len(X_test):,}, "
            f"{time.perf_counter() - start:.0f} s, {search.best_params_}",
            flush=True,
        )


def writers(options):
    """Print the accuracy on digits, in folds as they come: whole writers held out."""
    X, y = load_digits(return_X_y=True)
    found = Parallel(n_jobs=options.jobs)(
        delayed(cross_val_score)(
            best_of_digits().set_params(random_state=seed), X, y, cv=5
        )
        for seed in range(options.seeds)
    )
    others = cross_val_score(SVC(gamma=0.001), X, y, cv=5)
    print(
        f"{best_of_digits.__doc__}\n  digits, 5 folds as they come: "
        f"{', '.join(f'{scores.mean():.4f}' for scores in found)}; mean "
        f"{np.mean(found):.4f}; SVC {others.mean():.4f}",
        flush=True,
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
            f"{standard_error(row):.4f}; against alpha 0 "
            f"{100 * gains.mean():+.2f} points, "
            f"standard error {100 * standard_error(gains):.2f}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of MNIST and CIFAR-10")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    names = ("few", "conv_pool", "mnist", "writers", "strips")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    if options.data is None and not {"writers", "strips"}.issuperset(options.only):
        parser.error("all but writers and strips take --data")
    if "few" in options.only:
        few_images(options)
    if "conv_pool" in options.only:
        seeds_of(best_of_conv_pool, _tasks.cifar10(options.data), options)
    if "mnist" in options.only:
        seeds_of(best_on_mnist, _tasks.mnist(options.data), options)
    if "writers" in options.only:
        writers(options)
    if "strips" in options.only:
        strips(options)


if __name__ == "__main__":
    main()
