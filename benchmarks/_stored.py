"""Images that are not in memory, of which benchmarks make as many as they need."""

import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from skorch.callbacks import Callback
from torch import nn

from benchmarks._measure import (
    CONTROL,
    Figure,
    control_pair,
    ratio,
    timed,
    turns,
)
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._data import images as _images
from sklearn_l2cnn.datasets import LazyImages
from sklearn_l2cnn.preprocessing import ImageReader

N_CLASSES = 10
SIDE, BATCH = 128, 128


def noise(n, shape, rng):
    """Make images of noise, all different, with a bright bar where the class is."""
    values = np.frombuffer(bytearray(rng.bytes(n * int(np.prod(shape)))), np.uint8)
    images = values.reshape(n, *shape)
    images >>= 1
    height = shape[0] // N_CLASSES
    for label in range(N_CLASSES):
        images[label::N_CLASSES, label * height : (label + 1) * height] += 100
    return images


def write_map(path, n, shape):
    """Write a file of images of noise; the labels follow from the rows."""
    rng = np.random.default_rng(0)
    step = N_CLASSES * max(1, (1 << 25) // int(np.prod(shape)) // N_CLASSES)
    with open(path, "wb") as file:
        for start in range(0, n, step):
            file.write(noise(min(step, n - start), shape, rng))


def labels(n):
    """Return the labels of images of noise, a byte each."""
    return np.resize(np.arange(N_CLASSES, dtype=np.uint8), n)


def write_files(folder, n, side=SIDE):
    """Write JPEGs of smooth noise, all different; return their paths."""
    rng = np.random.default_rng(0)
    paths = []
    for k in range(n):
        small = noise(N_CLASSES, (12, 12, 3), rng)[k % N_CLASSES]
        paths.append(f"{folder}/{k:05d}.jpg")
        Image.fromarray(small).resize((side, side)).save(paths[-1], quality=90)
    return paths


def strided(input_shape, n_classes):
    """Build a network of few multiplications, for images of any size."""
    channels, height, _ = input_shape
    stride = max(7, height // 14)
    side = (height - 7) // stride + 1
    return nn.Sequential(
        nn.Conv2d(channels, 4, 7, stride=stride),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * side**2, n_classes),
    )


def model(**parameters):
    """Return a classifier for one epoch."""
    usual = {"architecture": strided, "max_epochs": 1, "batch_size": BATCH}
    return L2CNNClassifier(random_state=0, **{**usual, **parameters})


def mapped(path, shape, n_few):
    """Return the images of a file, and how many of them fit into memory."""
    images = np.memmap(path, np.uint8, "r").reshape(-1, *shape)
    return LazyImages(images), min(n_few, len(images))


def read_lazily(folder, n_few):
    """Return the images of JPEGs, and how many of them fit into memory."""
    paths = sorted(map(str, Path(folder).glob("*.jpg")))
    images = ImageReader(SIDE, lazy=True).fit_transform(paths)
    return images, min(n_few, len(images))


@contextmanager
def left_where_they_are():
    """Let images that are not in memory stay where they are, however few."""
    before, _images._IN_MEMORY = _images._IN_MEMORY, 0
    try:
        yield
    finally:
        _images._IN_MEMORY = before


class Epochs(Callback):
    """Take the time of every epoch."""

    def on_train_begin(self, net, **kwargs):
        self.seconds = []

    def on_epoch_begin(self, net, **kwargs):
        self.start = time.perf_counter()

    def on_epoch_end(self, net, **kwargs):
        self.seconds.append(time.perf_counter() - self.start)


def fitted(images, y, **parameters):
    """Fit a classifier, on images where they are; return the seconds of its epochs."""
    timer = Epochs()
    with left_where_they_are():
        model(callbacks=[timer], **parameters).fit(images, y)
    return timer.seconds


def throughput(what, usual, other, repeats, wanted, first=0):
    """Return by what factor one way of training is faster than the usual one.

    Parameters
    ----------
    what : str
    usual, other : callable
        Train and return the seconds of the epochs.
    repeats : int
    wanted : float
    first : int, default=0
        The first epoch that counts.

    Returns
    -------
    figures : list of Figure
        Of these epochs, and of all that a way does.
    """
    ways = {"usual": usual, CONTROL: usual, "other": other}
    epochs, whole = ({name: [] for name in ways} for _ in range(2))
    for name in turns(ways, repeats):
        seconds, of_epochs = timed(ways[name])
        whole[name].append(seconds)
        epochs[name].append(sum(of_epochs[first:]))
    apart, quiet = control_pair(epochs, "usual")
    note = f"control pair {apart}"
    found = ratio(epochs, "usual", "other")
    return [
        Figure(f"{what}: throughput of epochs", found, wanted, True, quiet, note),
        Figure(f"{what}: of all of it", ratio(whole, "usual", "other")),
    ]
