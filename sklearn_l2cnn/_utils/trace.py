"""Inspect a network while it runs: its layers, their inputs and their outputs.

The public interface of a network is the names of its layers and its forward method.
Hooks record the rest: they work with any module, and are removed afterwards.
"""

import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from numbers import Integral

import torch
from torch import nn

from sklearn_l2cnn._utils.layers import compute_dtype

_WITH_WEIGHTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@contextmanager
def at_rest(module):
    """Put a network in evaluation mode; restore the mode of each module afterwards.

    Modules may differ in mode, as frozen ones do: restoring the mode of the whole
    network alone would change them.
    """
    training = {part: part.training for part in module.modules()}
    try:
        yield module.eval()
    finally:
        for part, mode in training.items():
            part.training = mode


def blank_image(module, image_shape):
    """Return a black image as input of a network, to try the network with.

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

    A layer is a module in which no other module runs. A layer that runs several times,
    as a ReLU may, is listed once, in the place of its last run. Modules that never run
    are missing.

    Parameters
    ----------
    module : torch.nn.Module
        It runs in evaluation mode, and is not changed.
    image : Tensor of shape (1, channels, height, width)
        To try the network with, in its dtype and on its device.

    Returns
    -------
    layers : list of tuple (name, layer, shape)
        The name as in ``named_modules``, empty if the network itself is the only layer;
        the module; the shape of its output for one image. Only layers whose output is a
        tensor, or a tuple that begins with one.

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn.architectures._plain import plain
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
            running[-1] = False  # this layer runs inside of it
        running.append(True)

    def end(layer, inputs, output):
        output = _tensor_of(output)
        if running.pop() and output is not None:
            shapes.pop(layer, None)
            shapes[layer] = tuple(output.shape[1:])

    with ExitStack() as hooks, at_rest(module), torch.no_grad():
        for part in module.modules():
            hooks.enter_context(part.register_forward_pre_hook(begin))
            hooks.enter_context(part.register_forward_hook(end))
        module(image)
    names = {part: name for name, part in module.named_modules()}
    return [(names[layer], layer, shape) for layer, shape in shapes.items()]


def layer_outputs(module, images, names):
    """Run a network and return the outputs of some of its layers.

    The caller sets the mode of the network, see `at_rest`, and whether torch records
    gradients. If it does, they flow through the outputs.

    Parameters
    ----------
    module : torch.nn.Module
    images : Tensor of shape (n, channels, height, width)
        In the dtype and on the device of the network.
    names : iterable of str
        Names of modules, as `trace` lists them.

    Returns
    -------
    logits : Tensor of shape (n, n_classes)
    outputs : dict
        From names to tensors ``(n, ...)``, from the last run of each layer. Later
        layers that work in place do not change them.
    """
    with recording(module, outputs_of=names) as run:
        logits, outputs, _ = run(images)
    return logits, outputs


@contextmanager
def recording(module, outputs_of=(), inputs_of=()):
    """Record the outputs of some layers, and the inputs of some.

    The input of a layer may differ from the output of every other: a network may
    flatten, pool or add in between.

    Parameters
    ----------
    module : torch.nn.Module
    outputs_of, inputs_of : iterable of str
        Names of modules.

    Yields
    ------
    run : callable
        Function of images, as for `layer_outputs`. It returns the logits and two dicts
        from names to tensors ``(n, ...)``, from the last run of each layer: outputs and
        inputs. Several threads may call it at a time; runs of the network by other
        callers are not recorded.
    """
    records = threading.local()

    def record_output(name, layer, inputs, output):
        if not hasattr(records, "outputs"):  # a run by another caller
            return None
        records.outputs[name] = _tensor_of(output)
        # the next layer gets a copy, which it may change
        return output.clone() if isinstance(output, torch.Tensor) else None

    def record_input(name, layer, inputs):
        if not hasattr(records, "inputs"):
            return None
        records.inputs[name] = inputs[0]
        return (inputs[0].clone(), *inputs[1:])

    def run(images):
        records.outputs, records.inputs = {}, {}
        try:
            return module(images), records.outputs, records.inputs
        finally:
            del records.outputs, records.inputs

    with ExitStack() as hooks:
        for name in outputs_of:
            register = module.get_submodule(name).register_forward_hook
            hooks.enter_context(register(partial(record_output, name)))
        for name in inputs_of:
            register = module.get_submodule(name).register_forward_pre_hook
            hooks.enter_context(register(partial(record_input, name)))
        yield run


def last_with_weights(layers):
    """Return the layer that computes the logits, and the number of candidates.

    Parameters
    ----------
    layers : list of tuple (name, layer, shape)
        From `trace`.

    Returns
    -------
    entry : tuple (name, layer, shape) or None
        The dense layer or convolution that runs last.
    number : int
        Number of dense layers and convolutions.
    """
    found = [entry for entry in layers if isinstance(entry[1], _WITH_WEIGHTS)]
    return (found[-1] if found else None), len(found)


def chosen_layer(layers, layer, kind="layer"):
    """Find the layer of a name or an index.

    Parameters
    ----------
    layers : list of tuple (name, layer, shape)
        From `trace`, all or some.
    layer : str or int
        A negative index counts from the last layer.
    kind : str, default="layer"
        Kind of the layers, for error messages.

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
        f"layer={layer!r} is no {kind} of this network. In the order in which they "
        f"run, with the shapes of their outputs, the {len(layers)} {kind}s are "
        f"{names}. Pass one of the names, or an index from 0 to {len(layers) - 1}."
    )


def _tensor_of(output):
    """Return the output of a layer, the first of several; None if it is no tensor.

    Attention returns a tuple: the input of the next layer, then its weights.
    """
    if isinstance(output, tuple) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None
