"""Does L2 give better features? Accuracy of a classifier on them, against alpha.

python -m benchmarks.bench_features [--full --data DIR]

Digits of 8 x 8, the default network; with ``--full --data`` 5,000 images of MNIST too,
the network ``conv_pool``. A logistic regression on what the last hidden layer gives,
in a search over the alpha of the network; next to the network's own accuracy, and the
same regression on raw pixels. Every seed has a split and initial weights of its own,
and gains are within seeds.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from benchmarks import _options
from benchmarks._measure import Figure
from benchmarks._seeds import standard_error
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import load_digits_images, load_mnist
from sklearn_l2cnn.feature_extraction import CNNFeatures

ALPHA = "cnnfeatures__estimator__alpha"
SCORES = ("features", "network")


def score_both(pipeline, X, y):
    """Score the regression on the features, and the network they come from."""
    network = pipeline[0].estimator_
    return {"features": pipeline.score(X, y), "network": network.score(X, y)}


def searched(clf, X, y, alphas, seed):
    """Search over alpha on one split; return the accuracies of both for every alpha."""
    clf.set_params(random_state=seed)
    pipeline = make_pipeline(CNNFeatures(clf), LogisticRegression(max_iter=5000))
    split = StratifiedShuffleSplit(1, test_size=0.5, random_state=seed)
    search = GridSearchCV(
        pipeline, {ALPHA: alphas}, cv=split, scoring=score_both, refit=False
    )
    found = search.fit(X, y).cv_results_
    train, test = next(split.split(X, y))
    raw = make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=5000))
    rows = X.reshape(len(X), -1)
    pixels = raw.fit(rows[train], y[train]).score(rows[test], y[test])
    return [found[f"mean_test_{name}"] for name in SCORES], pixels


def mean_and_error(values):
    """Say the mean over seeds, and its standard error."""
    return values.mean(axis=0), standard_error(values)


def compare(name, clf, X, y, alphas, n_seeds):
    """Return the figures of one data set; the first alpha is what others gain over."""
    found = [searched(clf, X, y, alphas, seed) for seed in range(n_seeds)]
    both = np.array([scores for scores, _ in found])  # (seeds, both, alphas)
    raw, error = mean_and_error(np.array([pixels for _, pixels in found]))
    note = f"standard error {error:.4f}, {n_seeds} seeds"
    figures = [Figure(f"{name}, logistic regression on pixels", float(raw), note=note)]
    means, errors = mean_and_error(both)
    gains, of_gains = mean_and_error(100 * (both - both[:, :, :1]))
    for k, alpha in enumerate(alphas):
        note = "; ".join(
            f"{what} {means[j, k]:.4f} ({errors[j, k]:.4f}), gain over alpha="
            f"{alphas[0]:g} {gains[j, k]:+.2f} ({of_gains[j, k]:.2f}) points"
            for j, what in enumerate(SCORES)
        )
        what = f"{name}, logistic regression on features of alpha={alpha:g}"
        figures.append(Figure(what, float(means[0, k]), note=note))
    return figures


def run(options):
    """Return the figures, and print them."""
    X, y = load_digits_images(return_X_y=True)
    alphas = [0.0, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1]
    few = alphas if options.full else [0.0, 1e-2]
    clf = L2CNNClassifier(max_epochs=20 if options.full else 8, device=options.device)
    n_seeds = 5 if options.full else 2
    figures = compare("digits", clf, X, y, few, n_seeds)
    _options.show(figures)
    if options.full and options.data:
        X, y = load_mnist(options.data, return_X_y=True)
        rows = np.random.RandomState(0).permutation(len(y))[:5000]
        clf.set_params(architecture="conv_pool", max_epochs=8)
        more = compare("5,000 of MNIST", clf, X[rows], y[rows], alphas, 5)
        _options.show(more)
        figures += more
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
