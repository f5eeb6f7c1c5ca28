"""Does the evidence find better strengths than cross-validation, from a single fit?

python -m benchmarks.bench_evidence [--data DIR] [--task NAME] [--seeds N ...]
    [--alphas N] [--folds N]

The default classifier with a strength for every layer by `_evidence`, and
`L2CNNClassifierCV`, on the same images: of digits, MNIST, CIFAR-10, and mnist1d where
this package is there. A line is printed for every seed, and in the end the means with
standard errors. Hours on two cores: the search is 50 fits.
"""

import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss

from benchmarks import _options
from benchmarks._evidence import StrengthsByEvidence
from benchmarks._measure import Figure
from benchmarks._seeds import standard_error
from benchmarks._tasks import read_cifar10, read_mnist
from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV

TASKS = {
    "digits-300": ("digits", 300),
    "digits-1347": ("digits", 1347),
    "mnist1d-4000": ("mnist1d", 4000),
    "mnist-1000": ("mnist", 1000),
    "mnist-5000": ("mnist", 5000),
    "cifar-2000": ("cifar", 2000),
}
WAYS = "one fit, alpha=1e-4", "one fit, the evidence", "cross-validation"
SCORES = "accuracy", "log loss", "calibration error", "seconds"


def of_task(name, n, seed, folder):
    """Return n images to fit to, and 450 or 2,000 others, of one draw."""
    rng = np.random.RandomState(seed)
    if name == "digits":
        digits = load_digits()
        rows = rng.permutation(len(digits.target))
        X, y = digits.images[rows], digits.target[rows]
        return X[450 : 450 + n], y[450 : 450 + n], X[:450], y[:450]
    if name == "mnist1d":
        from mnist1d.data import get_dataset_args, make_dataset

        made = make_dataset(get_dataset_args())
        X, X_test = (made[part][:, None, :] for part in ("x", "x_test"))
        y, y_test = made["y"], made["y_test"]
    else:
        read = read_mnist if name == "mnist" else read_cifar10
        X, y, X_test, y_test = read(folder).first(None, tested=2000)
    rows = rng.permutation(len(y))[:n]
    return X[rows], y[rows], X_test, y_test


def calibration_error(y, proba, n_bins=15):
    """Return the mean gap of confidence and accuracy, over bins of confidence."""
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == y
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, right - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(y))


def way(name, seed, options):
    """Return an estimator that is not fitted."""
    common = {"random_state": seed, "threads": options.threads}
    if name == "cross-validation":
        return L2CNNClassifierCV(options.alphas, cv=options.folds, **common)
    own = [("evidence", StrengthsByEvidence())] if "evidence" in name else None
    return L2CNNClassifier(1e-4, callbacks=own, **common)


def run(options):
    """Fit every way with every seed, and return the figures."""
    figures = []
    for task, (kind, n) in TASKS.items():
        if options.task in task and (options.data or kind in ("digits", "mnist1d")):
            found = np.array(
                [of_seed(task, kind, n, s, options) for s in options.seeds]
            )
            figures += list(_figures(task, found))
    _options.show(figures)
    return figures


def of_seed(task, kind, n, seed, options):
    """Return the scores of every way, one row each."""
    X, y, X_test, y_test = of_task(kind, n, seed, options.data)
    scores = []
    for name in WAYS:
        clf, begun = way(name, seed, options), time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            clf.fit(X, y)
        seconds = time.perf_counter() - begun
        proba = clf.predict_proba(X_test).astype(float)
        proba /= proba.sum(axis=1, keepdims=True)  # the rows of float32 sum to nearly 1
        right = accuracy_score(y_test, clf.classes_[proba.argmax(axis=1)])
        loss = log_loss(y_test, proba, labels=clf.classes_)
        error = calibration_error(np.searchsorted(clf.classes_, y_test), proba)
        scores.append((right, loss, error, seconds))
        alpha = getattr(clf, "alpha_", None) or clf.net_.objective.alpha
        print(
            f"{task}, seed {seed}, {name}: {right:.4f}, log loss {loss:.4f}, error "
            f"{error:.4f}, {seconds:.0f} s, {alpha}",
            flush=True,
        )
    return scores


def _figures(task, found):
    """Yield the means over the seeds of an array of (seed, way, score)."""
    for k, name in enumerate(WAYS):
        means = found[:, k].mean(axis=0)
        errors = standard_error(found[:, k])
        parts = zip(SCORES, means, errors, strict=True)
        note = ", ".join(f"{what} {m:.4g} ({e:.2g})" for what, m, e in parts)
        yield Figure(f"{task}, {name}", float(means[0]), note=note)


def parse():
    """Read the options."""
    parser = _options.parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(10)])
    parser.add_argument("--alphas", type=int, default=10)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    run(parse())
