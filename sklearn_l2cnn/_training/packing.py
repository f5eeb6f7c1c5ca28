"""A loss and its gradients in one tensor of bytes, so that they travel at once."""

import math
from itertools import groupby

import torch

# Rows begin where numbers of any size may.
_ALIGNED = 16


def form_of(losses, gradients):
    """Return what has to be known of a loss and its gradients to unpack them.

    Parameters
    ----------
    losses : Tensor
    gradients : sequence of Tensor or None
        By parameter; None where it is not reached.

    Returns
    -------
    form : tuple (dtype, shape, list of bool)
        Of the losses, and which of the parameters are reached.
    """
    reached = [gradient is not None for gradient in gradients]
    return losses.dtype, losses.shape, reached


class Layout:
    """Where each number lies among the bytes.

    Numbers of a kind lie together, and those of a parameter as the parameter has them.

    Parameters
    ----------
    form : tuple
        Of `form_of`.
    parameters : list of torch.nn.Parameter
    """

    def __init__(self, form, parameters):
        dtype, shape, self.reached = form
        pairs = zip(parameters, self.reached, strict=True)
        like = [torch.empty(shape, dtype=dtype, device="meta")]
        like += [torch.empty_like(p, device="meta") for p, is_in in pairs if is_in]
        order = sorted(range(len(like)), key=lambda k: _kind(like[k]))
        self.places, self.sections, end = [None] * len(like), [], 0
        # large numbers come first, so that all lie where they may
        for _, same in groupby(order, key=lambda k: _kind(like[k])):
            own, start = list(same), end
            for k in own:
                stop = end + like[k].numel() * like[k].element_size()
                self.places[k] = slice(end, stop), like[k]
                end = stop
            self.sections.append((slice(start, end), like[own[0]].dtype))
        self.n_bytes = _ALIGNED * math.ceil(end / _ALIGNED)

    def packed(self, found, n_rows, device):
        """Pack losses with their gradients, each into a row; others are left empty.

        Parameters
        ----------
        found : list of tuple (losses, gradients)
        n_rows : int
        device : torch.device

        Returns
        -------
        rows : Tensor of uint8 of shape (n_rows, n_bytes)
        """
        rows = torch.empty((n_rows, self.n_bytes), dtype=torch.uint8, device=device)
        for row, (losses, gradients) in zip(rows, found, strict=False):
            tensors = [losses, *(g for g in gradients if g is not None)]
            for view, tensor in zip(self._views(row), tensors, strict=True):
                view.copy_(tensor)
        return rows

    def add(self, row, other):
        """Add the numbers of a row to those of another, in place."""
        for part, dtype in self.sections:
            row[part].view(dtype).add_(other[part].view(dtype))

    def unpacked(self, row):
        """Return the losses and the gradients that a row is made of, without a copy."""
        losses, *others = self._views(row)
        others = iter(others)
        return losses, [next(others) if is_in else None for is_in in self.reached]

    def _views(self, row):
        return [
            row[part].view(like.dtype).as_strided(like.shape, like.stride())
            for part, like in self.places
        ]


def _kind(tensor):
    """Return what numbers are sorted by: their size, the largest first, and kind."""
    return -tensor.element_size(), str(tensor.dtype)
