"""A batch on its way to the network in training: varied as a plan says."""

import torch

from sklearn_l2cnn._training.forward import network_input
from sklearn_l2cnn.augmentation import mixed, varied


class Augmenter:
    """Vary batches.

    Parameters
    ----------
    plan : Plan
    pixels : tuple (gain, shift)
        Of `pixel_map`: functions of the user see pixels that are not standardised.
    n_classes : int
    """

    def __init__(self, plan, pixels, n_classes):
        self.plan = plan
        self.pixels = pixels
        self.n_classes = n_classes

    def __call__(self, images, labels, weight, mirrored):
        """Return images as the network sees them, labels and weights.

        Where images are mixed, labels become class probabilities, and have weights.
        """
        with torch.no_grad():
            images = network_input(images, *self.pixels)
            for function in self.plan.functions:
                images = self._called(function, images)
            images = varied(images, self.plan, mirrored)
            if self.plan.strengths["mixup"]:
                a = self.plan.strengths["mixup"]
                images, labels, weight = mixed(
                    images, labels, weight, self.n_classes, a
                )
        return images.contiguous(memory_format=torch.channels_last), labels, weight

    def _called(self, function, images):
        gain, shift = self.pixels
        found = function((images - shift) / (255 * gain))
        if not isinstance(found, torch.Tensor) or found.shape != images.shape:
            kind = getattr(found, "shape", type(found).__name__)
            raise ValueError(
                f"augment: {function!r} returned {kind} for a batch of shape "
                f"{tuple(images.shape)}; a tensor of the same shape was expected."
            )
        return found.to(images) * (255 * gain) + shift
