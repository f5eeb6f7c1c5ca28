"""
Spectra and other signals: strips one pixel high
================================================

A row of values that is not square is taken as an image one pixel high, a strip, so that
:class:`~sklearn_l2cnn.L2CNNClassifier` takes the same rows as every other classifier of
scikit-learn. Three made-up substances have two lines each, whose distance tells them
apart; the lines are shifted from one spectrum to the next, on a baseline that varies.
"""

# %%
# The spectra: 128 values, two lines, a baseline and noise.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.augmentation import Augmentation
from sklearn_l2cnn.inspection import saliency

ROWS, EPOCHS = 300, 30
WIDTH = 128


def spectra(n, seed):
    """Make n spectra; the label is the distance of their two lines."""
    rng = np.random.RandomState(seed)
    y = np.array([10, 14, 18])[np.arange(n) % 3]
    place = np.arange(WIDTH)
    first = rng.uniform(10, WIDTH - 30, size=n)
    X = rng.normal(scale=0.08, size=(n, WIDTH))
    X += rng.uniform(-1, 1, size=(n, 1)) * place / WIDTH
    for middle in (first, first + y):
        height = rng.uniform(0.5, 1.0, size=(n, 1))
        X += height * np.exp(-(((place - middle[:, np.newaxis]) / 2) ** 2) / 2)
    return X, y


X, y = spectra(ROWS, seed=0)
X_test, y_test = spectra(2000, seed=1)

# %%
# The classifiers. ``shift`` augments the training spectra by shifts of up to a tenth of
# the width.
network = L2CNNClassifier(
    augment=Augmentation(shift=0.1), max_epochs=EPOCHS, random_state=0
)
classifiers = {
    "L2CNNClassifier": network,
    "LogisticRegression": make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=1000)
    ),
    "SVC": make_pipeline(StandardScaler(), SVC()),
    "RandomForestClassifier": RandomForestClassifier(random_state=0),
}
print(f"{len(X)} spectra to learn from, accuracy on {len(X_test)} others:")
for name, clf in classifiers.items():
    print(f"{name:<24} {clf.fit(X, y).score(X_test, y_test):.3f}")

# %%
# The picture: a spectrum of each substance, and the values that speak for its class by
# occlusion, which hides some of them at a time.
shown = [np.flatnonzero(y_test == label)[0] for label in network.classes_]
maps = saliency(network, X_test[shown], method="occlusion", baseline="mean")
figure, axes = plt.subplots(
    3, 1, figsize=(7, 5.4), sharex=True, layout="constrained", squeeze=False
)
for ax, row, values in zip(axes[:, 0], shown, maps[:, 0], strict=True):
    ax.plot(X_test[row], color="black", lw=1.2)
    ax.set_ylabel("signal")
    ax.set_title(f"lines at a distance of {y_test[row]}", fontsize=10, loc="left")
    other = ax.twinx()
    other.fill_between(range(WIDTH), values, color="#d55e00", alpha=0.35, lw=0)
    other.set_ylabel("occlusion", color="#d55e00")
axes[-1, 0].set_xlabel("place in the spectrum")
figure.savefig("strips.png", dpi=150)
