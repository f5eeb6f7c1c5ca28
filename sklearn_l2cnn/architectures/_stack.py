"""A builder of sequential networks that tracks the shape of their output."""

import math
from collections import Counter, OrderedDict

from torch import nn

# Largest number of values that enter the dense layers; larger maps are averaged.
_MOST_VALUES = 1 << 14


class Stack:
    """Builder of a sequence of named layers, for images of one size.

    Layers are named by their kind and number, ``conv1``, ``relu1``, ``pool1``; the
    last one is ``logits``. Images of every size are accepted: kernels and windows are
    never larger than their input.

    Parameters
    ----------
    input_shape : tuple of int
        ``(channels, height, width)``.
    """

    def __init__(self, input_shape):
        self.shape = tuple(input_shape)
        self.layers = OrderedDict()
        self.numbers = Counter()

    def _add(self, kind, layer):
        self.numbers[kind] += 1
        self.layers[f"{kind}{self.numbers[kind]}"] = layer
        return self

    def conv(self, filters, side, padded=False):
        """Add a convolution of `side` x `side`.

        It is padded if `padded` is True, or if the output would otherwise have fewer
        than two pixels along a side, too few for pooling.
        """
        depth, *pixels = self.shape
        # the outer taps of a larger kernel would only meet padding
        kernel = [min(side, 2 * length - 1) for length in pixels]
        left = [length - taps + 1 for length, taps in zip(pixels, kernel, strict=True)]
        if padded or min(left) < 2:
            left, padding = pixels, [taps // 2 for taps in kernel]
        else:
            padding = (0, 0)
        self.shape = (filters, *left)
        layer = nn.Conv2d(depth, filters, tuple(kernel), padding=tuple(padding))
        return self._add("conv", layer)

    def pool(self):
        """Add max pooling over 2 x 2 pixels; a side of one pixel is not pooled."""
        depth, *pixels = self.shape
        window = tuple(min(2, length) for length in pixels)
        if window == (1, 1):
            return self
        halves = (length // side for length, side in zip(pixels, window, strict=True))
        self.shape = (depth, *halves)
        return self._add("pool", nn.MaxPool2d(window))

    def relu(self):
        """Add a ReLU."""
        return self._add("relu", nn.ReLU())

    def flatten(self):
        """Flatten maps to rows; large maps are first reduced by average pooling."""
        depth, height, width = self.shape
        side = math.ceil(math.sqrt(max(1, depth * height * width / _MOST_VALUES)))
        window = min(side, height), min(side, width)
        if window != (1, 1):
            height, width = height // window[0], width // window[1]
            self._add("average", nn.AvgPool2d(window))
        self.shape = (depth * height * width,)
        return self._add("flatten", nn.Flatten())

    def dense(self, units):
        """Add a dense layer."""
        layer = nn.Linear(*self.shape, units)
        self.shape = (units,)
        return self._add("dense", layer)

    def dropout(self, rate):
        """Add dropout."""
        return self._add("dropout", nn.Dropout(rate))

    def logits(self, n_classes, initialise):
        """Add the last layer, initialise all layers and return the network.

        Parameters
        ----------
        n_classes : int
        initialise : callable
            Initialises a weight in place; biases are zero.
        """
        self.layers["logits"] = nn.Linear(*self.shape, n_classes)
        for layer in self.layers.values():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                initialise(layer.weight)
                nn.init.zeros_(layer.bias)
        return nn.Sequential(self.layers)
