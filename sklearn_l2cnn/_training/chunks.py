"""Predictions: images go through a network in chunks of one size."""

import math

import torch

from sklearn_l2cnn._training.batches import to_tensor
from sklearn_l2cnn._training.dense import RowByRow
from sklearn_l2cnn._training.forward import forward_of, logits_of, network_input
from sklearn_l2cnn._training.runtime import each_in_one_thread
from sklearn_l2cnn._training.upload import Upload
from sklearn_l2cnn._utils.layers import remembers_nothing

# Pixel values in one chunk on a CPU; more leave the cache.
_CHUNK_VALUES = 1 << 17
_CHUNK_ROWS = (4, 256)
_CUDA_FACTOR = 16


def chunk_rows(image_shape, device):
    """Return how many images one step of a prediction takes.

    A function of the image and the kind of device alone: with the same number of rows
    in every step, a prediction does not depend on the other images.
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
    on the others. Several threads work on several chunks, never on one:
    libraries cut a product into as many parts as there are threads, and with them the
    last bits change.

    Parameters
    ----------
    net : Net
        Its network is brought to its device and put into evaluation mode.
    images : Tensor of shape (n, height, width, channels)
    compute : callable
        Of a slice, which of the rows are in the chunk, and the chunk, a tensor
        ``(size, channels, height, width)`` on the device of the network, of which as
        many images count as the slice has rows.
    rows : ndarray of int of shape (m,), default=None
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
    net.to_device()
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
    images : Tensor of shape (n, height, width, channels)
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
    # numpy has no bfloat16, and probabilities of half precision are of little use
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
