"""A classifier as one torch module: a user's pixels in, probabilities out."""

import copy

import numpy as np
import torch

from sklearn_l2cnn._data.images import traced_images
from sklearn_l2cnn._training.chunks import over_views
from sklearn_l2cnn._training.forward import lowered, network_input, pixel_map
from sklearn_l2cnn._utils.devices import widest_float
from sklearn_l2cnn._utils.layers import without_hooks
from sklearn_l2cnn.augmentation import views_for


class WholeClassifier(torch.nn.Module):
    r"""What a classifier does to a batch, with nothing but torch.

    .. math:: p(x) = \mathrm{softmax}(f((x / w - \mu) / \sigma)),

    where f is the network, :math:`\mu` and :math:`\sigma` are the mean and the scale of
    the channels, and w is 255 for uint8 and 1 for all other numbers.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode; it is taken, not copied.
    mean, scale : ndarray of shape (channels,)
    image_shape : tuple of int
        ``(height, width, channels)``.
    channels : {"last", "first"}
        Where the channels of X stand.
    tta : str, list of str or None
        The views that probabilities are averaged over.
    dtype : torch.dtype
        Of the parameters of the network.
    lower : torch.dtype or None
        What products are computed in instead, if not in `dtype`.
    device : torch.device
        Where the module is put.
    """

    def __init__(
        self, network, mean, scale, image_shape, channels, tta, dtype, lower, device
    ):
        super().__init__()
        self.network = network
        gain, shift = pixel_map(mean, scale, dtype, torch.device("cpu"))
        wide = widest_float(device)
        self.register_buffer("mean", torch.tensor(np.asarray(mean), dtype=wide))
        self.register_buffer("scale", torch.tensor(np.asarray(scale), dtype=wide))
        self.register_buffer("gain", gain)
        self.register_buffer("shift", shift)
        self.image_shape = image_shape
        self.channels = channels
        self.tta = tta
        self.dtype = dtype
        self.lower = lower
        self.to(device)

    def forward(self, X):
        """Return the probabilities ``(n, n_classes)`` of images or rows."""
        return torch.softmax(self.logits(X), dim=1)

    def logits(self, X):
        """Return the logits ``(n, n_classes)``; of views, the logarithms of means."""
        images = traced_images(X, self.image_shape, self.channels)
        if images.dtype == torch.uint8:
            images = network_input(images.permute(0, 3, 1, 2), self.gain, self.shift)
        else:
            values = (images.to(self.mean.dtype) - self.mean) / self.scale
            images = values.to(self.dtype).permute(0, 3, 1, 2)

        def logits_of(seen):
            return lowered(self.network, self.lower, seen)

        logits = over_views(logits_of, images, views_for(self.tta))
        return logits if logits.dtype == torch.float64 else logits.float()


def whole_module(clf, device="cpu", plain=False):
    """Return a fitted classifier as a module, on a copy of its network.

    Parameters
    ----------
    clf : estimator
        With the methods of `PredictionMixin`.
    device : str or torch.device, default="cpu"
    plain : bool, default=False
        Whether all is computed in float32, whatever the network's precision.

    Returns
    -------
    module : WholeClassifier
        In evaluation mode, without gradients of its parameters.
    """
    net, device = clf.net_, torch.device(device)
    # hooks watch what the classifier does, not its copies
    network = without_hooks(copy.deepcopy(net.module_)).requires_grad_(False)
    # as images are: torch 2.4 exports what it believes of their layout
    network.to(memory_format=torch.channels_last)
    dtype = torch.float32 if plain else net.dtype
    return WholeClassifier(
        network.to(dtype) if plain else network,
        net.mean,
        net.scale,
        clf.image_shape_,
        clf.channels,
        clf.tta,
        dtype,
        None if plain else net.lower,
        device,
    ).eval()


class LabelsAndProbabilities(torch.nn.Module):
    """What the graph of a classifier gives: positions of labels, and probabilities.

    Parameters
    ----------
    module : WholeClassifier
    """

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, X):
        """Return the position in `classes_` and the probabilities of every image."""
        logits = self.module.logits(X)
        return logits.argmax(dim=1), torch.softmax(logits, dim=1)
