"""
What a network has learnt: filters and saliency
===============================================

Networks learn to classify discs, squares, triangles and crosses, with penalties of
several strengths on their first layer. The first picture shows its kernels, the second
the pixels that speak for the class, by four methods. The positions of the shapes are
known, so that the maps can be checked.
"""

# sphinx_gallery_thumbnail_number = 2

# %%
# Networks with several penalties and strengths.
import matplotlib.pyplot as plt
import numpy as np

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import make_shapes
from sklearn_l2cnn.inspection import FilterDisplay, SaliencyDisplay, saliency

IMAGES, TESTED, EPOCHS = 600, 60, 12

train = make_shapes(IMAGES, random_state=0)
test = make_shapes(TESTED, random_state=1)
names = np.array(train.target_names)

WAYS = {
    "no penalty": {"penalty": None},
    "L2, alpha=0.1": {"alpha": {"conv1": 0.1, "*": 1e-4}},
    "L2, alpha=1": {"alpha": {"conv1": 1.0, "*": 1e-4}},
    "group, alpha=0.03": {"alpha": {"conv1": 0.03, "*": 1e-4}, "penalty": "group"},
}
fitted = {}
for way, parameters in WAYS.items():
    clf = L2CNNClassifier(lr=3e-3, max_epochs=EPOCHS, random_state=0, **parameters)
    fitted[way] = clf.fit(train.images, names[train.target])

# %%
# The kernels of the first layer. L2 makes most of them small, and they remain similar
# to the noise that they were initialised with. The crossed-out kernels, which the group
# penalty makes, are exactly zero.
figure = plt.figure(figsize=(10, 3), layout="constrained")
for part, (way, clf) in zip(figure.subfigures(1, 4), fitted.items(), strict=True):
    display = FilterDisplay.from_estimator(clf, ax=part, n_columns=8)
    part.suptitle(f"{way}\n{display.zero_.sum()} of {len(display.zero_)} zero", size=10)

# %%
# The share of the saliency maps whose peak lies on the shape. Part of it is due to the
# definitions: integrated gradients are a product with the difference from black, which
# is almost zero outside of a bright shape, and the maps of Grad-CAM are enlarged from 8
# x 8 values.
METHODS = ("gradient", "integrated_gradients", "grad_cam", "occlusion")


def on_the_shape(clf, method):
    """Return the share of the images whose map is largest on the shape."""
    maps = saliency(clf, test.images, method=method)
    places = maps.reshape(len(maps), -1).argmax(axis=1)
    return test.masks.reshape(len(maps), -1)[np.arange(len(maps)), places].mean()


print(f"{'':<18} accuracy  {'  '.join(METHODS)}")
for way, clf in fitted.items():
    cells = [f"{on_the_shape(clf, method):>{len(method)}.2f}" for method in METHODS]
    accuracy = clf.score(test.images, names[test.target])
    print(f"{way:<18} {accuracy:>8.2f}  {'  '.join(cells)}")
print(f"share of the pixels that the shapes cover: {test.masks.mean():.2f}")

# %%
# The maps of some test images.
display = SaliencyDisplay.from_estimator(
    fitted["L2, alpha=0.1"], test.images[:6], method=METHODS
)
display.figure_.savefig("filters_and_saliency.png", dpi=150)
