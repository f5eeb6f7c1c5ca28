"""
The effect of each augmentation on images and on the accuracy
=============================================================

``augment`` changes the training images at random, in another way in every epoch, but
not the images of predictions. The first picture shows four digits under each
augmentation, with strengths above the defaults to make them visible; the table and the
second picture have the accuracy with each one, trained on 200 digits, over several
seeds.
"""

# %%
# The first picture: the input of the network in training, recorded by a custom network.
import matplotlib.pyplot as plt
import numpy as np
import torch

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.augmentation import NAMES, Augmentation
from sklearn_l2cnn.datasets import load_digits_images

SEEDS, EPOCHS = 3, 15

X, y = load_digits_images(return_X_y=True)
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


figure, axes = plt.subplots(4, 1 + len(NAMES), figsize=(10, 4.4), layout="constrained")
for column, name in zip(axes.T, (None, *NAMES), strict=True):
    for ax, image in zip(column, shown(name), strict=True):
        ax.imshow(image, cmap="gray", vmin=-1, vmax=2)
        ax.axis("off")
    column[0].set_title(name or "as it is", fontsize=11)
figure.savefig("augmentation.png", dpi=150)

# %%
# The accuracy. ``tta`` is augmentation of the test images: predictions are averaged
# over shifted copies.
ways = {"nothing": {}, **{name: {"augment": name} for name in NAMES}}
ways["shift, rotate, scale"] = {"augment": ["shift", "rotate", "scale"]}
ways["tta shift"] = {"tta": "shift"}
ways["shift, tta shift"] = {"augment": "shift", "tta": "shift"}
gains = {}
for name, parameters in ways.items():
    scores = []
    for seed in range(SEEDS):
        rows = np.random.RandomState(seed).permutation(len(y))
        train, test = rows[:200], rows[200:]
        clf = L2CNNClassifier(max_epochs=EPOCHS, random_state=seed, **parameters)
        scores.append(clf.fit(X[train], y[train]).score(X[test], y[test]))
    gains[name] = np.array(scores)

print("                      accuracy   gain in points, with its standard error")
for name, scores in gains.items():
    gains[name] = 100 * (scores - gains["nothing"]) if name != "nothing" else scores
without = gains.pop("nothing")
print(f"nothing               {without.mean():.4f}")
for name, gain in gains.items():
    error = gain.std(ddof=1) / SEEDS**0.5
    accuracy = without.mean() + gain.mean() / 100
    print(f"{name:<21} {accuracy:.4f}     {gain.mean():+.2f} +- {error:.2f}")

# %%
# The second picture: a dot is the gain of a seed, a bar the mean. These digits stand
# upright and fill their images of 8 x 8 pixels, so that no augmentation is sure to help
# and those that mirror or move them do harm. What helps depends on the images: search
# ``augment`` as any other parameter.
figure, ax = plt.subplots(figsize=(6.5, 4.4), layout="constrained")
for place, gain in enumerate(gains.values()):
    ax.plot(gain, [place] * SEEDS, "o", color="#0072b2", alpha=0.6)
    ax.plot(gain.mean(), place, "|", color="#d55e00", ms=18, mew=2)
ax.axvline(0, color="black", lw=0.8)
ax.set_yticks(range(len(gains)), gains)
ax.invert_yaxis()
ax.set_xlabel("gain in accuracy over no augmentation, points")
ax.set_title(f"200 digits to learn from, {SEEDS} seeds")
ax.grid(axis="x", alpha=0.3)
