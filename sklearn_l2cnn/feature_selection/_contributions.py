r"""The contribution of each pixel to the discrimination of the classes.

For an image :math:`x` of class :math:`y`, let :math:`m(x)` be the log odds of y in the
output of the network: the logit of y minus the log of the summed exponentials of the
others. The contribution of pixel p is its integrated gradient (Sundararajan et al.,
"Axiomatic attribution for deep networks", 2017) on the line from the mean image
:math:`b`,

.. math:: (x_p - b_p) \int_0^1 \frac{\partial m}{\partial x_p}(b + t (x - b))\,dt,

and its importance is the weighted mean of the contributions over the images. The sum
over the pixels is the mean of :math:`m(x) - m(b)`. Contributions keep their signs:
those of an uninformative pixel cancel over the images, which absolute values would
prevent.
"""

import torch
from torch.nn.functional import one_hot

from sklearn_l2cnn._training.chunks import over_chunks
from sklearn_l2cnn._training.runtime import autocast


def log_odds(logits, labels):
    """Return the log odds of a class against all others, for each image.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
    labels : Tensor of int64 of shape (n,)

    Returns
    -------
    odds : Tensor of shape (n,)
        The logit itself if there is only one class.
    """
    chosen = logits.gather(1, labels[:, None])[:, 0]
    if logits.shape[1] == 1:
        return chosen
    hidden = one_hot(labels, logits.shape[1]).bool()
    return chosen - logits.masked_fill(hidden, -torch.inf).logsumexp(dim=1)


def contributions(net, images, rows, labels, share, n_steps):
    """Return the contribution of each value of an image, averaged over images.

    Parameters
    ----------
    net : Net
        Its network is put into evaluation mode.
    images : ndarray or Tensor of shape (n, height, width, channels)
    rows : array of int of shape (m,)
        Indices of the images, in the order in which they are summed.
    labels : Tensor of int64 of shape (m,)
        On the device of the network, like `share`.
    share : Tensor of shape (m,)
        Weights that sum to 1, of the dtype that sums are to have.
    n_steps : int
        Points on the line from the mean image: midpoints of as many equal intervals.

    Returns
    -------
    importances : Tensor of shape (channels, height, width)
    """
    data = net, images, rows, share
    mean = _weighted_sum(*data, lambda part, chunk: chunk)

    def of_chunk(part, chunk):
        own = labels[part]
        padded = torch.cat([own, own[-1:].expand(len(chunk) - len(own))])
        difference = chunk - mean.to(chunk.dtype)
        slope = 0
        for step in range(n_steps):
            # images on the line, the nearest to the mean first
            points = chunk - (1 - (step + 0.5) / n_steps) * difference
            slope = slope + _slope(net, points, padded).to(share.dtype)
        return slope / n_steps * difference.to(share.dtype)

    return _weighted_sum(*data, of_chunk)


def _weighted_sum(net, images, rows, share, values_of):
    """Sum, as wide as the weights, what a function returns for each image."""

    def of_chunk(part, chunk):
        values = values_of(part, chunk)[: part.stop - part.start].to(share.dtype)
        return (share[part, None, None, None] * values).sum(dim=0)

    return sum(over_chunks(net, images, of_chunk, rows))


def _slope(net, images, labels):
    """Return the derivative of the log odds of each image by its values."""
    images = images.detach().requires_grad_()
    with autocast(net.lower, images.device):
        logits = net.module_(images)
    odds = log_odds(logits.to(net.dtype), labels)
    [slope] = torch.autograd.grad(odds.sum(), images)
    return slope
