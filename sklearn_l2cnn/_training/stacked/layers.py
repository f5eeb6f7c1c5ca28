"""The layers of stacked networks that are not the same for all of them.

Maps of K networks are ``(n, K * channels, height, width)``, rows ``(K, values, n)``.
Each function returns another, from the values in front of a layer to those behind it.
"""

import torch
from torch.nn import functional

from sklearn_l2cnn._training.program import dropped_out

# Largest window of an image, and fewest filters, for `multiplied_patches`.
_WINDOW, _FILTERS = 25, 64


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


def patches_pay(layer, groups, weight):
    """Say whether a convolution of images is sooner as a product of matrices.

    It is where the windows of grey images meet many filters, 2 times in what was
    measured; with more channels, or few filters, it is not.
    """
    plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    grey = layer.in_channels == 1 and weight[0].numel() <= _WINDOW
    return plain and grey and len(weight) >= groups * _FILTERS


def multiplied_patches(layer, groups, weight, bias=None):
    """Convolve the grey images of so many folds: their windows times all filters."""
    options = layer.kernel_size, layer.dilation, layer.padding, layer.stride

    def convolve(x):
        windows = functional.unfold(x, *options).unflatten(1, (groups, -1))
        windows = windows.permute(0, 3, 1, 2).flatten(0, 1)
        filters = weight.chunk(groups)
        biases = [None] * groups if bias is None else bias.chunk(groups)
        products = [
            _product(windows[:, k], filters[k].flatten(1), biases[k])
            for k in range(groups)
        ]
        maps = products[0] if groups == 1 else torch.cat(products, dim=1)
        return maps.unflatten(0, (len(x), *_sizes(x, layer))).permute(0, 3, 1, 2)

    return convolve


def _product(windows, filters, biases):
    # laid so that the gradient of the filters, too, is a product of long rows
    filters = filters.t().contiguous()
    if biases is None:
        return windows @ filters
    return torch.addmm(biases, windows, filters)


def _sizes(x, layer):
    """Return height and width of what a convolution makes of images."""
    options = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    return [
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, padding, dilation in zip(
            x.shape[2:], *options, strict=True
        )
    ]


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
