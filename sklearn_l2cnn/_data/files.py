"""Image files: from paths, bytes and PIL images to uint8 arrays of one size.

Only Pillow opens anything, and only what was named. Everything that goes wrong is a
ValueError or an OSError that names the source.
"""

import io
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sklearn_l2cnn._data.framing import central_box, inner_place, two_sides

MODES = {"L": 1, "RGB": 3, "RGBA": 4}

# A JPEG may be decoded at a half, a quarter or an eighth of its size; what is left to
# be averaged is at least so many pixels for one. Pillow's own default.
_REDUCING_GAP = 2.0

# What EXIF says of how an image lies: in which cases rows and columns have changed
# places, and which of them, of the upright image, are stored backwards.
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
_BACKWARDS = {
    2: (0, 1),
    3: (1, 1),
    4: (1, 0),
    5: (0, 0),
    6: (0, 1),
    7: (1, 1),
    8: (1, 0),
}


class Reading(NamedTuple):
    """How images are read.

    Attributes
    ----------
    size : tuple (height, width) or None
        None is that of the file.
    mode : {"L", "RGB", "RGBA"}
    aspect : {"stretch", "crop", "pad"}
    interpolation : {"nearest", "bilinear", "bicubic"}
    fill, background : float
        Around padded images, and behind transparent pixels; 0 is black, 1 is white.
    max_pixels : int
    root : str, path or None
    """

    size: object = None
    mode: str = "RGB"
    aspect: str = "crop"
    interpolation: str = "bilinear"
    fill: float = 0.0
    background: float = 1.0
    max_pixels: int = 89_478_485
    root: object = None


def is_file(source):
    """Say whether something stands for an image file: a path, bytes, a PIL image."""
    return isinstance(source, str | bytes | bytearray | os.PathLike) or is_pil(source)


def is_pil(source):
    """Say whether something is an image of Pillow, without importing it."""
    return any(
        kind.__module__ == "PIL.Image" and kind.__name__ == "Image"
        for kind in type(source).__mro__
    )


def read_image(source, reading):
    """Read one image.

    Parameters
    ----------
    source : str, path, bytes or PIL image
    reading : Reading

    Returns
    -------
    pixels : ndarray of uint8 of shape (height, width, channels)
    """
    if is_pil(source):
        return _pixels(source, reading, named(source), whole=True)
    if isinstance(source, bytes | bytearray):
        return _decoded(io.BytesIO(source), reading, named(source))
    path = _path(source, reading.root)
    try:
        with open(path, "rb") as file:
            return _decoded(file, reading, named(source))
    except FileNotFoundError:
        raise FileNotFoundError(_no_file(source, path)) from None
    except IsADirectoryError:
        raise IsADirectoryError(
            f"{named(source)} is a folder, an image file was expected. "
            "sklearn_l2cnn.datasets.read_image_folder lists the images in a folder."
        ) from None


def named(source):
    """Say in a message what a source is."""
    if is_pil(source):
        name = getattr(source, "filename", "") or ""
        return f"PIL image {name!r}" if name else f"PIL image of mode {source.mode!r}"
    if isinstance(source, bytes | bytearray):
        return f"bytes {bytes(source[:12])!r}... ({len(source)} in all)"
    return repr(os.fspath(source))


def _path(source, root):
    path = os.fspath(source)
    if "\0" in str(path):
        raise ValueError(f"{path!r} has a null byte in it, which no path has.")
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", str(path)):
        raise ValueError(
            f"{path!r} is an address on a network, where nothing is looked up. "
            "Download the files first, and give their paths."
        )
    if root is None:
        return path
    root = Path(root).resolve()
    found = (root / path).resolve()
    if not found.is_relative_to(root):
        raise ValueError(
            f"{path!r} leads to {str(found)!r}, which lies outside of "
            f"root={str(root)!r}."
        )
    return found


def _no_file(source, path):
    hint = "Paths that are relative start at the working directory"
    hint += f", {os.getcwd()!r}; root= names another folder."
    if os.path.isabs(path):
        hint = "Is it spelt as on the disk, capital letters and ending included?"
    return f"{named(source)}: there is no such file. {hint}"


def _decoded(file, reading, name):
    from PIL import Image, UnidentifiedImageError

    head = file.read(4)
    file.seek(0)
    if head in (b"%!PS", b"\xc5\xd0\xd3\xc6"):
        raise ValueError(
            f"{name} is PostScript, which Pillow hands to another program. Convert it "
            "to a PNG of the size that you need first."
        )
    try:
        image = Image.open(file)
    except UnidentifiedImageError:
        file.seek(0)
        raise ValueError(_no_image(file.read(1024), name)) from None
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{name}: {error} PIL.Image.MAX_IMAGE_PIXELS sets the limit of Pillow."
        ) from None
    except Exception as error:  # as for the decoders
        raise ValueError(_damaged(name, error)) from error
    with image:
        return _pixels(image, reading, name)


def _damaged(name, error):
    reason = str(error) or type(error).__name__
    return f"{name} could not be decoded, the file is truncated or damaged: {reason}"


def _no_image(head, name):
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


def _pixels(image, reading, name, whole=False):
    """Bring an opened image to the size and mode that are wanted.

    An image that is the user's own is decoded as a whole: at a fraction of its size it
    would stay so.
    """
    width, height = image.size
    if width * height > reading.max_pixels:
        raise ValueError(
            f"{name} has {width} x {height} = {width * height:,} pixels, more than "
            f"max_pixels={reading.max_pixels:,}: it may be a bomb that fills the "
            "memory. If it is meant, raise max_pixels."
        )
    try:
        image, scale = _upright(image, reading, whole)
        image = _flat(_in_eight_bits(image), reading)
    except Exception as error:  # decoders of damaged files raise anything
        raise ValueError(_damaged(name, error)) from error
    if reading.size is not None:
        image = _sized(image, scale, reading)
    pixels = np.array(image, dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], -1)


