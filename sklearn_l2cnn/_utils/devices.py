"""Devices: which are there, and what one kind has that others have not.

No other file asks ``torch.cuda``, or what a device is of.
"""

import gc
import logging
import math
from contextlib import contextmanager, suppress
from functools import cache, reduce

import torch
from torch import nn

from sklearn_l2cnn._utils.errors import first_line

_log = logging.getLogger("sklearn_l2cnn")

# What torch raises where a device has no memory left.
OutOfMemory = torch.cuda.OutOfMemoryError


class BatchTooLarge(OutOfMemory):
    """A device has no memory left for the batches of a training.

    Parameters
    ----------
    message : str
    batch_size : int
    """

    def __init__(self, message, batch_size):
        super().__init__(message)
        self.batch_size = batch_size


@contextmanager
def batches_of(size):
    """Raise `BatchTooLarge` where a device lacks memory for what is done inside."""
    try:
        yield
    except OutOfMemory as error:
        message = f"{first_line(error)} Lower batch_size={size}."
        raise BatchTooLarge(message, size) from error


# -- which device ---------------------------------------------------------------------


def resolve_device(device):
    """Turn ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` into a device that is there.

    Parameters
    ----------
    device : str or torch.device

    Returns
    -------
    device : torch.device
        ``"auto"`` is the current CUDA device where there is one, else the accelerator
        that torch names, such as ``"mps"`` or ``"xpu"``, where it computes as a CPU
        does, else the CPU.
    """
    if device == "auto":
        return accelerator() or torch.device("cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(_unknown(device)) from error
    if resolved.type == "cpu":
        return torch.device("cpu")
    named = _named_by_torch()
    if resolved.type != "cuda" and (named is None or resolved.type != named.type):
        raise ValueError(_unknown(device))
    if resolved.type == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda or "no CUDA"
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch {torch.__version__} "
            f"(built for {built}) sees no CUDA device on this machine. Use "
            "device='cpu', or device='auto' to take CUDA only where it is."
        )
    return _with_index(resolved)


def devices_for(device, local_rank=None):
    """Return the devices that a fit may take, the one to be preferred first.

    Parameters
    ----------
    device : str or torch.device
        One without an index, or ``"auto"``, means any of its kind.
    local_rank : int, default=None
        Of a process among several of this machine that share a fit: each has the device
        of its number, where none is named.

    Returns
    -------
    devices : list of torch.device
    """
    first = resolve_device(device)
    if first.type == "cpu" or (
        device != "auto" and torch.device(device).index is not None
    ):
        return [first]
    if local_rank is not None:
        return [_with_index(torch.device(first.type, local_rank))]
    count = _module(first).device_count()
    turned = [(first.index + k) % count for k in range(count)]
    return [torch.device(first.type, index) for index in turned]


def accelerator():
    """Return the device that computes faster than the CPU, or None."""
    if torch.cuda.is_available():
        return _with_index(torch.device("cuda"))
    named = _named_by_torch()
    if named is None or not _computes(named.type):
        return None
    return _with_index(named)


def _named_by_torch():
    """Return the accelerator that torch has found, of whatever kind, or None."""
    if not hasattr(torch, "accelerator"):  # before torch 2.6
        return torch.device("cuda") if torch.cuda.is_available() else None
    if not torch.accelerator.is_available():
        return None
    return torch.accelerator.current_accelerator()


def _with_index(device):
    module = _module(device)
    index, count = device.index, module.device_count()
    if index is None:
        # MPS has one device and does not say which
        index = getattr(module, "current_device", lambda: 0)()
    if index >= count:
        raise ValueError(
            f"device={str(device)!r} was asked for, but this machine has {count} "
            f"{device.type.upper()} device(s), '{device.type}:0' to "
            f"'{device.type}:{count - 1}'."
        )
    return torch.device(device.type, index)


def _module(device):
    """Return torch.cuda, torch.xpu, ..."""
    return torch.get_device_module(device.type)


def _unknown(device):
    return (
        f"device={str(device)!r} is not a device that this estimator knows: 'auto', "
        "'cpu', 'cuda' or 'cuda:N' was expected, or an accelerator that torch sees."
    )


def kinds_with_autocast():
    """Return the kinds of devices on which the caller lets torch lower its precision.

    Returns
    -------
    kinds : list of str
    """
    return [
        kind
        for kind in ("cpu", "cuda", "mps", "xpu")
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    ]


@cache
def _computes(kind):
    """Try whether a device learns as a CPU does: a step of a small network."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((4, 3, 8, 8), generator=generator)
    try:
        expected = _weight_after_a_step(images, torch.device("cpu"))
        found = _weight_after_a_step(images, torch.device(kind))
    except Exception as error:
        _log.info("device='auto' is the CPU, for %s fails: %s", kind, error)
        return False
    if not torch.allclose(found, expected, rtol=1e-2, atol=1e-3):
        _log.info("device='auto' is the CPU, for %s computes something else", kind)
        return False
    return True


def _weight_after_a_step(images, device):
    weight = torch.linspace(-1, 1, 4 * 27).reshape(4, 3, 3, 3).to(device)
    weight.requires_grad_(True)
    optimizer = torch.optim.Adam([weight], lr=0.1)
    maps = nn.functional.conv2d(images.to(device), weight, padding=1).relu()
    labels = torch.arange(4, device=device)
    nn.functional.cross_entropy(maps.amax(dim=(2, 3)), labels).backward()
    optimizer.step()
    return weight.detach().cpu()


# -- what it has ----------------------------------------------------------------------

# Instructions that multiply bfloat16, as torch calls them on x86 and on ARM.
_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def computes_bfloat16(device):
    """Say whether a device has instructions for products of bfloat16.

    Elsewhere torch emulates them, which is right and several times slower. Of a CPU
    only newer releases of torch can tell; under older ones, and for accelerators other
    than CUDA, the answer is None.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = {}
    if device.type == "cpu":
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    if not capabilities:
        return None
    return any(capabilities.get(name, False) for name in _INSTRUCTIONS)


