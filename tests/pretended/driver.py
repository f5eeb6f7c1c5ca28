"""What torch asks of a device: its number, streams, generators, memory, waits."""

import collections
import contextlib
import itertools
import sys
import threading
import types

import torch

from tests.pretended import NAME

N_DEVICES = 2
TOTAL_MEMORY = 80 << 30

_lock = threading.RLock()
_local = threading.local()


# -- waits ----------------------------------------------------------------------------

# What the host waited for, and where in the package, since `waits.clear()`.
waits = collections.Counter()
_sync_debug_mode = 0  # of torch.cuda.set_sync_debug_mode: ignore, warn, raise


def wait(name):
    """Let the host wait for the device, which a capture does not allow.

    Parameters
    ----------
    name : str
    """
    waits[name, _place()] += 1
    tape = _forbids_waits()
    if tape is not None:
        tape.invalid = True
        raise torch.AcceleratorError(
            f"CUDA error: operation not permitted when stream is capturing ({name})"
        )
    if _sync_debug_mode == 2:
        raise RuntimeError(f"called a synchronizing CUDA operation ({name})")


def _place():
    """Return the last line of the package on the stack."""
    frame = sys._getframe(1)
    while frame is not None:
        _, found, name = frame.f_code.co_filename.rpartition("/sklearn_l2cnn/")
        if found:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


def _set_sync_debug_mode(mode):
    global _sync_debug_mode
    _sync_debug_mode = mode


# -- devices --------------------------------------------------------------------------

_last = [0]  # the device that any thread chose last
_kind = ["cuda"]
unknown_dtypes = set()


def kind():
    """Return the type of the device."""
    return _kind[0]


def current_device():
    """Return the device of this thread, where it has chosen one.

    Threads of autograd, which are not Python's, are told of it in ways that pass by.
    """
    return _last[0] if _of_autograd() else getattr(_local, "device", 0)


def _of_autograd():
    return isinstance(threading.current_thread(), threading._DummyThread)


def _choose(index):
    _local.device = _last[0] = index


def index_of(device=None):
    """Return the index of a device that is there."""
    index = None if device is None else torch.device(device).index
    if index is None:
        return current_device()
    if index >= N_DEVICES:
        raise torch.AcceleratorError("CUDA error: invalid device ordinal")
    return index


def _exchange_device(index):
    before = current_device()
    if index >= 0:
        _choose(index_of(f"{kind()}:{index}"))
    return before


# -- streams --------------------------------------------------------------------------

_CUDA = 1  # torch's number of this type of device
_numbers = itertools.count(1)


class Stream:
    """A stream; everything is done at once."""

    def __init__(
        self, device=None, priority=0, *, stream_id=None, device_index=None, **kwargs
    ):
        self.stream_id = next(_numbers) if stream_id is None else stream_id
        self.device_index = index_of(device) if device_index is None else device_index
        self.device_type = _CUDA
        self.device = torch.device(kind(), self.device_index)

    def __eq__(self, other):
        return (self.stream_id, self.device) == (other.stream_id, other.device)

    def __hash__(self):
        return self.stream_id

    def wait_stream(self, other):
        pass

    def wait_event(self, event):
        pass

    def record_event(self, event=None):
        return event or Event()

    def query(self):
        return True

    def is_capturing(self):
        return capturing() is not None

    def synchronize(self):
        wait("stream.synchronize")


class Event:
    """An event that has been recorded, and so is past."""

    def __init__(self, *args, **kwargs):
        pass

    def record(self, stream=None):
        pass

    def query(self):
        return True

    def synchronize(self):
        wait("event.synchronize")


def _stream_ids():
    if not hasattr(_local, "streams"):
        _local.streams = [0] * N_DEVICES
    return _local.streams


def _current_stream(index):
    index = current_device() if index < 0 else index
    return _stream_ids()[index], index, _CUDA


def _set_stream(stream_id, device_index, device_type):
    _stream_ids()[device_index] = stream_id
    _choose(device_index)


def on_default_stream():
    """Say whether the current stream is the one that cannot be captured."""
    return not _stream_ids()[current_device()]


_captures = [None]


def capturing():
    """Return the tape that records what this thread does, or None.

    What autograd's own threads do is always of the training that is recorded.
    """
    tape = _captures[0]
    own = tape is not None and tape.thread is threading.current_thread()
    return tape if own or _of_autograd() else None


