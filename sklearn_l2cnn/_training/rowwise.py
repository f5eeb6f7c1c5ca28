"""Functions of a network whose answer for an image does not depend on its company.

Libraries compute a row in other ways, with other last bits, by how many rows there are,
by where it stands among them, and by the alignment of its address. Here kernels are
called that do not, in shapes in which they do not.
"""

import operator
from functools import partial
from itertools import repeat
from types import FunctionType

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from sklearn_l2cnn._training.runtime import torch_threads

# Bytes: the width of the widest vector, and of what torch aligns memory to.
_ALIGNMENT = 64

# Numbers: what kernels of one argument compute at a time; they compute the rest of a
# tensor one by one, with other last bits.
_BLOCK = 64


class RowByRow(TorchFunctionMode):
    """Compute every function that is called so that all rows are treated alike.

    To be used as a context, in the thread that computes.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Replace some functions of torch, leave all others alone."""
        return rowwise(func)(*args, **(kwargs or {}))


def rowwise(function):
    """Return the function that treats all rows alike and does the same as another."""
    try:
        return _ROWWISE.get(function, function)
    except TypeError:  # it cannot be looked up
        return function


def dense(input, weight, bias=None):
    """Return what ``torch.nn.functional.linear`` does, equal bits for equal rows.

    On a CPU float32 is left to oneDNN, whose kernels add up every row in one order,
    wherever it stands, but a single one. float64 is not taken by it; the entries of the
    first dimension are multiplied one by one.

    Parameters
    ----------
    input : Tensor of shape (n, ..., n_inputs)
    weight : Tensor of shape (n_outputs, n_inputs)
    bias : Tensor of shape (n_outputs,), default=None

    Returns
    -------
    output : Tensor of shape (n, ..., n_outputs)
    """
    arguments = input, weight, bias
    if input.numel() and onednn_takes(input, weight):
        if input.numel() > input.shape[-1]:
            return _ONEDNN(*arguments)
        row = input.reshape(1, -1)
        twice = _ONEDNN(torch.cat((row, row)), weight, bias)
        return twice[:1].view(*input.shape[:-1], -1)
    if input.ndim > 1 and _one_by_one_in(input):
        return _of_entries(F.linear, arguments, [True, False, False])
    return F.linear(*arguments)


def onednn_takes(input, weight):
    """Say whether oneDNN is there for tensors, and no gradients are recorded."""
    records = torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad)
    return (
        input.dtype == weight.dtype == torch.float32
        and input.device.type == "cpu"
        and not records
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )


def _one_by_one_in(input):
    """Say whether entries are computed one by one for what oneDNN does not take.

    What is lowered to bfloat16 is not: there oneDNN multiplies after all.
    """
    full = input.dtype in (torch.float32, torch.float64)
    return full and _has_numbers(input) and not torch.is_autocast_enabled("cpu")


def _linear(input, weight, bias):
    """Multiply with oneDNN's dense layer."""
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")


def _convolution(input, weight, bias):
    """Multiply with oneDNN's convolution of images of one pixel."""
    images, kernels = input.reshape(-1, weight.shape[1], 1, 1), weight[:, :, None, None]
    output = _convolved(images, kernels, bias, [1, 1], [0, 0], [1, 1], 1)
    return output.reshape(*input.shape[:-1], len(weight))


# oneDNN of torch 2.4 leaves dense layers to MKL on processors without AVX-512, that of
# torch 2.14 does not; convolutions, which take up to twice as long, neither of them.
_ONEDNN = _linear if torch.__version__ >= (2, 14) else _convolution


def convolved(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, after="none"
):
    """Return what ``torch.nn.functional.conv2d`` does, left to oneDNN where it can be.

    torch itself leaves a few images, or small ones, to others.

    Parameters
    ----------
    input, weight, bias, stride, padding, dilation, groups
        As for ``conv2d``.
    after : {"none", "relu"}, default="none"
        What is done with the output.
    """
    options = [as_pair(option) for option in (stride, padding, dilation)]
    if input.ndim != 4 or None in options or not onednn_takes(input, weight):
        arguments = input, weight, bias, stride, padding, dilation, groups
        if input.ndim == 4 and _one_by_one_in(input):
            output = _of_entries(F.conv2d, arguments, [True, *[False] * 6])
        else:
            output = F.conv2d(*arguments)
        return torch.relu_(output) if after == "relu" else output
    return onednn_convolved(input, weight, bias, *options, groups, after)


