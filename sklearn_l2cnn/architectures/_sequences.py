"""Small networks of the literature on L2: sequences of convolutions and a dense layer.

As in the originals, kernels are not padded, except for images that are too small; maps
of more than 16,384 values are averaged before the dense layer. Pooling comes before the
ReLU, which gives the same values at a quarter of the cost. Weights are initialised as
proposed by Glorot and Bengio (2010): with larger ones, the few and wide layers start at
a loss that takes plain SGD several epochs to reduce.
"""

from torch import nn

from sklearn_l2cnn.architectures._stack import Stack

_initialise = nn.init.xavier_uniform_


def two_conv(input_shape, n_classes):
    """Build two 5 x 5 convolutions of 64 filters, pooled, and 512 dense units."""
    stack = Stack(input_shape)
    for _ in range(2):
        stack.conv(64, 5).pool().relu()
    return stack.flatten().dense(512).relu().logits(n_classes, _initialise)


def conv_pool(input_shape, n_classes):
    """Build 3 x 3 convolutions of 32 and 64 filters, pooled, and 128 dense units."""
    stack = Stack(input_shape)
    for filters in (32, 64):
        stack.conv(filters, 3).pool().relu()
    return stack.flatten().dense(128).relu().logits(n_classes, _initialise)


def four_conv(input_shape, n_classes):
    """Build four padded 3 x 3 convolutions without pooling, and 512 dense units.

    The convolutions have 64, 64, 64 and 10 filters.
    """
    stack = Stack(input_shape)
    for filters in (64, 64, 64, 10):
        stack.conv(filters, 3, padded=True).relu()
    return stack.flatten().dense(512).relu().logits(n_classes, _initialise)


def conv_dropout(input_shape, n_classes):
    """Build 3 x 3 convolutions of 32 and 64 filters, 64 dense units, and dropout 0.5.

    Only the first convolution is pooled.
    """
    stack = Stack(input_shape).conv(32, 3).pool().relu().conv(64, 3).relu()
    return stack.flatten().dense(64).relu().dropout(0.5).logits(n_classes, _initialise)