def name_of(device):
    """Return what a person calls a device."""
    if device.type == "cpu":
        return "this CPU"
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(device)


def generators_of(device):
    """Return the global generators whose numbers a computation on a device may draw.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    generators : list of torch.Generator
        The CPU's and, of another device, its own.
    """
    if device.type == "cpu":
        return [torch.default_generator]
    module = _module(device)
    if device.type == "mps":
        own = module._get_default_mps_generator()
    else:
        if hasattr(module, "init"):
            module.init()  # there are none before
        own = module.default_generators[device.index or 0]
    return [torch.default_generator, own]


def free_memory(device):
    """Let other processes have what torch keeps of the memory of a device."""
    if device.type == "cpu":
        return
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
        return
    getattr(_module(device), "empty_cache", lambda: None)()


def recover_memory(device):
    """Free what a failure for want of memory has left, in circles of references."""
    gc.collect()
    free_memory(device)


def sent(tensor, device):
    """Copy a tensor from the host to a device; the host does not wait."""
    if tensor.device.type == device.type or not has_pinned_memory(device):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def widest_float(device):
    """Return float64 where devices of this kind have it, else float32."""
    return torch.float64 if device.type in ("cpu", "cuda") else torch.float32


def read(*tensors):
    """Copy numbers from a device to the host, which waits once.

    Parameters
    ----------
    *tensors : Tensor
        On one device.

    Returns
    -------
    arrays : list of ndarray of float64
        Of the shapes of the tensors.
    """
    widest = reduce(torch.promote_types, (t.dtype for t in tensors), torch.float32)
    flat = torch.cat([tensor.detach().reshape(-1).to(widest) for tensor in tensors])
    parts = flat.cpu().double().split([tensor.numel() for tensor in tensors])
    return [p.reshape(t.shape).numpy() for p, t in zip(parts, tensors, strict=True)]


def free_bytes(device):
    """Return the free memory of a device; infinity where it does not tell."""
    if device.type != "cuda":
        return math.inf
    return torch.cuda.mem_get_info(device)[0]


def needed_bytes(device):
    """Return the most memory that this process ever had, above what it has now."""
    if device.type != "cuda":
        return 0
    most = torch.cuda.max_memory_allocated(device)
    return most - torch.cuda.memory_allocated(device)


def identity_of(device):
    """Return a name of a device that is the same in every process."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        if hasattr(properties, "uuid"):  # torch 2.5 or later
            return f"cuda-{properties.uuid}"
    return f"{device.type}-{device.index}"


def has_pinned_memory(device):
    """Say whether copies from pinned memory travel while the host goes on."""
    return device.type == "cuda"


def sends_by_nccl(device):
    """Say whether tensors of a device travel to other processes by nccl."""
    return device.type == "cuda"


def arrival_on(device):
    """Return an event that comes when what a device was told until now is done."""
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


# -- recording ------------------------------------------------------------------------


class CudaRecorder:
    """Record what a function does on a CUDA device.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device):
        self.device = device

    def warm_up(self, function):
        """Call a function in a side stream, as torch asks for before a recording."""
        with torch.cuda.device(self.device):
            main = torch.cuda.current_stream()
            side = torch.cuda.Stream()
            side.wait_stream(main)
            with torch.cuda.stream(side):
                result = function()
            main.wait_stream(side)
        return result

    def record(self, function):
        """Return a function that does again what the given one does, on its tensors.

        Where the function cannot be recorded, stream, random numbers and memory are
        afterwards as they were; torch leaves all three in the middle of a capture.
        """
        index = self.device.index or 0
        generator = torch.cuda.default_generators[index]
        with torch.cuda.device(self.device):
            stream = torch.cuda.current_stream()
            drawn = generator.graphsafe_get_state()
            generator.graphsafe_set_state(generator.clone_state())
            graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
            try:
                # other threads may wait for the device, and take memory, meanwhile
                mode = "thread_local"
                with torch.cuda.graph(graph, pool=pool, capture_error_mode=mode):
                    function()
            except BaseException:
                generator.graphsafe_set_state(drawn)
                torch.cuda.set_stream(stream)
                del graph
                _release(index, pool)
                raise
        return graph.replay


def _release(index, pool):
    """Give back the memory of a capture that has failed."""
    end = "_cuda_endAllocateToPool", "_cuda_endAllocateCurrentStreamToPool"  # 2.4
    ends = [getattr(torch._C, name) for name in end if hasattr(torch._C, name)]
    for give_back in (ends[0], torch._C._cuda_releasePool):
        with suppress(RuntimeError):  # the end of the capture has done it
            give_back(index, pool)


def recorder_for(device):
    """Return what records steps on a device, or None where that gains nothing."""
    return CudaRecorder(device) if device.type == "cuda" else None
