"""
A file of images that is larger than the memory of the process
==============================================================

Images of noise, in each a bright bar whose place is the class, are written to a memory
map in a temporary folder. A classifier is fitted to it for one epoch and predicts all
of it: it reads the file batch by batch, and learns to the last bit what it would learn
from the same images in memory. In the end the size of the file is compared with the
most memory that the process has had, all libraries included.

    python examples/larger_than_memory.py
"""

# %%
# A file of images, which is written some at a time.
import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import LazyImages

parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
parser.add_argument("--gigabytes", type=float, default=1.5)
options = parser.parse_args()
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


# %%
# A small network: one convolution that looks at every pixel once.
def network(input_shape, n_classes):
    """Build a convolution of squares of 8 x 8 pixels, and a dense layer."""
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 8, 8, stride=8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * (SIDE // 8) ** 2, n_classes),
    )


def peak():
    """Return the bytes of memory that the process has had at most."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else 1024 * found


# %%
# A fit, and predictions of every image.
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "images"
    n_images = int(options.gigabytes * 1e9) // SIDE**2
    write(path, n_images)
    y = np.arange(n_images) % N_CLASSES
    X = LazyImages(np.memmap(path, np.uint8, "r", shape=(n_images, SIDE, SIDE)))
    print(X)

    start = time.perf_counter()
    clf = L2CNNClassifier(
        architecture=network, max_epochs=1, batch_size=128, random_state=0
    )
    clf.fit(X, y)
    fitted = time.perf_counter()
    right = (clf.predict(X) == y).mean()
    predicted = time.perf_counter()
    size = path.stat().st_size

print(f"fit: {fitted - start:.0f} s, predict: {predicted - fitted:.0f} s")
print(f"right: {right:.3f} of {n_images:,} images")
print(f"file: {size / 1e9:.2f} GB, peak memory of the process: {peak() / 1e9:.2f} GB")