def _forbids_waits():
    """Return the tape that is invalid when this thread waits, or None."""
    tape = _captures[0]
    return tape if tape is not None and tape.of_all_threads else capturing()


def other_capture():
    """Say whether anybody records."""
    return _captures[0] is not None


def set_capturing(tape):
    """Let a tape record, or none."""
    _captures[0] = tape


# -- generators -----------------------------------------------------------------------

_CPUGenerator = torch.Generator


class _DeviceGenerator(_CPUGenerator):
    """A generator that says it is of the device; its numbers are a CPU's.

    A capture takes hold of its state, and gives it back only where it ends well.
    """

    index = 0
    captured = False

    @property
    def device(self):
        return torch.device(kind(), self.index)

    def get_state(self):
        """Refuse in a capture, in which the device keeps the state."""
        if capturing() is not None:
            capturing().invalid = True
            raise RuntimeError("Cannot call CUDAGeneratorImpl::current_seed in capture")
        return super().get_state()

    def clone_state(self):
        made = _DeviceGenerator()
        made.index = self.index
        made.set_state(self.get_state())
        return made

    def graphsafe_get_state(self):
        made = self.clone_state()
        made.captured = self.captured
        return made

    def graphsafe_set_state(self, other):
        self.set_state(other.get_state())
        self.captured = other.captured


class _AnyGenerator(type(_CPUGenerator)):
    def __instancecheck__(cls, value):
        return isinstance(value, _CPUGenerator)


class Generator(metaclass=_AnyGenerator):
    """What torch.Generator is for whoever makes one."""

    def __new__(cls, device="cpu"):
        if torch.device(device).type == "cpu":
            return _CPUGenerator()
        made = _DeviceGenerator()
        made.index = index_of(device)
        _of_devices.append(made)
        return made


_of_devices = collections.deque(maxlen=64)  # the generators made last
defaults = []


def is_of_device(generator):
    """Say whether a generator that torch has wrapped anew is one of the device's.

    Nothing but its numbers tells: whose state it has.
    """
    state = _CPUGenerator.get_state(generator)
    known = [*defaults, *_of_devices]
    return any(torch.equal(state, _CPUGenerator.get_state(each)) for each in known)


@contextlib.contextmanager
def drawing_from(generator):
    """Let a generator stand for the CPU's own, from which kernels draw."""
    if generator.captured and capturing() is None:
        raise RuntimeError("Offset increment outside graph capture encountered.")
    with _lock:
        own = torch.default_generator
        before = own.get_state()
        own.set_state(_CPUGenerator.get_state(generator))
        try:
            yield
        finally:
            _CPUGenerator.set_state(generator, own.get_state())
            own.set_state(before)


# -- memory ---------------------------------------------------------------------------

memory_limit = [None] * N_DEVICES  # in bytes, to be set by a test
_blocks = [{} for _ in range(N_DEVICES)]  # where a storage lies: its size and its users
_allocated, _peak = [0] * N_DEVICES, [0] * N_DEVICES


class Block:
    """A share in a storage on a device, as long as this lives."""

    def __init__(self, storage, index):
        self.index, self.key, self.users = index, storage.data_ptr(), {}
        n_bytes = storage.nbytes()
        with _lock:
            users = _blocks[index]
            if self.key not in users:
                _allocate(index, n_bytes)
            self.users = users
            self.users[self.key] = n_bytes, users.get(self.key, (0, 0))[1] + 1

    def __del__(self):
        with _lock:
            n_bytes, n_users = self.users.pop(self.key, (0, 0))
            if n_users > 1:
                self.users[self.key] = n_bytes, n_users - 1
            else:
                _allocated[self.index] -= n_bytes


def _allocate(index, n_bytes):
    limit = memory_limit[index]
    if limit is not None and _allocated[index] + n_bytes > limit:
        raise torch.OutOfMemoryError(
            f"CUDA out of memory. Tried to allocate {n_bytes} bytes."
        )
    _allocated[index] += n_bytes
    _peak[index] = max(_peak[index], _allocated[index])


def allocated(index):
    """Return the bytes of all tensors that live on a device."""
    return _allocated[index]


def _reset_peak(index):
    _peak[index] = _allocated[index]


def _memory_stats(index):
    counts = {"current": _allocated[index], "peak": _peak[index]}
    return {"allocated_bytes": {"all": {**counts, "allocated": 0, "freed": 0}}}


def _memory_info(device=None):
    index = index_of(device if isinstance(device, str | torch.device) else None)
    total = memory_limit[index] or TOTAL_MEMORY
    return total - allocated(index), total


