"""
Medical images: more than 256 greys
===================================

Radiographs and CT slices have 12 bits, 4,096 greys, and are often stored as PNG of 16
bits. A finding may differ from its surroundings by a few greys out of 4,096, which is
less than one of 256. :class:`~sklearn_l2cnn.preprocessing.ImageReader` therefore has to
know which value is white, and has to keep all greys: ``white=4095, dtype="float32"``.
"""

# %%
# The files are made up: tissue that gets brighter in one direction, and in every second
# image a round spot that is 12 greys brighter.
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.preprocessing import ContrastNormalizer, ImageReader

IMAGES, EPOCHS = 300, 20
SIDE = 16


def write(folder, n):
    """Write n images of 12 bits as PNG of 16 bits; return paths and labels."""
    rng = np.random.RandomState(0)
    down, right = np.mgrid[:SIDE, :SIDE]
    paths, y = [], np.arange(n) % 2
    for k, spot in enumerate(y):
        angle, grey = rng.uniform(0, 2 * np.pi), rng.uniform(800, 3000)
        image = grey + 2 * (np.cos(angle) * down + np.sin(angle) * right)
        row, column = rng.randint(4, SIDE - 4, size=2)
        image += 12 * spot * ((down - row) ** 2 + (right - column) ** 2 <= 9)
        image += rng.normal(scale=1.5, size=image.shape)
        paths.append(Path(folder) / f"{k:03d}.png")
        Image.fromarray(image.round().astype(np.uint16)).save(paths[-1])
    return paths, np.array(["nothing", "spot"])[y]


folder = tempfile.TemporaryDirectory()
paths, y = write(folder.name, IMAGES)

# %%
# Three readers. Without ``white`` a file of 16 bits has its white at 65,535, so that
# all of these images are nearly black; a warning says so.
# :class:`~sklearn_l2cnn.preprocessing.ContrastNormalizer` makes up for different
# exposures. Its ``epsilon`` is the contrast, as a part of white, below which an image
# counts as flat.
readers = {
    "white not given, 8 bits": ImageReader(SIDE, mode="L"),
    "white=4095, 8 bits": ImageReader(SIDE, mode="L", white=4095),
    "white=4095, float32": ImageReader(SIDE, mode="L", white=4095, dtype="float32"),
}
images = {}
print("                          greys in an image   accuracy, three folds")
for name, reader in readers.items():
    clf = make_pipeline(
        reader,
        ContrastNormalizer(epsilon=1e-4),
        L2CNNClassifier(max_epochs=EPOCHS, random_state=0),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores = cross_val_score(clf, paths, y, cv=3)
        images[name] = reader.fit_transform(paths[:4])
    greys = np.mean([len(np.unique(image)) for image in images[name]])
    print(
        f"{name:<25} {greys:8.1f}            {scores.mean():.3f} +- {scores.std():.3f}"
    )
    if caught:
        print(f"    warned: {str(caught[0].message).partition('. ')[0]}.")

# %%
# The picture: two files without and two with a spot. Each is drawn from its own darkest
# to its own brightest grey.
figure, axes = plt.subplots(3, 4, figsize=(7.5, 6.2), layout="constrained")
for row, (name, read) in zip(axes, images.items(), strict=True):
    order = (0, 2, 1, 3)
    for ax, image, label in zip(row, read[[*order]], y[[*order]], strict=True):
        ax.imshow(image.squeeze(), cmap="gray")
        ax.set(xticks=[], yticks=[])
        ax.set_title(label if row is axes[0] else "", fontsize=10)
    row[0].set_ylabel(name.replace(", ", ",\n"), fontsize=10)
figure.savefig("medical_greys.png", dpi=150)
folder.cleanup()
