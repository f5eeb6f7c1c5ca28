r"""How much every pixel contributes to telling the classes apart.

For an image :math:`x` of class :math:`y` let :math:`m(x)` be the log odds that the
network gives its own class, the logit of y minus the log of the summed exponentials of
the others. What pixel p contributes is its integrated gradient (Sundararajan et al.,
"Axiomatic attribution for deep networks", 2017) on the straight way from the mean image
:math:`b`,

.. math:: (x_p - b_p) \int_0^1 \frac{\partial m}{\partial x_p}(b + t (x - b))\,dt,

and its importance the weighted mean of that over the images. Summed over the pixels
this is the mean of :math:`m(x) - m(b)`. The sign stays: what a pixel without a meaning
adds to some images it takes from others, so that it cancels, and a mean of absolute
values would not let it.
"""

import torch
from torch.nn.functional import one_hot

from sklearn_l2cnn._training.chunks import over_chunks
from sklearn_l2cnn._training.runtime import autocast


def log_odds(logits, labels):
    """Return the log odds of a class against all others, one for every image.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
    labels : Tensor of int64 of shape (n,)

    Returns
    -------
    odds : Tensor of shape (n,)
        The logit itself where there is but one class.
    """
    own = logits.gather(1, labels[:, None])[:, 0]
    if logits.shape[1] == 1:
        return own
    hidden = one_hot(labels, logits.shape[1]).bool()
    return own - logits.masked_fill(hidden, -torch.inf).logsumexp(dim=1)


def mean_image(net, images, rows, share):
    """Return the weighted mean of images as a network sees them, in float64.

    Parameters
    ----------
    net : Net
    images : ndarray or Tensor of shape (n, height, width, channels)
    rows : array of int of shape (m,)
    share : Tensor of float64 of shape (m,)
        Weights that sum to 1, on the device of the network.

    Returns
    -------
    mean : Tensor of shape (channels, height, width)
    """

    def of_chunk(part, chunk):
        seen = chunk[: part.stop - part.start].double()
        return (share[part, None, None, None] * seen).sum(dim=0)

    return sum(over_chunks(net, images, of_chunk, rows))


def contributions(net, images, rows, labels, share, n_steps):
    """Return what every value of an image contributes, averaged over images.

    Parameters
    ----------
    net : Net
        Its network is put into evaluation mode.
    images : ndarray or Tensor of shape (n, height, width, channels)
    rows : array of int of shape (m,)
        Which of them, in the order in which they are summed.
    labels : Tensor of int64 of shape (m,)
        On the device of the network, as `share` is.
    share : Tensor of float64 of shape (m,)
        Weights that sum to 1.
    n_steps : int
        Points on the way from the mean image: the middles of as many equal parts.

    Returns
    -------
    importances : Tensor of float64 of shape (channels, height, width)
    """
    mean = mean_image(net, images, rows, share)

    def of_chunk(part, chunk):
        n_rows = part.stop - part.start
        wanted = labels[part]
        wanted = torch.cat([wanted, wanted[-1:].expand(len(chunk) - n_rows)])
        way = chunk - mean.to(chunk.dtype)
        slope = 0
        for step in range(n_steps):
            # images on the way, the nearest to the mean first
            seen = chunk - (1 - (step + 0.5) / n_steps) * way
            slope = slope + _slope(net, seen, wanted).double()
        parts = (slope / n_steps * way.double())[:n_rows]
        return (share[part, None, None, None] * parts).sum(dim=0)

    return sum(over_chunks(net, images, of_chunk, rows))


def _slope(net, images, labels):
    """Return the derivative of every image's log odds by its values."""
    images = images.detach().requires_grad_()
    with autocast(net.lower, images.device):
        logits = net.module_(images)
    odds = log_odds(logits.to(net.dtype), labels)
    [slope] = torch.autograd.grad(odds.sum(), images)
    return slope
