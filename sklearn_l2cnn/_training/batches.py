"""Images on the device, cut into batches without touching them one by one."""

import math

import torch

from sklearn_l2cnn._data.arrays import cast, copied, dtype_name, empty
from sklearn_l2cnn._data.pixels import pieces, standardized
from sklearn_l2cnn._training.dense import RowByRow
from sklearn_l2cnn._training.forward import (
    forward_of,
    logits_of,
    network_input,
    pixel_map,
)
from sklearn_l2cnn._training.runtime import each_in_one_thread
from sklearn_l2cnn._training.upload import Upload
from sklearn_l2cnn._utils.layers import remembers_nothing

# Pixel values in one chunk of a prediction on a CPU; more leave the cache.
_CHUNK_VALUES = 1 << 17
_CHUNK_ROWS = (4, 256)
_CUDA_FACTOR = 16

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
    images : ndarray or Tensor of shape (n, height, width, channels)
    rows : array of int or slice
    mean, scale : ndarray of shape (channels,)
    dtype : torch.dtype
        What the network computes in.

    Returns
    -------
    tensor : Tensor of shape (n, height, width, channels)
    """
    target = "float64" if dtype == torch.float64 else "float32"
    if dtype_name(images) == "uint8":
        chosen = copied(images[rows])
    elif isinstance(rows, slice):
        chosen = standardized(images[rows], mean, scale, target)
    else:
        chosen = empty((len(rows), *images.shape[1:]), target, like=images)
        for part in pieces(len(rows), chosen.shape[1:]):
            chosen[part] = standardized(images[rows[part]], mean, scale, target)
    tensor = torch.as_tensor(chosen)
    return tensor if tensor.dtype == torch.uint8 else tensor.to(dtype)


def resident(image_set, weight, mean, scale, dtype, device):
    """Put a set of images on a device, as the data of a net.

    Parameters
    ----------
    image_set : ImageSet
    weight : array of float32 of shape (m,)
    mean, scale : ndarray of shape (channels,)
    dtype : torch.dtype
    device : torch.device

    Returns
    -------
    X : dict of Tensor
        ``"images"`` and, unless all weigh 1, ``"weight"``.
    y : Tensor of int64
    """
    images = _resident_images(image_set, mean, scale, dtype, device)
    if images.numel() <= _FEW_VALUES:
        images = network_input(images, *pixel_map(mean, scale, dtype, device))
    X = {"images": images}
    if (weight != 1).any():
        X["weight"] = torch.as_tensor(weight).to(device=device, dtype=dtype)
    return X, torch.as_tensor(cast(image_set.labels, "int64")).to(device)


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


def take_rows(tensor, rows):
    """Return some rows of a tensor; images keep lying in memory channels last."""
    if tensor.ndim < 4:
        return tensor.index_select(0, rows)
    as_stored = tensor.permute(0, 2, 3, 1)  # index_select makes what it gets contiguous
    return as_stored.index_select(0, rows).permute(0, 3, 1, 2)


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
        ``X`` a dict of tensors, ``y`` a tensor, all on one device.
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
        y = self.dataset.y
        order = torch.from_numpy(self.generator.permutation(len(y))).to(y.device)
        for start, stop in batch_bounds(len(y), self.batch_size):
            yield order[start:stop]

    def __iter__(self):
        X, y = self.dataset.X, self.dataset.y
        for rows in self.rows():
            batch = {name: take_rows(part, rows) for name, part in X.items()}
            yield batch, y.index_select(0, rows)

    def __len__(self):
        return len(batch_bounds(len(self.dataset), self.batch_size))


class OrderedBatches:
    """Iterate over the rows of a dataset as they come.

    Parameters
    ----------
    dataset : skorch.dataset.Dataset
        ``X`` a tensor or a dict of tensors, ``y`` a tensor or None.
    batch_size : int
    """

    def __init__(self, dataset, batch_size):
        self.dataset = dataset
        self.batch_size = batch_size

    def __iter__(self):
        X, y = self.dataset.X, self.dataset.y
        for start in range(0, len(self.dataset), self.batch_size):
            rows = slice(start, start + self.batch_size)
            if isinstance(X, dict):
                batch = {name: part[rows] for name, part in X.items()}
            else:
                batch = X[rows]
            yield batch, None if y is None else y[rows]


def chunk_rows(image_shape, device):
    """Return how many images one step of a prediction takes.

    A function of the image and the kind of device alone: with the same number of rows
    in every step, a prediction does not depend on what is predicted beside it.
    """
    values = _CHUNK_VALUES * (_CUDA_FACTOR if device.type == "cuda" else 1)
    fewest, most = _CHUNK_ROWS
    rows = max(1, values // math.prod(image_shape))
    return min(max(1 << (rows.bit_length() - 1), fewest), most)


def chunk_threads(module):
    """Return in how many threads a network may work, each on a chunk of its own."""
    return torch.get_num_threads() if remembers_nothing(module) else 1


def over_chunks(net, images, compute, rows=None, threads=None):
    """Call a function with images in chunks of one size, as a network sees them.

    A short last chunk is padded, so that what is computed of an image does not depend
    on the images beside it. Several threads work on several chunks, never on one:
    libraries cut a product into as many parts as there are threads, and with them the
    last bits change.

    Parameters
    ----------
    net : Net
        Its network is brought to its device and put into evaluation mode.
    images : ndarray or Tensor of shape (n, height, width, channels)
    compute : callable
        Of a slice, which of the rows are in the chunk, and the chunk, a tensor
        ``(size, channels, height, width)`` on the device of the network, of which as
        many images count as the slice has rows.
    rows : array of int of shape (m,), default=None
        Which of the images, in which order; None is all.
    threads : int, default=None
        How many chunks are worked on at a time, on a CPU; None is `chunk_threads`. The
        modes of torch that the caller is in do not reach other threads.

    Returns
    -------
    results : list
        What `compute` returned, in order.
    """
    device = torch.device(net.device)
    net.unpark()
    net.module_.eval()
    pixels = net.pixels()
    size = chunk_rows(images.shape[1:], device)
    upload = Upload(device)
    n_rows = len(images) if rows is None else len(rows)

    def of_chunk(start):
        part = slice(start, min(start + size, n_rows))
        which = part if rows is None else rows[part]
        chunk = to_tensor(images, which, net.mean, net.scale, net.dtype)
        missing = size - len(chunk)
        if missing:
            chunk = torch.cat([chunk, chunk[-1:].expand(missing, -1, -1, -1)])
        chunk = upload(chunk.contiguous()).permute(0, 3, 1, 2)
        with RowByRow():
            return compute(part, network_input(chunk, *pixels))

    if threads is None:
        threads = chunk_threads(net.module_)
    threads = threads if device.type == "cpu" else 1
    return each_in_one_thread(of_chunk, range(0, n_rows, size), threads)


def predict_logits(net, images, views=((),)):
    """Run a network over images in chunks of one size, a short last one padded.

    Parameters
    ----------
    net : Net
        Its network is put into evaluation mode.
    images : ndarray or Tensor of shape (n, height, width, channels)
    views : sequence of tuple of callable, default=((),)
        What the network sees of every image, in turn.

    Returns
    -------
    logits : Tensor of shape (n, n_classes)
        float32 or float64, on the device of the network; of several views, the
        logarithms of their mean probabilities.
    """
    forward = forward_of(net.module_)
    pixels = net.pixels()

    def of_chunk(part, chunk):
        with torch.inference_mode():
            output = _over_views(
                lambda seen: logits_of(seen, forward, pixels, net.lower), chunk, views
            )
            return output[: part.stop - part.start]

    # outside of the mode, so that what a user gets can be computed with
    logits = torch.cat(over_chunks(net, images, of_chunk))
    # numpy has no bfloat16, and nobody expects probabilities of half precision
    return logits if logits.dtype == torch.float64 else logits.float()


def _over_views(logits_of_images, images, views):
    """Average the probabilities over views of the images; return their logarithms."""
    if len(views) == 1:
        return logits_of_images(images)
    total = 0
    for view in views:
        seen = images
        for change in view:
            seen = change(seen)
        total = total + torch.softmax(logits_of_images(seen), dim=1)
    return (total / len(views)).log()


def auto_batch_size(n_rows):
    """Return the batch size that ``"auto"`` stands for: it grows with the data.

    A power of two near n / 400, between 32 and 256: few images still make enough steps,
    many are not slowed down by small batches.
    """
    return min(max(32, 1 << int(math.log2(max(1, n_rows / 400)))), 256)
