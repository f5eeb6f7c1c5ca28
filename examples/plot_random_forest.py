"""
A network in front of a random forest: features and pixels
==========================================================

:class:`~sklearn_l2cnn.feature_extraction.CNNFeatures` trains a network and passes on
the output of its last hidden layer.
:class:`~sklearn_l2cnn.feature_selection.PixelSelector` trains a network and passes on
the pixels by which it discriminates the classes. Both are transformers, here in front
of a random forest.
"""

# %%
# Features of digits: as many columns as the last hidden layer has units.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import load_digits_images, make_shapes
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import PixelSelector
from sklearn_l2cnn.preprocessing import ImagesToRows

IMAGES, EPOCHS = 300, 10

X, X_test, y, y_test = train_test_split(
    *load_digits_images(return_X_y=True), train_size=IMAGES, random_state=0
)
clf = L2CNNClassifier(max_epochs=EPOCHS, random_state=0)
forest = RandomForestClassifier(n_estimators=200, random_state=0)
on_pixels = make_pipeline(ImagesToRows(), clone(forest)).fit(X, y)
on_features = make_pipeline(CNNFeatures(clf), clone(forest)).fit(X, y)
network = on_features[0].estimator_
print(f"{IMAGES} digits to learn from, accuracy on {len(X_test)} others")
print(f"forest on {on_pixels[-1].n_features_in_:3d} pixels:   ", end="")
print(f"{on_pixels.score(X_test, y_test):.3f}")
print(f"forest on {on_features[-1].n_features_in_:3d} features: ", end="")
print(f"{on_features.score(X_test, y_test):.3f}")
print(f"the network itself:     {network.score(X_test, y_test):.3f}")

# %%
# Pixels: each image has a disc, a square, a triangle or a cross in each quarter. The
# label is the shape at the upper right; the others have the same contrast and no
# information. Hence it is known which pixels are informative: those of which the share
# of bright values depends on the class.


def four_shapes(n, seed):
    """Make images of four shapes; the one at the upper right is the label."""
    rng = np.random.RandomState(seed)
    images = np.empty((n, 16, 16), dtype=np.uint8)
    for corner in np.ndindex(2, 2):
        down, right = (slice(8 * c, 8 * c + 8) for c in corner)
        shapes = make_shapes(n, 8, noise=0.4, random_state=rng.randint(10**6))
        if corner == (0, 1):
            images[:, down, right], target = shapes.images, shapes.target
        else:
            images[:, down, right] = rng.permutation(shapes.images)
    return images, target


X, y = four_shapes(IMAGES, seed=0)
X_test, y_test = four_shapes(1000, seed=1)
shapes = make_shapes(4000, size=8, noise=0, random_state=0)
often = [shapes.masks[shapes.target == k].mean(axis=0) for k in range(4)]
informative = np.zeros((16, 16), dtype=bool)
informative[:8, 8:] = np.ptp(often, axis=0) > 0.15
n_pixels = int(informative.sum())

# %%
# The forests. As many pixels are selected as are informative, by a network with a weak
# penalty, by one with a strong penalty, and by an F-test of each pixel.
weak, strong = (clone(clf).set_params(alpha=alpha) for alpha in (1e-4, 1e-1))
steps = {
    "all pixels": [ImagesToRows()],
    "pixels, weak penalty": [PixelSelector(weak, max_features=n_pixels)],
    "pixels, strong penalty": [PixelSelector(strong, max_features=n_pixels)],
    "pixels, F-test": [ImagesToRows(), SelectKBest(f_classif, k=n_pixels)],
}
fitted = {}
print(f"{IMAGES} images, {n_pixels} of 256 pixels are informative")
print("forest on                  columns   informative   accuracy")
for name, before in steps.items():
    fitted[name] = make_pipeline(*before, clone(forest)).fit(X, y)
    accuracy, share = fitted[name].score(X_test, y_test), "-"
    if name.startswith("pixels"):
        support = fitted[name][-2].get_support().reshape(16, 16)
        share = f"{(support & informative).sum() / n_pixels:.2f}"
    n_columns = fitted[name][-1].n_features_in_
    print(f"{name:<26} {n_columns:>7}   {share:>11}   {accuracy:.3f}")

# %%
# The picture: an image, and the pixels that are selected. A network memorises its
# training images by some pixels of the other quarters. The F-test looks at one pixel at
# a time, which is enough here, where the classes differ in their mean images.
figure, axes = plt.subplots(1, 5, figsize=(11, 2.9), layout="constrained")
selected = {
    name.replace(", ", ",\n"): pipeline[-2].get_support().reshape(16, 16)
    for name, pipeline in fitted.items()
    if name.startswith("pixels")
}
maps = {f"an image:\n{shapes.target_names[y[0]]}": X[0], "informative": informative}
maps.update(selected)
for ax, (name, values) in zip(axes, maps.items(), strict=True):
    ax.imshow(values, cmap="gray" if values.dtype == np.uint8 else "Blues")
    ax.add_patch(plt.Rectangle((7.5, -0.5), 8, 8, fill=False, ec="#d55e00", lw=2))
    ax.set(xticks=[], yticks=[])
    ax.set_title(name, fontsize=11)
figure.savefig("random_forest.png", dpi=150)