def onednn_convolved(images, *arguments):
    """Convolve with oneDNN what it takes, options as pairs."""
    return _convolved(_channels_last(images), *arguments)


def _convolved(input, weight, bias, stride, padding, dilation, groups, after="none"):
    return torch.ops.mkldnn._convolution_pointwise(
        input, weight, bias, padding, stride, dilation, groups, after, [], ""
    )


def _channels_last(images):
    """Lay images out channels last, whatever their shape leaves open."""
    _, depth, height, width = images.shape
    strides = depth * height * width, 1, depth * width, depth
    if images.stride() == strides:
        return images
    images = images.contiguous(memory_format=torch.channels_last)
    return images.as_strided(images.shape, strides)


def as_pair(option):
    """Return an option of a convolution as two numbers; None where it is no numbers."""
    if isinstance(option, int):
        return [option, option]
    return list(option) if isinstance(option, tuple | list) else None


def _one_by_one(function):
    """Let a function of batches of matrices be called with one entry at a time.

    How a library multiplies many matrices depends on how many there are. The first
    dimension counts as the batch; what has fewer dimensions, or one entry for all,
    belongs to every entry.
    """

    def one_by_one(*args, **kwargs):
        tensors = [arg for arg in (*args, *kwargs.values()) if torch.is_tensor(arg)]
        depth = max(tensor.ndim for tensor in tensors)
        if depth < 3 or "out" in kwargs or not all(map(_is_free, tensors)):
            return function(*args, **kwargs)
        number = max(len(tensor) for tensor in tensors if tensor.ndim == depth)

        def is_batch(value):
            is_deep = torch.is_tensor(value) and value.ndim == depth
            return is_deep and len(value) == number

        def of_one(*values):
            own = dict(zip(kwargs, values[len(args) :], strict=True))
            return function(*values[: len(args)], **own)

        values = *args, *kwargs.values()
        return _of_entries(of_one, values, list(map(is_batch, values)))

    return one_by_one


def _of_entries(function, values, are_batches):
    """Call a function with the entries of batches, in one thread, and join the results.

    Parameters
    ----------
    function : callable
    values : sequence
        Of which some belong to every entry.
    are_batches : list of bool
    """
    columns = [
        _aligned(value).split(1) if is_batch else repeat(value)
        for value, is_batch in zip(values, are_batches, strict=True)
    ]
    rows = zip(*columns, strict=False)  # what is repeated has no end
    with torch_threads(1):
        return torch.cat([function(*row) for row in rows])


def _aligned(batch):
    """Lay the entries of a batch out alike, each from an aligned address on."""
    batch = batch.flatten().contiguous().view(batch.shape)  # one leaves strides open
    apart = batch.stride(0)
    numbers = _ALIGNMENT // batch.element_size()
    if batch.data_ptr() % _ALIGNMENT == 0 and apart % numbers == 0:
        return batch
    rows = batch.new_empty(len(batch), -(-apart // numbers) * numbers)
    strides = rows.stride(0), *batch.stride()[1:]
    return rows.as_strided(batch.shape, strides).copy_(batch)


_attention_of_entries = _one_by_one(F.scaled_dot_product_attention)


def _attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **options
):
    """Let images attend, those of four dimensions with a kernel that is one of images.

    Which kernel it takes torch decides from what it is given, by rules of its own.
    """
    tensors = query, key, value
    if (
        options
        or attn_mask is not None
        or dropout_p
        or query.ndim != 4
        or not query.shape[:2] == key.shape[:2] == value.shape[:2]
        or not query.shape[3] == key.shape[3] == value.shape[3]
        or not all(map(_one_by_one_in, tensors))
    ):
        arguments = *tensors, attn_mask, dropout_p, is_causal
        return _attention_of_entries(*arguments, **options)
    with torch_threads(1):
        output, _ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            *map(_aligned, tensors), is_causal=is_causal
        )
    return output


