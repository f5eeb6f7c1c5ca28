"""Units and dtypes of pixel values."""

import torch


def white_of(images):
    """Return the value of white: 255 for uint8, 1 otherwise."""
    return 255 if images.dtype == torch.uint8 else 1.0


def as_floating(images):
    """Return images as floats with the same values."""
    return images if images.is_floating_point() else images.float()


def cast_like(values, images):
    """Cast floats to the dtype of images, rounded and clipped if it is uint8."""
    if images.dtype == torch.uint8:
        return values.round().clamp(0, 255).to(torch.uint8)
    return values.to(images.dtype)


def as_double(images):
    """Return images as float64, uint8 scaled to [0, 1]."""
    return images.double() / white_of(images)


def as_floats_like(values, images):
    """Cast float64 to the dtype of images, or to float32 if it is uint8."""
    uint8 = images.dtype == torch.uint8
    return values.to(torch.float32 if uint8 else images.dtype)
