"""How what a search works on travels to other processes, here or on a cluster."""

import logging
from concurrent.futures import CancelledError

from sklearn_l2cnn._data.arrays import as_tensor, is_tensor

_log = logging.getLogger("sklearn_l2cnn")

# How often tasks are handed out, as Dask gives a task to so many workers that die.
_TIMES = 4


class SentOnce:
    """What several tasks are given, and a cluster should send to each worker once.

    joblib's backend for Dask does so with an argument that says that it is large. What
    hides in a small one it sends with every task.

    Parameters
    ----------
    value : object
    n_bytes : int
        About the memory of the value.
    """

    def __init__(self, value, n_bytes):
        self.value = value
        self.n_bytes = n_bytes

    def __sizeof__(self):
        return object.__sizeof__(self) + self.n_bytes


class Mapped:
    """An array for other processes, a tensor of the CPU as a numpy array on the way.

    joblib gives a large numpy array to all processes of a machine through one memory
    map; a tensor it would send with every task.

    Parameters
    ----------
    array : array-like
    """

    def __init__(self, array):
        self.array = array
        self._host = array.numpy() if _has_numpy(array) else None

    def __reduce__(self):
        if self._host is None:
            return Mapped, (self.array,)
        return _mapped_tensor, (self._host,)


def _has_numpy(array):
    if not is_tensor(array) or array.device.type != "cpu":
        return False
    return not (array.requires_grad or array.is_conj() or array.is_neg())


def _mapped_tensor(host):
    return Mapped(as_tensor(host))


def again_if_lost(hand_out):
    """Hand out tasks, and again where a worker that died had what they need.

    Dask repeats a task of such a worker, but has no second copy of what was sent to
    that worker alone.

    Parameters
    ----------
    hand_out : callable
        Without arguments. It may be called again.

    Returns
    -------
    result : object
        Of the call.
    """
    for _ in range(_TIMES - 1):
        try:
            return hand_out()
        except CancelledError as error:
            _log.info("Tasks were lost, and are handed out again: %s", error)
    return hand_out()
