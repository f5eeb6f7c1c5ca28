r"""Taking filters out of a layer so that the next one does not notice.

A filter whose weights are zero gives the same to every image: its bias at each pixel,
and whatever the layers behind make of that. What the reader gets from it is worked out
by sending the bias through these layers themselves, so that padding, pooling and norms
need no rules of their own. Then

- where the reader's share of it is the same number at every pixel, it goes into the
  reader's bias;
- where it is not, because the reader pads a map that is not zero, several such filters
  become one: for maps :math:`m_k = r_k m_0` the reader's weights
  :math:`\sum_k r_k W_k` of the first do the same.

Both are exact but for rounding; all is meant to be in float64.
"""

import torch
from torch import nn

from sklearn_l2cnn.feature_selection._links import NORMS

# Relative differences that are rounding in float64.
_ROUNDING = 1e-12


def filter_norms(link):
    r"""Return the norm of what every filter reads with.

    A batch norm right behind belongs to the filter: it takes the norm times
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
    """Let filters give what they would without any input, in place.

    Their weights become zero; behind a batch norm they give their running mean, which
    is what they gave to the training images on average.

    Parameters
    ----------
    link : Link
    chosen : Tensor of bool of shape (n_filters,)
        Of which those stay as they are that give the same to every image already.
    """
    chosen = chosen & ~is_constant(link)
    layer, norm = link.layer, _norm_behind(link)
    with torch.no_grad():
        layer.weight[chosen] = 0
        if norm is None:
            return
        if layer.bias is None:
            norm.running_mean[chosen] = 0
        else:
            layer.bias[chosen] = norm.running_mean[chosen]


def is_constant(link):
    """Say of every filter whether it gives the same to every image.

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
    """Take out every filter that can go without a change, in place.

    Those can go that nobody reads, and those that give the same to every image, if the
    reader can do without. One stays in any case.

    Parameters
    ----------
    link : Link

    Returns
    -------
    kept : Tensor of int of shape (n_kept,)
        Of the filters that there were.
    """
    with torch.no_grad():
        columns = _columns(link)
        unread = ~columns.flatten(2).any(dim=2).any(dim=0)
        maps = _constant_maps(link)
        shares, standing = {}, []
        for k in (is_constant(link) & ~unread).nonzero().flatten().tolist():
            share = _share(link.reader, columns[:, k], maps[k])
            if share is None:
                standing.append(k)
            else:
                shares[k] = share
        gone = unread.clone()
        gone[list(shares)] = True
        if gone.all():
            shares.pop(0, None)
            gone[0] = False
        _add_to_bias(link.reader, shares.values())
        for k in _merged(columns, maps, standing):
            gone[k] = True
        kept = (~gone).nonzero().flatten()
        if gone.any():
            _cut(link, kept, columns)
    return kept


def _norm_behind(link):
    first = link.between[0] if link.between else None
    return first if type(first) in NORMS else None


def _columns(link):
    """Return the reader's weights by channel: (readers, channels, ...), as a view."""
    weight = link.reader.weight.detach()
    if type(link.reader) is nn.Conv2d:
        return weight
    return weight.unflatten(1, (len(link.layer.weight), -1))


def _constant_maps(link):
    """Return what comes to the reader of filters without input: (channels, ...)."""
    bias, n_filters = link.layer.bias, len(link.layer.weight)
    if bias is None:
        bias = link.layer.weight.new_zeros(n_filters)
    pixels = link.shape[1:]
    maps = bias.detach().reshape(1, -1, *[1] * len(pixels))
    maps = maps.repeat(1, 1, *pixels)
    for part in link.between:
        maps = part(maps)
    if type(link.reader) is nn.Linear:
        return maps[0].unflatten(0, (n_filters, -1))
    return maps[0]


def _share(reader, column, constant):
    """Return what a reader gets from a constant channel, None where pixels differ."""
    if type(reader) is nn.Linear:
        return column @ constant
    alone = nn.Conv2d(
        1,
        reader.out_channels,
        reader.kernel_size,
        reader.stride,
        reader.padding,
        reader.dilation,
        bias=False,
        padding_mode=reader.padding_mode,
        device=column.device,
        dtype=column.dtype,
    )
    alone.weight.copy_(column.unsqueeze(1))
    seen = alone(constant[None, None])[0].flatten(1)
    low, high = seen.amin(dim=1), seen.amax(dim=1)
    if (high - low).max() > _ROUNDING * seen.abs().max():
        return None
    return (low + high) / 2


def _add_to_bias(reader, shares):
    """Add what constant channels gave to the bias of their reader."""
    total = sum(shares, reader.weight.new_zeros(len(reader.weight)))
    if not total.any():
        return
    if reader.bias is None:
        trained = reader.weight.requires_grad
        reader.bias = nn.Parameter(torch.zeros_like(total), requires_grad=trained)
    reader.bias += total


def _merged(columns, maps, standing):
    """Let one of several channels with proportional maps do for all; yield the others.

    The weights of those that stay change in place.
    """
    maps = maps.flatten(1)
    # the largest first: what the others are made of is never smaller than they are
    standing = sorted(standing, key=lambda k: -float(maps[k].norm()))
    while standing:
        first, *others = standing
        standing = []
        for k in others:
            ratio = maps[k] @ maps[first] / maps[first].square().sum()
            apart = (maps[k] - ratio * maps[first]).norm()
            if apart > _ROUNDING * maps[first].norm():
                standing.append(k)
            else:
                columns[:, first] += ratio * columns[:, k]
                yield k


def _cut(link, kept, columns):
    """Keep some filters of a link alone, in all layers that know of them."""
    layer, reader, n_filters = link.layer, link.reader, len(link.layer.weight)
    for part in (layer, *link.between):
        for name in ("weight", "bias", "running_mean", "running_var"):
            tensor = getattr(part, name, None)
            if tensor is not None and len(tensor) >= n_filters:
                # behind a Flatten every channel has as many numbers as it had pixels
                blocks = tensor.data.unflatten(0, (n_filters, -1))
                tensor.data = blocks[kept].flatten(0, 1)
        for name in ("out_channels", "out_features", "num_features", "num_parameters"):
            size = getattr(part, name, 0)
            if size >= n_filters:  # a PReLU may have one number for all
                setattr(part, name, size // n_filters * len(kept))
    # (readers, channels, pixels) of a dense layer becomes (readers, values)
    chosen = columns[:, kept]
    reader.weight.data = chosen.flatten(1) if reader.weight.ndim == 2 else chosen
    size = "in_channels" if type(reader) is nn.Conv2d else "in_features"
    setattr(reader, size, reader.weight.shape[1])
