"""The default network: a few convolutions, one hidden layer, no batch norm."""

from functools import partial

from torch import nn

from sklearn_l2cnn.architectures._stack import Stack

_WIDTHS = (32, 64, 128)
_HIDDEN = 128
_LAST_SIDE = 4


def plain(input_shape, n_classes):
    """Build the default network.

    It has 3 x 3 convolutions of width 32, 64, 128, 128 ..., each followed by a ReLU,
    then a dense layer of 128 units and the logits. The number of convolutions, at least
    two, is such that pooling by 2 reduces the longer side to 4 pixels or fewer: 28 x 28
    images reach the dense layer as 3 x 3, 256 x 256 images as 4 x 4. Small images are
    pooled only once. Along a side of one pixel there is neither pooling nor a wider
    kernel, so that images of every size are accepted. The dense layer has at most
    4 * 4 * 128 * 128, about a quarter of a million, weights.

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
    >>> from sklearn_l2cnn.architectures._plain import plain
    >>> [name for name, _ in plain((1, 8, 8), n_classes=10).named_children()]
    ['conv1', 'relu1', 'conv2', 'pool1', 'relu2',
     'flatten1', 'dense1', 'relu3', 'logits']
    """
    n_pools = 1
    while max(input_shape[1:]) > _LAST_SIDE << n_pools:
        n_pools += 1
    n_convolutions = max(2, n_pools)
    stack = Stack(input_shape)
    for k in range(n_convolutions):
        stack.conv(_WIDTHS[min(k, len(_WIDTHS) - 1)], 3, padded=True)
        if k >= n_convolutions - n_pools:
            stack.pool()
        stack.relu()  # after pooling: the same result from fewer pixels
    # keeps the scale of the signal through many ReLUs without a batch norm
    initialise = partial(nn.init.kaiming_normal_, nonlinearity="relu")
    return stack.flatten().dense(_HIDDEN).relu().logits(n_classes, initialise)
