"""Opening paths, bytes and Pillow images, and naming what is wrong with them.

Images are only decoded by Pillow. All failures are raised as a ValueError or an OSError
that names the source.
"""

import io
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sklearn_l2cnn._data.decoding import (
    NoImageError,
    check_bytes,
    check_pixels,
    to_pixels,
)
from sklearn_l2cnn._data.memory import pixels_of_icons

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Formats in which Pillow opens a file of any other format, its own bounds aside.
_ENVELOPES = ("IPTC", "FPX", "MIC")


class ReadOptions(NamedTuple):
    """Options for reading images.

    Attributes
    ----------
    size : tuple (height, width) or None
        None keeps the size of the file.
    mode : {"L", "RGB", "RGBA"}
    aspect : {"stretch", "crop", "pad"}
    interpolation : {"nearest", "bilinear", "bicubic"}
    fill, background : float
        Values around padded images and behind transparent pixels; 0 is black, 1 is
        white.
    max_pixels : int
        Also the bound of the memory that decoding takes, 4 bytes for each.
    root : str, path or None
    black, white : float or None
        Values that are black and white in images of more than 8 bits; None finds them.
    dtype : numpy.dtype
        uint8, or float32 with white as 1.
    """

    size: object = None
    mode: str = "RGB"
    aspect: str = "crop"
    interpolation: str = "bilinear"
    fill: float = 0.0
    background: float = 1.0
    max_pixels: int = 89_478_485
    root: object = None
    black: object = None
    white: object = None
    dtype: object = np.dtype("uint8")


def is_file(source):
    """Return whether an object is a path, bytes or a Pillow image."""
    return isinstance(source, str | bytes | bytearray | os.PathLike) or is_pil(source)


def is_pil(source):
    """Return whether an object is a Pillow image."""
    from PIL import Image

    return isinstance(source, Image.Image)


def read_image(source, options):
    """Read one image.

    Parameters
    ----------
    source : str, path, bytes or Pillow image
    options : ReadOptions

    Returns
    -------
    pixels : ndarray of shape (height, width, channels)
    levels : Levels or None
        None if the image has no more than 8 bits.
    """
    name = describe_source(source)
    if is_pil(source):
        return _to_pixels(source, options, name, whole=True)
    if isinstance(source, bytes | bytearray):
        return _decode(io.BytesIO(source), options, name)
    path = _resolve(source, options.root)
    try:
        with (
            open(path, "rb", buffering=0, opener=_open_without_waiting) as raw,
            _File(raw) as file,
        ):
            _check_regular(file, name)
            return _decode(file, options, name)
    except FileNotFoundError:
        raise FileNotFoundError(_no_file_message(name, path)) from None
    except IsADirectoryError:
        raise IsADirectoryError(
            f"{name} is a folder, an image file was expected. "
            "sklearn_l2cnn.datasets.read_image_folder lists the images in a folder."
        ) from None


def describe_source(source):
    """Return a short description of a source for messages."""
    if is_pil(source):
        name = getattr(source, "filename", "") or ""
        return f"PIL image {name!r}" if name else f"PIL image of mode {source.mode!r}"
    if isinstance(source, bytes | bytearray):
        return f"bytes {bytes(source[:12])!r}... ({len(source)} in all)"
    return repr(_path_of(source))


def state_of(source, root=None):
    """Return bytes that are others once a file, or the bytes of one, have changed.

    None where there are none: a Pillow image, an array, or a file that is not there.
    """
    if isinstance(source, bytes | bytearray):
        return bytes(source)
    if not isinstance(source, str | os.PathLike):
        return None
    try:
        path = os.path.abspath(_resolve(source, root))
        state = os.stat(path)
    except (OSError, ValueError):  # which is raised where it is read
        return None
    return os.fsencode(f"{path}\0{state.st_size}\0{state.st_mtime_ns}")


def _path_of(source):
    """Return a path as text, as the system's own functions understand its bytes."""
    try:
        return os.fsdecode(source)
    except TypeError as error:
        raise ValueError(
            f"An object of type {type(source).__name__} is no path: {error}. Pass "
            "its path as text."
        ) from error


def _open_without_waiting(path, flags):
    """Open a file as `open` does, also a pipe that nobody writes to."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class _File(io.BufferedReader):
    """A file of which no more is asked for than there is.

    Memory is taken for all that is asked for, and a damaged file may say 2 GB.
    """

    def read(self, size=-1, /):
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _check_regular(file, name):
    """Raise if an open file is a pipe or a device, which may never end."""
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(
            f"{name} is {_KINDS.get(stat.S_IFMT(mode), 'no regular file')}, a file was "
            "expected. Read it yourself, and pass its bytes."
        )


def _resolve(source, root):
    path = _path_of(source)
    if "\0" in path:
        raise ValueError(f"{path!r} contains a null byte, which paths cannot contain.")
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", path):
        raise ValueError(
            f"{path!r} is an address on a network, which is not opened. Download the "
            "files first, and pass their paths."
        )
    if root is None:
        return path
    root = Path(root).resolve()
    try:
        found = (root / path).resolve()
    except RuntimeError as error:  # before Python 3.13, of links that lead in a circle
        raise OSError(f"{path!r} cannot be followed: {error}") from error
    if not found.is_relative_to(root):
        raise ValueError(
            f"{path!r} leads to {str(found)!r}, which lies outside of "
            f"root={str(root)!r}."
        )
    return found


def _no_file_message(name, path):
    hint = f"Relative paths start at the working directory, {os.getcwd()!r}, or root."
    if os.path.isabs(path):
        hint = "Check its spelling, including capital letters and the file extension."
    return f"{name}: there is no such file. {hint}"


def _decode(file, options, name):
    from PIL import Image, UnidentifiedImageError

    head = file.read(1024)
    file.seek(0)
    if head.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        raise ValueError(
            f"{name} is PostScript, which Pillow passes to another program. Convert it "
            "to a PNG of the size that you need first."
        )
    try:
        # Pillow decodes icons where it opens them: 16 bytes for each pixel
        check_bytes(16 * pixels_of_icons(file), options)
        image = Image.open(file)
    except NoImageError as error:
        raise ValueError(f"{name} {error}") from None
    except UnidentifiedImageError:
        raise ValueError(_no_image_message(head, name)) from None
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{name}: {error} PIL.Image.MAX_IMAGE_PIXELS sets the limit of Pillow."
        ) from None
    except Exception as error:  # damaged files may raise errors of any type
        raise ValueError(_damaged_message(name, error)) from error
    with image:
        if image.format in _ENVELOPES:
            raise ValueError(
                f"{name} is {image.format}, which holds a file of another format. "
                "Convert it to PNG or JPEG, or leave it out."
            )
        return _to_pixels(image, options, name)


def _to_pixels(image, options, name, whole=False):
    try:
        check_pixels(image.size, options)
        return to_pixels(image, options, whole)
    except NoImageError as error:
        raise ValueError(f"{name} {error}") from None
    except Exception as error:  # damaged files may raise errors of any type
        raise ValueError(_damaged_message(name, error)) from error


def _damaged_message(name, error):
    reason = str(error) or type(error).__name__
    return f"{name} could not be decoded, the file is truncated or damaged: {reason}"


def _no_image_message(head, name):
    if not head:
        return f"{name} is empty, an image was expected."
    if b"<svg" in head.lower():
        return (
            f"{name} is an SVG, a drawing without pixels. Convert it to a PNG of the "
            "size that you need first."
        )
    return (
        f"{name} is not an image that Pillow can read: it begins with {head[:12]!r}. "
        "Convert it to PNG or JPEG, or leave it out."
    )
