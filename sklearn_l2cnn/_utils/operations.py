"""What a network does with a batch: the operations that torch executes for it."""

import copy
import math
from typing import NamedTuple

import torch
from torch import nn
from torch.autograd.function import BackwardCFunction
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_l2cnn._utils.seeds import random_states
from sklearn_l2cnn._utils.state import state_of

# To write and read back one value between two operations takes about as long as so many
# multiplications.
_PER_VALUE = 150


class Unclear(Exception):
    """What a network does is more than its operations."""


class Operation(NamedTuple):
    """An operation that was executed.

    Attributes
    ----------
    function : torch._ops.OpOverload
    inputs : tuple
        Tensors as `Shape`, all else as it was.
    outputs : Shape or tuple
    """

    function: object
    inputs: tuple
    outputs: object


class Shape(tuple):
    """The shape of a tensor."""


class _Listing(TorchDispatchMode):
    """List the operations that are executed inside."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        inputs = _described((*args, *(kwargs or {}).values()))
        self.found.append(Operation(function, inputs, _described(outputs)))
        return outputs


def _described(value):
    if isinstance(value, torch.Tensor):
        return Shape(value.shape)
    if isinstance(value, list | tuple):
        return tuple(_described(part) for part in value)
    return value


def on_meta(module):
    """Copy a network to the device "meta", where tensors have no numbers.

    It runs there at little cost, however many images there are.
    """
    memo = {}
    for tensor in (*module.parameters(), *module.buffers()):
        twin = torch.empty_like(tensor, device="meta")
        if isinstance(tensor, nn.Parameter):
            twin = nn.Parameter(twin, requires_grad=tensor.requires_grad)
        memo[id(tensor)] = twin
    return copy.deepcopy(module, memo)


class Run(NamedTuple):
    """What a network did with a batch.

    Attributes
    ----------
    operations : list of Operation
    n_rows : int
        Images in the batch.
    keeps : bool
        Whether it changed a tensor of its own, as a batch norm does.
    own_gradients : bool
        Whether there is a `torch.autograd.Function` in it, which says itself what its
        gradient is.
    """

    operations: list
    n_rows: int
    keeps: bool
    own_gradients: bool


def run(module, images):
    """List the operations of a network for a batch of images.

    Parameters
    ----------
    module : torch.nn.Module
        In the mode that is of interest. It may be changed.
    images : Tensor of shape (n, channels, height, width)

    Returns
    -------
    run : Run

    Raises
    ------
    Unclear
        Where attributes change, or random numbers are drawn outside of torch.
    """
    before, draws = state_of(module), random_states()[:2]
    with torch.enable_grad(), _Listing() as listing:
        output = module(images)
    after = state_of(module)
    if after[:2] != before[:2]:
        raise Unclear("it remembers something of a batch")
    if random_states()[:2] != draws:
        raise Unclear("it draws random numbers outside of torch")
    keeps = after.versions != before.versions
    return Run(listing.found, len(images), keeps, _has_own_gradients(output))


def _has_own_gradients(output):
    """Look for functions of the user's in the graph that leads to an output."""
    waiting, seen = [getattr(output, "grad_fn", None)], {None}
    while waiting:
        node = waiting.pop()
        if isinstance(node, BackwardCFunction):
            return True
        if node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    return False


def values_of(run):
    """Return how many values every operation makes of one image."""
    return [math.prod(outputs[1:]) for _, _, outputs in _of_images(run)]


def work(run):
    """Say how much work operations are for one image, in multiplications."""
    return sum(
        math.prod(outputs[1:]) * (_products(function, inputs) + _PER_VALUE)
        for function, inputs, outputs in _of_images(run)
    )


def _of_images(run):
    """List the operations that make new values, with a row for every image."""
    return [
        operation
        for operation in run.operations
        if isinstance(operation.outputs, Shape)
        and operation.outputs[:1] == (run.n_rows,)
        and not operation.function.is_view
        and operation.function is not torch.ops.aten._unsafe_view.default
    ]


def _products(function, inputs):
    """Return the multiplications for one value of the output."""
    name = function.overloadpacket.__name__
    if "convolution" in name:
        return math.prod(inputs[1][1:])
    if "linear" in name:
        return inputs[1][-1]
    if name in ("mm", "bmm"):
        return inputs[0][-1]
    if name in ("addmm", "baddbmm"):
        return inputs[1][-1]
    if "attention" in name:
        return 2 * inputs[0][-2]
    return 0


def tagged(run, tag):
    """Say whether an operation has a tag of torch.

    Those that draw random numbers have ``torch.Tag.nondeterministic_seeded``.
    """
    return any(tag in operation.function.tags for operation in run.operations)


def alike(run, other):
    """Say whether a network did the same with batches of two sizes."""

    def same(mine, yours):
        if isinstance(mine, tuple):
            return (
                type(mine) is type(yours)
                and len(mine) == len(yours)
                and all(map(same, mine, yours))
            )
        if type(mine) is int and type(yours) is int and mine != yours:
            return mine * other.n_rows == yours * run.n_rows
        return mine is yours or (type(mine) is type(yours) and mine == yours)

    return same(tuple(run.operations), tuple(other.operations))
