"""Leaving the world as it was found: generators, threads, defaults of torch."""

import os
import sys
import threading
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache

import torch
from sklearn.exceptions import EfficiencyWarning

from sklearn_l2cnn._utils.seeds import seeded


@contextmanager
def isolated(seed, device, threads=None):
    """Seed all global generators, fix what a result may depend on, restore both.

    Inside, numpy's, random's and torch's global generators follow from `seed`, tensors
    are float32 unless said otherwise, gradients are on, and torch computes in one
    thread where the device is a CPU: the order in which a convolution's gradient is
    summed depends on the number of threads, and with it the last bit of every weight.
    Outside, nothing has changed.

    Parameters
    ----------
    seed : int
    device : torch.device
        Whose generator is seeded as well as the CPU's.
    threads : int, default=None
        How many threads may work; None is torch's number.

    Yields
    ------
    threads : int
    """
    keep_memory()
    with seeded(seed, device), ExitStack() as restore:
        restore.callback(torch.set_default_dtype, torch.get_default_dtype())
        threads = threads or torch.get_num_threads()
        if device.type == "cpu":
            restore.enter_context(torch_threads(1))
        restore.enter_context(torch.inference_mode(False))
        restore.enter_context(torch.enable_grad())
        torch.set_default_dtype(torch.float32)
        yield threads


@cache
def keep_memory():
    """Let the C library keep memory that is freed between two operations.

    glibc hands what is freed back to the system beyond a threshold, and has to fetch it
    page by page for the next layer, which takes a quarter of the time of a small
    network. It raises the threshold, to 62 MiB at most, once a block of half that size
    has come back.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


class _SoonerTurns:
    """Let Python's threads take turns sooner, as long as there is a user of this.

    A thread that comes back from a kernel needs Python's lock, and another one that
    makes many short calls keeps it for five milliseconds, longer than most kernels
    take. To be used as a context.
    """

    seconds = 1e-4

    def __init__(self):
        self.lock, self.n_users, self.found = threading.Lock(), 0, None

    def __enter__(self):
        with self.lock:
            if not self.n_users:
                self.found = sys.getswitchinterval()
                sys.setswitchinterval(min(self.found, self.seconds))
            self.n_users += 1

    def __exit__(self, *exception):
        with self.lock:
            self.n_users -= 1
            if not self.n_users:
                sys.setswitchinterval(self.found)


_sooner_turns = _SoonerTurns()
_LONE = "l2cnn"
_idle = defaultdict(list)  # pools not in use, by their number of threads
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # threads stay with the parent


@contextmanager
def lone_threads(number):
    """Lend a pool of threads in each of which torch computes in that one alone.

    Nobody else has it meanwhile, so that its tasks may wait for each other. It is kept
    for the next time: what oneDNN finds out about a layer it keeps by thread, and new
    threads find it out again, which takes as long as a step of training.

    Parameters
    ----------
    number : int

    Yields
    ------
    pool : concurrent.futures.ThreadPoolExecutor
    """
    try:
        pool = _idle[number].pop()
    except IndexError:
        pool = ThreadPoolExecutor(
            number,
            thread_name_prefix=_LONE,
            initializer=torch.set_num_threads,  # for the kernels of that thread
            initargs=(1,),
        )
    try:
        with _sooner_turns:
            yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    _idle[number].append(pool)


@contextmanager
def torch_threads(number):
    """Let torch use so many threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def each_in_one_thread(function, items, threads):
    """Call a function on items, each in a thread in which torch has no other.

    Parameters
    ----------
    function : callable
    items : sequence
    threads : int
        How many items may be in work at a time.

    Returns
    -------
    results : list
        In the order of the items.
    """
    # a thread of a pool has one processor to itself; the others are taken
    within = threading.current_thread().name.startswith(_LONE)
    if within or min(threads, len(items)) == 1:
        with torch_threads(1):
            return [function(item) for item in items]
    with lone_threads(threads) as pool:
        return list(pool.map(function, items))


def resolve_device(device):
    """Turn ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` into a device that is there.

    Parameters
    ----------
    device : str or torch.device

    Returns
    -------
    device : torch.device
        ``"auto"`` is the current CUDA device where there is one, else the CPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(_unknown(device)) from error
    if resolved.type == "cpu":
        return torch.device("cpu")
    if resolved.type != "cuda":
        raise ValueError(_unknown(device))
    if not torch.cuda.is_available():
        built = torch.version.cuda or "no CUDA"
        raise ValueError(
            f"device={str(device)!r} was asked for, but torch {torch.__version__} "
            f"(built for {built}) sees no CUDA device on this machine. Use "
            "device='cpu', or device='auto' to take CUDA only where it is."
        )
    index = torch.cuda.current_device() if resolved.index is None else resolved.index
    if index >= torch.cuda.device_count():
        raise ValueError(
            f"device={str(device)!r} was asked for, but this machine has "
            f"{torch.cuda.device_count()} CUDA device(s), 'cuda:0' to "
            f"'cuda:{torch.cuda.device_count() - 1}'."
        )
    return torch.device("cuda", index)


def _unknown(device):
    return (
        f"device={str(device)!r} is not a device that this estimator knows: 'auto', "
        "'cpu', 'cuda' or 'cuda:N' was expected."
    )


def move(module, optimizer, device):
    """Move a network, and what an optimizer remembers of it, to a device."""
    if all(p.device == device for p in module.parameters()):
        return
    module.to(device)
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                state[name] = value.to(device)


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
    native = computes_bfloat16(device)
    if precision == "auto":
        precision = "bfloat16" if native else "float32"
    if precision == "float32":
        return None
    if native is False:
        warnings.warn(
            f"precision='bfloat16' on {_name_of(device)}, which has no instructions "
            "for it: torch emulates them, several times slower than float32. "
            "precision='auto' is bfloat16 only where there are such instructions.",
            EfficiencyWarning,
            stacklevel=2,
        )
    return torch.bfloat16


def computes_bfloat16(device):
    """Say whether a device has instructions for products of bfloat16.

    Elsewhere torch emulates them, which is right and several times slower. Of a CPU
    only newer releases of torch can tell; under older ones the answer is None.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    if not capabilities:
        return None
    return any(capabilities.get(name, False) for name in _INSTRUCTIONS)


def _name_of(device):
    return "this CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)


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


def free_memory(device):
    """Let other processes have what torch keeps of the memory of a CUDA device."""
    with torch.cuda.device(device):
        torch.cuda.empty_cache()


_drawing = threading.Lock()


class RandomStream:
    """A stream of random numbers that functions see as torch's global one.

    Several trainings draw in turn, some of them in threads: one at a time.

    Parameters
    ----------
    seed : int
    device : torch.device
    """

    def __init__(self, seed, device):
        self.generators = [torch.default_generator]
        if device.type == "cuda":
            self.generators.append(torch.cuda.default_generators[device.index or 0])
        self.states = [
            torch.Generator(g.device).manual_seed(seed).get_state()
            for g in self.generators
        ]

    @contextmanager
    def used(self):
        """Let random numbers inside, or in a function so decorated, come from here."""
        with _drawing:
            self._exchange()
            try:
                yield
            finally:
                self._exchange()

    def _exchange(self):
        """Exchange the states of the global generators for those that are kept here."""
        kept, self.states = self.states, [g.get_state() for g in self.generators]
        for generator, state in zip(self.generators, kept, strict=True):
            generator.set_state(state)