# Pools that allocations of a capture go to; what they had is not given to others.
pools_in_use = set()


def _new_pool():
    return 0, next(_numbers)


def _end_pool(index, pool):
    if pool not in pools_in_use:
        raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
    pools_in_use.remove(pool)


# -- all of it ------------------------------------------------------------------------


def new_generators():
    """Make the global generators of the devices."""
    defaults[:] = []
    for index in range(N_DEVICES):
        made = _DeviceGenerator()
        made.index = index
        _CPUGenerator.manual_seed(made, 1234 + index)
        defaults.append(made)


def _init():
    new_generators()
    torch.cuda.default_generators = tuple(defaults)
    torch.cuda._get_device_properties = lambda index: types.SimpleNamespace(
        name=NAME,
        major=9,
        minor=0,
        total_memory=TOTAL_MEMORY,
        multi_processor_count=100,
    )


_FUNCTIONS = {
    "_cuda_init": _init,
    "_cuda_getDeviceCount": lambda: N_DEVICES,
    "_cuda_getDevice": current_device,
    "_cuda_setDevice": _exchange_device,
    "_cuda_exchangeDevice": _exchange_device,
    "_cuda_maybeExchangeDevice": _exchange_device,
    "_cuda_synchronize": lambda: wait("synchronize"),
    "_cuda_getCurrentStream": _current_stream,
    "_cuda_getDefaultStream": lambda index: (0, max(index, 0), _CUDA),
    "_cuda_setStream": _set_stream,
    "_cuda_set_sync_debug_mode": _set_sync_debug_mode,
    "_cuda_get_sync_debug_mode": lambda: _sync_debug_mode,
    "_cuda_emptyCache": lambda: None,
    "_cuda_memoryStats": _memory_stats,
    "_cuda_resetPeakMemoryStats": _reset_peak,
    "_host_emptyCache": lambda: None,
    "_cuda_endAllocateToPool": _end_pool,
    "_cuda_releasePool": lambda index, pool: None,
    "_accelerator_getAccelerator": lambda: torch.device("cuda"),
    "_accelerator_getDeviceIndex": current_device,
}


def install_cuda():
    """Put all of it where torch looks for it."""
    from tests.pretended import graphs, tensors

    for name, function in _FUNCTIONS.items():
        setattr(torch._C, name, function)
    torch.cuda._exchange_device = torch.cuda._maybe_exchange_device = _exchange_device
    torch.Generator = Generator
    torch.cuda.Stream, torch.cuda.Event = Stream, Event
    torch.cuda.CUDAGraph = torch.cuda.graphs.CUDAGraph = graphs.Tape
    torch.accelerator.current_stream = torch.cuda.current_stream
    torch.cuda.graph_pool_handle = torch.cuda.graphs.graph_pool_handle = _new_pool
    torch.cuda.is_current_stream_capturing = lambda: capturing() is not None
    torch.cuda.mem_get_info = torch.cuda.memory.mem_get_info = _memory_info
    torch.cuda.is_bf16_supported = lambda including_emulation=True: True
    torch.cuda._queued_calls.clear()  # which look at the drivers
    # cuDNN, and kernels that are chosen by what the device is
    torch.backends.cudnn.enabled = False
    for kernels in ("flash", "mem_efficient", "cudnn"):
        getattr(torch.backends.cuda, f"enable_{kernels}_sdp")(False)
    tensors.install("CUDA")
    torch.cuda.init()


def install_other(name):
    """Register an accelerator of another kind that knows no float64."""
    from torch.utils import backend_registration

    from tests.pretended import tensors

    _kind[0] = name
    unknown_dtypes.add(torch.float64)
    module = types.ModuleType(f"torch.{name}")
    module.is_available = module.is_initialized = lambda: True
    module._is_in_bad_fork = lambda: False
    module.device_count = lambda: N_DEVICES
    module.current_device = current_device
    module.empty_cache = lambda: None
    module.manual_seed_all = lambda seed: [g.manual_seed(seed) for g in defaults]
    module.get_amp_supported_dtype = lambda: [torch.bfloat16]
    backend_registration._setup_privateuseone_for_python_backend(name, module)
    library = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    library.fallback(torch.library.fallthrough_kernel)
    install_other.library = library  # it ends with its owner
    torch.Generator = Generator
    new_generators()
    module.default_generators = tuple(defaults)
    tensors.install("PrivateUse1")
