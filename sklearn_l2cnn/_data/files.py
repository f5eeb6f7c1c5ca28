"""Reading paths, bytes and Pillow images into arrays of one size.

Images are only decoded by Pillow. All failures are raised as a ValueError or an OSError
that names the source.
"""

import io
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sklearn_l2cnn._data.framing import central_box, inner_place, two_sides
from sklearn_l2cnn._data.windows import Levels, window_of

MODES = {"L": 1, "RGB": 3, "RGBA": 4}

# A JPEG may be decoded at a half, a quarter or an eighth of its size, as long as at
# least this many pixels are left to average along each side. Pillow's own default.
_REDUCING_GAP = 2.0

# The EXIF orientations: those in which rows and columns are swapped, and for each
# whether rows and columns of the upright image are stored in reverse order.
_ORIENTATION = 0x0112
_SWAPPED = (5, 6, 7, 8)
_FLIPPED = {2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}


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
        with open(path, "rb") as file:
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
    return repr(os.fspath(source))


def _resolve(source, root):
    path = os.fspath(source)
    if "\0" in str(path):
        raise ValueError(f"{path!r} contains a null byte, which paths cannot contain.")
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", str(path)):
        raise ValueError(
            f"{path!r} is an address on a network, which is not opened. Download the "
            "files first, and pass their paths."
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
        image = Image.open(file)
    except UnidentifiedImageError:
        raise ValueError(_no_image_message(head, name)) from None
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{name}: {error} PIL.Image.MAX_IMAGE_PIXELS sets the limit of Pillow."
        ) from None
    except Exception as error:  # damaged files may raise errors of any type
        raise ValueError(_damaged_message(name, error)) from error
    with image:
        return _to_pixels(image, options, name)


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


def _to_pixels(image, options, name, whole=False):
    """Convert an opened image to an array of the requested size and mode.

    The user's own images are decoded at their full size, as decoding at a fraction of
    it would change them.
    """
    width, height = image.size
    if width * height > options.max_pixels:
        raise ValueError(
            f"{name} has {width} x {height} = {width * height:,} pixels, more than "
            f"max_pixels={options.max_pixels:,}: it may be a decompression bomb, which "
            "fills the memory. If you trust it, increase max_pixels."
        )
    try:
        image, scale = _load_upright(image, options, whole)
        image, levels = _to_grey_or_mode(image, options)
    except Exception as error:  # damaged files may raise errors of any type
        raise ValueError(_damaged_message(name, error)) from error
    if options.size is not None:
        image = _to_size(image, scale, options)
    return _to_array(image, options), levels


class Scale(NamedTuple):
    """Position of an image in one that was decoded at a fraction of its size.

    Attributes
    ----------
    shape : tuple (height, width)
        Size of the upright image at full resolution.
    factor : int
        1, 2, 4 or 8.
    before : tuple (rows, columns)
        Fraction of a decoded pixel before the image. The sides of the decoded image are
        rounded up, at their end unless they are reversed.
    """

    shape: tuple
    factor: int
    before: tuple


