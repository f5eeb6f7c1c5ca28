"""Sizes and positions of images in frames of another size."""

from numbers import Integral

import torch

ASPECTS = ("stretch", "crop", "pad")


def two_sides(size, name="size"):
    """Return (height, width) for a size, which may be the side of a square.

    Parameters
    ----------
    size : int or sequence of two int
    name : str, default="size"
        Name of the parameter for the error message.
    """
    sides = (size, size) if isinstance(size, Integral) else tuple(size)
    if len(sides) != 2 or not all(
        isinstance(side, Integral) and side >= 1 for side in sides
    ):
        raise ValueError(
            f"{name}={size!r}: (height, width), two positive integers, or one for both "
            "was expected."
        )
    return tuple(map(int, sides))


def central_box(shape, size):
    """Return the largest central part of an image with the aspect ratio of a frame.

    Parameters
    ----------
    shape, size : tuple (height, width)
        Sizes of the image and of the frame.

    Returns
    -------
    top, left, height, width : int

    Examples
    --------
    >>> from sklearn_l2cnn._data.framing import central_box
    >>> central_box((100, 300), (32, 32))
    (0, 100, 100, 100)
    """
    scale = min(shape[0] / size[0], shape[1] / size[1])
    height, width = (
        min(whole, max(1, round(side * scale)))
        for whole, side in zip(shape, size, strict=True)
    )
    return (shape[0] - height) // 2, (shape[1] - width) // 2, height, width


def inner_place(shape, size):
    """Return where a whole image fits into a frame, keeping its aspect ratio.

    Parameters
    ----------
    shape, size : tuple (height, width)
        Sizes of the image and of the frame.

    Returns
    -------
    top, left, height, width : int

    Examples
    --------
    >>> from sklearn_l2cnn._data.framing import inner_place
    >>> inner_place((100, 300), (32, 32))
    (10, 0, 11, 32)
    """
    return central_box(size, shape)  # of the frame, with the image's aspect ratio


def reflected(places, side):
    """Map indices outside of an axis back into it by reflection at both ends.

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn._data.framing import reflected
    >>> reflected(torch.arange(-3, 6), 3).tolist()
    [1, 2, 1, 0, 1, 2, 1, 0, 1]
    """
    if side == 1:
        return torch.zeros_like(places)
    places = places.remainder(2 * side - 2)
    return torch.minimum(places, 2 * side - 2 - places)
