"""
Features of a network for another classifier: does L2 make them better?
=======================================================================

`CNNFeatures` trains a network and passes the output of its last hidden layer to any
other estimator, here a logistic regression. Its `alpha` is searched like any other
parameter of a pipeline. The table compares the accuracy on held-out digits, over
several seeds, with that of the network itself and of a regression on pixels.

The features are better than pixels. L2 does not improve them further: a weak penalty
makes no difference that is significant over these seeds, and from about alpha = 0.1 on
accuracy falls. It falls less for the regression than for the network itself, whose last
layer is penalised as well; the regression replaces this layer.

    python examples/plot_features.py
"""

# %%
# The search, once for each seed, which sets the split and the initial weights.
import argparse

import matplotlib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import load_digits_images
from sklearn_l2cnn.feature_extraction import CNNFeatures

matplotlib.use("Agg")  # no screen is needed
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
parser.add_argument("--output", default="features.png", metavar="FILE")
parser.add_argument("--rows", type=int, default=300, help="images to learn from")
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--jobs", type=int, default=2, help="processes")
options = parser.parse_args()

X, y = load_digits_images(return_X_y=True)
alphas = [1e-4, 1e-2, 3e-2, 1e-1, 3e-1]


def score_both(pipeline, X, y):
    """Score the regression on the features, and the network that computes them."""
    network = pipeline[0].estimator_
    return {"features": pipeline.score(X, y), "network": network.score(X, y)}


scores = {"features": [], "network": [], "pixels": []}
for seed in range(options.seeds):
    clf = L2CNNClassifier(max_epochs=options.epochs, random_state=seed)
    pipeline = make_pipeline(CNNFeatures(clf), LogisticRegression(max_iter=5000))
    split = StratifiedShuffleSplit(1, train_size=options.rows, random_state=seed)
    search = GridSearchCV(
        pipeline,
        {"cnnfeatures__estimator__alpha": alphas},
        cv=split,
        scoring=score_both,
        refit=False,
        n_jobs=options.jobs,
    ).fit(X, y)
    for name in ("features", "network"):
        scores[name].append(search.cv_results_[f"mean_test_{name}"])
    train, test = next(split.split(X, y))
    pixels = X.reshape(len(X), -1) / 255
    regression = LogisticRegression(max_iter=5000).fit(pixels[train], y[train])
    scores["pixels"].append([regression.score(pixels[test], y[test])] * len(alphas))

# %%
# The table: means over the seeds, and their standard errors.
means = {name: np.mean(part, axis=0) for name, part in scores.items()}
errors = {
    name: np.std(part, axis=0, ddof=1) / options.seeds**0.5
    for name, part in scores.items()
}
print(f"accuracy on {len(X) - options.rows} digits, {options.rows} to learn from")
print("   alpha   regression on features   network itself    regression on pixels")
for k, alpha in enumerate(alphas):
    cells = (f"{means[name][k]:.4f} +- {errors[name][k]:.4f}" for name in scores)
    print(f"{alpha:8.0e}   {'    '.join(cells)}")

# %%
# The picture.
STYLES = {
    "features": ("o-", "#0072b2", "regression on features"),
    "network": ("s--", "#d55e00", "network itself"),
    "pixels": ("", "#56606b", "regression on pixels"),
}
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for name, (form, colour, label) in STYLES.items():
    if name == "pixels":
        ax.axhline(means[name][0], color=colour, linestyle=":", label=label)
    else:
        bars = {"yerr": errors[name], "capsize": 3}
        ax.errorbar(alphas, means[name], fmt=form, color=colour, label=label, **bars)
ax.set(
    xscale="log",
    xlabel="alpha of the network, strength of the L2 penalty",
    ylabel="accuracy",
    title=f"What L2 does to features: {options.rows} digits, {options.seeds} seeds",
)
ax.grid(alpha=0.3)
figure.legend(loc="outside lower center", ncols=3, frameon=False)
figure.savefig(options.output, dpi=150)
print(f"picture: {options.output}")
