"""The default network: a few convolutions, one hidden layer, no batch norm."""

from torch import nn

_WIDTHS = (32, 64, 128)
_HIDDEN = 128
_LAST_SIDE = 4


def plain(input_shape, n_classes):
    """Build the default network.

    Convolutions 3 x 3 of width 32, 64, 128, 128 ..., each followed by a ReLU, then a
    dense layer of 128 units and the logits. There are two convolutions, or more, until
    pooling by 2 has brought the longer side to 4 pixels or fewer: 28 x 28 images reach
    the dense layer as 3 x 3, 256 x 256 images as 4 x 4. Small images are pooled once
    only; along a side of one pixel there is neither pooling nor a wider kernel, so that
    every size makes a network. The dense layer has at most 4 * 4 * 128 * 128, about a
    quarter of a million, weights.

    Parameters
    ----------
    input_shape : tuple of int
        ``(channels, height, width)``.
    n_classes : int

    Returns
    -------
    network : torch.nn.Sequential
        Maps ``(n, channels, height, width)`` to ``(n, n_classes)`` logits.

    Examples
    --------
    >>> from sklearn_l2cnn.architectures import plain
    >>> [type(layer).__name__ for layer in plain((1, 8, 8), n_classes=10)]
    ['Conv2d', 'ReLU', 'Conv2d', 'MaxPool2d', 'ReLU',
     'Flatten', 'Linear', 'ReLU', 'Linear']
    """
    depth, height, width = input_shape
    n_pools = 1
    while max(height, width) > _LAST_SIDE << n_pools:
        n_pools += 1
    n_convolutions = max(2, n_pools)
    layers = []
    for k in range(n_convolutions):
        filters = _WIDTHS[min(k, len(_WIDTHS) - 1)]
        # across a side of one pixel a kernel of 3 would see nothing but padding
        kernel = (3 if height > 1 else 1, 3 if width > 1 else 1)
        padding = (kernel[0] // 2, kernel[1] // 2)
        layers.append(nn.Conv2d(depth, filters, kernel, padding=padding))
        if k >= n_convolutions - n_pools and max(height, width) > 1:
            window = (min(2, height), min(2, width))
            layers.append(nn.MaxPool2d(window))
            height, width = height // window[0], width // window[1]
        layers.append(nn.ReLU())  # after pooling: the same result from fewer pixels
        depth = filters
    layers += [
        nn.Flatten(),
        nn.Linear(depth * height * width, _HIDDEN),
        nn.ReLU(),
        nn.Linear(_HIDDEN, n_classes),
    ]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            # keeps the scale of the signal through many ReLUs without a batch norm
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
