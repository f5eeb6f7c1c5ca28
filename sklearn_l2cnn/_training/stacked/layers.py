"""The layers of a stack of networks that are not the same for all of them.

Each function returns another, from the values of a batch and what is ragged about it to
the values behind the layer. Maps are ``(n, K * channels, height, width)``, rows
``(K, values, n)``.
"""

import torch
from torch.nn import functional


def side_by_side(maps, index, n_groups):
    """Repeat the maps of groups, so that every network has its own.

    Parameters
    ----------
    maps : Tensor of shape (n, n_groups * channels, height, width)
    index : Tensor of int64 of shape (K,)
        Of the group of each network.
    n_groups : int

    Returns
    -------
    maps : Tensor of shape (n, K * channels, height, width)
    """
    stored = maps.permute(0, 2, 3, 1).unflatten(3, (n_groups, -1))
    return stored.index_select(3, index).flatten(3).permute(0, 3, 1, 2)


def convolved(layer, weight, bias=None, *, n, sizes=None):
    """Convolve in groups; where images are shared, each group of networks as one.

    Parameters
    ----------
    layer : torch.nn.Conv2d
        Of a single network.
    weight, bias : torch.nn.Parameter
        Of all.
    n : int
        The number of networks.
    sizes : list of int, default=None
        How many networks see the images of each group; None where each has its own.
    """
    options = layer.stride, layer.padding, layer.dilation
    convolve = functional.conv2d
    if sizes is None:
        groups = n * layer.groups
        return lambda x, ragged: convolve(x, weight, bias, *options, groups)
    if len(set(sizes)) == 1:
        groups = len(sizes)
        return lambda x, ragged: convolve(x, weight, bias, *options, groups)
    channels = [size * layer.out_channels for size in sizes]

    def apart(x, ragged):
        inputs = x.split(layer.in_channels, dim=1)
        weights = weight.split(channels)
        biases = [None] * len(sizes) if bias is None else bias.split(channels)
        parts = zip(inputs, weights, biases, strict=True)
        return torch.cat([convolve(*part, *options) for part in parts], dim=1)

    return apart


def added_bias(layer, weight, bias=None, *, n):
    """Multiply by matrices, and add biases: the dense layers of all networks.

    The matrices stand on the left, so that their gradient is laid as they are.
    """
    rows = layer.out_features
    if bias is None:
        return lambda x, ragged: torch.bmm(weight.view(n, rows, -1), x)
    return lambda x, ragged: torch.baddbmm(
        bias.view(n, rows, 1), weight.view(n, rows, -1), x
    )


def group_normed(layer, weight=None, bias=None, *, n):
    """Norm groups of channels of every image."""
    groups = n * layer.num_groups
    return lambda x, ragged: functional.group_norm(x, groups, weight, bias, layer.eps)


def dropped_out(layer, stack):
    """Drop values, in every network by a generator of its own."""

    def drop(x, ragged):
        if not stack.training:
            return x
        kept = torch.empty_like(x)
        along = 1 if x.ndim == 4 else 0
        for part, generator in zip(
            kept.chunk(stack.size, dim=along), stack.generators, strict=True
        ):
            mask = torch.empty(part.shape, dtype=x.dtype, device=x.device)
            part.copy_(mask.bernoulli_(1 - layer.p, generator=generator))
        # of a rate of 1 nothing is kept, and 0 / 0 would be the scale
        return x * kept.div_(max(1 - layer.p, 1e-30))

    return drop


def normed(layer, tensors, states, stack):
    """Norm every channel over the batch; ragged ones over the images alone."""
    weight, bias = tensors or (None, None)
    mean, var = states

    def norm(x, ragged):
        rate = layer.momentum
        if rate is None:  # the mean over all batches so far
            rate = 1 / (int(layer.num_batches_tracked) + stack.steps + 1)
        maps = x if x.ndim == 4 else x.flatten(0, 1).unsqueeze(0)
        if stack.training and ragged is not None:
            result = _ragged_norm(maps, ragged, x.ndim, layer.eps, mean, var, rate)
            if weight is not None:
                shape = -1, *[1] * (maps.ndim - 2)
                result = result * weight.view(shape) + bias.view(shape)
        else:
            options = stack.training, rate, layer.eps
            result = functional.batch_norm(maps, mean, var, weight, bias, *options)
        return result if x.ndim == 4 else result.view_as(x)

    return norm


def _ragged_norm(maps, ragged, ndim, eps, mean, var, rate):
    """Norm channels over those rows that are images, and follow their statistics."""
    n_networks = len(ragged.counts)
    channels = maps.shape[1] // n_networks
    mask = ragged.mask.repeat_interleave(channels, dim=1)
    if ndim == 4:
        mask, over, pixels = mask[:, :, None, None], (0, 2, 3), maps[0, 0].numel()
    else:
        mask, over, pixels = mask.T[None], (0, 2), 1
    count = (ragged.counts * pixels).repeat_interleave(channels)
    shape = 1, -1, *[1] * (maps.ndim - 2)
    center = (maps * mask).sum(over) / count
    apart = (maps - center.view(shape)) * mask
    spread = apart.square().sum(over) / count
    with torch.no_grad():
        mean.lerp_(center, rate)
        var.lerp_(spread * (count / (count - 1)), rate)
    return apart / (spread + eps).sqrt().view(shape)
