"""Dtypes of pixel values."""

import torch


def cast_like(values, images):
    """Cast floats to the dtype of images, rounded and clipped if it is uint8."""
    if images.dtype == torch.uint8:
        return values.round().clamp(0, 255).to(torch.uint8)
    return values.to(images.dtype)


def as_floats_like(values, images):
    """Cast values to the dtype of images, or to float32 if it is uint8."""
    return values.to(torch.promote_types(images.dtype, torch.float32))
