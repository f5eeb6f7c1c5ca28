"""What the numbers in an image are: units, statistics, standardising."""

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import dtype_name, stacked
from sklearn_l2cnn._data.stored import at_hand, is_stored
from sklearn_l2cnn._utils.ahead import ahead
from sklearn_l2cnn._utils.surroundings import allowed_threads

# Images are worked on in chunks of about this many values, so that the float64 copies
# that statistics and scaling need stay in the cache and out of the peak memory.
_CHUNK_VALUES = 1 << 20
# Chunks that are too few for several threads.
_FEW = 4


def chunks(n_rows, image_shape):
    """Yield slices that cut rows of images into chunks of a bounded size."""
    step = max(1, _CHUNK_VALUES // max(1, math.prod(image_shape)))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def in_chunks(images, rows=None, function=None):
    """Yield images, or some of them, in chunks of a bounded size, in order.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels), or StoredImages
    rows : ndarray of int, default=None
    function : callable, default=None
        What is made of a chunk comes instead of it. Threads are a few chunks ahead.
    """
    if is_stored(images):
        yield from images.in_chunks(rows, function)
        return
    n_rows = len(images) if rows is None else len(rows)
    parts = list(chunks(n_rows, images.shape[1:]))

    def made(part):
        chunk = images[part if rows is None else rows[part]]
        return chunk if function is None else function(chunk)

    if function is None or images.device.type != "cpu" or len(parts) < _FEW:
        yield from map(made, parts)
    else:
        yield from ahead(made, parts, allowed_threads())


def white_of(images):
    """Return the value of white: 255 for uint8, 1 otherwise."""
    return 255 if images.dtype == torch.uint8 else 1.0


def as_float64(images):
    """Return images as float64, uint8 counted as [0, 1]."""
    return images.double() / white_of(images)


def cast_like(values, images):
    """Cast floats to the dtype of images, rounded and clipped if it is uint8."""
    if images.dtype == torch.uint8:
        return values.round().clamp(0, 255).to(torch.uint8)
    return values.to(images.dtype)


def as_floats_like(values, images):
    """Cast values to the dtype of images, or to float32 if it is uint8."""
    return values.to(torch.promote_types(images.dtype, torch.float32))


class Moments(NamedTuple):
    """The pixels of every image, channel by channel.

    Attributes
    ----------
    low, high : ndarray of shape (n, channels)
    first, second : ndarray of shape (n, channels)
        Of floats what `mean` and `spread` return; of bytes the sums and the sums of
        squares, which are integers and take half as much memory.
    n_pixels : int
    white : float
        What counts as 1.
    """

    low: object
    high: object
    first: object
    second: object
    n_pixels: int
    white: float

    def mean(self, rows):
        """Return the mean of the pixels of some images, in float64."""
        first = self.first[rows]
        return first if first.dtype == np.float64 else first / self.n_pixels

    def spread(self, rows):
        """Return the mean square of the distance to the mean, in float64."""
        second = self.second[rows]
        if second.dtype == np.float64:
            return second
        sums, squares = self.first[rows].astype(np.int64), second.astype(np.int64)
        return (squares * self.n_pixels - sums**2) / self.n_pixels**2

    def largest(self):
        """Return the largest absolute value."""
        return max(float(self.high.max()), -float(self.low.min()))


def moments_of(images):
    """Return the moments of images, those of each without regard to the others."""
    parts = in_chunks(images, function=moments_of_chunk)
    return as_moments(images, stacked(parts, len(images)))


def as_moments(images, found):
    """Return the moments of images whose first attributes were found."""
    _, height, width, _ = images.shape
    return Moments(*found, height * width, white_of(images))


@np.errstate(over="ignore", invalid="ignore")
def moments_of_chunk(images):
    """Return the moments of images: the first attributes of `Moments`."""
    values = _by_channel(images)
    low, high, n_pixels = values.min(axis=2), values.max(axis=2), values.shape[2]
    if values.dtype == np.uint8:  # sums of integers, without any rounding
        dtype = np.uint32 if n_pixels * 255**2 < 1 << 32 else np.int64
        squares = np.square(values, dtype=np.uint16).sum(axis=2, dtype=dtype)
        return low, high, values.sum(axis=2, dtype=dtype), squares
    # by rounding a mean may lie beyond the values; what is constant varies by 0
    mean = np.clip(values.sum(axis=2) / n_pixels, low, high)
    values = values - mean[:, :, None]  # not in place: it may be what the user gave
    values *= values
    return low, high, mean, values.sum(axis=2) / n_pixels


def channel_statistics(moments, rows, weight):
    """Weighted mean and variance of every channel, in float64.

    Parameters
    ----------
    moments : Moments
    rows : ndarray of int of shape (m,)
        Which images, in the order in which they are summed.
    weight : ndarray of shape (m,)

    Returns
    -------
    mean, variance : ndarray of shape (channels,)
        The variance of a channel that is constant is exactly 0.
    """
    total = np.sum(weight, dtype=np.float64)
    products = np.empty((len(rows), moments.low.shape[1]))
    parts = list(chunks(len(rows), products.shape[1:]))

    def weighted_sum(values):
        """Sum weight times values over all; not through BLAS, which has threads."""
        for part in parts:
            share = np.asarray(weight[part], dtype=np.float64) / total
            np.multiply(share[:, None], values(rows[part]), out=products[part])
        return products.sum(axis=0)

    def scattered(some):
        return moments.spread(some) + np.square(moments.mean(some) - center)

    low, high = moments.low[rows].min(axis=0), moments.high[rows].max(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        center = np.clip(weighted_sum(moments.mean), low, high)
        variance = weighted_sum(scattered)
    return finite_moments(center / moments.white, variance / moments.white**2)


def finite_moments(mean, variance):
    """Return the statistics of pixels, or raise where they are no numbers."""
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        raise ValueError(
            "The pixels of X are too large to be standardised: their variance "
            "overflows float64. Divide X by a constant first."
        )
    return mean, variance


def check_result(result, images, name):
    """Raise where finite images were turned into numbers that are not.

    Parameters
    ----------
    result, images : Tensor
    name : str
        Who computed the result.
    """
    # a sum is finite unless there is something to find, or it overflows
    if not result.is_floating_point() or torch.isfinite(result.sum()):
        return
    if not torch.isfinite(result).all():
        raise ValueError(
            f"{name} gives NaN or a value too large for dtype({dtype_name(result)!r}): "
            f"the largest magnitude of the images is {largest_magnitude(images):.3g}. "
            "Look for pixels that are not pixels, or divide X by a constant first."
        )


def power_of_two(magnitudes):
    """Return the nearest power of two below, up to rounding: division by it is exact.

    Parameters
    ----------
    magnitudes : Tensor of float64
        Positive.
    """
    return torch.exp2(torch.floor(torch.log2(magnitudes)))  # which ONNX has as well


def _by_channel(images):
    """Return images as a numpy array of shape (n, channels, pixels), floats as float64.

    numpy's sums do not depend on a number of threads. Pixels of a channel lie side by
    side: summed over strides of three, they would take ten times as long.
    """
    planes = images.flatten(1, 2).transpose(1, 2).contiguous()
    return (planes if planes.dtype == torch.uint8 else planes.double()).cpu().numpy()


def merge_statistics(old, new):
    """Combine the statistics of two sets of images into those of both.

    Parameters
    ----------
    old, new : tuple (weight, mean, variance)
        Sum of the weights, and what `channel_statistics` returns.

    Returns
    -------
    weight, mean, variance
    """
    (old_weight, old_mean, old_variance), (weight, mean, variance) = old, new
    # The share is rounded so that weights times a constant give the same bits.
    share = float(np.float32(weight / (old_weight + weight)))
    with np.errstate(over="ignore", invalid="ignore"):
        step = mean - old_mean
        drifted = old_variance + share * np.square(step)
        both = old_mean + share * step, (1 - share) * drifted + share * variance
    return old_weight + weight, *finite_moments(*both)


def unit_of(images):
    """Return how pixels are counted, which `warn_about_units` compares.

    Parameters
    ----------
    images : Tensor

    Returns
    -------
    unit : tuple (name of the dtype, largest magnitude)
    """
    return dtype_name(images), largest_magnitude(at_hand(images))


def largest_magnitude(images):
    """Return the largest absolute value, without an array of absolute values."""
    return max(float(images.max()), -float(images.min()))


# Floats that count alike are rarely so many times as large as all that was trained on,
# or so small a part of it.
_LARGER, _SMALLER = 10, 100


def warn_about_units(images, unit):
    """Warn where pixels are counted otherwise than in the training images.

    Parameters
    ----------
    images : Tensor
    unit : tuple
        `unit_of` the training images.
    """
    dtype, largest = unit
    is_byte, was_byte = dtype_name(images) == "uint8", dtype == "uint8"
    if (is_byte and was_byte) or not len(images):
        return
    highest = largest_magnitude(at_hand(images))
    counts = "uint8 pixels count as [0, 1], all other numbers as they are. "
    if was_byte and highest > 2:
        advice = f"{counts}Pass uint8, or divide by 255"
    elif is_byte and largest > 2:
        advice = f"{counts}Pass X.astype('float32')"
    elif is_byte or was_byte:  # the floats are in [0, 1] too, give or take
        return
    elif highest > _LARGER * largest > 0 or 0 < highest < largest / _SMALLER:
        advice = "Multiply or divide them, unless they really are so bright or so dark"
    else:
        return
    trained = "uint8" if was_byte else f"numbers up to {largest:g}"
    come = "uint8" if is_byte else f"numbers up to {highest:g}"
    warnings.warn(
        f"The training images were {trained}, these are {come}: the same image means "
        f"something else here. {advice}.",
        UserWarning,
        stacklevel=4,
    )


def standardized(images, mean, scale, dtype):
    """Return (images - mean) / scale, computed in float64.

    Parameters
    ----------
    images : Tensor of shape (n, height, width, channels)
    mean, scale : ndarray of shape (channels,)
    dtype : torch.dtype
        Of the result; a pixel that leaves its range raises a ValueError.

    Returns
    -------
    images : Tensor of shape (n, height, width, channels)
    """
    n, height, width, depth = images.shape
    # whole lines at a time: over the few channels alone a loop would be all overhead
    mean, scale = (
        torch.from_numpy(np.tile(values, width)).to(images.device)
        for values in (mean, scale)
    )
    lines = as_float64(images).reshape(n, height, width * depth)
    result = ((lines - mean) / scale).to(dtype).reshape(images.shape)
    if not torch.isfinite(result).all():
        raise ValueError(
            f"Input X contains infinity or a value too large for "
            f"dtype({dtype_name(result)!r}) once it is standardised: the largest "
            f"magnitude is "
            f"{largest_magnitude(images):.3g}. Divide X by a constant, or look for "
            "pixels that are not pixels."
        )
    return result
