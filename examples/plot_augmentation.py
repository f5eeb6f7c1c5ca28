"""
The effect of each augmentation on images, and on the accuracy
==============================================================

`augment` changes the training images at random, in another way in every epoch, but not
the images of predictions. The picture shows four digits under each augmentation, with
strengths above the defaults to make them visible; the table has the accuracy with each
one, trained on 200 digits, over several seeds.

    python examples/plot_augmentation.py
"""

# %%
# The comparison, three seeds each.
import argparse

import matplotlib
import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.base import clone

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.augmentation import NAMES, Augmentation
from sklearn_l2cnn.datasets import load_digits_images

matplotlib.use("Agg")  # no screen is needed
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
parser.add_argument("--output", default="augmentation.png", metavar="FILE")
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--epochs", type=int, default=25)
parser.add_argument("--jobs", type=int, default=2, help="processes")
options = parser.parse_args()

X, y = load_digits_images(return_X_y=True)
clf = L2CNNClassifier(max_epochs=options.epochs)


def score(augment, tta, seed):
    """Fit 200 images that the seed chooses, and score the others."""
    rows = np.random.RandomState(seed).permutation(len(y))
    one = clone(clf).set_params(augment=augment, tta=tta, random_state=seed)
    one.fit(X[rows[:200]], y[rows[:200]])
    return one.score(X[rows[200:]], y[rows[200:]])


ways = [(None, None), *((name, None) for name in NAMES)]
ways += [(["shift", "rotate", "scale"], None), (None, "shift"), ("shift", "shift")]
scores = np.array(
    Parallel(n_jobs=options.jobs)(
        delayed(score)(augment, tta, seed)
        for augment, tta in ways
        for seed in range(options.seeds)
    )
).reshape(len(ways), options.seeds)
print(f"{'augment':<30} {'tta':<6} accuracy   against none, and its standard error")
for (augment, tta), row in zip(ways, scores, strict=True):
    gains = 100 * (row - scores[0])
    error = gains.std(ddof=1) / len(gains) ** 0.5
    name = " + ".join(augment) if isinstance(augment, list) else str(augment)
    print(
        f"{name:<30} {tta!s:<6} {row.mean():.4f}     {gains.mean():+.2f} +- {error:.2f}"
    )

# %%
# The picture: the input of the network in training, recorded by a custom network.
STRONG = {
    "flip": True,
    "shift": 0.25,
    "crop": 0.25,
    "rotate": 40.0,
    "scale": 0.4,
    "cutout": 0.5,
    "brightness": 1.0,
    "contrast": 0.8,
    "mixup": 1.0,
}


def shown(name):
    """Return four images as augmented in one epoch of training."""
    inputs = []

    class Watch(torch.nn.Linear):
        def __init__(self, input_shape, n_classes):
            super().__init__(int(np.prod(input_shape)), n_classes)

        def forward(self, images):
            if self.training:
                inputs.append(images.detach().clone())
            return super().forward(images.flatten(1))

    augment = Augmentation(**{name: STRONG[name]}) if name else None
    L2CNNClassifier(
        architecture=Watch, augment=augment, max_epochs=1, random_state=0
    ).fit(X[:4], y[:4])
    return inputs[-1][:, 0].numpy()


columns = [None, *NAMES]
figure, axes = plt.subplots(
    4, len(columns), figsize=(11, 4.8), layout="constrained", squeeze=False
)
for column, name in zip(axes.T, columns, strict=True):
    images = shown(name)
    for ax, image in zip(column, images, strict=True):
        ax.imshow(image, cmap="gray", vmin=-1, vmax=2)
        ax.axis("off")
    column[0].set_title(name or "as it is", fontsize=9)
figure.suptitle("digits in training, each augmentation alone and stronger than usual")
figure.savefig(options.output, dpi=150)
print(f"picture: {options.output}")
