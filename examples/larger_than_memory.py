"""
A file of images that is larger than the memory of the process
==============================================================

Images of noise, in each a bright bar whose place is the class, are written to a file. A
classifier is fitted to a memory map of it for one epoch and predicts all images. It
reads the file batch by batch, ahead of what it computes, and learns to the last bit
what it would learn from the same images in memory.
"""

# %%
# The file, which is written a thousand images at a time.
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import LazyImages

GIGABYTES = 1.5
SIDE, N_CLASSES = 128, 4


def write(path, n_images):
    """Write images, each of the class that its row says."""
    rng = np.random.default_rng(0)
    bar = SIDE // N_CLASSES
    with open(path, "wb") as file:
        for start in range(0, n_images, 1000):
            n = min(1000, n_images - start)
            noise = np.frombuffer(bytearray(rng.bytes(n * SIDE**2)), np.uint8)
            images = noise.reshape(n, SIDE, SIDE) // 2
            for label in range(N_CLASSES):
                images[label::N_CLASSES, label * bar : (label + 1) * bar] += 20
            file.write(images)


folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "images"
n_images = int(GIGABYTES * 1e9) // SIDE**2
write(path, n_images)
print(f"file: {path.stat().st_size / 1e9:.2f} GB, {n_images:,} images")

# %%
# :class:`~sklearn_l2cnn.datasets.LazyImages` stands for an array of images of which
# each is read when it is needed. It takes a memory map, an array of zarr, HDF5 or dask,
# or a data set of torch.
X = LazyImages(np.memmap(path, np.uint8, "r", shape=(n_images, SIDE, SIDE)))
y = np.arange(n_images) % N_CLASSES
print(X)


# %%
# A small network, so that reading matters: one convolution that looks at every pixel
# once, and a dense layer.
def network(input_shape, n_classes):
    """Build a convolution of squares of 8 x 8 pixels, and a dense layer."""
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 8, 8, stride=8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * (SIDE // 8) ** 2, n_classes),
    )


# %%
# A fit, predictions of every image, and the most memory that the process has had, all
# libraries included. In the gallery other examples came before it in the same process.
start = time.perf_counter()
clf = L2CNNClassifier(
    architecture=network, max_epochs=1, batch_size=128, random_state=0
)
clf.fit(X, y)
fitted = time.perf_counter()
accuracy = (clf.predict(X) == y).mean()
print(f"fit: {fitted - start:.0f} s, predict: {time.perf_counter() - fitted:.0f} s")
print(f"accuracy on the training images: {accuracy:.3f}")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
peak *= 1 if sys.platform == "darwin" else 1024
print(f"peak memory of the process: {peak / 1e9:.2f} GB")
folder.cleanup()
