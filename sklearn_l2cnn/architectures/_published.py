"""What published weights were trained on: pixels, sizes, classes."""

import warnings
from typing import NamedTuple

import numpy as np

# Images with sides shorter than this part of what weights were trained on leave too
# little for their last layers.
_SMALL = 1 / 4
# Resizing may leave [0, 1] by a part of it; what is standardised has left it further.
_BEYOND = 0.3


class Published(NamedTuple):
    """What the published weights of a network were trained on.

    Attributes
    ----------
    mean, std : tuple of float
        Of red, green and blue, counted as [0, 1], which images were standardised with.
    size : tuple of int
        ``(height, width)`` of the images.
    n_classes : int
    """

    mean: tuple
    std: tuple
    size: tuple
    n_classes: int

    def holds(self, state):
        """Say whether a state dict has the published last layer."""
        return any(t.ndim > 1 and len(t) == self.n_classes for t in state.values())

    def pixels(self, depth, low, high):
        """Return mean and scale for images of so many channels.

        Parameters
        ----------
        depth : int
            Other channels than three have the means of these.
        low, high : float
            Of all pixels, uint8 counted as [0, 1].

        Returns
        -------
        pixels : tuple of ndarray of shape (depth,), or None
            None where pixels are counted neither as [0, 1] nor as 0 to 255.
        """
        white = 1.0 if high <= 1 + _BEYOND else 255.0
        if low < -_BEYOND * white or high > (1 + _BEYOND) * white:
            warnings.warn(
                "Published weights take pixels of [0, 1] or 0 to 255, standardised "
                "with mean and deviation that they were trained with, but X has values "
                f"from {low:.3g} to {high:.3g}. Its own mean and deviation are taken "
                "instead; standardize=False leaves X as it is.",
                UserWarning,
                stacklevel=2,
            )
            return None
        mean, std = np.asarray(self.mean, float), np.asarray(self.std, float)
        if depth != len(mean):
            mean, std = np.full(depth, mean.mean()), np.full(depth, std.mean())
        return white * mean, white * std

    def check_size(self, name, input_shape):
        """Warn where images are much smaller than those of the weights."""
        sides = input_shape[1:]
        if min(sides) < _SMALL * min(self.size):
            height, width = self.size
            warnings.warn(
                f"The weights of {name!r} were trained on images of {height} x {width} "
                f"pixels; of {sides[0]} x {sides[1]} they may leave too little for the "
                "last layers. To enlarge: make_pipeline(ImageResizer("
                f"size=({height}, {width})), classifier), with ImageResizer of "
                "sklearn_l2cnn.preprocessing.",
                UserWarning,
                stacklevel=2,
            )
