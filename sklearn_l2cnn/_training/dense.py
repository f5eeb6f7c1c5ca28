"""Dense layers whose answer for a row does not depend on where the row stands.

MKL's product of matrices computes a row in other ways, with other last bits, by the
alignment of its address and, with some instruction sets, by its place among the rows.
"""

import torch
from torch.nn.functional import linear, pad
from torch.overrides import TorchFunctionMode

# Bytes: the width of the widest vector, and of what torch aligns memory to.
_ALIGNMENT = 64


class RowByRow(TorchFunctionMode):
    """Compute every dense layer so that all rows are treated alike.

    To be used as a context, in the thread that computes.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Replace ``torch.nn.functional.linear``, leave all other functions alone."""
        return (dense if func is linear else func)(*args, **(kwargs or {}))


def dense(input, weight, bias=None):
    """Return what ``torch.nn.functional.linear`` does, equal bits for equal rows.

    On a CPU float32 is left to oneDNN, whose kernels add up every row in one order,
    wherever it stands. Elsewhere rows start at aligned addresses.

    Parameters
    ----------
    input : Tensor of shape (n, ..., n_inputs)
    weight : Tensor of shape (n_outputs, n_inputs)
    bias : Tensor of shape (n_outputs,), default=None

    Returns
    -------
    output : Tensor of shape (n, ..., n_outputs)
    """
    if input.device.type != "cpu" or not input.numel():
        return linear(input, weight, bias)
    records = torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad)
    by_onednn = torch.backends.mkldnn.is_available() and not records
    lowered = torch.is_autocast_enabled("cpu")
    if by_onednn and not lowered and input.dtype == weight.dtype == torch.float32:
        return _ONEDNN(input, weight, bias)
    short = -input.shape[-1] % (_ALIGNMENT // input.element_size())
    if short:
        input, weight = pad(input, (0, short)), pad(weight, (0, short))
    elif not _is_aligned(input):
        input = input.clone(memory_format=torch.contiguous_format)
    return linear(input, weight, bias)


def _linear(input, weight, bias):
    """Multiply with oneDNN's dense layer."""
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")


def _convolution(input, weight, bias):
    """Multiply with oneDNN's convolution of images of one pixel."""
    images, kernels = input.reshape(-1, weight.shape[1], 1, 1), weight[:, :, None, None]
    options = [0, 0], [1, 1], [1, 1], 1, "none", [], ""
    output = torch.ops.mkldnn._convolution_pointwise(images, kernels, bias, *options)
    return output.reshape(*input.shape[:-1], len(weight))


# oneDNN of torch 2.4 leaves dense layers to MKL on processors without AVX-512, that of
# torch 2.14 does not; convolutions, which take up to twice as long, neither of them.
_ONEDNN = _linear if torch.__version__ >= (2, 14) else _convolution


def _is_aligned(tensor):
    """Say whether rows lie one after another from an aligned address on."""
    return tensor.is_contiguous() and tensor.data_ptr() % _ALIGNMENT == 0
