"""The batches of several groups of networks, side by side.

Every group draws its own rows in its own order. Where the groups have not all as many
in a batch, the shorter ones are filled up with rows that weigh nothing.
"""

import threading
from contextlib import contextmanager
from typing import NamedTuple

import torch

from sklearn_l2cnn._training.augmenting import Augmenter
from sklearn_l2cnn._training.batches import batch_bounds, take_rows
from sklearn_l2cnn._training.forward import network_input
from sklearn_l2cnn._training.stacked.network import Ragged

# So many pixel values are gathered at a time: they stay in the cache until they are
# used.
_GATHERED_VALUES = 1 << 18

# Pixel values in one chunk of a validation, of each group.
_VALIDATED_VALUES = 1 << 16

_drawing = threading.Lock()


class Fold(NamedTuple):
    """What a group of networks learns from and is watched on.

    Attributes
    ----------
    X : dict of Tensor
        As `resident` makes it.
    y : Tensor of int64
    valid : tuple (X, y) or None
    seed : int
        Of what is drawn while training.
    """

    X: dict
    y: torch.Tensor
    valid: object
    seed: int


class Batch(NamedTuple):
    """What the networks of a stack see in a step.

    Attributes
    ----------
    images : Tensor of shape (n, groups * channels, height, width)
    labels : Tensor of shape (groups, n), or (groups, n, n_classes) where they are mixed
    shares : Tensor of shape (groups, n)
        Weights of the images, divided by how many images of the group there are.
    counts : list of int
        How many images each group has.
    """

    images: torch.Tensor
    labels: torch.Tensor
    shares: torch.Tensor
    counts: list


