"""Seeds, threads and precision of what is computed."""

import os
import sys
import threading
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache

import torch
from sklearn.exceptions import EfficiencyWarning

from sklearn_l2cnn._utils.devices import computes_bfloat16, generators_of, name_of
from sklearn_l2cnn._utils.seeds import seeded
from sklearn_l2cnn._utils.surroundings import (
    Shared,
    compute_alone,
    torch_threads,
    undisturbed,
)


@contextmanager
def isolated(seed, device, threads=None):
    """Seed all global generators, fix what a result may depend on, restore both.

    Inside, numpy's, random's and torch's global generators follow from `seed`, and all
    else is as `undisturbed` has it: the order in which a convolution's gradient is
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
    with undisturbed() as allowed, seeded(seed, device):
        yield threads or allowed


@cache
def keep_memory():
    """Let the C library keep memory that is freed between two operations.

    glibc hands what is freed back to the system beyond a threshold, and has to fetch it
    page by page for the next layer, which takes a quarter of the time of a small
    network. It raises the threshold, to 62 MiB at most, once a block of half that size
    has come back.
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


@Shared
@contextmanager
def _sooner_turns():
    """Let Python's threads take turns sooner, as long as there is a user of this.

    A thread that comes back from a kernel needs Python's lock, and another one that
    makes many short calls keeps it for five milliseconds, longer than most kernels
    take.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, 1e-4))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


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
            number, thread_name_prefix=_LONE, initializer=compute_alone
        )
    try:
        with _sooner_turns:
            yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    _idle[number].append(pool)


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
            f"precision='bfloat16' on {name_of(device)}, which has no instructions "
            "for it: torch emulates them, several times slower than float32. "
            "precision='auto' is bfloat16 only where there are such instructions.",
            EfficiencyWarning,
            stacklevel=2,
        )
    return torch.bfloat16


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
    # a caller who is in such a context keeps what it has cast: weights of earlier steps
    return torch.autocast(device.type, dtype=dtype, cache_enabled=False)


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
        self.generators = generators_of(device)
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
