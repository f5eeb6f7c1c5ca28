"""The program of a network in predictions, where its weights stay as they are.

Convolutions do what the batch norms and the ReLUs behind them do, with weights that
were prepared once, and functions are those whose answer for an image does not depend on
its company.
"""

import inspect
import operator
import weakref
from functools import partial
from typing import NamedTuple

import torch
from torch import fx, nn
from torch.nn import functional as F

from sklearn_l2cnn._training.program import (
    compiled,
    further_input,
    is_relu,
    is_within,
    pool_first,
)
from sklearn_l2cnn._training.rowwise import (
    as_pair,
    convolved,
    flat,
    in_rows,
    is_dense,
    onednn_convolved,
    onednn_takes,
    rowwise,
)
from sklearn_l2cnn._utils.devices import widest_float
from sklearn_l2cnn._utils.layers import ELEMENTWISE

# Layers that are one function of their input and their weights.
_OPENED = {nn.Conv2d, nn.Linear, *ELEMENTWISE}
_CONVOLUTION = inspect.signature(
    lambda input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: None
)
_NORM = inspect.signature(F.batch_norm)

# Not every number of a tensor is looked at again in every prediction. torch counts
# changes; those that it is not told of, made through ``.data`` or numpy, are seen in
# every so manyth number.
_LOOKED_AT = 61


class _Tracer(fx.Tracer):
    """Traces layers that are a function as that function."""

    def is_leaf_module(self, m, module_qualified_name):
        leaf = super().is_leaf_module(m, module_qualified_name)
        return leaf and type(m) not in _OPENED


class Convolution(NamedTuple):
    """A convolution of a network, and the batch norm behind it if there is one.

    Attributes
    ----------
    tensors : list of str or None
        Paths of its weight and bias and, of a batch norm, of mean, variance, gain and
        shift.
    eps : float or None
        Of the batch norm.
    options : list
        Padding, stride, dilation and groups.
    """

    tensors: list
    eps: float
    options: list


class Prepared:
    """A convolution with the weights that it has now.

    Parameters
    ----------
    tensors : list of Tensor or None
        As in `Convolution`.
    eps, options
        As in `Convolution`.
    """

    def __init__(self, tensors, eps, options):
        self.weight, self.bias = tensors if eps is None else folded_norm(*tensors, eps)
        self.options = options
        self.packed = None

    def __call__(self, images, after="none"):
        """Convolve images; do what comes after it, "none" or "relu"."""
        padding, stride, dilation, groups = self.options
        kernel, weight = convolved, self.weight
        if onednn_takes(images, weight):
            if self.packed is None:  # as oneDNN wants it, who else moves it every time
                self.packed = torch._C._nn.mkldnn_reorder_conv2d_weight(
                    weight.detach().to_mkldnn(), *self.options, [1, *images.shape[1:]]
                )
            kernel, weight = onednn_convolved, self.packed
        options = stride, padding, dilation, groups, after
        return kernel(images, weight, self.bias, *options)


class EvaluationProgram:
    """What a network does in predictions.

    Parameters
    ----------
    graph : torch.fx.Graph
        Of `_Tracer`. It is changed.
    layers : dict of torch.nn.Module
        The parts of its network by name.
    """

    def __init__(self, graph, layers):
        self.convolutions = []
        prepared = further_input(graph, "prepared")
        for node in [node for node in graph.nodes if node.target is F.conv2d]:
            own = _convolution(node)
            if own is None:
                continue
            norm = _norm_behind(node, layers)
            if norm is not None:
                _take_over(graph, node)
                own = own._replace(tensors=own.tensors + norm[0], eps=norm[1])
            with graph.inserting_before(node):
                item = prepared, len(self.convolutions)
                item = graph.call_function(operator.getitem, item)
            image = _arguments(_CONVOLUTION, node)["input"]
            node.target, node.args, node.kwargs = _call, (item, image), {}
            if len(node.users) == 1 and is_relu(next(iter(node.users)), layers):
                _take_over(graph, node)
                node.args = item, image, "relu"
            self.convolutions.append(own)
        pool_first(graph, layers)
        for node in list(graph.nodes):
            _treat_rows_alike(graph, node, layers)
            if node.op == "get_attr" and not node.users:
                graph.erase_node(node)
        self.argument = prepared.target
        self.forward = compiled(graph)
        self.tensors = [
            operator.attrgetter(path)
            for convolution in self.convolutions
            for path in convolution.tensors
            if path is not None
        ]

    def bound(self, module):
        """Return the function from images to logits that a network is.

        Parameters
        ----------
        module : torch.nn.Module
            In evaluation mode. Its weights may have changed since the last time.
        """
        tensors = [find(module) for find in self.tensors]
        if module not in _prepared or not _prepared[module].of(tensors):
            _prepared[module] = Weights(tensors, self.convolutions)
        prepared = _prepared[module].convolutions
        return partial(self.forward, module, **{self.argument: prepared})


