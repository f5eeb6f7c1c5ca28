"""Images on the device, cut into batches without touching them one by one.

And the losses of these batches, which stay there as long.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from sklearn_l2cnn._data.pixels import chunks, standardized
from sklearn_l2cnn._data.stored import is_stored
from sklearn_l2cnn._training.forward import network_input, pixel_map
from sklearn_l2cnn._training.streaming import (
    StreamedImages,
    images_ahead,
    is_streamed,
)
from sklearn_l2cnn._training.upload import Upload
from sklearn_l2cnn._utils.devices import sent

# Pixel values that travel to a device at a time.
_UPLOAD_VALUES = 1 << 24

# So many values are standardised once for all: as floats they still take little memory.
_FEW_VALUES = 1 << 22


def to_tensor(images, rows, mean, scale, dtype):
    """Copy rows of images into a tensor.

    uint8 images stay uint8, to be scaled batch by batch with `network_input`; all
    others are standardised here, in float64, where large offsets lose nothing.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels), or StoredImages
    rows : ndarray of int or slice
    mean, scale : ndarray of shape (channels,)
    dtype : torch.dtype
        What the network computes in.

    Returns
    -------
    tensor : Tensor of shape (n, height, width, channels)
    """
    if images.dtype == torch.uint8:
        return images[rows].clone(memory_format=torch.contiguous_format)
    target = torch.float64 if dtype == torch.float64 else torch.float32
    if isinstance(rows, slice):
        return standardized(images[rows], mean, scale, target).to(dtype)
    shape = len(rows), *images.shape[1:]
    chosen = torch.empty(shape, dtype=target, device=images.device)
    for chunk in chunks(len(rows), chosen.shape[1:]):
        chosen[chunk] = standardized(images[rows[chunk]], mean, scale, target)
    return chosen.to(dtype)


@dataclass
class Resident:
    """Images on the device of a net, and what belongs to them.

    Scorers of skorch get it as their X: it has the length and the shape of the images,
    some rows of it are such again, and for numpy it is an array.

    Attributes
    ----------
    images : Tensor or StreamedImages of shape (n, channels, height, width)
        As the network sees them, or uint8.
    weight : Tensor of shape (n,) or None
        None is 1 for each.
    mirrored : Tensor of bool of shape (n,) or None
        Which are mirrored in this epoch, where they alternate between their two sides.
    rows : ndarray of int or None
        How many rows each loss is a mean of, where these are not all of them.
    """

    images: torch.Tensor
    weight: torch.Tensor = None
    mirrored: torch.Tensor = None
    rows: np.ndarray = None

    def __len__(self):
        return len(self.images)

    @property
    def shape(self):
        """That of the images."""
        return self.images.shape

    def __getitem__(self, rows):
        parts = self.images, self.weight, self.mirrored
        return Resident(*(None if part is None else part[rows] for part in parts))

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.images[:].cpu().numpy(), dtype=dtype)

    def take(self, rows):
        """Return some rows; images keep lying in memory channels last."""
        return self._with(take_rows(self.images, rows), rows)

    def _with(self, images, rows):
        """Return images that were taken, with what belongs to their rows."""
        parts = self.weight, self.mirrored
        others = (None if part is None else _at(part, rows) for part in parts)
        return Resident(images, *others)

    def batches(self, y, parts, own=None):
        """Yield parts of the images with their labels; stored ones are read ahead.

        Parameters
        ----------
        y : Tensor or None
        parts : iterable of Tensor of int, or of slice
        own : callable, default=None
            From the number of rows of a part to the slice of those whose stored images
            are needed; None is all.

        Yields
        ------
        X : Resident
        y : Tensor or None
        """
        if is_streamed(self.images):
            found = images_ahead(self.images, parts, own)
        else:
            found = ((rows, take_rows(self.images, rows)) for rows in parts)
        for rows, images in found:
            yield self._with(images, rows), None if y is None else _at(y, rows)


class TrainingTensors(NamedTuple):
    """What a net is trained on, on its device.

    Attributes
    ----------
    X : Resident
    y : Tensor of int64
    valid : tuple (X, y) or None
        What its training is validated on.
    """

    X: dict
    y: torch.Tensor
    valid: object = None

    def with_sides(self, augment):
        """Draw which images are mirrored in the first epoch, where a plan says so."""
        if augment is None or not augment.strengths["flip"]:
            return self
        mirrored = torch.rand(len(self.y), device=self.y.device) < 0.5
        return self._replace(X=replace(self.X, mirrored=mirrored))

    def turn_sides(self):
        """Let every image be seen from its other side in the next epoch."""
        if self.X.mirrored is not None:
            self.X.mirrored.logical_not_()


def resident(image_set, weight, mean, scale, dtype, device):
    """Put a set of images on a device, as the data of a net.

    Parameters
    ----------
    image_set : ImageSet
    weight : ndarray of float32 of shape (m,)
    mean, scale : ndarray of shape (channels,)
    dtype : torch.dtype
    device : torch.device

    Returns
    -------
    X : Resident
    y : Tensor of int64
    """
    if is_stored(image_set.images):
        read = partial(to_tensor, mean=mean, scale=scale, dtype=dtype)
        images = StreamedImages(image_set, read, device)
    else:
        images = _resident_images(image_set, mean, scale, dtype, device)
        if images.numel() <= _FEW_VALUES:
            images = network_input(images, *pixel_map(mean, scale, dtype, device))
    X = Resident(images)
    if (weight != 1).any():
        X.weight = torch.from_numpy(weight).to(device=device, dtype=dtype)
    return X, torch.from_numpy(image_set.labels.astype(np.int64, copy=False)).to(device)


def _resident_images(image_set, mean, scale, dtype, device):
    """Copy images to a device, where they lie in memory channels last."""
    images, rows = image_set.images, image_set.rows
    if device.type == "cpu":
        tensor = to_tensor(images, rows, mean, scale, dtype).to(device)
        return tensor.permute(0, 3, 1, 2)
    upload, target = Upload(device), None
    step = max(1, _UPLOAD_VALUES // math.prod(images.shape[1:]))
    for start in range(0, len(rows), step):
        part = to_tensor(images, rows[start : start + step], mean, scale, dtype)
        if target is None:
            shape = (len(rows), *part.shape[1:])
            target = torch.empty(shape, dtype=part.dtype, device=device)
        upload(part, out=target[start : start + step])
    return target.permute(0, 3, 1, 2)


def take_rows(images, rows):
    """Return some images, which keep lying in memory channels last.

    Parameters
    ----------
    images : Tensor or StreamedImages of shape (n, channels, height, width)
    rows : Tensor of int, or slice
    """
    if isinstance(rows, slice) or is_streamed(images):
        return images[rows]
    as_stored = images.permute(0, 2, 3, 1)  # index_select makes what it gets contiguous
    return as_stored.index_select(0, rows).permute(0, 3, 1, 2)


def _at(tensor, rows):
    """Return some entries of a tensor, wherever the rows are."""
    if isinstance(rows, slice):
        return tensor[rows]
    return tensor.index_select(0, sent(rows, tensor.device))


def batch_bounds(n_rows, batch_size):
    """Return where the batches of an epoch start and end.

    A last batch of a single image joins the one before it: alone it has no variance
    for a batch norm, and its gradient is that of one image.

    Parameters
    ----------
    n_rows, batch_size : int

    Returns
    -------
    bounds : list of tuple (start, stop)

    Examples
    --------
    >>> from sklearn_l2cnn._training.batches import batch_bounds
    >>> batch_bounds(9, 4)
    [(0, 4), (4, 9)]
    """
    starts = list(range(0, n_rows, batch_size))
    if len(starts) > 1 and n_rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))


class ShuffledBatches:
    """Iterate over the rows of a dataset in a new random order every time.

    Parameters
    ----------
    dataset : skorch.dataset.Dataset
        ``X`` resident, ``y`` a tensor.
    batch_size : int
    generator : numpy.random.RandomState
        Draws the orders, one for every iteration.
    """

    def __init__(self, dataset, batch_size, generator):
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator

    def rows(self):
        """Yield the rows of every batch in a new order."""
        X, y = self.dataset.X, self.dataset.y
        order = torch.from_numpy(self.generator.permutation(len(y)))
        order = sent(order, X.images.device)
        for start, stop in batch_bounds(len(y), self.batch_size):
            yield order[start:stop]

    def __iter__(self):
        return self.read()

    def read(self, own=None):
        """Yield the batches; what is needed of them, `Resident.batches` says."""
        yield from self.dataset.X.batches(self.dataset.y, self.rows(), own)

    def __len__(self):
        return len(batch_bounds(len(self.dataset), self.batch_size))


class OrderedBatches:
    """Iterate over the rows of a dataset as they come.

    Parameters
    ----------
    dataset : skorch.dataset.Dataset
        ``X`` resident, ``y`` a tensor or None.
    batch_size : int
    """

    def __init__(self, dataset, batch_size):
        self.dataset = dataset
        self.batch_size = batch_size

    def __iter__(self):
        return self.some(slice(None))

    def __len__(self):
        return math.ceil(len(self.dataset) / self.batch_size)

    def some(self, which):
        """Yield the batches that a slice says."""
        starts = range(0, len(self.dataset), self.batch_size)[which]
        parts = (slice(start, start + self.batch_size) for start in starts)
        yield from self.dataset.X.batches(self.dataset.y, parts)


class EpochLosses:
    """The losses of the steps of an epoch, which stay on the device until it ends."""

    def __init__(self):
        self.losses, self.rows = [], []

    def add(self, losses, n_rows):
        """Add the mean losses of a batch of so many rows, or of so many each."""
        self.losses.append(losses)
        self.rows.append(n_rows)

    def means(self):
        """Return the losses of the steps, as a tensor of shape (n_steps, ...)."""
        return torch.stack(self.losses)

    def totals(self, means):
        """Sum them over all rows.

        Parameters
        ----------
        means : ndarray of float64
            The numbers of `means`.

        Returns
        -------
        totals : ndarray of float64
        """
        return sum(mean * n_rows for mean, n_rows in zip(means, self.rows, strict=True))


def auto_epochs(n_rows, batch_size):
    """Return the number of epochs that ``"auto"`` stands for: more of few images.

    20, but at least 250 steps. On 50 and 100 images these gain two to seven points of
    accuracy; twice as many gain half a point to one more (`bench_epochs`).
    """
    return max(20, math.ceil(250 / len(batch_bounds(n_rows, batch_size))))


def auto_patience(n_rows, batch_size):
    """Return the patience of early stopping that ``"auto"`` stands for.

    10 epochs, but at least 30 steps: on 60 to 300 images 5 epochs cost one to fifteen
    points of accuracy.
    """
    return max(10, math.ceil(30 / len(batch_bounds(n_rows, batch_size))))


def auto_batch_size(n_rows):
    """Return the batch size that ``"auto"`` stands for: it grows with the data.

    A power of two near n / 400, between 32 and 256: few images still make enough steps,
    many are not slowed down by small batches.
    """
    return min(max(32, 1 << int(math.log2(max(1, n_rows / 400)))), 256)