_products = _one_by_one(torch.matmul)


def _product(input, other, **options):
    """Multiply with a matrix as a dense layer does, with several one by one."""
    if other.ndim == 2 and input.ndim >= 2 and not options:
        return dense(input, other.t())
    return _products(input, other, **options)


def _einsum(equation, *operands):
    """Compute sums of products for every entry of the first dimension of the output."""
    if not isinstance(equation, str):
        return torch.einsum(equation, *operands)
    inputs, _, output = equation.replace(" ", "").partition("->")
    terms, batch = inputs.split(","), output[:1]
    are_batches = [term.startswith(batch) for term in terms]
    if (
        not batch.isalpha()
        or any(batch in term[1:] for term in terms)
        or len(operands) != len(terms)
        or not all(map(_is_free, operands))
    ):
        return torch.einsum(equation, *operands)
    return _of_entries(partial(torch.einsum, equation), operands, are_batches)


def in_rows(layer, *args, **kwargs):
    """Call a layer that consists of functions, each of which treats all rows alike."""
    with RowByRow():
        return layer(*args, **kwargs)


# It consists of calls that are replaced, and is no such call itself.
_attention_layer = FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda tensors: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


def _by_blocks(function):
    """Let a function of single numbers compute all of them in whole blocks.

    Numbers are given to it as they lie in memory, whatever their shape: which kernel it
    takes depends on the layout. The last ones, which would be computed in another way,
    are computed again with those in front of them.
    """

    def by_blocks(input, *args, **kwargs):
        if not _has_numbers(input) or any(map(torch.is_tensor, args)):
            return function(input, *args, **kwargs)
        if not is_dense(input):
            if kwargs.get("inplace"):
                return function(input, *args, **kwargs)
            input = input.contiguous()
        numbers = flat(input)
        rest = len(numbers) % _BLOCK
        if rest:
            last = F.pad(numbers[-_BLOCK:], (max(0, _BLOCK - len(numbers)), 0))
            last = function(last, *args, **kwargs)
        output = function(numbers, *args, **kwargs)
        if rest:
            output[-rest:] = last[-rest:]
        return output.as_strided(input.shape, input.stride())

    return by_blocks


def _is_free(input):
    """Say whether an argument is a tensor on a CPU, with no gradient recorded."""
    return (
        isinstance(input, torch.Tensor)
        and input.device.type == "cpu"
        and not (torch.is_grad_enabled() and input.requires_grad)
    )


def _has_numbers(input):
    """Say whether an argument is a free tensor with floating-point numbers in it."""
    return _is_free(input) and input.is_floating_point() and input.numel() > 0


def is_dense(tensor):
    """Say whether the numbers of a tensor lie one after another."""
    last = torch.channels_last
    return tensor.is_contiguous() or (
        tensor.ndim == 4 and tensor.is_contiguous(memory_format=last)
    )


def flat(tensor):
    """Return the numbers of a tensor as they lie in memory."""
    return tensor.as_strided((tensor.numel(),), (1,))


_ROWWISE = {
    F.linear: dense,
    F.conv2d: convolved,
    torch.matmul: _product,
    torch.Tensor.matmul: _product,
    torch.Tensor.__matmul__: _product,
    operator.matmul: _product,
    **{
        function: _one_by_one(function)
        for function in (
            torch.baddbmm,
            torch.Tensor.baddbmm,
            torch.bmm,
            torch.Tensor.bmm,
        )
    },
    torch.einsum: _einsum,
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: partial(in_rows, _attention_layer),
    torch.mm: _product,
    torch.Tensor.mm: _product,
    **{
        function: _by_blocks(function)
        for function in (
            F.celu,
            F.elu,
            F.gelu,
            F.mish,
            F.selu,
            F.silu,
            F.softplus,
            torch.sigmoid,
            torch.Tensor.sigmoid,
            torch.pow,
            torch.Tensor.pow,
            torch.Tensor.__pow__,
            operator.pow,
        )
    },
}
