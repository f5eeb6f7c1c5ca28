"""What a network computes in: from the `precision` parameter to a context."""

from contextlib import nullcontext

import torch

# Instructions that multiply bfloat16, as torch calls them on x86 and on ARM.
_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def lowered_dtype(precision, device):
    """Turn `precision` into the dtype that matrices are multiplied in.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "auto"}
        ``"auto"`` lowers it where the hardware computes bfloat16 itself.
    device : torch.device

    Returns
    -------
    dtype : torch.dtype or None
        None: the dtype of the network's parameters.
    """
    if precision == "float32":
        return None
    if precision == "auto" and not computes_bfloat16(device):
        return None
    return torch.bfloat16


def computes_bfloat16(device):
    """Say whether a device has instructions for products of bfloat16.

    Elsewhere torch emulates them, which is right and several times slower. Of a CPU
    only newer releases of torch can tell; under older ones the answer is no.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in _INSTRUCTIONS)


def autocast(dtype, device):
    """Return a context in which products are taken in `dtype`, sums in float32.

    Parameters
    ----------
    dtype : torch.dtype or None
        None changes nothing.
    device : torch.device
    """
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)
