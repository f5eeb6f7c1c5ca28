"""What a network gives for images: logits, among other things or in disguise."""

import warnings
from collections.abc import Mapping

import torch

from sklearn_l2cnn._utils.layers import TakesLogits, compute_dtype
from sklearn_l2cnn._utils.trace import at_rest
from sklearn_l2cnn.architectures._heads import last_layer

# Errors that networks raise for images of a shape that they do not accept.
SHAPE_ERRORS = (
    RuntimeError,
    ValueError,
    IndexError,
    TypeError,
    AssertionError,
    ZeroDivisionError,
)


def ensure_logits(network, input_shape, n_classes):
    """Make sure that a network maps images to logits, and try it.

    Of a mapping or a sequence the logits are taken, by a hook, where it is clear which
    they are. What cannot be logits raises a ValueError, what is none in all likelihood
    is warned of.

    Parameters
    ----------
    network : torch.nn.Module
    input_shape : tuple of int
    n_classes : int
    """
    blank = torch.zeros((2, *input_shape), dtype=compute_dtype(network))
    try:
        # at rest, so that the blank batch leaves the statistics of a batch norm alone
        with torch.no_grad(), at_rest(network):
            output = network(blank)
            if not isinstance(output, torch.Tensor):
                take = TakesLogits(_key_of_logits(output, (2, n_classes)))
                network.register_forward_hook(take)
                output = take(network, blank, output)
            _check_shape(output, n_classes)
            # most networks give negative numbers, too, and need no other look
            if n_classes > 1 and (output >= 0).all():
                _warn_of_activations(network, blank)
    except NotLogits:
        raise
    except SHAPE_ERRORS as error:
        raise ValueError(
            f"The architecture does not take images of input_shape={input_shape}, in "
            f"the order (channels, height, width): {error}"
        ) from error


class NotLogits(ValueError):
    """A network returns something else than logits."""


def _key_of_logits(output, shape):
    """Return where in a mapping or sequence of outputs the logits are."""
    items = []
    if isinstance(output, Mapping):
        items = list(output.items())
    elif isinstance(output, tuple | list):
        names = getattr(output, "_fields", range(len(output)))
        items = list(zip(names, output, strict=True))
    fitting = [
        place
        for place, (_, value) in enumerate(items)
        if isinstance(value, torch.Tensor) and tuple(value.shape) == shape
    ]
    named = [place for place in fitting if items[place][0] == "logits"]
    if len(named or fitting) == 1:
        [place] = named or fitting
        return items[place][0] if isinstance(output, Mapping) else place
    held = ", ".join(
        f"{name!r}: {tuple(getattr(value, 'shape', ())) or type(value).__name__}"
        for name, value in items
    )
    raise NotLogits(
        f"The architecture returns {type(output).__name__}({held}) for 2 images. A "
        f"tensor of logits of shape {shape} was expected, or a mapping or sequence "
        'that holds exactly one, or one named "logits". Choose with a class of your '
        "own:\n\n"
        "    class Logits(YourNetwork):\n"
        "        def forward(self, images):\n"
        '            return super().forward(images)["name of the logits"]\n'
    )


def _check_shape(logits, n_classes):
    if tuple(logits.shape) != (2, n_classes):
        raise NotLogits(
            f"The architecture returns an output of shape {tuple(logits.shape)} for 2 "
            f"images, but logits of shape (2, {n_classes}) were expected: y has "
            f"{n_classes} class(es). Give its last layer one output per class, or pass "
            "a callable(input_shape, n_classes) that builds it for the data."
        )


def _warn_of_activations(network, blank):
    """Warn where a network returns no negative numbers, its last layer turned round.

    The scores of a network that ends with this layer would be negative then.
    """
    _, layer = last_layer(network)
    if layer is None:
        return
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((8, *blank.shape[1:]), generator=generator).to(blank.dtype)
    answers = []
    for _ in range(2):  # turned twice it is as it was
        answers.append(network(noise))
        for parameter in layer.parameters():
            parameter.neg_()
    found = torch.cat(answers)
    if not (found >= 0).all() or not found.any():
        return  # all zeros are a last layer that starts with zeros
    if ((found.sum(dim=1) - 1).abs() < 1e-3).all():
        kind, last = "probabilities, which sum to 1", "softmax"
    else:
        kind, last = "no negative numbers", "ReLU, sigmoid or other activation"
    warnings.warn(
        f"The architecture returns {kind}, but raw scores (logits) were expected: the "
        f"loss takes their softmax itself, and learns badly from others. Remove the "
        f"{last} behind the last layer.",
        UserWarning,
        stacklevel=2,
    )
