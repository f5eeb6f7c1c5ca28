"""Networks as users write them: some treat every image by itself, some do not."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SHAPE, N_CLASSES = (1, 8, 8), 10


def grouped(layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(N_CLASSES))


class Functional(nn.Module):
    """Two convolutions, in a forward function."""

    def __init__(self, input_shape=SHAPE, n_classes=N_CLASSES):
        super().__init__()
        self.conv1 = nn.Conv2d(input_shape[0], 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        pixels = (input_shape[1] // 4) * (input_shape[2] // 4)
        self.head = nn.Linear(16 * pixels, n_classes)

    def forward(self, X):
        X = F.max_pool2d(F.relu(self.conv1(X)), 2)
        X = F.max_pool2d(self.conv2(X).relu_(), kernel_size=2)
        return self.head(torch.flatten(X, 1))


def functional(input_shape, n_classes):
    """Build a network with a forward function."""
    return Functional(input_shape, n_classes)


class Base(Functional):
    """The network above, with what the methods below change."""

    def inside(self, X):
        return X

    def forward(self, X):
        X = F.max_pool2d(F.relu(self.conv1(X)), 2)
        X = self.inside(X)
        X = F.max_pool2d(F.relu(self.conv2(X)), 2)
        return self.head(X.flatten(1))


# -- networks that treat every image by itself ----------------------------------------


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(36, N_CLASSES))

    def forward(self, X):
        return self.head(self.net(X))


class Attention(nn.Module):
    """Image patches that attend to each other."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 12, 2, 2)
        self.place = nn.Parameter(0.02 * torch.randn(1, 16, 12))
        self.norm = nn.LayerNorm(12)
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.head = nn.Linear(12, N_CLASSES)

    def forward(self, X):
        X = self.patches(X).flatten(2).transpose(1, 2) + self.place
        seen = self.norm(X)
        X = X + self.attention(seen, seen, seen, need_weights=False)[0]
        return self.head(X.mean(1))


class Residual(Base):
    """Depthwise convolutions, a group norm, a shortcut and a gate over channels."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.GroupNorm(2, 8)
        self.gate = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))

    def inside(self, X):
        gate = torch.sigmoid(self.gate(X.mean((2, 3))))
        return X + F.silu(self.norm(self.depthwise(X))) * gate[:, :, None, None]


class Asserting(Base):
    """Looks at shapes, at those of single images alone."""

    def inside(self, X):
        assert X.dim() == 4 and X.shape[1] == 8
        n, depth, height, width = X.shape
        return X.reshape(n, depth * height * width).view(n, depth, height, width)


def frozen_norm():
    """Batch norms that keep to the statistics that they have."""
    network = grouped([nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU()])
    network(torch.zeros(2, *SHAPE))
    network[1].eval()
    return network


BY_IMAGE = {
    "functional": Functional,
    "wrapped": Wrapped,
    "attention": Attention,
    "residual": Residual,
    "asserting": Asserting,
    "frozen norm": frozen_norm,
}


# -- networks that do not -------------------------------------------------------------


class MeanOfBatch(Base):
    def inside(self, X):
        return X - X.mean(0)


class SimilarImages(Base):
    def inside(self, X):
        flat = X.flatten(1)
        return (torch.softmax(flat @ flat.T, dim=1) @ flat).view_as(X)


class BranchOnSize(Base):
    """Looks across large batches alone."""

    def inside(self, X):
        return X - X.mean(0) if X.shape[0] > 8 else X


class BranchOnLastBatch(Base):
    """Looks across batches of one size alone."""

    def inside(self, X):
        return X.roll(1, 0) if len(X) == 37 else X


class SizeInNumbers(Base):
    def inside(self, X):
        return X * (1 + 1 / len(X))


class BranchOnValues(Base):
    def inside(self, X):
        return X if X.mean() > 0.1 else X - X.mean(0)


class ThroughNumpy(Base):
    def inside(self, X):
        return X * float(X.detach().numpy().max())


class FunctionalDropout(Base):
    def inside(self, X):
        return F.dropout(X, 0.3, self.training)


class Noise(Base):
    def inside(self, X):
        return X + 0.1 * torch.randn_like(X)


class NumpyNoise(Base):
    def inside(self, X):
        return X * float(np.random.uniform(0.9, 1.1))


class StochasticDepth(Base):
    def inside(self, X):
        return X if random.random() < 0.5 else 2 * X


class Counter(Base):
    """Counts its batches, and changes its mind after some."""

    def __init__(self):
        super().__init__()
        self.n_seen = 0

    def inside(self, X):
        self.n_seen += 1
        return X if self.n_seen < 100 else X - X.mean(0)


class Diary(Base):
    def __init__(self):
        super().__init__()
        self.diary = {"sizes": []}

    def inside(self, X):
        self.diary["sizes"].append(len(X))
        return X


class LastBatch(Base):
    """Keeps what it saw, as networks do that are looked into."""

    def inside(self, X):
        self.seen = X
        return X


class OfTheClass(Base):
    n_seen = 0

    def inside(self, X):
        type(self).n_seen += 1
        return X


SEEN = []


class OfTheModule(Base):
    def inside(self, X):
        SEEN.append(len(X))
        return X


def _in_a_closure():
    n_seen = 0

    class InAClosure(Base):
        def inside(self, X):
            nonlocal n_seen
            n_seen += 1
            return X

    return InAClosure()


class OwnStatistics(Base):
    """A norm over the batch, written by hand."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def inside(self, X):
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(X.mean((0, 2, 3)), 0.1)
        return X - self.mean[:, None, None]


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx, X):
        return X.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient / gradient.norm()


