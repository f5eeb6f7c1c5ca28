"""
Five systems from publications on L2
====================================

Five networks and their regularisation, as they were published for MNIST and CIFAR-10,
on digits of 8 x 8 pixels and with few epochs, so that all of them take a minute. On
MNIST and CIFAR-10 themselves ``python -m benchmarks.bench_systems --data DIR`` runs
them; the figures are in ``benchmarks/README.md``.
"""

# %%
# The images: the digits of scikit-learn.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import load_digits_images

ROWS, TESTED, SEEDS, MOST_EPOCHS = 240, 300, 3, 10

X, y = load_digits_images(return_X_y=True)

# %%
# The systems: number of training images, epochs, what all variants have in common, and
# the variants. The first variant has no penalty, the second is as published.
SYSTEMS = {
    "1. two wide convolutions, SGD": (
        *(ROWS, 10),
        {"architecture": "two_conv", "optimizer": "sgd", "lr": 0.01, "batch_size": 64},
        {"no penalty": {"alpha": 0}, "L2": {"alpha": 1e-4}},
    ),
    "2. L2 on the dense layers": (
        *(ROWS, 10),
        {"architecture": "conv_pool", "lr_schedule": None, "batch_size": 64},
        {
            "no penalty": {"alpha": 0},
            "L2": {"alpha": {"dense1": 1e-3, "logits": 1e-3}},
            "L1": {"alpha": {"dense1": 1e-3, "logits": 1e-3}, "penalty": "l1"},
        },
    ),
    "3. ResNet-18, L2 on the activity": (
        *(ROWS // 4, 3),
        {"architecture": "resnet18", "alpha": 0, "batch_size": 25},
        {"no penalty": {}, "L2": {"activity_alpha": 1e-3}},
    ),
    "4. four convolutions": (
        *(ROWS, 8),
        {"architecture": "four_conv"},
        {"no penalty": {"alpha": 0}, "L2": {"alpha": 1e-3}},
    ),
    "5. a strength for every layer": (
        *(ROWS, 10),
        {
            "architecture": "conv_dropout",
            "lr_schedule": "plateau",
            "early_stopping": True,
            "n_iter_no_change": np.inf,
        },
        {
            "no penalty": {"alpha": 0},
            "L2": {
                "alpha": {"conv1": 1e-4, "conv2": 3e-4},
                "activity_alpha": {"relu1": 1e-5, "relu2": 1e-5, "relu3": 1e-4},
            },
            "max_norm": {"alpha": 0, "max_norm": 1.0},
        },
    ),
}
scores = {}
# with so few steps most of these trainings end while the loss still falls
warnings.simplefilter("ignore", ConvergenceWarning)
for system, (n, epochs, common, variants) in SYSTEMS.items():
    clf = L2CNNClassifier(max_epochs=min(epochs, MOST_EPOCHS), **common)
    print(f"{system}: {n} images")
    for name, parameters in variants.items():
        found = []
        for seed in range(SEEDS):
            rows = np.random.RandomState(seed).permutation(len(y))
            train, test = rows[:n], rows[n : n + TESTED]
            one = clone(clf).set_params(random_state=seed, **parameters)
            found.append(one.fit(X[train], y[train]).score(X[test], y[test]))
        scores[system, name] = found
        print(f"  {name:<11} {np.mean(found):.3f} +- {np.std(found, ddof=1):.3f}")

# %%
# The picture: a dot for each seed, which also chooses the training images, and a bar
# for their mean. Where the dots of two variants overlap, these seeds show no
# difference.
figure, axes = plt.subplots(
    5,
    1,
    figsize=(7, 7.2),
    layout="constrained",
    height_ratios=[len(variants) for *_, variants in SYSTEMS.values()],
)
for ax, system in zip(axes, SYSTEMS, strict=True):
    own = {name: row for (other, name), row in scores.items() if other == system}
    for place, row in enumerate(own.values()):
        ax.plot(row, [place] * len(row), "o", color="#0072b2", alpha=0.6)
        ax.plot(np.mean(row), place, "|", color="#d55e00", ms=16, mew=2)
    ax.set_yticks(range(len(own)), own)
    ax.set_ylim(len(own) - 0.5, -0.5)
    ax.set_title(system, fontsize=10, loc="left")
    ax.grid(axis="x", alpha=0.3)
axes[-1].set_xlabel("accuracy on the test images")
figure.savefig("five_systems.png", dpi=150)
