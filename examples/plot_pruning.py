"""
Pruning: a smaller network by the group penalty
===============================================

``penalty="group"`` makes whole filters exactly zero.
:class:`~sklearn_l2cnn.feature_selection.FilterSelector` trains with it and removes
them, after which the network is smaller, faster and predicts the same. L2 makes weights
small but none zero, so that nothing can be removed without changing the predictions;
:func:`~sklearn_l2cnn.feature_selection.prune` does so on request.
"""

# %%
# Networks with increasing strengths of the group penalty.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import load_digits_images
from sklearn_l2cnn.feature_selection import FilterSelector, prune

ROWS, EPOCHS = 600, 15
ALPHAS = [1e-4, 3e-4, 1e-3, 3e-3]

X, X_test, y, y_test = train_test_split(
    *load_digits_images(return_X_y=True), train_size=ROWS, random_state=0
)


def size(clf):
    """Return the number of parameters of the network."""
    return sum(parameter.numel() for parameter in clf.module_.parameters())


rows = []
print("penalty  alpha   filters and units kept of each layer   parameters   accuracy")
for alpha in ALPHAS:
    clf = L2CNNClassifier(
        alpha, penalty="group", lr=3e-3, max_epochs=EPOCHS, random_state=0
    )
    selector = FilterSelector(clf).fit(X, y)
    kept = ", ".join(f"{n} {k}" for n, k in selector.n_filters_.items())
    rows.append((alpha, size(selector.estimator_), selector.score(X_test, y_test)))
    print(f"group    {alpha:<6g}  {kept:<37}  {rows[-1][1]:>10,}   {rows[-1][2]:.3f}")

# %%
# For comparison: a network with L2, of which a part of every layer is removed after
# training, the filters with the smallest norms.
full = L2CNNClassifier(alpha=1e-2, lr=3e-3, max_epochs=EPOCHS, random_state=0).fit(X, y)
cut = []
print("L2: fraction removed   parameters   accuracy")
for fraction in (0, 0.25, 0.5, 0.75, 0.9):
    pruned = prune(full, fraction=fraction)
    cut.append((size(pruned), pruned.score(X_test, y_test)))
    print(f"{fraction:>20.0%}   {cut[-1][0]:>10,}   {cut[-1][1]:.3f}")

# %%
# The picture: the weakest and the strongest group penalty are named.
figure, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
alphas, sizes, scores = np.array(rows).T
ax.plot(sizes, scores, "o-", color="#009e73", label="group penalty, without its zeros")
for (alpha, x, accuracy), shift in ((rows[-1], (-10, 8)), (rows[0], (-20, 8))):
    text = f"alpha={alpha:g}"
    ax.annotate(text, (x, accuracy), shift, textcoords="offset points", size=9)
ax.plot(*zip(*cut, strict=True), "s--", color="#0072b2", label="L2, smallest norms cut")
ax.set(xscale="log", xlabel="parameters", ylabel="accuracy on the test images")
ax.set_ylim(0, 1.08)
ax.set_title(f"{ROWS} digits to learn from")
ax.legend(loc="lower right")
ax.grid(alpha=0.3)
figure.savefig("pruning.png", dpi=150)
