"""Files that are written as a whole or not at all."""

import os
import secrets
import stat
from contextlib import contextmanager, suppress


@contextmanager
def replacing(path):
    """Write a file under another name, and give it its own once it is on the disk.

    Whatever happens, the old file or the new one is there.

    Parameters
    ----------
    path : str
        Absolute.

    Yields
    ------
    temporary : str
        The name to write under, in the same folder.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(8)}")
    try:
        yield temporary
        with suppress(FileNotFoundError):
            os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _flush(folder)


def _flush(path):
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and os.path.isdir(path):
        return  # there a folder cannot be opened
    handle = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
