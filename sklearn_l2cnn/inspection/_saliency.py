r"""Saliency: the pixels of an image that speak for a class, computed on tensors.

Four methods, each a function of a network and a batch of images. They are short, so
they are written out here instead of depending on Captum (https://captum.ai), with which
the tests compare them. In addition, chunks bound the memory of every method, the maps
of an occlusion have the dtype of the network, and its windows end with the image, where
those of Captum exceed it.

Sources: gradients, K. Simonyan et al., "Deep inside convolutional networks" (2014);
integrated gradients, M. Sundararajan et al., "Axiomatic attribution for deep networks"
(2017); Grad-CAM, R. Selvaraju et al., "Grad-CAM" (2017); occlusion, M. Zeiler and
R. Fergus, "Visualizing and understanding convolutional networks" (2014).
"""

import torch
from torch.nn.functional import interpolate

from sklearn_l2cnn._utils.trace import layer_outputs

# Largest numbers of pixel values and of images in one chunk.
_CHUNK_VALUES = 1 << 20
_CHUNK_ROWS = 256


def rows_per_chunk(images):
    """Return how many images of this size are one chunk, which fits into memory."""
    return min(max(1, _CHUNK_VALUES // images[0].numel()), _CHUNK_ROWS)


def target_logits(logits, targets):
    """Return the logit of the target of every image."""
    return logits.gather(1, targets[:, None])[:, 0]


def _slopes(module, images, targets, layer=None):
    """Yield values of chunks of images, and the derivative of the logits by them.

    The values are the output of a layer, or the images themselves without one.
    """
    n_rows = rows_per_chunk(images)
    for chunk, target in zip(images.split(n_rows), targets.split(n_rows), strict=True):
        # so that torch records an output also if all earlier layers are frozen
        chunk = chunk.detach().clone().requires_grad_()
        logits, outputs = layer_outputs(module, chunk, [] if layer is None else [layer])
        values = outputs.get(layer, chunk)
        total = target_logits(logits, target).sum()
        [slopes] = torch.autograd.grad(total, values, materialize_grads=True)
        yield values.detach(), slopes


def gradient(module, images, targets):
    """Return the derivative of the target's logit by every value of an image.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode, in which the logits of an image depend on no other image.
    images : Tensor of shape (n, channels, height, width)
    targets : Tensor of int64 of shape (n,)

    Returns
    -------
    gradient : Tensor of shape (n, channels, height, width)
    """
    slopes = [slopes for _, slopes in _slopes(module, images, targets)]
    # sums over them do not depend on the layout of the images
    return torch.cat(slopes).contiguous()


def integrated_gradients(module, images, baseline, targets, n_steps):
    r"""Return how much each value adds to the logit, on the line from a baseline.

    .. math:: (x_i - b_i) \int_0^1 \frac{\partial f}{\partial x_i}(b + t (x - b))\,dt

    The sum over all values is :math:`f(x) - f(b)`, up to the error of the integration
    by the midpoints of `n_steps` equal intervals. The gradient of a network of ReLUs is
    constant between kinks, so a rule of higher order has no advantage.

    Parameters
    ----------
    module : torch.nn.Module
    images : Tensor of shape (n, channels, height, width)
    baseline : Tensor of shape (channels, height, width)
    targets : Tensor of int64 of shape (n,)
    n_steps : int

    Returns
    -------
    attributions : Tensor of shape (n, channels, height, width)
    """
    shares = (torch.arange(n_steps, device=images.device) + 0.5) / n_steps
    shares = shares.to(images.dtype)[:, None, None, None]
    result = torch.empty_like(images)
    for k, (image, target) in enumerate(zip(images, targets, strict=True)):
        steps = torch.lerp(baseline, image, shares)
        slopes = gradient(module, steps, target.expand(n_steps))
        result[k] = (image - baseline) * slopes.mean(dim=0)
    return result


def grad_cam(module, images, targets, layer):
    r"""Return the positions at which the maps of a layer raise the logit.

    The map of an image is :math:`\max(0, \sum_k a_k A_k)`, with :math:`A_k` the output
    of channel k of the layer and :math:`a_k` the mean over its pixels of the derivative
    of the logit by it; bilinearly enlarged to the size of the image.

    Parameters
    ----------
    module : torch.nn.Module
    images : Tensor of shape (n, channels, height, width)
    targets : Tensor of int64 of shape (n,)
    layer : str
        A module whose output has shape (n, channels, height, width).

    Returns
    -------
    maps : Tensor of shape (n, height, width)
    """
    enlarged, size = [], images.shape[2:]
    for output, slopes in _slopes(module, images, targets, layer):
        weight = slopes.mean(dim=(2, 3), keepdim=True)
        maps = (weight * output).sum(dim=1, keepdim=True).relu()
        maps = interpolate(maps, size, mode="bilinear", align_corners=False)
        enlarged.append(maps[:, 0])
    return torch.cat(enlarged)


def occlusion(module, images, baseline, targets, patch, stride):
    """Return the decrease of the logit if a patch hides a pixel.

    A window moves over the image and replaces it by the baseline. The value of a pixel
    is the mean, over all windows that hide it, of the logit without the window minus
    the logit with it.

    Parameters
    ----------
    module : torch.nn.Module
    images : Tensor of shape (n, channels, height, width)
    baseline : Tensor of shape (channels, height, width)
    targets : Tensor of int64 of shape (n,)
    patch, stride : tuple of int
        Height and width of the window, and its steps down and to the right.

    Returns
    -------
    maps : Tensor of shape (n, height, width)
    """
    hidden = windows(images.shape[2:], patch, stride).to(images.device)
    n_windows, height, width = hidden.shape
    pairs = torch.arange(len(images) * n_windows, device=images.device)
    with_hidden, n_rows = [], rows_per_chunk(images)
    with torch.no_grad():
        with_all = torch.cat([module(chunk) for chunk in images.split(n_rows)])
        for pair in pairs.split(n_rows):
            row, window = pair // n_windows, pair % n_windows
            chunk = torch.where(hidden[window, None], baseline, images[row])
            with_hidden.append(target_logits(module(chunk), targets[row]))
    with_all = target_logits(with_all, targets)
    lost = with_all[:, None] - torch.cat(with_hidden).reshape(-1, n_windows)
    covers = hidden.reshape(n_windows, -1).to(images.dtype)
    return ((lost @ covers) / covers.sum(dim=0)).reshape(-1, height, width)


def windows(size, patch, stride):
    """Return the windows of an occlusion as masks.

    Parameters
    ----------
    size, patch, stride : tuple of int
        Heights and widths of the image and the window, and its steps. Along both axes
        the last window ends with the image, so that windows hide every pixel.

    Returns
    -------
    hidden : Tensor of bool of shape (n_windows, height, width)

    Examples
    --------
    >>> from sklearn_l2cnn.inspection._saliency import windows
    >>> windows((1, 5), (1, 2), (1, 2))[:, 0].int().tolist()
    [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]
    """
    axes = []
    for length, side, step in zip(size, patch, stride, strict=True):
        last = length - side
        starts = torch.tensor(sorted({*range(0, last, step), last}))[:, None]
        place = torch.arange(length)
        axes.append((place >= starts) & (place < starts + side))
    down, right = axes
    hidden = down[:, None, :, None] & right[None, :, None, :]
    return hidden.reshape(-1, *size)
