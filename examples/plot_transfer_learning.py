"""
Transfer learning: few images, and a network that knows similar ones
====================================================================

A network learns the digits 0 to 5, at random places in noise. Its weights are the start
for another task, the digits 6 to 9, of which there are few images. With weights that
are published the same lines are ``architecture="resnet18", pretrained=True``; here
nothing is downloaded, so that the first network is trained, and its weights are saved
to a file.
"""

# %%
# The first task, and the file.
import tempfile
from collections import OrderedDict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import load_digits_images

PLACES, EPOCHS, DRAWS = 3, 8, 3
PER_CLASS, NEW_EPOCHS = [2, 5, 20], "auto"


def network(input_shape, n_classes):
    """Build two convolutions, each pooled, and a dense layer."""
    channels, height, width = input_shape
    layers = {
        "conv1": nn.Conv2d(channels, 16, 3, padding=1),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(16, 32, 3, padding=1),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "logits": nn.Linear(32 * (height // 4) * (width // 4), n_classes),
    }
    return nn.Sequential(OrderedDict(layers))


def placed(digits, n, side=14):
    """Put each digit at n random places of a noisy image."""
    rng = np.random.RandomState(0)
    images = rng.normal(60, 30, size=(n * len(digits), side, side))
    for image, digit in zip(images, np.tile(digits, (n, 1, 1)), strict=True):
        row, column = rng.randint(side - 7, size=2)
        image[row : row + 8, column : column + 8] += 0.6 * digit
    return images.clip(0, 255).astype(np.uint8)


digits, y = load_digits_images(return_X_y=True)
known, new = y < 6, y > 5
X, y_known = placed(digits[known], PLACES), np.tile(y[known], PLACES)
first = L2CNNClassifier(architecture=network, max_epochs=EPOCHS, random_state=0)
first.fit(X, y_known)
folder = tempfile.TemporaryDirectory()
weights = Path(folder.name) / "digits_0_to_5.pt"
torch.save(first.module_.state_dict(), weights)

# %%
# The ways. The last layer is new in each of them, as the classes are others.
# ``"l2-sp"`` is the penalty towards the weights that were loaded, instead of towards
# zero. ``max_epochs="auto"`` means at least 250 steps.
scratch = {"architecture": network, "max_epochs": NEW_EPOCHS}
start = {**scratch, "pretrained": weights}
ways = {
    "from scratch": L2CNNClassifier(**scratch),
    "fine-tuned, L2": L2CNNClassifier(**start),
    "fine-tuned, L2-SP": L2CNNClassifier(**start, penalty="l2-sp", alpha=1e-2),
    "convolutions frozen": L2CNNClassifier(**start, freeze="conv*"),
}
X, y = placed(digits[new], 1), y[new]
scores = np.empty((len(ways), len(PER_CLASS), DRAWS))
for draw in range(DRAWS):
    order = np.random.RandomState(draw).permutation(len(y))
    for column, n in enumerate(PER_CLASS):
        train = np.concatenate([order[y[order] == label][:n] for label in range(6, 10)])
        test = np.setdiff1d(order, train)
        for row, clf in enumerate(ways.values()):
            clf.set_params(random_state=draw).fit(X[train], y[train])
            scores[row, column, draw] = clf.score(X[test], y[test])

# %%
# The table: the accuracy on all other images of the digits 6 to 9, as means over draws
# of the training images with their standard errors.
means, errors = scores.mean(axis=2), scores.std(axis=2, ddof=1) / DRAWS**0.5
print("accuracy")
print(f"{'images of a class':<20}" + "".join(f"{n:>16}" for n in PER_CLASS))
for name, row, spread in zip(ways, means, errors, strict=True):
    cells = (f"{m:.3f} +- {e:.3f}" for m, e in zip(row, spread, strict=True))
    print(f"{name:<20}" + "".join(f"{cell:>16}" for cell in cells))

# %%
# The picture.
figure, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
STYLES = ["o-", "s--", "^-.", "D:"]
for name, row, spread, style in zip(ways, means, errors, STYLES, strict=True):
    ax.errorbar(PER_CLASS, row, spread, fmt=style, capsize=3, label=name)
ax.set(xscale="log", xlabel="training images of a class", ylabel="accuracy")
ax.set_xticks(PER_CLASS, PER_CLASS, minor=False)
ax.set_xticks([], minor=True)
ax.set_title(f"digits 6 to 9, {DRAWS} draws; bars: standard error")
ax.legend()
ax.grid(alpha=0.3)
figure.savefig("transfer_learning.png", dpi=150)
folder.cleanup()