class GradientOfBatch(Base):
    """Treats images one by one on the way there, not on the way back."""

    def inside(self, X):
        return _Normalised.apply(X)


def with_hook(of):
    network = Functional()
    if of == "layer":
        network.conv1.register_forward_hook(lambda *_: None)
    elif of == "gradient":
        network.conv1.weight.register_hook(lambda gradient: gradient.clamp(-1, 1))
    else:
        network.register_full_backward_hook(lambda *_: None)
    return network


WHOLE = {
    "batch norm": lambda: grouped([nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]),
    "batch norm without statistics": lambda: grouped(
        [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)]
    ),
    "spectral norm": lambda: nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(1, 2, 8)),
        nn.Flatten(),
        nn.Linear(2, N_CLASSES),
    ),
    "dropout of channels": lambda: grouped([nn.Conv2d(1, 8, 3), nn.Dropout2d(0.2)]),
    "random slopes": lambda: grouped([nn.Conv2d(1, 8, 3), nn.RReLU()]),
    "flattened batch": lambda: nn.Sequential(
        nn.Conv2d(1, N_CLASSES, 8),
        nn.Flatten(0),
        nn.Unflatten(0, (-1, N_CLASSES)),
        nn.Softmax(dim=0),
    ),
    "closure": _in_a_closure,
    "hook": lambda: with_hook("layer"),
    "hook on a gradient": lambda: with_hook("gradient"),
    "hook backwards": lambda: with_hook("backward"),
    **{
        kind.__name__: kind
        for kind in (
            MeanOfBatch,
            SimilarImages,
            BranchOnSize,
            BranchOnLastBatch,
            SizeInNumbers,
            BranchOnValues,
            ThroughNumpy,
            FunctionalDropout,
            Noise,
            NumpyNoise,
            StochasticDepth,
            Counter,
            Diary,
            LastBatch,
            OfTheClass,
            OfTheModule,
            OwnStatistics,
            GradientOfBatch,
        )
    },
}


def made(maker):
    """Build a network, its lazy layers initialised, in training mode."""
    torch.manual_seed(0)
    network = maker()
    modes = [part.training for part in network.modules()]
    with torch.no_grad():
        network.eval()(torch.zeros(2, *SHAPE))
    for part, mode in zip(network.modules(), modes, strict=True):
        part.training = mode
    return network
