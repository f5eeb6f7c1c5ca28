"""
Pixel selection by a network, with known informative pixels
===========================================================

Each image has four shapes, a disc, a square, a triangle or a cross in each quarter. The
label is the shape at the upper right; the others have the same contrast, but no
information. `PixelSelector` trains a network, computes the contribution of each pixel
to the discrimination of the classes, and keeps the pixels that contribute most. The
informative pixels are known: their share of shapes depends on the class. The example
counts how many of them are found.

Two networks are compared, with a weak penalty and a strong one. A network memorises its
training images by some pixels of the other quarters; with the stronger penalty it does
so less, and more of the selected pixels are informative. The baseline is an F-test of
each pixel. It takes no time and finds more here, where the classes differ in their mean
images; it cannot find pixels that are informative only in combination.

    python examples/plot_selection.py
"""

# %%
# Images of four shapes, and the informative pixels.
import argparse

import matplotlib
import numpy as np
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import make_shapes
from sklearn_l2cnn.feature_selection import PixelSelector

matplotlib.use("Agg")  # no screen is needed
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
parser.add_argument("--output", default="selection.png", metavar="FILE")
parser.add_argument("--images", type=int, default=600)
parser.add_argument("--epochs", type=int, default=8)
options = parser.parse_args()


def four_shapes(n, seed):
    """Make images of four shapes; the one at the upper right is the label."""
    rng = np.random.RandomState(seed)
    images = np.empty((n, 16, 16), dtype=np.uint8)
    for corner in np.ndindex(2, 2):
        down, right = (slice(8 * c, 8 * c + 8) for c in corner)
        shapes = make_shapes(n, size=8, random_state=rng.randint(10**6))
        if corner == (0, 1):
            images[:, down, right], target = shapes.images, shapes.target
        else:
            images[:, down, right] = rng.permutation(shapes.images)
    return images, target


X, y = four_shapes(options.images, seed=0)
X_test, y_test = four_shapes(500, seed=1)
shapes = make_shapes(4000, size=8, noise=0, random_state=0)
often = [shapes.masks[shapes.target == k].mean(axis=0) for k in range(4)]
matter = np.zeros((16, 16), dtype=bool)
matter[:8, 8:] = np.ptp(often, axis=0) > 0.15
n_matter = int(matter.sum())

# %%
# The selection of as many pixels, by networks with two penalties and by the F-test.
maps = {}
for alpha in (1e-4, 1e-1):
    clf = L2CNNClassifier(alpha, max_epochs=options.epochs, random_state=0)
    selector = PixelSelector(clf, max_features=n_matter).fit(X, y)
    maps[f"network, alpha={alpha:g}"] = selector.pixel_importances_, selector.support_
scores = f_classif(X.reshape(len(X), -1), y)[0].reshape(16, 16)
highest = np.sort(scores, axis=None)[-n_matter]
maps["F-test"] = np.sqrt(scores), scores >= highest

print(f"{n_matter} of {matter.size} pixels matter; as many are selected")
print(f"{'by':<22} found    a logistic regression on them")
for name, (_, support) in maps.items():
    found = (support & matter).sum() / n_matter
    regression = LogisticRegression(max_iter=5000).fit(X[:, support] / 255, y)
    accuracy = regression.score(X_test[:, support] / 255, y_test)
    print(f"{name:<22} {found:.2f}     {accuracy:.3f}")
regression = LogisticRegression(max_iter=5000).fit(X.reshape(len(X), -1) / 255, y)
accuracy = regression.score(X_test.reshape(len(X_test), -1) / 255, y_test)
print(f"{'nothing, all pixels':<22} -        {accuracy:.3f}")

# %%
# The picture: importances, and below them an image with only the selected pixels.
figure, axes = plt.subplots(
    2, len(maps) + 1, figsize=(9, 4.8), layout="constrained", squeeze=False
)


def outline(ax):
    """Draw a frame around the informative quarter."""
    ax.add_patch(plt.Rectangle((7.5, -0.5), 8, 8, fill=False, ec="#d55e00", lw=2))
    ax.set(xticks=[], yticks=[])


def blanked(support):
    """Return the first image in grey, with blue for the pixels not selected."""
    image = np.repeat(X[0][:, :, np.newaxis] / 255, 3, axis=2)
    image[~support] = matplotlib.colors.to_rgb("#56b4e9")
    return image


axes[0, 0].imshow(X[0], cmap="gray", vmin=0, vmax=255)
axes[0, 0].set_title(f"an image: {shapes.target_names[y[0]]}", fontsize=10)
axes[1, 0].imshow(blanked(matter))
axes[1, 0].set_title("pixels that matter", fontsize=10)
for column, (name, (values, support)) in zip(axes.T[1:], maps.items(), strict=True):
    column[0].imshow(values, cmap="viridis")
    column[0].set_title(f"importance\n{name}", fontsize=10)
    column[1].imshow(blanked(support))
    column[1].set_title("what is selected of it", fontsize=10)
for ax in axes.flat:
    outline(ax)
figure.savefig(options.output, dpi=150)
print(f"picture: {options.output}")
