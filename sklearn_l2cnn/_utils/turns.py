"""Fits of several processes on the devices of one machine: each takes its turn.

Every fit on a device locks a file for as long as it runs, so that others see how many
there are; a process that dies lets go of its locks. On systems without such locks, as
on Windows, every fit runs on the current device, and none waits.
"""

import logging
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from sklearn_l2cnn._utils.devices import (
    OutOfMemory,
    free_bytes,
    identity_of,
    needed_bytes,
    recover_memory,
)

try:
    import fcntl
except ImportError:  # not on Unix
    fcntl = None

_log = logging.getLogger("sklearn_l2cnn")

# Seconds after which a fit that waits looks again.
_PATIENCE = 0.2


class Turn:
    """The part of one fit in a device.

    Attributes
    ----------
    device : torch.device
    """

    def __init__(self, device, number=None):
        self.device = device
        self.number = number

    def others(self):
        """Return how many other fits run on the device."""
        if self.number is None:
            return 0
        with _choosing():
            return len(_running(self.device) - {self.number})

    def fit(self, function):
        """Call a function, which waits for memory that others have and will free.

        Parameters
        ----------
        function : callable
            From a device to a result. It may be called again.
        """
        # the fits of a search need as much as the one before
        self._wait_until(lambda: free_bytes(self.device) >= needed_bytes(self.device))
        while True:
            others = self.others()
            try:
                return function(self.device)
            except OutOfMemory:
                if not others:
                    raise
            recover_memory(self.device)
            self._wait_until(lambda n=others: self.others() < n)

    def _wait_until(self, is_so):
        """Wait for something that others do, as long as there are any."""
        told = False
        while self.others() and not is_so():
            if not told:
                told = True
                _log.info(
                    "A fit waits for memory on %s, where %d others run.",
                    self.device,
                    self.others(),
                )
            time.sleep(_PATIENCE)


@contextmanager
def turn_on(devices):
    """Take part in that of some devices on which the fewest fits run.

    Parameters
    ----------
    devices : list of torch.device
        The first is taken where several have as few.

    Yields
    ------
    turn : Turn
    """
    if fcntl is None or devices[0].type == "cpu":
        yield Turn(devices[0])
        return
    with _choosing():
        running = {device: _running(device) for device in devices}
        device = min(devices, key=lambda each: len(running[each]))
        number = next(k for k in range(1 << 20) if k not in running[device])
        file = _file(device, number).open("w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with file:
        yield Turn(device, number)


def _folder():
    folder = Path(tempfile.gettempdir()) / f"sklearn-l2cnn-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _file(device, number):
    return _folder() / f"{identity_of(device)}-{number}"


def _running(device):
    """Return the numbers of the fits that run on a device."""
    begins = f"{identity_of(device)}-"
    numbers = {int(p.name.removeprefix(begins)) for p in _folder().glob(f"{begins}*")}
    return {number for number in numbers if _is_locked(_file(device, number))}


def _is_locked(path):
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def _choosing():
    """Let one process at a time test the locks, as a test takes them for a moment."""
    with (_folder() / "choosing").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
