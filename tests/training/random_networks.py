"""Networks drawn at random, of odd widths, and which of them depend on company."""

import pickle

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training.runtime import torch_threads

ACTIVATIONS = (
    *(nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh, nn.Sigmoid, nn.Mish, nn.SELU),
    *(nn.Softplus, nn.LeakyReLU, nn.Hardswish),
)


class Shortcut(nn.Module):
    """Adds what a layer gives to what it gets, through a gate or not."""

    def __init__(self, width, gated):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.gate = nn.Linear(width, width) if gated else None

    def forward(self, X):
        Y = self.conv(X)
        if self.gate is not None:
            Y = Y * torch.sigmoid(self.gate(X.mean((2, 3))))[:, :, None, None]
        return X + Y


class Attended(nn.Module):
    """Lets the places of an image attend to each other."""

    def __init__(self, width, written):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.written = written
        self.heads = nn.MultiheadAttention(width, 1, batch_first=True)
        self.mix = nn.Parameter(torch.randn(width, width) / width**0.5)

    def forward(self, X):
        seen = self.norm(X.flatten(2).transpose(1, 2))
        if self.written:
            weights = torch.softmax(seen @ seen.transpose(1, 2), dim=2)
            seen = F.gelu(weights @ seen @ self.mix)
        else:
            seen, _ = self.heads(seen, seen, seen, need_weights=False)
        return X + seen.transpose(1, 2).reshape(X.shape)


class Sees(nn.Module):
    """Depends on values, so that it cannot be traced."""

    def forward(self, X):
        return X if torch.isfinite(X).all() else torch.nan_to_num(X)


def drawn(rng, depth, side):
    """Draw a network for images of one size."""
    torch.manual_seed(rng.randint(1 << 30))
    layers, width = [], depth
    for _ in range(rng.randint(1, 4)):
        filters = int(rng.choice([1, 3, 5, 7, 8, 13, 16, 17, 24, 33]))
        kernel = int(rng.choice([1, 2, 3, 5]))
        groups = width if rng.rand() < 0.2 and filters % width == 0 else 1
        # The gradient of a convolution of one pixel with a stride of 2 and a few
        # channels reaches beyond its memory in oneDNN, and may end the process.
        stride = int(rng.choice([1, 1, 2])) if kernel > 1 else 1
        layers.append(
            nn.Conv2d(
                width,
                filters,
                min(kernel, side),
                stride=stride,
                padding=min(kernel, side) // 2,
                groups=groups,
                bias=rng.rand() < 0.8,
            )
        )
        width = filters
        norm = rng.choice(["batch", "group", "none", "none"])
        if norm == "batch":
            layers.append(nn.BatchNorm2d(width))
        elif norm == "group":
            layers.append(nn.GroupNorm(1, width))
        layers.append(rng.choice(ACTIVATIONS)())
        further = rng.choice(["max", "mean", "shortcut", "gate", "attended", "none"])
        if further == "max":
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        elif further == "mean":
            layers.append(nn.AvgPool2d(2, ceil_mode=True))
        elif further in ("shortcut", "gate"):
            layers.append(Shortcut(width, further == "gate"))
        elif further == "attended":
            layers.append(Attended(width, rng.rand() < 0.5))
    if rng.rand() < 0.2:
        layers.append(Sees())
    if rng.rand() < 0.3:
        layers.append(nn.AdaptiveAvgPool2d(1))
    layers.append(nn.Flatten())
    if rng.rand() < 0.5:
        hidden = int(rng.choice([3, 10, 17, 33, 64]))
        layers += [nn.LazyLinear(hidden), rng.choice(ACTIVATIONS)()]
    return nn.Sequential(*layers, nn.LazyLinear(3))


def learnt(number, seed=0):
    """Yield so many classifiers with such networks, and images for them."""
    for k in range(number):
        rng = np.random.RandomState(1000 * seed + k)
        depth, side = int(rng.choice([1, 3])), int(rng.choice([5, 8, 9, 12]))
        X = rng.uniform(size=(41, side, side, depth)).astype(np.float32)
        network = drawn(rng, depth, side)
        if k % 10 == 9:
            network(torch.zeros(2, depth, side, side))
            network = network.double()
        clf = L2CNNClassifier(
            architecture=network, max_epochs=1, batch_size=41, random_state=k
        )
        yield clf.fit(X, np.arange(41) % 3), X


def that_vary(path):
    """Say which of the classifiers in a file give an image other bits in company."""
    rng = np.random.RandomState(0)
    with open(path, "rb") as file:
        pairs = pickle.load(file)
    found = ((k, what_varies(clf, X, rng)) for k, (clf, X) in enumerate(pairs))
    return [(k, text) for k, text in found if text]


def what_varies(clf, X, rng):
    """Say in which company, and how far, probabilities are others; None if in none."""
    whole = clf.predict_proba(X)
    order = rng.permutation(len(X))
    companies = {
        "in another order": order,
        "the first 20": slice(20),
        "all but the first 20": slice(20, None),
        **{f"image {k} alone": slice(k, k + 1) for k in order[:5]},
    }
    for threads in (1, 2, 3):
        with torch_threads(threads):
            for name, rows in companies.items():
                off = np.abs(clf.predict_proba(X[rows]) - whole[rows])
                if not (off == 0).all():  # or NaN
                    places = np.unique(np.nonzero(off != 0)[0]).tolist()
                    return f"{name}, {threads} threads: {off.max():.2g} at {places}"
    return None
