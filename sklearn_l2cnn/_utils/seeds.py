"""Seeds of random number generators; global ones get their states back."""

import random
import threading
from contextlib import contextmanager

import numpy as np
import torch

from sklearn_l2cnn._utils.devices import generators_of

# The generators below belong to the process, not to a thread: two fits in two threads
# would seed them under each other's feet. One at a time, then.
_lock = threading.RLock()
_CPU = torch.device("cpu")


@contextmanager
def seeded(seed, device):
    """Seed numpy's, random's and torch's global generators, and restore them.

    Parameters
    ----------
    seed : int
    device : torch.device
        Its generator is seeded with the CPU's.
    """
    with generators_kept(device):
        random.seed(seed)
        np.random.seed(seed)
        # torch.manual_seed would seed every device there is
        for generator in generators_of(device):
            generator.manual_seed(seed)
        yield


@contextmanager
def generators_kept(device=_CPU):
    """Restore numpy's, random's and torch's global generators afterwards."""
    with _lock:
        states = generator_states(device)
        try:
            yield
        finally:
            set_generators(device, states)


def generator_states(device):
    """Return the states of the global generators of random, numpy and torch.

    Parameters
    ----------
    device : torch.device
        Whose generator counts with those of the CPU.
    """
    of_torch = [generator.get_state() for generator in generators_of(device)]
    return random.getstate(), np.random.get_state(), of_torch


def set_generators(device, states):
    """Set the global generators to what `generator_states` has returned."""
    of_random, of_numpy, of_torch = states
    random.setstate(of_random)
    np.random.set_state(of_numpy)
    for generator, state in zip(generators_of(device), of_torch, strict=True):
        generator.set_state(state)


def random_states():
    """Return the states of random's, numpy's and torch's generators of the host."""
    _, numbers, *rest = np.random.get_state()
    of_torch = torch.get_rng_state().numpy().tobytes()
    return random.getstate(), (numbers.tobytes(), rest), of_torch


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
    numbers = random_state_of(random_state)
    return numbers.randint(np.iinfo(np.int32).max, size=n_seeds).tolist()


def random_state_of(random_state):
    """Return the generator of numpy that a `random_state` parameter stands for.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        None draws from the operating system, never from numpy's global generator.
    """
    if isinstance(random_state, np.random.RandomState):
        return random_state
    return np.random.RandomState(random_state)
