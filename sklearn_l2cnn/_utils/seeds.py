"""Seeds of random number generators; global ones get their states back."""

import random
import threading
from contextlib import contextmanager

import numpy as np
import torch

# The generators below belong to the process, not to a thread: two fits in two threads
# would seed them under each other's feet. One at a time, then.
_lock = threading.RLock()


@contextmanager
def seeded(seed, device):
    """Seed numpy's, random's and torch's global generators, and restore them.

    Parameters
    ----------
    seed : int
    device : torch.device
        Its generator is seeded with the CPU's.
    """
    forked = [device.index or 0] if device.type == "cuda" else []
    with _lock:
        of_random, of_numpy = random.getstate(), np.random.get_state()
        try:
            with torch.random.fork_rng(devices=forked):
                random.seed(seed)
                np.random.seed(seed)
                # torch.manual_seed would seed every CUDA device there is
                torch.default_generator.manual_seed(seed)
                for index in forked:
                    torch.cuda.default_generators[index].manual_seed(seed)
                yield
        finally:
            random.setstate(of_random)
            np.random.set_state(of_numpy)


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
