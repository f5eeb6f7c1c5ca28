"""What values of pixels mean, and in which dtype they are worked out."""

import torch


def white_of(images):
    """Return the value of white: 255 of uint8, 1 of all others."""
    return 255 if images.dtype == torch.uint8 else 1.0


def floating(images):
    """Return images as floats of the same values."""
    return images if images.is_floating_point() else images.float()


def rounded(values, images):
    """Return floats in the dtype of images, rounded where that is uint8."""
    if images.dtype == torch.uint8:
        return values.round().clamp(0, 255).to(torch.uint8)
    return values.to(images.dtype)


def in_double(images):
    """Return images as float64, uint8 counted as [0, 1]."""
    return images.double() / white_of(images)


def as_floats(values, images):
    """Return float64 in the dtype of images, float32 where that is uint8."""
    uint8 = images.dtype == torch.uint8
    return values.to(torch.float32 if uint8 else images.dtype)
