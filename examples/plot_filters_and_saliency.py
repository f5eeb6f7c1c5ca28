"""
Filters under several penalties, and the pixels that matter to a network
========================================================================

Networks learn to classify discs, squares, triangles and crosses, with penalties of
several strengths on their first layer. The upper pictures are its kernels: L2 makes
most of them small, except for those that the network needs; they remain similar to the
noise that they were initialised with. The crossed-out kernels, which a group penalty
makes, are exactly zero.

The lower pictures are maps of the pixels that speak for the class, by four methods. The
positions of the shapes are known, so the table has the share of the maps whose peak
lies on the shape. With the numbers below, this is always the case for integrated
gradients and for occlusion, and less often for the plain gradient (0.50 to 0.92, most
with the group penalty) and for Grad-CAM (0.47 to 0.57), whose maps are enlarged from
8 x 8 values. Part of this is due to the definition: integrated gradients are a product
with the difference from black, which is almost 0 outside of a bright shape.

    python examples/plot_filters_and_saliency.py
"""

# %%
# Networks with several penalties and strengths.
import argparse

import matplotlib
import numpy as np

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import make_shapes
from sklearn_l2cnn.inspection import FilterDisplay, SaliencyDisplay, saliency

matplotlib.use("Agg")  # no screen is needed
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
parser.add_argument("--output", default="filters_and_saliency.png", metavar="FILE")
parser.add_argument("--images", type=int, default=600)
parser.add_argument("--tested", type=int, default=60, help="images looked at")
parser.add_argument("--epochs", type=int, default=15)
options = parser.parse_args()

train = make_shapes(options.images, random_state=0)
test = make_shapes(options.tested, random_state=1)
names = np.array(train.target_names)

WAYS = {
    "no penalty": {"penalty": None},
    "L2, alpha=0.1": {"alpha": {"conv1": 0.1, "*": 1e-4}},
    "L2, alpha=1": {"alpha": {"conv1": 1.0, "*": 1e-4}},
    "groups, alpha=0.03": {"alpha": {"conv1": 0.03, "*": 1e-4}, "penalty": "group"},
}
fitted = {}
for way, parameters in WAYS.items():
    clf = L2CNNClassifier(
        lr=3e-3, max_epochs=options.epochs, random_state=0, **parameters
    )
    fitted[way] = clf.fit(train.images, names[train.target])

# %%
# The share of the maps whose peak lies on the shape.
METHODS = ("gradient", "integrated_gradients", "grad_cam", "occlusion")


def on_the_shape(clf, method):
    """Return the share of the images whose map is largest on the shape."""
    maps = saliency(clf, test.images, method=method)
    places = maps.reshape(len(maps), -1).argmax(axis=1)
    return np.take_along_axis(
        test.masks.reshape(len(maps), -1), places[:, np.newaxis], axis=1
    ).mean()


print("share of the peaks of saliency that lie on the shape")
heads = "accuracy", "median norm", "zero filters", *METHODS
print(f"{'':<18}  " + "  ".join(heads))
for way, clf in fitted.items():
    kernels = clf.module_.conv1.weight.detach().numpy()
    norms = np.sqrt(np.square(kernels).sum(axis=(1, 2, 3)))
    accuracy = clf.score(test.images, names[test.target])
    shares = [on_the_shape(clf, method) for method in METHODS]
    row = [accuracy, np.median(norms), (norms == 0).sum(), *shares]
    cells = [
        f"{value:>{len(head)}{'d' if head == 'zero filters' else '.2f'}}"
        for head, value in zip(heads, row, strict=True)
    ]
    print(f"{way:<18}  " + "  ".join(cells))
print(f"by chance, as the shapes cover so much of the images: {test.masks.mean():.2f}")

# %%
# The pictures.
figure = plt.figure(figsize=(11, 9.5), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=[1, 3])
for part, (way, clf) in zip(above.subfigures(1, 4), fitted.items(), strict=True):
    display = FilterDisplay.from_estimator(clf, ax=part, n_columns=8)
    zero = f", {display.zero_.sum()} zero" if display.zero_.any() else ""
    part.suptitle(f"{way}\n{len(display.zero_)} filters{zero}", fontsize=9)
SaliencyDisplay.from_estimator(
    fitted["L2, alpha=0.1"], test.images[:8], method=METHODS, ax=below
)
figure.savefig(options.output, dpi=150)
print(f"picture: {options.output}")
