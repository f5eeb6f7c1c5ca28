"""Helpers of the five systems: images, a comparison over seeds, pictures.

The images are the 8 x 8 digits of scikit-learn or, with ``--data DIR``, MNIST as stored
by torchvision (``DIR/MNIST/raw``) and CIFAR-10 as stored by torchvision
(``DIR/cifar-10-batches-py``) or as arrays (``DIR/cifar10.npz`` with ``X_train``,
``y_train``, ``X_test``, ``y_test``).
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from joblib import Parallel, delayed
from scipy.stats import t
from sklearn.base import clone
from sklearn.datasets import load_digits, load_sample_images
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, train_test_split

from sklearn_l2cnn.datasets import load_cifar10, load_mnist

matplotlib.use("Agg")  # no screen is needed
import matplotlib.pyplot as plt


class Split(NamedTuple):
    """Training images and test images with their labels."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


# -- options --------------------------------------------------------------------------


def read_options(description, picture, *, rows, epochs, seeds=3):
    """Read the options of a system.

    ``rows`` and ``epochs`` are pairs (embedded images, with ``--data``): the numbers of
    training images, None for all, and of epochs.
    """
    parser = argparse.ArgumentParser(description=description.strip().splitlines()[0])
    parser.add_argument("--data", metavar="DIR", help="folder of MNIST and CIFAR-10")
    parser.add_argument("--rows", type=int, help="images to learn from")
    parser.add_argument("--search-rows", type=int, help="images to search alpha on")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--output", default=picture, metavar="FILE")
    options = parser.parse_args()
    real = options.data is not None
    if options.rows is None:
        options.rows = rows[real]
    if options.epochs is None:
        options.epochs = epochs[real]
    if options.search_rows is None:
        options.search_rows = 6000 if real else None  # all
    return options


# -- images ---------------------------------------------------------------------------


def grey_images(options):
    """Return MNIST, or the embedded digits with a third of them as test data."""
    if options.data is None:
        digits = load_digits()
        parts = digits.images, digits.target
        X, X_test, y, y_test = train_test_split(
            *parts, test_size=1 / 3, random_state=0, stratify=digits.target
        )
        return _first(Split(X, y, X_test, y_test), options.rows)
    return _first(_mnist(options.data), options.rows)


def colour_images(options, side=12):
    """Return CIFAR-10, or digits drawn in colour on crops of two photographs."""
    if options.data is None:
        grey = grey_images(options)
        return grey._replace(
            X=on_photographs(grey.X, side, seed=0),
            X_test=on_photographs(grey.X_test, side, seed=1),
        )
    return _first(_cifar10(options.data), options.rows)


def on_photographs(digits, side, seed):
    """Draw 8 x 8 digits on photographs, in random colours and at random places."""
    photographs = load_sample_images().images
    rng = np.random.RandomState(seed)
    images = np.empty((len(digits), side, side, 3), dtype=np.uint8)
    for image, digit in zip(images, digits, strict=True):
        photograph = photographs[rng.randint(2)]
        height, width = photograph.shape[:2]
        top, left = rng.randint(height - 4 * side), rng.randint(width - 4 * side)
        image[:] = (
            0.5 * photograph[top : top + 4 * side : 4, left : left + 4 * side : 4]
        )
        row, column = rng.randint(side - 7, size=2)
        place = image[row : row + 8, column : column + 8]
        ink = (digit / 16)[..., np.newaxis]
        place[:] = (1 - ink) * place + ink * rng.randint(150, 256, size=3)
    return images


def _mnist(folder):
    parts = (load_mnist(folder, subset=part) for part in ("train", "test"))
    return Split(*(part for data in parts for part in (data.images, data.target)))


def _cifar10(folder):
    arrays = Path(folder) / "cifar10.npz"
    if arrays.exists():
        with np.load(arrays) as file:
            names = ("X_train", "y_train", "X_test", "y_test")
            return Split(*(file[name] for name in names))
    parts = (load_cifar10(folder, subset=part) for part in ("train", "test"))
    return Split(*(part for data in parts for part in (data.images, data.target)))


def _first(split, rows):
    return split._replace(X=split.X[:rows], y=split.y[:rows])


# -- comparisons ----------------------------------------------------------------------


def best_alpha(clf, alphas, split, options):
    """Find the best alpha by cross-validation, and print the score of each."""
    return best_parameter(clf, "alpha", alphas, split, options)


def best_parameter(clf, name, values, split, options):
    """Find the best value of a parameter, and print the score of each."""
    start = time.perf_counter()
    search = GridSearchCV(clf, {name: values}, cv=3, n_jobs=options.jobs, refit=False)
    rows = slice(options.search_rows)
    search.fit(split.X[rows], split.y[rows])
    found = search.cv_results_
    print(f"{name} by three folds of {len(split.y[rows])} images:")
    for value, mean, spread in zip(
        values, found["mean_test_score"], found["std_test_score"], strict=True
    ):
        print(f"  {_short(value):>32}   {mean:.4f} +- {spread:.4f}")
    best = search.best_params_[name]
    print(f"  best: {_short(best)}   ({time.perf_counter() - start:.0f} s)\n")
    return best


