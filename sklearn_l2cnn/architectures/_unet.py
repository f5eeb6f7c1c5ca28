"""A small U-Net classifier: an encoder, a decoder with skip connections, a head."""

import torch
from torch import nn
from torch.nn.functional import interpolate

_WIDTHS = (16, 32, 64)


def _block(depth, filters):
    """Build two 3 x 3 convolutions, each with a batch norm and a ReLU."""
    layers = []
    for channels in (depth, filters):
        layers += [
            nn.Conv2d(channels, filters, 3, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A small U-Net: an encoder, a decoder with skip connections, and pooled logits.

    The encoder halves the image as long as both sides have at least two pixels, at most
    twice; the decoder enlarges it to the same sizes again. The last map is averaged
    over all pixels and passed to the logits.

    Parameters
    ----------
    input_shape : tuple of int
        ``(channels, height, width)``, of any size.
    n_classes : int
    """

    def __init__(self, input_shape, n_classes):
        super().__init__()
        depth, height, width = input_shape
        halvings = min(len(_WIDTHS) - 1, min(height, width).bit_length() - 1)
        widths = _WIDTHS[: halvings + 1]
        self.down = nn.ModuleList()
        for filters in widths:
            self.down.append(_block(depth, filters))
            depth = filters
        self.up = nn.ModuleList()
        for filters in widths[-2::-1]:
            self.up.append(_block(depth + filters, filters))
            depth = filters
        self.pool = nn.MaxPool2d(2)
        self.logits = nn.Linear(depth, n_classes)

    def forward(self, images):
        """Return the logits of a batch of images."""
        maps, skips = images, []
        for level, block in enumerate(self.down):
            maps = block(self.pool(maps) if level else maps)
            skips.append(maps)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            larger = interpolate(maps, size=skip.shape[2:])
            maps = block(torch.cat([larger, skip], dim=1))
        return self.logits(maps.mean(dim=(2, 3)))
