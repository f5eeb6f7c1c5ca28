"""What is learnt in the benchmarks: images, labels, a network, a recipe."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from sklearn_l2cnn._data.arrays import as_tensor
from sklearn_l2cnn._data.canonical import canonical_set, survey
from sklearn_l2cnn.datasets import load_cifar10, load_mnist


class Split(NamedTuple):
    """Training images and test images with their labels, in the order of the files."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    def first(self, rows, tested=None):
        """Return the first of them."""
        return Split(
            *(part[:rows] for part in self[:2]), *(part[:tested] for part in self[2:])
        )


class Task(NamedTuple):
    """Images ``(n, height, width, channels)`` as uint8, and how they are learnt.

    The training rows are in the canonical order of the estimator, so that every peer
    can be given its batches in the same order.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    width: int = 8
    batch_size: int = 128
    epochs: int = 1
    lr: float = 1e-3
    alpha: float = 1e-4
    precision: str = "float32"
    device: str = "cpu"
    seed: int = 0
    build: object = None  # of image shape, width and `relu_first`; `two_convolutions`

    def network(self, relu_first=False):
        """Build the network with the weights that everybody starts from."""
        torch.manual_seed(self.seed)
        build = self.build or two_convolutions
        return build(self.X.shape[1:], self.width, relu_first)


def two_convolutions(image_shape, width, relu_first=False):
    """Build two convolutions, each pooled, and a dense layer.

    ``relu_first`` is the order of the textbooks; the other gives the same logits from a
    quarter of the work, because a ReLU and a maximum can change places.
    """
    height, width_of_image, depth = image_shape
    layers = []
    for filters in (width, 2 * width):
        both = [nn.MaxPool2d(2), nn.ReLU()]
        layers += [nn.Conv2d(depth, filters, 3, padding=1)]
        layers += both[::-1] if relu_first else both
        depth = filters
    pixels = (height // 4) * (width_of_image // 4)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(depth * pixels, 10))


def task(name, X, y, X_test, y_test, **recipe):
    """Make a task, its training rows distinct and in canonical order."""
    X, X_test = (part.reshape(*part.shape[:3], -1) for part in (X, X_test))
    y, y_test = (part.astype(np.int64) for part in (y, y_test))
    rows = canonical_set(survey(as_tensor(X)), y, np.ones(len(X))).rows
    return Task(name, np.ascontiguousarray(X[rows]), y[rows], X_test, y_test, **recipe)


def digits(**recipe):
    """1,797 digits of 8 x 8 that come with scikit-learn, every fifth for testing."""
    X, y = load_digits(return_X_y=True)
    X = (X.reshape(-1, 8, 8) * 15).astype(np.uint8)
    test = np.arange(len(X)) % 5 == 0
    recipe = {"batch_size": 64, **recipe}
    return task("digits 8x8", X[~test], y[~test], X[test], y[test], **recipe)


def synthetic(n, side, depth=1, n_test=2000, **recipe):
    """Noise with a bright bar whose place is the label: any size, any number."""
    rng = np.random.RandomState(0)
    y = rng.randint(10, size=n + n_test)
    size = (n + n_test, side, side, depth)
    X = rng.randint(0, 100, size=size, dtype=np.uint8)
    for label in range(10):
        start, stop = (
            label * side // 10,
            max((label + 1) * side // 10, label * side // 10 + 1),
        )
        X[y == label, start:stop] += 60
    name = f"synthetic {side}x{side}" + (f"x{depth}" if depth > 1 else "")
    return task(name, X[:n], y[:n], X[n:], y[n:], **recipe)


def read_mnist(data):
    """Read MNIST as torchvision stores it in a folder."""
    return Split(
        *load_mnist(data, return_X_y=True),
        *load_mnist(data, subset="test", return_X_y=True),
    )


def read_cifar10(data):
    """Read CIFAR-10 as torchvision stores it, or arrays in ``cifar10.npz``."""
    arrays = Path(data) / "cifar10.npz"
    if arrays.exists():
        with np.load(arrays) as file:
            names = ("X_train", "y_train", "X_test", "y_test")
            return Split(*(file[name] for name in names))
    return Split(
        *load_cifar10(data, return_X_y=True),
        *load_cifar10(data, subset="test", return_X_y=True),
    )


def mnist(data, n=60_000, **recipe):
    """MNIST, or its first training images."""
    return task("MNIST 28x28", *read_mnist(data).first(n), **recipe)


def cifar10(data, n=50_000, **recipe):
    """CIFAR-10, or its first training images."""
    return task("CIFAR-10 32x32x3", *read_cifar10(data).first(n), **recipe)