def _short(alpha):
    if isinstance(alpha, dict):
        return ", ".join(f"{name} {value:g}" for name, value in alpha.items())
    return f"{alpha:g}"


def compare(variants, split, options, *, keep=False):
    """Fit every variant with every seed, and print accuracy and F1 with their spread.

    Parameters
    ----------
    variants : dict
        From names to estimators; the others are compared with the first.
    split : Split
    options : Namespace
    keep : bool, default=False
        Whether to return the estimators of the first seed, which may be large.

    Returns
    -------
    accuracy : dict
        From names to arrays with a number for each seed.
    fitted : dict
        From names to the estimators of the first seed, or to None.
    """
    n_test, n_classes = len(split.y_test), len(np.unique(split.y))
    size = "x".join(map(str, split.X.shape[1:]))
    print(
        f"{len(split.y)} images of {size} in {n_classes} classes, {n_test} for "
        f"testing, {options.epochs} epochs, {options.seeds} seeds:"
    )
    # equal variants, for example if the best alpha is 0, are fitted once
    same = {name: repr(clf.get_params()) for name, clf in variants.items()}
    distinct = {parameters: name for name, parameters in same.items()}
    jobs = [(name, seed) for seed in range(options.seeds) for name in distinct.values()]
    fits = Parallel(n_jobs=options.jobs)(
        delayed(_fit)(variants[name], seed, split, keep and not seed)
        for name, seed in jobs
    )
    fits = dict(zip(jobs, fits, strict=True))
    results = {
        (name, seed): fits[distinct[same[name]], seed]
        for name in variants
        for seed in range(options.seeds)
    }
    width = max(map(len, variants))
    accuracy = {}
    for name in variants:
        rows = [results[name, seed] for seed in range(options.seeds)]
        accuracy[name] = np.array([row[0] for row in rows])
        f1, seconds = [row[1] for row in rows], [row[2] for row in rows]
        print(
            f"  {name:<{width}}   accuracy {_with_spread(accuracy[name])}"
            f"   macro F1 {_with_spread(f1)}   {statistics.mean(seconds):6.1f} s a fit"
        )
    first, *others = variants
    for name in others:
        print(f"  {name}: {_verdict(accuracy[name] - accuracy[first], first)}")
    print()
    return accuracy, {name: results[name, 0][3] for name in variants}


def fit_all(estimators, split, options):
    """Fit estimators with their own seeds; return test accuracies and estimators."""
    fits = Parallel(n_jobs=options.jobs)(
        delayed(_fit)(clf, clf.random_state, split, True) for clf in estimators
    )
    return [(accuracy, clf) for accuracy, _, _, clf in fits]


def _fit(clf, seed, split, keep):
    start = time.perf_counter()
    clf = clone(clf).set_params(random_state=seed).fit(split.X, split.y)
    seconds = time.perf_counter() - start
    found = clf.predict(split.X_test)
    f1 = f1_score(split.y_test, found, average="macro")
    return accuracy_score(split.y_test, found), f1, seconds, clf if keep else None


def _with_spread(values):
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.4f} +- {spread:.4f}"


def _verdict(gains, first):
    """Return the gain of a variant in points, and whether it is significant."""
    mean = 100 * gains.mean()
    if len(gains) < 2:
        return f"{mean:+.2f} points against {first}; one seed says nothing for sure"
    n = len(gains)
    reach = t.ppf(0.975, n - 1) * 100 * gains.std(ddof=1) / n**0.5
    word = "no difference that these seeds can show"
    if abs(mean) > reach:
        word = "better" if mean > 0 else "worse: it does not help here"
    return f"{mean:+.2f} +- {reach:.2f} points against {first} (95%): {word}"


# -- pictures -------------------------------------------------------------------------


def dots(ax, accuracy):
    """Draw the accuracy of each variant, a dot for each seed."""
    for place, (_, values) in enumerate(reversed(accuracy.items())):
        ax.plot(values, [place] * len(values), "o", color="#0072b2", alpha=0.6)
        ax.plot([np.mean(values)], [place], "|", color="#d55e00", ms=20, mew=2)
    ax.set_yticks(range(len(accuracy)), [*accuracy][::-1])
    ax.set_ylim(-0.5, len(accuracy) - 0.5)
    ax.set_xlabel("test accuracy; a dot for every seed, a bar for their mean")
    ax.grid(axis="x", alpha=0.3)


def save(figure, options):
    """Save a picture and print its path."""
    figure.savefig(options.output, dpi=150)
    plt.close(figure)
    print(f"picture: {options.output}")
