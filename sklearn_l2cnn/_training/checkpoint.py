"""The state of a training in a file, from which it goes on after whatever ended it.

Numbers and tensors are read with torch's loader of weights alone. What callbacks of the
user remember is pickled, and read where the training has such callbacks.
"""

import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn._utils.files import replacing
from sklearn_l2cnn._utils.identity import identity
from sklearn_l2cnn._utils.trees import mapped


class Checkpoint:
    """The files of one training: its state after the last epoch, or after each.

    The state of an epoch is written while the next one is trained. A file that is whole
    replaces that of the epoch before.

    Parameters
    ----------
    folder : path
    name : str
        Of the files, the same for the same training alone.
    keep : bool
        Whether the files of all epochs stay.
    """

    def __init__(self, folder, name, keep):
        self.folder = Path(folder)
        self.name = name
        self.keep = keep
        self.writer, self.pending = None, None

    def read(self):
        """Return the last state that was written; None if there is none."""
        for path in [self._path(), *self._of_epochs()]:
            try:
                kept = torch.load(path, map_location="cpu", weights_only=True)
                if kept["identity"] == identity(kept["state"]):
                    return kept["state"]
                raise ValueError("it is not as it was written")
            except FileNotFoundError:
                continue
            except Exception as error:  # whatever damaged files lead to
                warnings.warn(
                    f"The checkpoint {str(path)!r} cannot be read: "
                    f"{first_line(error)}. Training goes on from an earlier one if "
                    "there is one, or starts from the first epoch.",
                    UserWarning,
                    stacklevel=2,
                )
        return None

    def write(self, state, epoch=None):
        """Begin to write a state, once the one before is written.

        Parameters
        ----------
        state : dict
            It is copied.
        epoch : int, default=None
            After which it is; None after the last.
        """
        self.wait()
        state = mapped(state, torch.Tensor, _copied)
        state = mapped(state, np.ndarray, np.ndarray.tolist)
        if self.writer is None:
            self.writer = ThreadPoolExecutor(1, thread_name_prefix="l2cnn-checkpoint")
        self.pending = self.writer.submit(self._write, state, epoch)

    def wait(self):
        """Wait until what was begun is written; warn where it could not be."""
        pending = self.pending
        if pending is None:
            return
        try:
            pending.result()
        except Exception as error:  # training does not end for want of a file
            warnings.warn(
                f"The state of the training could not be written to {self.folder}: "
                f"{first_line(error)}. Training goes on; if it is interrupted, it "
                "goes on from the last state that was written.",
                UserWarning,
                stacklevel=3,
            )
        # until here a signal may come that waits as well
        if self.pending is pending:
            self.pending = None

    def close(self):
        """Wait for the last state, and end the thread that writes."""
        try:
            self.wait()
        finally:
            if self.writer is not None:
                self.writer.shutdown()
                self.writer = None

    def _write(self, state, epoch):
        before, path = self._of_epochs(), self._path(epoch)
        with replacing(str(path)) as temporary:
            torch.save({"state": state, "identity": identity(state)}, temporary)
        for other in before:
            if not self.keep and other != path:
                with suppress(OSError):  # another process may have been sooner
                    other.unlink()

    def _path(self, epoch=None):
        end = "" if epoch is None else f"-{epoch:06d}"
        return self.folder.absolute() / f"{self.name}{end}.pt"

    def _of_epochs(self):
        """Return the files of the epochs, the last first."""
        return sorted(self.folder.absolute().glob(f"{self.name}-*.pt"), reverse=True)


@contextmanager
def written(checkpoints):
    """Wait for the last states; inside, a SIGTERM ends the process after these.

    Parameters
    ----------
    checkpoints : list of Checkpoint or None
        None keep nothing.
    """
    checkpoints = [checkpoint for checkpoint in checkpoints if checkpoint is not None]

    def end(number, frame):
        for checkpoint in checkpoints:
            checkpoint.wait()
        # None is a handler that Python does not know
        signal.signal(number, signal.SIG_DFL if before is None else before)
        signal.raise_signal(number)

    in_main = threading.current_thread() is threading.main_thread()  # as signals are
    handles = bool(checkpoints) and in_main
    before = signal.signal(signal.SIGTERM, end) if handles else None
    try:
        yield
    finally:
        if handles:
            signal.signal(signal.SIGTERM, before)
        for checkpoint in checkpoints:
            checkpoint.close()


def _copied(tensor):
    return tensor.detach().to("cpu", copy=True)
