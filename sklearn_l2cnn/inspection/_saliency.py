r"""Which pixels of an image speak for a class: saliency, as arithmetic on tensors.

Four definitions, each a function of a network and a batch of images. They are short, so
they are written out here rather than taken from Captum (https://captum.ai), to whose
numbers the tests hold them: so there is one dependency less, chunks bound the memory of
every method, the maps of an occlusion have the dtype of the network, and its windows
end with the image, where Captum's hang over the edge.

Sources: gradients, K. Simonyan et al., "Deep inside convolutional networks" (2014);
integrated gradients, M. Sundararajan et al., "Axiomatic attribution for deep networks"
(2017); Grad-CAM, R. Selvaraju et al., "Grad-CAM" (2017); occlusion, M. Zeiler and
R. Fergus, "Visualizing and understanding convolutional networks" (2014).
"""

import math

import torch
from torch import nn
from torch.nn.functional import interpolate

from sklearn_l2cnn._utils.trace import layer_outputs

# So many pixel values, and so many images, go through the network at a time.
_CHUNK_VALUES = 1 << 20
_CHUNK_ROWS = 256


def chunks(n_rows, image_shape):
    """Yield slices that cut rows of images into chunks that fit into memory."""
    step = min(max(1, _CHUNK_VALUES // max(1, math.prod(image_shape))), _CHUNK_ROWS)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def target_logits(logits, targets):
    """Return the logit of the target of every image."""
    return logits.gather(1, targets[:, None])[:, 0]


def gradient(module, images, targets):
    """Return the derivative of the target's logit by every value of an image.

    Parameters
    ----------
    module : torch.nn.Module
        Treats every image by itself, as it does in evaluation mode.
    images : Tensor of shape (n, channels, height, width)
    targets : Tensor of int64 of shape (n,)

    Returns
    -------
    gradient : Tensor of shape (n, channels, height, width)
    """
    parts = [torch.zeros_like(images[:0])]
    for rows in chunks(len(images), images.shape[1:]):
        piece = images[rows].detach().clone().requires_grad_()
        logits = target_logits(module(piece), targets[rows])
        parts.append(_derivative(logits, piece))
    return torch.cat(parts)


def integrated_gradients(module, images, baseline, targets, n_steps):
    r"""Return how much every value adds to the logit, on the way from a baseline.

    .. math:: (x_i - b_i) \int_0^1 \frac{\partial f}{\partial x_i}(b + t (x - b))\,dt

    Summed over all values this is :math:`f(x) - f(b)`, exactly but for the error of the
    rule by which is integrated: that of the midpoints of `n_steps` equal intervals.
    The gradient of a network of ReLUs is constant between kinks, and for such functions
    a rule of higher order gains nothing.

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
        way = torch.lerp(baseline, image, shares)
        slopes = gradient(module, way, target.expand(n_steps))
        result[k] = (image - baseline) * slopes.mean(dim=0)
    return result


def grad_cam(module, images, targets, layer):
    r"""Return where the maps of a layer are that raise the logit.

    The map of an image is :math:`\max(0, \sum_k a_k A_k)`, :math:`A_k` what channel k
    of the layer gives out and :math:`a_k` the mean over its pixels of the derivative of
    the logit by it; bilinearly enlarged to the size of the image.

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
    parts = [images.new_zeros((0, *images.shape[2:]))]
    for rows in chunks(len(images), images.shape[1:]):
        # the output must be recorded where all that makes it is frozen, too
        piece = images[rows].detach().clone().requires_grad_()
        logits, outputs = layer_outputs(module, piece, [layer])
        output = outputs[layer]
        slopes = _derivative(target_logits(logits, targets[rows]), output)
        weight = slopes.mean(dim=(2, 3), keepdim=True)
        maps = (weight * output.detach()).sum(dim=1, keepdim=True).relu()
        size = images.shape[2:]
        parts.append(
            interpolate(maps, size, mode="bilinear", align_corners=False)[:, 0]
        )
    return torch.cat(parts)


def occlusion(module, images, baseline, targets, patch, stride):
    """Return how much of the logit is lost where a patch hides a pixel.

    A window moves over the image and shows the baseline instead. The value of a pixel
    is the mean over all windows that hide it of the logit without minus with the
    window.

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
    whole, parts = [], []
    with torch.no_grad():
        for rows in chunks(len(images), images.shape[1:]):
            whole.append(target_logits(module(images[rows]), targets[rows]))
        for pairs in chunks(len(images) * n_windows, images.shape[1:]):
            pair = torch.arange(pairs.start, pairs.stop, device=images.device)
            row, window = pair // n_windows, pair % n_windows
            seen = torch.where(hidden[window, None], baseline, images[row])
            parts.append(target_logits(module(seen), targets[row]))
    if not whole:
        return images.new_zeros((0, height, width))
    lost = torch.cat(whole)[:, None] - torch.cat(parts).reshape(-1, n_windows)
    covers = hidden.reshape(n_windows, -1).to(images.dtype)
    return ((lost @ covers) / covers.sum(dim=0)).reshape(-1, height, width)


def windows(size, patch, stride):
    """Return the windows of an occlusion as masks.

    Parameters
    ----------
    size, patch, stride : tuple of int
        Height and width of the image, the window, its steps. Along both axes a last
        window ends with the image, so that every pixel is hidden by one.

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


def last_convolution(layers):
    """Return the name of the convolution that runs last, None where there is none."""
    names = [name for name, layer, _ in layers if isinstance(layer, nn.Conv2d)]
    return names[-1] if names else None


def _derivative(logits, values):
    """Return the derivative of every image's logit by what belongs to it."""
    [slopes] = torch.autograd.grad(logits.sum(), values, allow_unused=True)
    return torch.zeros_like(values) if slopes is None else slopes.detach()
