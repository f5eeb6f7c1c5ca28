"""A look into a network while it runs: which layers there are, and what they give out.

What is public of a network is its names of layers and its forward. Hooks see the rest:
they work with every module, run where the module runs, and are gone afterwards.
"""

import threading
from contextlib import contextmanager
from numbers import Integral

import torch
from torch import nn

from sklearn_l2cnn._utils.layers import compute_dtype

_WITH_WEIGHTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@contextmanager
def at_rest(module):
    """Put a network in evaluation mode, and every part back as it was afterwards.

    Parts of a network may be in modes of their own, as frozen ones are: the mode of the
    whole would not bring them back.
    """
    training = {part: part.training for part in module.modules()}
    try:
        yield module.eval()
    finally:
        for part, mode in training.items():
            part.training = mode


def blank_image(module, image_shape):
    """Return a black image as a network takes it, to try the network with.

    Parameters
    ----------
    module : torch.nn.Module
    image_shape : tuple of int
        ``(height, width, channels)``.

    Returns
    -------
    image : Tensor of shape (1, channels, height, width)
        In the dtype and on the device of the network.
    """
    height, width, depth = image_shape
    device = next((tensor.device for tensor in module.parameters()), None)
    shape = 1, depth, height, width
    return torch.zeros(shape, dtype=compute_dtype(module), device=device)


def trace(module, image):
    """List the layers of a network in the order in which they run.

    A layer is a module in which no other runs. One that runs several times, as a ReLU
    may, has one place: that of its last run. What never runs is missing.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is; it runs in evaluation mode.
    image : Tensor of shape (1, channels, height, width)
        To try the network with, in its dtype and on its device.

    Returns
    -------
    layers : list of tuple (name, layer, shape)
        The name as in ``named_modules``, empty where the network itself is the only
        layer; the module; the shape of what it makes of one image. Only layers whose
        output is a tensor, or a tuple that begins with one.

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn.architectures import plain
    >>> from sklearn_l2cnn._utils.trace import trace
    >>> network = plain((1, 8, 8), n_classes=3)
    >>> for name, _, shape in trace(network, torch.zeros(1, 1, 8, 8))[:4]:
    ...     print(name, shape)
    conv1 (32, 8, 8)
    relu1 (32, 8, 8)
    conv2 (64, 8, 8)
    pool1 (64, 4, 4)
    """
    running, shapes = [], {}

    def begin(layer, inputs):
        if running:
            running[-1] = False  # another one runs in it
        running.append(True)

    def end(layer, inputs, output):
        output = _tensor_of(output)
        if running.pop() and output is not None:
            shapes.pop(layer, None)
            shapes[layer] = tuple(output.shape[1:])

    handles = []
    try:
        for part in module.modules():
            handles.append(part.register_forward_pre_hook(begin))
            handles.append(part.register_forward_hook(end))
        with at_rest(module), torch.no_grad():
            module(image)
    finally:
        for handle in handles:
            handle.remove()
    names = {part: name for name, part in module.named_modules()}
    return [(names[layer], layer, shape) for layer, shape in shapes.items()]


def layer_outputs(module, images, names):
    """Run a network and keep what some of its layers give out.

    The mode of the network and torch's recording of gradients are the caller's: see
    `at_rest`. Where gradients are recorded they flow through the outputs.

    Parameters
    ----------
    module : torch.nn.Module
    images : Tensor of shape (n, channels, height, width)
        In the dtype and on the device of the network.
    names : iterable of str
        Of modules, as `trace` lists them.

    Returns
    -------
    logits : Tensor of shape (n, n_classes)
    outputs : dict
        From names to tensors ``(n, ...)``, of the last run of each; a later layer that
        works in place does not change them.
    """
    with watching(module, outputs_of=names) as run:
        logits, outputs, _ = run(images)
    return logits, outputs


@contextmanager
def watching(module, outputs_of=(), inputs_of=()):
    """Watch what some layers give out, and what some are given.

    What a layer is given need not be what another gives out: a network may flatten,
    pool or add in between.

    Parameters
    ----------
    module : torch.nn.Module
    outputs_of, inputs_of : iterable of str
        Names of modules.

    Yields
    ------
    run : callable
        Of images, as for `layer_outputs`. It returns the logits and two dicts from
        names to tensors ``(n, ...)``, of the last run of each: outputs, inputs. Several
        threads may call it at a time, and what others make the network do is not seen.
    """
    seen, handles = threading.local(), []

    def keeper(name):
        def keep(layer, given, output):
            if not hasattr(seen, "outputs"):  # somebody else's run
                return None
            seen.outputs[name] = _tensor_of(output)
            # the next layer gets a copy, which it may change
            return output.clone() if isinstance(output, torch.Tensor) else None

        return keep

    def taker(name):
        def take(layer, given):
            if not hasattr(seen, "inputs"):
                return None
            seen.inputs[name] = given[0]
            return (given[0].clone(), *given[1:])

        return take

    def run(images):
        seen.outputs, seen.inputs = {}, {}
        try:
            return module(images), seen.outputs, seen.inputs
        finally:
            del seen.outputs, seen.inputs

    try:
        for name in outputs_of:
            layer = module.get_submodule(name)
            handles.append(layer.register_forward_hook(keeper(name)))
        for name in inputs_of:
            layer = module.get_submodule(name)
            handles.append(layer.register_forward_pre_hook(taker(name)))
        yield run
    finally:
        for handle in handles:
            handle.remove()


def last_with_weights(layers):
    """Return the layer that turns what is hidden into logits, and how many could.

    Parameters
    ----------
    layers : list of tuple (name, layer, shape)
        Of `trace`.

    Returns
    -------
    entry : tuple (name, layer, shape) or None
        Of the dense layer or convolution that runs last.
    number : int
        Of all dense layers and convolutions.
    """
    found = [entry for entry in layers if isinstance(entry[1], _WITH_WEIGHTS)]
    return (found[-1] if found else None), len(found)


def chosen_layer(layers, layer, what="layer", kind="layer"):
    """Find the layer that a name or an index means.

    Parameters
    ----------
    layers : list of tuple (name, layer, shape)
        Of `trace`, or some of it.
    layer : str or int
        A negative index counts from the last layer.
    what : str, default="layer"
        The parameter that it comes from, for messages.
    kind : str, default="layer"
        What there are to choose from, for messages.

    Returns
    -------
    name, layer, shape
    """
    if isinstance(layer, Integral) and not isinstance(layer, bool):
        if -len(layers) <= layer < len(layers):
            return layers[layer]
    else:
        for entry in layers:
            if entry[0] == layer:
                return entry
    names = ", ".join(
        f"{name!r} {' x '.join(map(str, shape))}" for name, _, shape in layers
    )
    raise ValueError(
        f"{what}={layer!r} is no {kind} of this network. In the order in which they "
        f"run, with the shapes of what they give out, the {len(layers)} {kind}s are "
        f"{names}. Give one of the names, or a number from 0 to {len(layers) - 1}."
    )


def _tensor_of(output):
    """Return what a layer gives out, the first of several; None where it is no tensor.

    Attention gives a tuple: what goes on to the next layer, then its weights.
    """
    if isinstance(output, tuple) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None
