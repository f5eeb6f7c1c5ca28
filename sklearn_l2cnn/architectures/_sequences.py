"""Small networks of the literature on L2: sequences of convolutions and a dense layer.

Kernels are not padded, as in the originals, except where an image is too small for
that; maps of more than 16,384 values are averaged before the dense layer. Pooling
stands before the ReLU, which gives the same values from a quarter of the work. Weights
are drawn as by Glorot and Bengio (2010): from larger ones the few and wide layers start
at a loss that costs plain SGD its first epochs.
"""

from torch import nn

from sklearn_l2cnn.architectures._stack import Stack

_draw = nn.init.xavier_uniform_


def two_conv(input_shape, n_classes):
    """Build two wide convolutions 5 x 5 of 64 filters, pooled, and 512 dense units."""
    stack = Stack(input_shape)
    for _ in range(2):
        stack.conv(64, 5).pool().relu()
    return stack.flatten().dense(512).relu().logits(n_classes, _draw)


def conv_pool(input_shape, n_classes):
    """Build convolutions 3 x 3 of 32 and 64 filters, pooled, and 128 dense units."""
    stack = Stack(input_shape)
    for filters in (32, 64):
        stack.conv(filters, 3).pool().relu()
    return stack.flatten().dense(128).relu().logits(n_classes, _draw)


def four_conv(input_shape, n_classes):
    """Build four padded convolutions 3 x 3 without pooling, and 512 dense units.

    They have 64, 64, 64 and 10 filters.
    """
    stack = Stack(input_shape)
    for filters in (64, 64, 64, 10):
        stack.conv(filters, 3, padded=True).relu()
    return stack.flatten().dense(512).relu().logits(n_classes, _draw)


def conv_dropout(input_shape, n_classes):
    """Build convolutions 3 x 3 of 32 and 64 filters, 64 dense units, and dropout 0.5.

    Only the first convolution is pooled.
    """
    stack = Stack(input_shape).conv(32, 3).pool().relu().conv(64, 3).relu()
    return stack.flatten().dense(64).relu().dropout(0.5).logits(n_classes, _draw)
