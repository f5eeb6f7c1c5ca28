"""
Imbalanced classes: weights and thresholds
==========================================

One image in sixteen shows a cross, the others a disc, a square or a triangle, under
strong noise. A classifier that never predicts a cross is right in 94% of the cases, and
useless. Two remedies are compared: ``class_weight="balanced"`` in the training, and a
threshold on the probabilities that
:class:`~sklearn.model_selection.TunedThresholdClassifierCV` chooses by
cross-validation.
"""

# %%
# The images: all discs, squares and triangles, and every fifth cross.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
)
from sklearn.model_selection import TunedThresholdClassifierCV

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import make_shapes

IMAGES, EPOCHS = 1200, 12


def rare_crosses(n, seed):
    """Return images, and whether each of them is a cross."""
    X, y = make_shapes(n, noise=0.2, random_state=seed, return_X_y=True)
    cross = y == 3
    kept = ~cross | (np.cumsum(cross) % 5 == 0)
    return X[kept], cross[kept]


X, y = rare_crosses(IMAGES, seed=0)
X_test, y_test = rare_crosses(4000, seed=1)
print(f"{len(y)} images, {y.sum()} crosses; for testing {len(y_test)}, {y_test.sum()}")

# %%
# The classifiers. The tuned threshold is the one with the best F1 over three folds;
# another ``scoring``, such as one that counts what each error costs, finds another.
plain = L2CNNClassifier(alpha=1e-2, max_epochs=EPOCHS, random_state=0)
balanced = L2CNNClassifier(
    alpha=1e-2, class_weight="balanced", max_epochs=EPOCHS, random_state=0
)
tuned = TunedThresholdClassifierCV(plain, scoring="f1", cv=3, random_state=0)
classifiers = {
    "plain": plain.fit(X, y),
    "class_weight": balanced.fit(X, y),
    "tuned threshold": tuned.fit(X, y),
}
print("                  precision  recall  F1     balanced accuracy")
points = {}
for name, clf in classifiers.items():
    found = clf.predict(X_test)
    precision = precision_score(y_test, found, zero_division=0)
    points[name] = recall_score(y_test, found), precision
    print(
        f"{name:<17} {precision:.3f}      {points[name][0]:.3f}   "
        f"{f1_score(y_test, found):.3f}  {balanced_accuracy_score(y_test, found):.3f}"
    )
print(f"the tuned threshold: {tuned.best_threshold_:.2f}")

# %%
# The picture. A threshold moves along the curve of a classifier, and weights in the
# training move to another curve. Which point is wanted depends on what a cross that is
# missed costs, and what a false alarm does.
figure, ax = plt.subplots(figsize=(6, 4.6), layout="constrained")
COLOURS = {"plain": "#0072b2", "class_weight": "#d55e00", "tuned threshold": "#0072b2"}
for name in ("plain", "class_weight"):
    probabilities = classifiers[name].predict_proba(X_test)[:, 1]
    precision, recall, _ = precision_recall_curve(y_test, probabilities)
    ax.plot(recall, precision, color=COLOURS[name], label=f"{name}, any threshold")
for (name, point), marker in zip(points.items(), "os^", strict=True):
    ax.plot(
        *point,
        marker,
        ms=10,
        color=COLOURS[name],
        mec="black",
        label=f"{name}, predict",
    )
ax.set(xlabel="recall", ylabel="precision", title="crosses among the test images")
ax.legend(loc="lower left")
ax.grid(alpha=0.3)
figure.savefig("imbalanced_classes.png", dpi=150)
