"""What the caller has set of torch counts outside of this package, and not in it."""

import os
import threading
from contextlib import ExitStack, contextmanager

import torch

from sklearn_l2cnn._utils.devices import kinds_with_autocast

_CPU = torch.device("cpu")


class _Outside(threading.local):
    """What was found around the work of a thread; None where it has not begun."""

    threads = None


class _Process:
    """What a process is. A child of a fork has none of the threads of its parent."""

    forked = False

    def remember_fork(self):
        self.forked = True


_outside, _process = _Outside(), _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.remember_fork)


@contextmanager
def undisturbed():
    """Let torch compute as if nobody had set anything, in one thread; restore all.

    Inside, tensors are float32 and on the CPU unless said otherwise, nothing is
    computed in a lower precision, gradients are on, and torch has one thread, so that
    the last bits do not depend on their number. Inside of another one it changes
    nothing that counts.

    Yields
    ------
    threads : int
        torch's number outside.
    """
    threads = allowed_threads()
    before, _outside.threads = _outside.threads, threads
    with ExitStack() as restore:
        restore.callback(setattr, _outside, "threads", before)
        restore.enter_context(usual_defaults())
        restore.enter_context(torch_threads(1))
        restore.enter_context(torch.inference_mode(False))
        restore.enter_context(torch.enable_grad())
        yield threads


@contextmanager
def usual_defaults():
    """Compute as if nothing had been set: on the CPU, in float32, without autocast.

    It can decorate a function as well.
    """
    with ExitStack() as restore:
        if torch.get_default_dtype() != torch.float32:
            restore.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        if torch.empty(0).device != _CPU:  # a mode of torch, which slows all calls
            restore.enter_context(_CPU)
        for kind in kinds_with_autocast():
            restore.enter_context(torch.autocast(kind, enabled=False))
        yield


def allowed_threads():
    """Return how many threads torch has outside of `undisturbed`."""
    return _outside.threads or torch.get_num_threads()


@contextmanager
def torch_threads(number):
    """Let torch use so many threads, and as many as before afterwards.

    In a child of a fork it is one: its kernels would wait for threads that OpenMP had
    in the parent, for ever.

    Parameters
    ----------
    number : int
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if _process.forked else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Shared:
    """A context that several threads are in: begun by the first, ended by the last.

    Parameters
    ----------
    make : callable
        Without arguments. Returns the context, anew for each first.
    """

    def __init__(self, make):
        self.make = make
        self.lock, self.n_users, self.inside = threading.Lock(), 0, ExitStack()

    def __enter__(self):
        with self.lock:
            if not self.n_users:
                self.inside.enter_context(self.make())
            self.n_users += 1

    def __exit__(self, *exception):
        with self.lock:
            self.n_users -= 1
            if not self.n_users:
                self.inside.close()


def compute_alone():
    """Let torch use no other thread for the kernels of this one, from now on.

    The first time that torch looks at its number in a thread it takes the one that was
    set last in any thread. After that the number is the thread's own.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)
