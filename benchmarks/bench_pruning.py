"""How many filters can go, at what price, and how much faster is what is left?

python -m benchmarks.bench_pruning [--full] [--data DIR]

``conv_pool`` under a group penalty on all layers but the last, and the same network
without a penalty. The strongest alpha of a few is taken that costs at most a quarter of
a point of accuracy on validation images, a part of the training set; with ``--data`` on
20,000 images of MNIST, validated on 10,000 others, without on digits. ``--full`` has
two more seeds, for the alpha that the first chose.
"""

import numpy as np

from benchmarks import _options, _tasks
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.feature_selection import prune

ON_MNIST = {"batch_size": 128, "epochs": 10, "lr": 4e-3}
ON_DIGITS = {"batch_size": 32, "epochs": 20, "lr": 4e-3}
ALPHAS = {"MNIST": (6e-5, 9e-5), "digits": (1e-4, 3e-4)}
MOST_POINTS = 0.25


def split(options):
    """Return a task whose training rows are some of those there are, and others."""
    if options.data:
        whole, n, valid = _tasks.mnist(options.data, **ON_MNIST), 20_000, 10_000
    else:
        whole, n, valid = _tasks.digits(**ON_DIGITS), 1100, 300
    task = whole._replace(X=whole.X[:n], y=whole.y[:n])
    return task, (whole.X[-valid:], whole.y[-valid:])


def fitted(task, alpha, seed):
    """Fit the network with a group penalty, or without one."""
    return L2CNNClassifier(
        alpha={"conv*": alpha, "dense*": alpha},
        penalty="group" if alpha else None,
        architecture="conv_pool",
        batch_size=task.batch_size,
        max_epochs=task.epochs,
        lr=task.lr,
        random_state=seed,
    ).fit(task.X, task.y)


def points(clf, other, X, y):
    """Return how many points of accuracy a classifier has less than another."""
    return 100 * (other.score(X, y) - clf.score(X, y))


def left(support):
    """Say what is left of every layer."""
    parts = [f"{name} {kept.sum()}/{len(kept)}" for name, kept in support.items()]
    return ", ".join(parts)


def strongest(task, valid, free):
    """Return the strongest alpha that is cheap enough, and its classifier."""
    best = None
    for alpha in ALPHAS[task.name.split()[0]]:
        clf = fitted(task, alpha, seed=0)
        lost = points(clf, free, *valid)
        _, support = prune(clf, return_support=True)
        price = f"{lost:+.2f} points lost in validation"
        print(f"  alpha {alpha:g}: {price}, {left(support)}", flush=True)
        if lost <= MOST_POINTS or best is None:
            best = alpha, clf
    return best


def seen(task, seed, alpha, clf, free, options):
    """Prune a classifier and compare it with what it was."""
    name = f"{task.name}, alpha {alpha:g}, seed {seed}"
    pruned, support = prune(clf, return_support=True)
    kept = np.concatenate(list(support.values()))
    X, y = task.X_test, task.y_test
    apart = np.abs(pruned.decision_function(X) - clf.decision_function(X)).max()
    sizes = [
        sum(parameter.numel() for parameter in part.module_.parameters())
        for part in (clf, pruned)
    ]
    ways = {"pruned": lambda: pruned.predict(X), "whole": lambda: clf.predict(X)}
    seconds, labels = interleaved(ways, max(options.repeats, 7), control="pruned")
    control, quiet = control_pair(seconds, "pruned")
    return [
        Figure(
            f"{name}: filters and units gone", 1 - kept.mean(), 0.5, note=left(support)
        ),
        Figure(
            f"{name}: points of test accuracy lost against no penalty",
            points(clf, free, X, y),
            0.3,
            at_least=False,
            note=f"{free.score(X, y):.4f} without",
        ),
        Figure(
            f"{name}: test images with the same prediction, pruned and whole",
            float((labels["pruned"] == labels["whole"]).mean()),
            1,
            note=f"logits {apart:.1g} apart at most",
        ),
        Figure(f"{name}: prediction, control pair", control),
        Figure(
            f"{name}: prediction, whole / pruned (time)",
            ratio(seconds, "whole", "pruned"),
            1.1,
            quiet=quiet,
            note=f"{sizes[0]:,} parameters, {sizes[1]:,} left",
        ),
    ]


def run(options):
    task, valid = split(options)
    free = fitted(task, 0, seed=0)
    alpha, clf = strongest(task, valid, free)
    figures = seen(task, 0, alpha, clf, free, options)
    _options.show(figures)
    for seed in (1, 2) if options.full else ():
        clf, free = fitted(task, alpha, seed), fitted(task, 0, seed)
        more = seen(task, seed, alpha, clf, free, options)
        _options.show(more)
        figures += more
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
