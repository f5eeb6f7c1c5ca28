"""The batches of stacked networks: of each fold as one by one, and side by side."""

import math

import numpy as np
import torch

from sklearn_l2cnn._training.augmenting import Augmenter
from sklearn_l2cnn._training.batches import (
    OrderedBatches,
    Resident,
    ShuffledBatches,
    batch_bounds,
)
from sklearn_l2cnn._training.forward import network_input
from sklearn_l2cnn._training.runtime import RandomStream
from sklearn_l2cnn._training.stacked.network import rows_meet
from sklearn_l2cnn._utils.devices import sent

# Pixel values in one chunk of a validation.
_VALIDATED_VALUES = 1 << 16


def batches_kind(net, data):
    """Return what folds have in common whose batches can lie side by side.

    They have as many batches. Of these only the last ones differ in size; they are
    filled up with rows that weigh nothing, where those change no other row.

    Parameters
    ----------
    net : Net
    data : TrainingTensors

    Returns
    -------
    kind : tuple
        Equal for such folds.
    """
    n = len(data.y)
    chunks = data.valid and math.ceil(len(data.valid[1]) / _chunk_size(data))
    same = n if rows_meet(net.module_) else len(batch_bounds(n, net.batch_size))
    return net.batch_size, same, chunks


def _chunk_size(data):
    return max(1, _VALIDATED_VALUES // math.prod(data.X.shape[1:]))


class FoldBatches:
    """The batches that every network of a fold would be trained on by itself.

    Parameters
    ----------
    net : Net
        One of them.
    data : TrainingTensors
    seed : int
        Of what augmentation draws.
    """

    def __init__(self, net, data, seed):
        self.net = net
        self.pixels = net.pixels()
        self.order = np.random.RandomState()
        self.order.set_state(net.generator.get_state())
        self.stream = RandomStream(seed, torch.device(net.device))
        with self.stream.used():
            self.data = data.with_sides(net.augment)
        self.augment = None
        if net.augment is not None:
            augment = Augmenter(net.augment, self.pixels, net.n_classes)
            self.augment = self.stream.used()(augment)
        dataset = net.get_dataset(self.data.X, self.data.y)
        self.batches = ShuffledBatches(dataset, net.batch_size, self.order)

    def __iter__(self):
        """Yield images as the network sees them, labels and weights of an epoch."""
        for X, y in self.batches:
            if self.augment is None:
                yield network_input(X.images, *self.pixels), y, X.weight
            else:
                yield self.augment(X.images, y, X.weight, X.mirrored)
        self.data.turn_sides()

    def __len__(self):
        return len(self.batches)

    def state(self):
        """Return the states of what draws."""
        return {"order": self.order.get_state(), "stream": self.stream.states}

    def restore(self, state, n_epochs):
        """Go on from what `state` has returned after so many epochs."""
        self.order.set_state(state["order"])
        self.stream.states = state["stream"]
        if n_epochs % 2:
            self.data.turn_sides()

    def validation(self):
        """Yield the same of the images that the networks are validated on."""
        dataset = self.net.get_dataset(*self.data.valid)
        for X, y in OrderedBatches(dataset, _chunk_size(self.data)):
            yield network_input(X.images, *self.pixels), y, X.weight


def side_by_side(parts):
    """Lay batches of several folds side by side.

    Parameters
    ----------
    parts : list of tuple (images, labels, weight)
        Of each fold; the weights None where all are 1.

    Returns
    -------
    images : Tensor of shape (n, folds * channels, height, width)
    labels : Tensor of shape (n, folds), or (n, folds, n_classes) of mixed images
    weight : Tensor of shape (n, folds) or None
        0 of the rows that fill up shorter batches.
    """
    images, labels, weights = zip(*parts, strict=True)
    sizes = [len(own) for own in labels]
    n = max(sizes)
    if min(sizes) < n or any(weight is not None for weight in weights):
        weights = [
            images[0].new_ones(size) if weight is None else weight
            for size, weight in zip(sizes, weights, strict=True)
        ]
        weights = torch.stack([_filled(weight, n) for weight in weights], dim=1)
    else:
        weights = None
    labels = torch.stack([_filled(own, n) for own in labels], dim=1)
    if len(parts) == 1:
        return images[0], labels, weights
    # in memory channels last
    stored = [_filled(own.permute(0, 2, 3, 1), n) for own in images]
    return torch.cat(stored, dim=3).permute(0, 3, 1, 2), labels, weights


def _filled(tensor, n):
    """Fill a batch up with zeros to n rows."""
    missing = n - len(tensor)
    if not missing:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])])


def training_batches(folds, owners):
    """Yield the batches of an epoch, of several folds side by side.

    Parameters
    ----------
    folds : list of FoldBatches
    owners : list of int
        The position in `folds` of every network's.

    Yields
    ------
    X : Resident
        With the rows of each network where folds differ in their number: the weights
        then make up for the mean over all rows.
    labels : Tensor
    """
    for parts in zip(*folds, strict=True):
        images, labels, weight = side_by_side(parts)
        rows, sizes = None, np.array([len(own) for _, own, _ in parts])
        if sizes.min() < len(labels):
            factors = len(labels) / torch.tensor(sizes, dtype=images.dtype)
            weight = weight * sent(factors, images.device)
            rows = sizes[owners]
        yield Resident(images, weight, rows=rows), labels