class FoldBatches:
    """Iterate over the rows of several folds, in an order of its own each.

    Parameters
    ----------
    folds : list of Fold
        With as many batches each.
    nets : list of Net
        One of each fold, for its pixels, its plan of augmentation and its generator.
    batch_size : int
    """

    def __init__(self, folds, nets, batch_size):
        self.folds = folds
        self.nets = nets
        bounds = [batch_bounds(len(fold.y), batch_size) for fold in folds]
        if len({len(found) for found in bounds}) > 1:
            raise ValueError("folds of a fleet must have the same number of batches")
        self.counts = [
            [stop - start for start, stop in step] for step in zip(*bounds, strict=True)
        ]
        self.pixels = [net.pixels() for net in nets]
        self.device = folds[0].y.device
        self._lay_out(bounds)
        self.draws = [Draws(fold.seed, self.device) for fold in folds]
        self.mirrored = [None] * len(folds)
        self.augmenters = None
        if nets[0].augment is not None:
            self._augment_by(nets)

    def _augment_by(self, nets):
        self.augmenters = [
            Augmenter(net.augment, pixels, net.n_classes)
            for net, pixels in zip(nets, self.pixels, strict=True)
        ]
        if nets[0].augment.alternates:
            for k, fold in enumerate(self.folds):
                with self.draws[k].used():
                    n, device = len(fold.y), self.device
                    self.mirrored[k] = torch.rand(n, device=device) < 0.5

    def _lay_out(self, bounds):
        """Find where in the order of its fold each row of an epoch stands."""
        sizes = [max(step) for step in self.counts]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self.steps = list(zip([0, *ends], ends, strict=False))
        self.positions, self.scales = [], []
        for found in bounds:
            position = torch.zeros(ends[-1], dtype=torch.int64)
            scale = torch.zeros(ends[-1], dtype=torch.float64)
            for (start, stop), (first, _) in zip(found, self.steps, strict=True):
                there = slice(first, first + stop - start)
                position[there] = torch.arange(start, stop)
                scale[there] = 1 / (stop - start)
            self.positions.append(position.to(self.device))
            self.scales.append(scale.to(self.device, self.pixels[0][0].dtype))

    def keep(self, kept):
        """Go on with some of the folds.

        Parameters
        ----------
        kept : list of int
        """
        self.counts = [[step[k] for k in kept] for step in self.counts]
        lists = "folds", "nets", "pixels", "positions", "scales", "draws", "mirrored"
        for name in lists:
            setattr(self, name, [getattr(self, name)[k] for k in kept])
        if self.augmenters is not None:
            self.augmenters = [self.augmenters[k] for k in kept]

    def __iter__(self):
        rows = self._rows()
        labels = torch.stack(
            [fold.y[own] for fold, own in zip(self.folds, rows, strict=True)]
        )
        shares = torch.stack(
            [
                scale * fold.X["weight"][own] if "weight" in fold.X else scale
                for fold, own, scale in zip(self.folds, rows, self.scales, strict=True)
            ]
        )
        if self.augmenters is None:
            yield from self._gathered(rows, labels, shares)
        else:
            yield from self._varied(rows)

    def _rows(self):
        """Draw the order of each fold, and return the rows of the epoch."""
        rows = []
        for net, fold, position in zip(
            self.nets, self.folds, self.positions, strict=True
        ):
            order = torch.from_numpy(net.generator.permutation(len(fold.y)))
            rows.append(order.to(self.device)[position])
        return rows

    def _gathered(self, rows, labels, shares):
        """Yield the batches, gathered several at a time."""
        values = self.folds[0].X["images"][0].numel() * len(self.folds)
        most, first = max(1, _GATHERED_VALUES // values), 0
        while first < len(self.steps):
            start, last = self.steps[first][0], first
            while (
                last + 1 < len(self.steps) and self.steps[last + 1][1] - start <= most
            ):
                last += 1
            block = self._images([own[start : self.steps[last][1]] for own in rows])
            for k in range(first, last + 1):
                begin, end = self.steps[k]
                yield Batch(
                    block[begin - start : end - start],
                    labels[:, begin:end],
                    shares[:, begin:end],
                    self.counts[k],
                )
            first = last + 1

    def _images(self, rows):
        """Return rows of all folds side by side, as the networks see them."""
        parts = [
            network_input(take_rows(fold.X["images"], own), *pixels)
            for fold, own, pixels in zip(self.folds, rows, self.pixels, strict=True)
        ]
        return beside_each_other(parts)

    def _varied(self, rows):
        """Yield batches that are varied at random, each fold by its own draws."""
        for (start, stop), counts in zip(self.steps, self.counts, strict=True):
            parts = [
                self._varied_fold(k, own[start : start + count])
                for k, (own, count) in enumerate(zip(rows, counts, strict=True))
            ]
            images, labels, shares = zip(*parts, strict=True)
            n = stop - start
            yield Batch(
                beside_each_other([_filled(part, n) for part in images]),
                torch.stack([_filled(part, n) for part in labels]),
                torch.stack([_filled(part, n) for part in shares]),
                counts,
            )
        self.mirrored = [None if own is None else ~own for own in self.mirrored]

    def _varied_fold(self, k, rows):
        fold, mirrored = self.folds[k], self.mirrored[k]
        weight = fold.X["weight"][rows] if "weight" in fold.X else None
        mirrored = None if mirrored is None else mirrored[rows]
        images = take_rows(fold.X["images"], rows)
        with self.draws[k].used():
            images, labels, weight = self.augmenters[k](
                images, fold.y[rows], weight, mirrored
            )
        if weight is None:
            weight = torch.ones(len(rows), dtype=images.dtype, device=images.device)
        return images, labels, weight / len(rows)

    def ragged(self, batch, index):
        """Return which rows of a batch are images, or None where all are.

        Parameters
        ----------
        batch : Batch
        index : Tensor of int64 of shape (K,)
            Of the fold of each network.
        """
        n = len(batch.images)
        if all(count == n for count in batch.counts):
            return None
        counts = torch.tensor(batch.counts, device=self.device)
        mask = torch.arange(n, device=self.device)[:, None] < counts
        dtype = batch.images.dtype
        return Ragged(mask[:, index].to(dtype), counts[index].to(dtype))


def validation_chunks(folds, pixels):
    """Yield what the networks of several folds are watched on, chunk by chunk.

    Parameters
    ----------
    folds : list of Fold
    pixels : list of tuple (gain, shift)

    Yields
    ------
    images, labels, shares : Tensor
        As in `Batch`; the shares are weights that are not divided by anything, and 0
        where a fold has no more images.
    """
    values = folds[0].X["images"][0].numel()
    size = max(1, _VALIDATED_VALUES // values)
    for start in range(0, max(len(fold.valid[1]) for fold in folds), size):
        images, labels, shares = [], [], []
        for fold, own in zip(folds, pixels, strict=True):
            X, y = fold.valid
            n = min(size, max(0, len(y) - start))
            rows = slice(start, start + n) if n else slice(0, 1)
            part = network_input(X["images"][rows], *own)
            weight = torch.ones(n, dtype=part.dtype, device=part.device)
            if "weight" in X:
                weight = X["weight"][start : start + n]
            images.append(part)
            labels.append(y[rows])
            shares.append(weight)
        n = max(map(len, images))
        yield (
            beside_each_other([_filled(part, n) for part in images]),
            torch.stack([_filled(part, n) for part in labels]),
            torch.stack([_filled(part, n) for part in shares]),
        )


def beside_each_other(parts):
    """Lay images of several folds side by side as channels, in memory channels last."""
    stored = [part.permute(0, 2, 3, 1) for part in parts]
    joined = stored[0].contiguous() if len(stored) == 1 else torch.cat(stored, dim=3)
    return joined.permute(0, 3, 1, 2)


def _filled(part, n):
    """Fill up rows with zeros."""
    missing = n - len(part)
    if not missing:
        return part
    return torch.cat([part, part.new_zeros(missing, *part.shape[1:])])


class Draws:
    """A stream of random numbers of torch's global generator that is its own.

    Several folds draw in turn, and several fleets at a time: one at a time, then.

    Parameters
    ----------
    seed : int
    device : torch.device
    """

    def __init__(self, seed, device):
        self.generators = [torch.default_generator]
        if device.type == "cuda":
            self.generators.append(torch.cuda.default_generators[device.index or 0])
        self.states = [
            torch.Generator(g.device).manual_seed(seed).get_state()
            for g in self.generators
        ]

    @contextmanager
    def used(self):
        """Let what is drawn inside come from this stream."""
        with _drawing:
            before = [g.get_state() for g in self.generators]
            try:
                for generator, state in zip(self.generators, self.states, strict=True):
                    generator.set_state(state)
                yield
            finally:
                self.states = [g.get_state() for g in self.generators]
                for generator, state in zip(self.generators, before, strict=True):
                    generator.set_state(state)