class Weights:
    """The convolutions of a network with the weights that it has now.

    Parameters
    ----------
    tensors : list of Tensor
        Of all convolutions, one after another.
    convolutions : list of Convolution

    Attributes
    ----------
    convolutions : list of Prepared
    """

    def __init__(self, tensors, convolutions):
        self.identities = _identities(tensors)
        self.some = [_some(tensor.detach()) for tensor in tensors]
        self.sums = self._sums()
        left = iter(tensors)
        self.convolutions = [
            Prepared(
                [path and next(left) for path in own.tensors], own.eps, own.options
            )
            for own in convolutions
        ]

    def of(self, tensors):
        """Say whether tensors are those of which this was made, and unchanged."""
        return _identities(tensors) == self.identities and self._sums() == self.sums

    def _sums(self):
        if not self.some:
            return []
        return torch.stack([numbers.sum() for numbers in self.some]).tolist()


def _identities(tensors):
    """Return where tensors are, and how often torch knows them to be changed."""
    return [
        (tensor.data_ptr(), None if tensor.is_inference() else tensor._version)
        for tensor in tensors
    ]


def _some(tensor):
    """Return every so manyth number of a tensor."""
    return flat(tensor)[::_LOOKED_AT] if is_dense(tensor) else tensor


# What is prepared for a network, as long as there is the network.
_prepared = weakref.WeakKeyDictionary()


def _call(prepared, images, after="none"):
    return prepared(images, after)


def _take_over(graph, node):
    """Let a node stand for the only one behind it."""
    [behind] = node.users
    behind.replace_all_uses_with(node)
    graph.erase_node(behind)


def evaluation_program(module, twin):
    """Return what a network does in predictions.

    Parameters
    ----------
    module : torch.nn.Module
    twin : torch.nn.Module
        A copy of it in evaluation mode, for tracing: that may change it.

    Returns
    -------
    program : EvaluationProgram or None
        None where the network cannot be traced.
    """
    try:
        graph = _Tracer().trace(twin)
    except Exception:  # whatever a forward function may raise that is given no values
        return None
    if not is_within(graph, module):
        return None
    return EvaluationProgram(graph, dict(module.named_modules()))


def folded_norm(weight, bias, mean, variance, gain, shift, eps):
    r"""Return weight and bias of a convolution that does what a batch norm does too.

    The norm gives :math:`g (W * x + b - \mu) / \sqrt{v + \epsilon} + s`.

    Parameters
    ----------
    weight, bias : Tensor
        Of the convolution, the bias may be None.
    mean, variance, gain, shift : Tensor of shape (n_outputs,)
        Of the batch norm; gain and shift may be None.
    eps : float

    Returns
    -------
    weight, bias : Tensor
    """
    wide = widest_float(weight.device)
    with torch.no_grad():
        scale = (variance.to(wide) + eps).rsqrt()
        scale = scale if gain is None else scale * gain
        moved = -mean.to(wide) if bias is None else bias.to(wide) - mean
        moved = moved * scale if shift is None else moved * scale + shift
        factors = scale.to(weight.dtype)[:, None, None, None]
        return weight * factors, moved.to(weight.dtype)


def _arguments(signature, node):
    """Return the arguments of a function that a node calls, by name."""
    bound = signature.bind(*node.args, **node.kwargs)
    bound.apply_defaults()
    return bound.arguments


def _convolution(node):
    """Return the convolution of a node; None where not all of it is known."""
    found = _arguments(_CONVOLUTION, node)
    tensors = [_path(found["weight"]), _path(found["bias"])]
    options = [as_pair(found[name]) for name in ("padding", "stride", "dilation")]
    if tensors[0] is None or False in tensors or None in options:
        return None
    return Convolution(tensors, None, [*options, found["groups"]])


def _norm_behind(node, layers):
    """Return paths and epsilon of the batch norm behind a node, if there is one."""
    if len(node.users) != 1:
        return None
    [norm] = node.users
    names = "running_mean", "running_var", "weight", "bias"
    if norm.op == "call_module" and type(layers[norm.target]) is nn.BatchNorm2d:
        layer = layers[norm.target]
        paths = [
            None if getattr(layer, name) is None else f"{norm.target}.{name}"
            for name in names
        ]
        training, eps = layer.training, layer.eps
    elif norm.target is F.batch_norm:
        found = _arguments(_NORM, norm)
        paths = [_path(found[name]) for name in names]
        training, eps = found["training"], found["eps"]
    else:
        return None
    if training is not False or False in paths or None in paths[:2]:
        return None
    return paths, eps


def _path(node):
    """Return the path of an attribute, None of None, False of all else."""
    if node is None:
        return None
    return isinstance(node, fx.Node) and node.op == "get_attr" and node.target


def _treat_rows_alike(graph, node, layers):
    """Let a node call the function that treats all rows alike, where there is one."""
    if node.op == "call_module" and _has_attention(layers[node.target]):
        with graph.inserting_before(node):
            node.args = graph.get_attr(node.target), *node.args
        node.op, node.target = "call_function", in_rows
    elif node.op == "call_method":
        method = getattr(torch.Tensor, node.target, None)
        if rowwise(method) is not method:
            node.op, node.target = "call_function", rowwise(method)
    elif node.op == "call_function":
        node.target = rowwise(node.target)


def _has_attention(layer):
    """Say whether a layer is one of attention, or consists of such layers."""
    return any(isinstance(part, nn.MultiheadAttention) for part in layer.modules())
