"""Leaving the world as it was found: generators, threads, defaults of torch."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from sklearn_l2cnn._seeding import seeded


@contextmanager
def isolated(seed, device):
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
        Whose generator is seeded beside the CPU's.

    Yields
    ------
    threads : int
        How many threads torch would have used.
    """
    with seeded(seed, device), ExitStack() as restore:
        restore.callback(torch.set_default_dtype, torch.get_default_dtype())
        threads = torch.get_num_threads()
        if device.type == "cpu":
            restore.callback(torch.set_num_threads, threads)
            torch.set_num_threads(1)
        restore.enter_context(torch.inference_mode(False))
        restore.enter_context(torch.enable_grad())
        torch.set_default_dtype(torch.float32)
        yield threads


def lone_threads(number):
    """Return a pool of threads in each of which torch computes in that one alone."""
    return ThreadPoolExecutor(
        number,
        thread_name_prefix="l2cnn",
        initializer=torch.set_num_threads,  # for the kernels of that thread
        initargs=(1,),
    )


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
    threads = min(threads, len(items))
    with torch_threads(1):
        if threads == 1:
            return [function(item) for item in items]
        with lone_threads(threads) as pool:
            return list(pool.map(function, items))


def draw_seeds(random_state, n_seeds):
    """Draw seeds for independent streams from a `random_state` parameter.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        None draws from the operating system, never from numpy's global generator.
    n_seeds : int

    Returns
    -------
    seeds : list of int
    """
    if not isinstance(random_state, np.random.RandomState):
        random_state = np.random.RandomState(random_state)
    return random_state.randint(np.iinfo(np.int32).max, size=n_seeds).tolist()
