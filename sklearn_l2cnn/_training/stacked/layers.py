"""The layers of stacked networks that are not the same for all of them.

Maps of K networks are ``(n, K * channels, height, width)``, rows ``(K, values, n)``.
Each function returns another, from the values in front of a layer to those behind it.
"""

import torch
from torch.nn import functional

from sklearn_l2cnn._training.program import dropped_out


def own_maps(owners):
    """Give every network the maps of its fold, so that each has its own."""
    n_folds = int(owners[-1]) + 1

    def choose(x):
        stored = x.permute(0, 2, 3, 1)  # in memory channels last
        by_fold = stored.unflatten(3, (n_folds, -1))
        return by_fold.index_select(3, owners).flatten(3).permute(0, 3, 1, 2)

    return choose


def own_rows(owners):
    """Give every network the rows of its fold."""

    def choose(x):
        if len(x) == 1:  # nothing is copied
            return x.expand(len(owners), -1, -1)
        return x.index_select(0, owners)

    return choose


def flattened(size):
    """Make rows of the maps of so many networks."""

    def flatten(x):
        rows = x.unflatten(1, (size, -1)).transpose(0, 1).flatten(2)
        return rows.transpose(1, 2)

    return flatten


def convolved(layer, groups, weight, bias=None):
    """Convolve, in so many groups."""
    options = layer.stride, layer.padding, layer.dilation, groups
    return lambda x: functional.conv2d(x, weight, bias, *options)


def multiplied(layer, size, weight, bias=None):
    """Multiply by matrices, and add biases: the dense layers of all networks.

    The matrices stand on the left, so that their gradient is laid as they are.
    """
    rows = layer.out_features
    if bias is None:
        return lambda x: torch.bmm(weight.view(size, rows, -1), x)
    return lambda x: torch.baddbmm(
        bias.view(size, rows, 1), weight.view(size, rows, -1), x
    )


def group_normed(layer, size, weight=None, bias=None):
    """Norm groups of channels of every image."""
    groups = size * layer.num_groups
    return lambda x: functional.group_norm(x, groups, weight, bias, layer.eps)


def dropped(layer, stack):
    """Drop values, in every network by a generator of its own."""

    def drop(x):
        if not stack.training:
            return x
        along = 1 if x.ndim == 4 else 0
        parts = zip(x.chunk(stack.size, dim=along), stack.generators, strict=True)
        kept = [dropped_out(part, layer.p, generator) for part, generator in parts]
        return torch.cat(kept, dim=along)

    return drop


def normed(layer, stack, mean, var, weight=None, bias=None):
    """Norm every channel over the batch."""

    def norm(x):
        rate = layer.momentum
        if rate is None:  # the mean over all batches so far
            rate = 1 / (int(layer.num_batches_tracked) + stack.steps + 1)
        maps = x if x.ndim == 4 else x.flatten(0, 1).unsqueeze(0)
        result = functional.batch_norm(
            maps, mean, var, weight, bias, stack.training, rate, layer.eps
        )
        return result.view_as(x)

    return norm