def _load_upright(image, options, whole):
    """Decode an image, a large JPEG at a fraction of its size, and rotate it upright.

    Returns
    -------
    image : Pillow image
    scale : Scale
    """
    from PIL import ImageOps

    orientation = image.getexif().get(_ORIENTATION, 1)
    swapped = orientation in _SWAPPED
    stored = image.size
    shape = stored if swapped else stored[::-1]
    sized = options.size is not None and options.interpolation != "nearest"
    if sized and not whole:
        wanted = _uncropped_size(shape, two_sides(options.size), options.aspect)
        wanted = wanted if swapped else wanted[::-1]
        least = tuple(max(1, int(side * _REDUCING_GAP)) for side in wanted)
        image.draft(options.mode, least)
    factor = next(k for k in (1, 2, 4, 8) if -(-stored[0] // k) == image.size[0])
    image.load()
    if orientation in _FLIPPED:
        image = ImageOps.exif_transpose(image)
    before = (
        (own - whole / factor) * is_reversed
        for own, whole, is_reversed in zip(
            image.size[::-1], shape, _FLIPPED.get(orientation, (0, 0)), strict=True
        )
    )
    return image, Scale(shape, factor, tuple(before))


def _uncropped_size(shape, size, aspect):
    """Return the size of the whole image after resizing the part that is kept."""
    if aspect == "stretch":
        return size
    scales = [side / whole for side, whole in zip(size, shape, strict=True)]
    scale = max(scales) if aspect == "crop" else min(scales)
    return tuple(scale * whole for whole in shape)


def _to_grey_or_mode(image, options):
    """Convert an image of more than 8 bits to floats, any other to the mode.

    Pillow has more than 8 bits in grey images alone.

    Returns
    -------
    image : Pillow image
    levels : Levels or None
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _to_shares(image, options)
    return _to_mode(_to_eight_bits(image), options), None


def _to_eight_bits(image):
    """Convert an image of 8 bits to L, LA, RGB or RGBA."""
    alpha = "A" if "transparency" in image.info else ""
    modes = {"P": "RGB" + alpha, "L": "L" + alpha, "RGB": "RGB" + alpha, "1": "L"}
    modes |= {"LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
    mode = modes.get(image.mode, "RGB")  # CMYK, YCbCr, LAB and HSV
    return image if image.mode == mode else image.convert(mode)


def _to_shares(image, options):
    """Convert an image of more than 8 bits to one of floats, white as 1."""
    from PIL import Image

    values, least = np.asarray(image, dtype=np.float64), 65535.0
    if image.mode == "F":
        least = 1.0
    # older releases of Pillow read 16-bit files as 32-bit integers
    elif image.mode == "I" and image.format is None:
        least = 255.0
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    window = window_of(low, high, options.black, options.white, least)
    shares = np.nan_to_num(window.shares(values))
    return Image.fromarray(shares.astype(np.float32)), Levels(low, high, window)


def _to_mode(image, options):
    """Convert L, LA, RGB or RGBA to the requested mode, with a background."""
    from PIL import Image

    if image.mode in ("LA", "RGBA") and options.mode != "RGBA":
        behind = _grey(image.size, options.background, "RGBA")
        image = Image.alpha_composite(behind, image.convert("RGBA"))
    return image if image.mode == options.mode else image.convert(options.mode)


def _grey(size, share, mode):
    """Return an opaque image of a single grey level."""
    from PIL import Image

    return Image.new("L", size, round(255 * share)).convert(mode)


def _to_size(image, scale, options):
    """Resize an upright image to the requested size."""
    from PIL import Image

    size, place = two_sides(options.size), (0, 0)
    inner, part = size, (0, 0, *scale.shape)
    if options.aspect == "crop":
        part = central_box(scale.shape, size)
    elif options.aspect == "pad":
        top, left, *inner = inner_place(scale.shape, size)
        place = (left, top)
    image, box = _crop(image, scale, *part)
    image = image.resize(
        tuple(inner[::-1]),
        Image.Resampling[options.interpolation.upper()],
        box=box,
        reducing_gap=_REDUCING_GAP,
    )
    if tuple(inner) == size:
        return image
    frame = _grey(size[::-1], options.fill, options.mode)
    if image.mode == "F":
        frame = Image.new("F", size[::-1], options.fill)
    frame.paste(image, place)
    return frame


def _crop(image, scale, top, left, height, width):
    """Crop a part of an image to whole pixels; also return its box in the crop."""
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


def _to_array(image, options):
    """Return an image, of shares of white or of the requested mode, as an array."""
    pixels, is_byte = np.asarray(image), options.dtype == np.uint8
    if image.mode == "F":
        grey = pixels.clip(0, 1)  # bicubic interpolation goes beyond
        grey = np.round(255 * grey).astype(np.uint8) if is_byte else grey
        opaque = np.full_like(grey, 255 if is_byte else 1)
        pixels = np.dstack([grey, grey, grey, opaque][: MODES[options.mode]])
    elif not is_byte:
        pixels = pixels / np.float32(255)
    return pixels.reshape(*pixels.shape[:2], -1)
