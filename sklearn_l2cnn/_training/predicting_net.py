"""The net of a classifier in other hands: it predicts as any net of skorch does."""

from collections.abc import Mapping

import torch
from skorch import NeuralNetClassifier
from skorch.dataset import Dataset
from skorch.utils import get_map_location

from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn._data.pixels import warn_about_units
from sklearn_l2cnn._training.batches import OrderedBatches, Resident, to_tensor
from sklearn_l2cnn._training.forward import forward_of, logits_of, pixel_map
from sklearn_l2cnn._training.net_state import parts_of_state, recall, state_of_net
from sklearn_l2cnn._utils.layers import contiguous
from sklearn_l2cnn._utils.surroundings import undisturbed


class PredictingNet(NeuralNetClassifier):
    """A skorch net that predicts arrays, tensors, and dicts of one of them.

    Images ``(n, channels, height, width)`` are standardised as the classifier does it.
    The classes are their positions in ``classes_`` of the classifier.

    Parameters
    ----------
    module : torch.nn.Module
    mean, scale : ndarray of shape (channels,)
        What images are standardised with.
    image_shape : tuple of int
        ``(height, width, channels)``.
    unit : tuple
        How the pixels of the training images were counted, `unit_of` them.
    dtype : torch.dtype
        Of the parameters of the module.
    lower : torch.dtype or None
        What products are computed in instead, if not in `dtype`.
    **kwargs
        As for :class:`skorch.NeuralNet`.
    """

    def __init__(
        self, module, *, mean, scale, image_shape, unit, dtype, lower, **kwargs
    ):
        super().__init__(
            module, criterion=torch.nn.CrossEntropyLoss, train_split=None, **kwargs
        )
        self.mean = mean
        self.scale = scale
        self.image_shape = image_shape
        self.unit = unit
        self.dtype = dtype
        self.lower = lower

    def check_data(self, X, y):
        """Do nothing: the estimator has validated both."""

    def get_dataset(self, X, y=None):
        """Return a data set; images of others become as those of the training."""
        if not isinstance(X, Dataset | Resident):
            X = Resident(self._standardized(X))
        return super().get_dataset(X, y)

    def _standardized(self, X):
        """Return images of others as a network sees them."""
        if isinstance(X, Mapping) and len(X) == 1:  # an argument of forward, by name
            [X] = X.values()
        if isinstance(X, Mapping | torch.utils.data.Dataset):
            raise TypeError(
                "The net of a classifier predicts arrays and tensors of images (n, "
                "channels, height, width), alone or as the only value of a dict; "
                f"{type(X).__name__} of {len(X)} came. Stack its images."
            )
        images = as_images(X, channels="first", expected=self.image_shape)
        warn_about_units(images, self.unit)
        pixels = self.mean, self.scale, self.dtype
        images = to_tensor(images, slice(None), *pixels).to(self.device)
        return images.permute(0, 3, 1, 2)

    def forward_iter(self, X, training=False, device="cpu"):
        """Yield the logits of batches, always in the order of the rows."""
        self.to_device()
        for batch in OrderedBatches(self.get_dataset(X), self.batch_size):
            yield self.evaluation_step(batch, training=training).to(device)

    def infer(self, x, **fit_params):
        """Return the logits of a batch of images."""
        images = x.images if isinstance(x, Resident) else self._standardized(x)
        forward = forward_of(self.module_)
        return logits_of(images, forward, self.pixels(), self.lower)

    def fit(self, X, y=None, **fit_params):
        """Raise: a classifier trains its net."""
        raise TypeError(
            "The net of a classifier is not trained by itself: validating images and "
            "putting them in order is what the classifier does. Call its fit, with "
            "warm_start=True to go on, or its partial_fit."
        )

    partial_fit = fit

    def get_params(self, deep=True, **kwargs):
        """Return the parameters of the constructor: all but what it decides itself."""
        params = super().get_params(deep, **kwargs)
        own = "criterion", "train_split"
        return {name: value for name, value in params.items() if name not in own}

    def pixels(self):
        """Return gain and shift that standardise uint8 images, on the device."""
        return pixel_map(self.mean, self.scale, self.dtype, torch.device(self.device))

    def to_device(self):
        """Bring the network to the device, where it waits on the CPU."""
        move(self.module_, torch.device(self.device))

    def __getstate__(self):
        return state_of_net(self)

    def __setstate__(self, state):
        if "network" not in state:
            raise ValueError(
                "A net that another release of sklearn_l2cnn has pickled cannot be "
                "read by this one. Load the estimator with that release, and save it "
                "with sklearn_l2cnn.persistence.save, or fit it anew."
            )
        with undisturbed():
            self._remake(state)

    def _remake(self, state):
        given, found, network, memory = parts_of_state(state)
        # callbacks begin anew where they are initialised
        begun = {**given, "callbacks": [], "device": "cpu"}
        begun["optimizer"] = given["optimizer"] or torch.optim.SGD  # of a trimmed net
        self.__init__(network, **begun)
        self.initialize()
        device = str(get_map_location(given["device"]))
        vars(self).update(given, **found, device=device)
        if memory is None:
            self.optimizer_ = None
        else:
            recall(self.optimizer_, memory)


def move(module, device):
    """Move a network that is not there yet: moving marks its weights as changed.

    Away from CPUs its weights are channels last, which kernels would make of them anew
    in every call.
    """
    if all(p.device == device for p in module.parameters()):
        return
    if device.type == "cpu":
        contiguous(module.to(device))
    else:
        module.to(device, memory_format=torch.channels_last)
