r"""Remove filters of a layer without changing the output of its reader.

A filter whose weights are zero has a constant output: its bias at each pixel, passed
through the layers between it and its reader (see `Link`). Those layers themselves
compute the resulting map, so padding, pooling and norms need no special rules. Then

- if the contribution of this map to the reader is the same number at every pixel, it is
  added to the bias of the reader;
- otherwise, because the reader pads a map that is not zero, several such filters are
  merged into one: for maps :math:`m_k = r_k m_0`, the weights :math:`\sum_k r_k W_k` of
  the reader for the first have the same effect.

Both are exact except for rounding; all functions expect float64.
"""

import torch
from torch import nn

from sklearn_l2cnn.feature_selection._links import NORMS

# Relative differences that are rounding in float64.
_ROUNDING = 1e-12


def filter_norms(link):
    r"""Return the norm of the incoming weights of each filter.

    A batch norm right behind the filter multiplies it by
    :math:`|\gamma| / \sqrt{\sigma^2 + \epsilon}`.

    Parameters
    ----------
    link : Link

    Returns
    -------
    norms : Tensor of shape (n_filters,)
    """
    norms = link.layer.weight.detach().flatten(1).norm(dim=1)
    norm = _norm_behind(link)
    if norm is None:
        return norms
    norms = norms / (norm.running_var + norm.eps).sqrt()
    return norms if norm.weight is None else norms * norm.weight.detach().abs()


def silence(link, chosen):
    """Make the outputs of filters constant, in place.

    Their weights become zero; in front of a batch norm their output becomes its running
    mean, their mean output in training.

    Parameters
    ----------
    link : Link
    chosen : Tensor of bool of shape (n_filters,)
        Filters that are constant already do not change.
    """
    chosen = chosen & ~is_constant(link)
    layer, norm = link.layer, _norm_behind(link)
    with torch.no_grad():
        layer.weight[chosen] = 0
        if norm is not None and layer.bias is None:
            norm.running_mean[chosen] = 0
        elif norm is not None:
            layer.bias[chosen] = norm.running_mean[chosen]


def is_constant(link):
    """Return a mask of the filters whose output is the same for every image.

    Parameters
    ----------
    link : Link

    Returns
    -------
    constant : Tensor of bool of shape (n_filters,)
    """
    constant = ~link.layer.weight.detach().flatten(1).any(dim=1)
    norm = _norm_behind(link)
    if norm is not None and norm.weight is not None:
        constant |= norm.weight.detach() == 0
    return constant


def remove(link):
    """Remove all filters that can be removed without a change, in place.

    These are filters that the reader ignores, and constant filters, if the reader can
    compensate for them. At least one filter is kept.

    Parameters
    ----------
    link : Link

    Returns
    -------
    kept : Tensor of bool of shape (n_filters,)
        Mask of the kept filters.
    """
    with torch.no_grad():
        columns = _columns(link)
        unread = ~columns.flatten(2).any(dim=2).any(dim=0)
        maps = _constant_maps(link)
        constants, varying = {}, []
        for k in (is_constant(link) & ~unread).nonzero().flatten().tolist():
            constant = _contribution(link.reader, columns[:, k], maps[k])
            if constant is None:
                varying.append(k)
            else:
                constants[k] = constant
        removed = unread.clone()
        removed[list(constants)] = True
        if removed.all():
            constants.pop(0, None)
            removed[0] = False
        _add_to_bias(link.reader, constants.values())
        removed[list(_merge(columns, maps, varying))] = True
        if removed.any():
            _keep(link, ~removed, columns)
    return ~removed


def _norm_behind(link):
    first = link.between[0] if link.between else None
    return first if type(first) in NORMS else None


def _columns(link):
    """Return a view of the reader's weights, (filters of it, channels, ...)."""
    weight = link.reader.weight.detach()
    if type(link.reader) is nn.Conv2d:
        return weight
    return weight.unflatten(1, (len(link.layer.weight), -1))


def _constant_maps(link):
    """Return the input of the reader if all filters were zero: (channels, ...)."""
    bias, n_filters = link.layer.bias, len(link.layer.weight)
    if bias is None:
        bias = link.layer.weight.new_zeros(n_filters)
    pixels = link.shape[1:]
    maps = bias.detach().reshape(1, -1, *[1] * len(pixels)).repeat(1, 1, *pixels)
    for part in link.between:
        maps = part(maps)
    if type(link.reader) is nn.Linear:
        return maps[0].unflatten(0, (n_filters, -1))
    return maps[0]


def _contribution(reader, column, constant_map):
    """Return what a channel adds to the output of a reader, None if pixels differ."""
    if type(reader) is nn.Linear:
        return column @ constant_map
    # the reader itself, as if it had this channel alone, and no bias
    weight = column.unsqueeze(1)
    output = reader._conv_forward(constant_map[None, None], weight, None)[0].flatten(1)
    low, high = output.aminmax(dim=1)
    if (high - low).max() > _ROUNDING * output.abs().max():
        return None
    return (low + high) / 2


def _add_to_bias(reader, constants):
    """Add the contributions of constant channels to the bias of their reader."""
    total = sum(constants, reader.weight.new_zeros(len(reader.weight)))
    if not total.any():
        return
    if reader.bias is None:
        trainable = reader.weight.requires_grad
        reader.bias = nn.Parameter(torch.zeros_like(total), requires_grad=trainable)
    reader.bias += total


def _merge(columns, maps, channels):
    """Merge channels with proportional maps into one, in place; yield the others."""
    maps = maps.flatten(1)
    # the largest first, so that no ratio exceeds 1
    channels = sorted(channels, key=lambda k: -float(maps[k].norm()))
    while channels:
        first, *others = channels
        channels = []
        for k in others:
            ratio = maps[k] @ maps[first] / maps[first].square().sum()
            residual = (maps[k] - ratio * maps[first]).norm()
            if residual > _ROUNDING * maps[first].norm():
                channels.append(k)
            else:
                columns[:, first] += ratio * columns[:, k]
                yield k


def _keep(link, kept, columns):
    """Keep only some filters of a link, in all layers with parameters of them."""
    layer, reader, n_filters = link.layer, link.reader, len(link.layer.weight)
    for part in (layer, *link.between):
        for name in ("weight", "bias", "running_mean", "running_var"):
            tensor = getattr(part, name, None)
            if tensor is not None and len(tensor) >= n_filters:
                # behind a Flatten, a channel is as many values as it had pixels
                blocks = tensor.data.unflatten(0, (n_filters, -1))
                tensor.data = blocks[kept].flatten(0, 1)
        for name in ("out_channels", "out_features", "num_features", "num_parameters"):
            size = getattr(part, name, 0)
            if size >= n_filters:  # a PReLU may have one parameter for all
                setattr(part, name, size // n_filters * int(kept.sum()))
    # (units, channels, pixels) of a dense layer becomes (units, values)
    chosen = columns[:, kept]
    reader.weight.data = chosen.flatten(1) if reader.weight.ndim == 2 else chosen
    size = "in_channels" if type(reader) is nn.Conv2d else "in_features"
    setattr(reader, size, reader.weight.shape[1])
