"""Batch norm, and dropout with it, over a batch of which every rank has a part."""

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class OverTheBatch(TorchFunctionMode):
    """Let layers do with a part of a batch what they would do with all of it.

    To be used as a context, in the thread that computes.

    Parameters
    ----------
    ranks : Ranks
        Each has a part, and all are in such a context.
    n_rows : int
        Images in the batch.
    part : slice
        The rows of this rank.
    """

    def __init__(self, ranks, n_rows, part):
        super().__init__()
        self.ranks = ranks
        self.n_rows = n_rows
        self.part = part

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Replace batch norm and dropout, leave all other functions alone."""
        if func is F.batch_norm:
            return norm_of_all(self.ranks, *args, **(kwargs or {}))
        if func is F.dropout:
            return self._dropout(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _dropout(self, input, p=0.5, training=True, inplace=False):
        """Draw for the whole batch, as one process would, and as every rank does."""
        if not training or not p:
            return input
        form = self.n_rows, *input.shape[1:]
        # in the order in which the numbers of the whole would lie in memory
        order = sorted(range(1, input.ndim), key=lambda d: -input.stride(d))
        ones = input.new_ones([form[d] for d in (0, *order)])
        places = sorted(range(input.ndim), key=[0, *order].__getitem__)
        return input * F.dropout(ones.permute(places), p)[self.part]


def norm_of_all(
    ranks,
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
):
    """Return what ``torch.nn.functional.batch_norm`` does with the inputs of all ranks.

    Parameters
    ----------
    ranks : Ranks
    input : Tensor of shape (n, channels, ...)
        Of this rank.
    running_mean, running_var : Tensor of shape (channels,) or None
        Are updated where `training` says so.
    weight, bias : Tensor of shape (channels,) or None, default=None
    training : bool, default=False
    momentum : float, default=0.1
    eps : float, default=1e-5

    Returns
    -------
    output : Tensor of shape (n, channels, ...)
        Of this rank.
    """
    others = running_mean, running_var, weight, bias
    if not training:
        return F.batch_norm(input, *others, False, momentum, eps)
    values = input if input.dtype == torch.float64 else input.float()
    dims, form = [0, *range(2, input.ndim)], [1, -1] + [1] * (input.ndim - 2)
    count = values.new_tensor([values[:, 0].numel()])
    total = _Sum.apply(ranks, torch.cat([values.sum(dims), count]))
    mean, count = total[:-1] / total[-1], total[-1].detach()
    centred = values - mean.view(form)
    variance = _Sum.apply(ranks, centred.square().sum(dims)) / count
    output = centred * (variance + eps).rsqrt().view(form)
    if weight is not None:
        output = output * weight.view(form)
    if bias is not None:
        output = output + bias.view(form)
    with torch.no_grad():
        unbiased = variance * (count / (count - 1))
        for running, new in (running_mean, mean), (running_var, unbiased):
            if running is not None:
                running.lerp_(new.to(running.dtype), momentum)
    return output.to(input.dtype)


class _Sum(torch.autograd.Function):
    """The sum of what the ranks have; what it is worth to them is summed as well."""

    @staticmethod
    def forward(ctx, ranks, tensor):
        ctx.ranks = ranks
        return _summed(ranks, tensor)

    @staticmethod
    def backward(ctx, gradient):
        return None, _summed(ctx.ranks, gradient.contiguous())


def _summed(ranks, tensor):
    """Add up tensors in the order of the ranks: all of them get the same bits."""
    return sum(ranks.gathered(tensor))