class Scale(NamedTuple):
    """Where an image lies in one that was decoded at a fraction of its size.

    Attributes
    ----------
    shape : tuple (height, width)
        Of the image as it is, upright.
    factor : int
        1, 2, 4 or 8.
    before : tuple (rows, columns)
        What part of a pixel of the decoded image lies before it: its sides are rounded
        up, at the end unless they were turned around.
    """

    shape: tuple
    factor: int
    before: tuple


def _upright(image, reading, whole):
    """Decode an image, a large JPEG at a fraction of its size, and turn it upright.

    Returns
    -------
    image : PIL image
    scale : Scale
    """
    from PIL import ImageOps

    orientation = image.getexif().get(_ORIENTATION, 1)
    turned = orientation in _TURNED
    stored = image.size
    shape = stored if turned else stored[::-1]
    sized = reading.size is not None and reading.interpolation != "nearest"
    if sized and not whole:
        wanted = _whole_size(shape, two_sides(reading.size), reading.aspect)
        wanted = wanted if turned else wanted[::-1]
        mode = "L" if reading.mode == "L" and image.mode == "RGB" else None
        image.draft(mode, tuple(max(1, int(side * _REDUCING_GAP)) for side in wanted))
    factor = next(k for k in (1, 2, 4, 8) if -(-stored[0] // k) == image.size[0])
    image.load()
    if orientation in _BACKWARDS:
        image = ImageOps.exif_transpose(image)
    before = (
        (own - whole / factor) * backwards
        for own, whole, backwards in zip(
            image.size[::-1], shape, _BACKWARDS.get(orientation, (0, 0)), strict=True
        )
    )
    return image, Scale(shape, factor, tuple(before))


def _whole_size(shape, size, aspect):
    """Return the size of the whole image where the part that is kept has its own."""
    if aspect == "stretch":
        return size
    scales = [side / whole for side, whole in zip(size, shape, strict=True)]
    scale = max(scales) if aspect == "crop" else min(scales)
    return tuple(scale * whole for whole in shape)


def _in_eight_bits(image):
    """Bring an image of any mode to one of L, LA, RGB and RGBA."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(in_bytes(*_with_white(image)))
    alpha = "A" if "transparency" in image.info else ""
    modes = {"P": "RGB" + alpha, "L": "L" + alpha, "RGB": "RGB" + alpha, "1": "L"}
    modes |= {"LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
    mode = modes.get(image.mode, "RGB")  # CMYK, YCbCr, LAB and HSV are colours
    return image if image.mode == mode else image.convert(mode)


def white_for(largest):
    """Return which value is white in images of which this is the largest."""
    return next((w for w in (1.0, 255.0, 65535.0) if largest <= w), float(largest))


def _with_white(image):
    """Return the values of an image in more than eight bits, and which is white."""
    values = np.asarray(image)
    if image.mode == "F":
        return values, white_for(values[np.isfinite(values)].max(initial=0))
    # in files, Pillow's older releases have those of 16 bits as whole numbers of 32
    if image.mode == "I" and image.format is None:
        return values, max(255.0, white_for(values.max()))
    return values, 65535.0


def in_bytes(values, white):
    """Return numbers from 0 to `white` as uint8; what is beyond is cut off."""
    return np.round(np.clip(values / white, 0, 1) * 255).astype(np.uint8)


def _flat(image, reading):
    """Bring L, LA, RGB or RGBA to the mode that is wanted, transparency filled."""
    from PIL import Image

    if image.mode in ("LA", "RGBA") and reading.mode != "RGBA":
        behind = Image.new("RGBA", image.size, _paint(reading.background, "RGBA"))
        image = Image.alpha_composite(behind, image.convert("RGBA"))
    return image if image.mode == reading.mode else image.convert(reading.mode)


def _paint(share, mode):
    """Return a shade of grey as Pillow has it in a mode."""
    level = round(255 * share)
    return {"L": level, "RGB": (level,) * 3, "RGBA": (level,) * 3 + (255,)}[mode]


def _sized(image, scale, reading):
    """Bring an upright image to the size that is wanted."""
    from PIL import Image

    size, place = two_sides(reading.size), (0, 0)
    inner, part = size, (0, 0, *scale.shape)
    if reading.aspect == "crop":
        part = central_box(scale.shape, size)
    elif reading.aspect == "pad":
        top, left, *inner = inner_place(scale.shape, size)
        place = (left, top)
    image, box = _part(image, scale, *part)
    image = image.resize(
        tuple(inner[::-1]),
        Image.Resampling[reading.interpolation.upper()],
        box=box,
        reducing_gap=_REDUCING_GAP,
    )
    if tuple(inner) == size:
        return image
    frame = Image.new(reading.mode, size[::-1], _paint(reading.fill, reading.mode))
    frame.paste(image, place)
    return frame


def _part(image, scale, top, left, height, width):
    """Cut a part of an image out, up to whole pixels; say where it is in the cut."""
    upper, side = (
        before + part / scale.factor
        for before, part in zip(scale.before, (top, left), strict=True)
    )
    lower, far = upper + height / scale.factor, side + width / scale.factor
    x, y = math.floor(side), math.floor(upper)
    end = min(image.width, math.ceil(far)), min(image.height, math.ceil(lower))
    if (x, y, *end) != (0, 0, *image.size):
        image = image.crop((x, y, *end))
    box = (side - x, upper - y, min(far - x, image.width), min(lower - y, image.height))
    return image, box
