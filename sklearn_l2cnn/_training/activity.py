r"""A penalty on what hidden layers give out, rather than on their weights.

Every image adds :math:`\sum_l a_l \|u_l\|^2` to its loss, :math:`u_l` the output of
layer l, however many numbers that are.
"""

import threading

import torch

from sklearn_l2cnn._utils.layer_names import by_pattern
from sklearn_l2cnn._utils.trace import last_with_weights, trace


class Activity:
    """Collect the squared norms of hidden layers while a batch goes through a network.

    To be used as a context; inside, the network has hooks. Threads do not see each
    other's batches.

    Parameters
    ----------
    module : torch.nn.Module
    alpha : float or mapping
        ``{pattern of layer names: float}``, or a number for the last hidden layer,
        whose output is what the last layer with weights gets.
    image : Tensor of shape (1, channels, height, width)
        To try the network with, where the last hidden layer is to be found.

    Attributes
    ----------
    of_single_layers : bool
        Whether every chosen layer is one, rather than a part made of layers.
    """

    def __init__(self, module, alpha, image):
        self.local = threading.local()
        self.handles = []
        self.alpha_into, self.alpha_out = {}, {}
        if hasattr(alpha, "items"):
            self.alpha_out = _by_pattern(module, alpha)
        else:
            self.alpha_into = {_last_executed(module, image): alpha}
        self.of_single_layers = not any(
            list(layer.children()) for layer in self.alpha_out
        )

    def __enter__(self):
        for layer in self.alpha_into:
            hook = layer.register_forward_pre_hook(self._add_input)
            self.handles.append(hook)
        for layer in self.alpha_out:
            self.handles.append(layer.register_forward_hook(self._add_output))
        return self

    def _add_input(self, layer, inputs):
        self._add(inputs[0], self.alpha_into[layer])

    def _add_output(self, layer, inputs, output):
        self._add(output, self.alpha_out[layer])

    def _add(self, values, alpha):
        parts = getattr(self.local, "parts", None)
        if parts is not None:  # it is a step of training, and no validation
            if values.dtype in (torch.bfloat16, torch.float16):
                values = values.float()
            parts.append(alpha * values.flatten(1).square().sum(dim=1))

    def __exit__(self, *exception):
        for handle in self.handles:
            handle.remove()

    def of(self, forward):
        """Return the logits that a function gives, and the penalty of every image."""
        self.local.parts = []
        try:
            logits = forward()
            nothing = torch.zeros(len(logits), device=logits.device)
            return logits, sum(self.local.parts, nothing)
        finally:
            self.local.parts = None


def _by_pattern(module, alpha):
    names = [name for name, _ in module.named_modules() if name]
    found = by_pattern(alpha, names, "activity_alpha")
    modules = dict(module.named_modules())
    chosen = {}
    for name, pattern in found.items():
        # a part that is meant as a whole has one output: that of the whole
        inside = any(name.startswith(f"{other}.") for other in found)
        if not inside and alpha[pattern]:
            chosen[modules[name]] = alpha[pattern]
    return chosen


def _last_executed(module, image):
    """Find the layer with weights that runs last; there must be one before it."""
    entry, number = last_with_weights(trace(module, image))
    if number < 2:
        raise ValueError(
            "activity_alpha acts on the output of a hidden layer, but this "
            f"architecture has {number} layer(s) with weights and nothing hidden. "
            "Set activity_alpha=0."
        )
    return entry[1]
