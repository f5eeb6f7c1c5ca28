"""From a Pillow image to an array of one size and mode, in tiles.

Beside the image as the decoder leaves it there is never more than a tile of it in
another form: converted colours, shares of white, a turned or cropped copy.
"""

import math
from typing import NamedTuple

import numpy as np

from sklearn_l2cnn._data.framing import central_box, inner_place, two_sides
from sklearn_l2cnn._data.memory import bytes_to_decode
from sklearn_l2cnn._data.windows import Levels, window_of

MODES = {"L": 1, "RGB": 3, "RGBA": 4}

# A JPEG may be decoded at a half, a quarter or an eighth of its size, as long as at
# least this many pixels are left to average along each side. Pillow's own default.
_REDUCING_GAP = 2.0
# Bytes in memory for each of `max_pixels`: what Pillow keeps of a pixel with colours.
# Decoders may have some more for lines and strips, whatever the size.
_PIXEL_BYTES, _MORE_BYTES = 4, 1 << 24
# Sides of a tile, and the most pixels along a side that are averaged to one at first.
_TILE, _MOST_REDUCED = 512, 256
_ORIENTATION = 0x0112
# A share of a side that is less than a pixel of it, and that the float32 of Pillow has.
_NEARER = 1e-6


class Turn(NamedTuple):
    """How a stored image is turned to stand upright, by its EXIF orientation.

    Attributes
    ----------
    method : str or None
        What Pillow calls it.
    swapped : bool
        Whether rows and columns change places.
    reversed : tuple of two bool
        Whether rows and columns of the upright image are stored in reverse order.
    """

    method: object = None
    swapped: bool = False
    reversed: tuple = (False, False)


_TURNS = {
    2: Turn("FLIP_LEFT_RIGHT", False, (False, True)),
    3: Turn("ROTATE_180", False, (True, True)),
    4: Turn("FLIP_TOP_BOTTOM", False, (True, False)),
    5: Turn("TRANSPOSE", True, (False, False)),
    6: Turn("ROTATE_270", True, (False, True)),
    7: Turn("TRANSVERSE", True, (True, True)),
    8: Turn("ROTATE_90", True, (True, False)),
}


class NoImageError(ValueError):
    """What is wrong with an image, said without its name."""


def to_pixels(image, options, whole=False):
    """Convert an opened image to an array of the requested size and mode.

    Parameters
    ----------
    image : Pillow image
    options : ReadOptions
    whole : bool, default=False
        Whether to decode it at its full size, as the user's own images are: decoding
        at a fraction of it would change them.

    Returns
    -------
    pixels : ndarray of shape (height, width, channels)
    levels : Levels or None
        None if the image has no more than 8 bits.
    """
    full = _load(image, options, whole)
    levels = _levels_of(image, options) if _is_deep(image) else None
    turn = _turn_of(image)
    if options.size is None:
        box = (0, 0, *image.size)
        image = _turned(_reduced(image, box, (1, 1), options, levels), turn)
    else:
        image = _to_size(image, full, turn, options, levels)
    return _to_array(image, options), levels


def check_pixels(size, options):
    """Raise if an image has no pixels, or too many.

    Parameters
    ----------
    size : tuple (width, height)
    options : ReadOptions
    """
    width, height = size
    if min(size) < 1:
        raise NoImageError(
            f"has {width} x {height} pixels; an image has at least one in every row "
            "and column. Leave it out."
        )
    if width * height > options.max_pixels:
        raise NoImageError(
            f"has {width} x {height} = {width * height:,} pixels, more than "
            f"max_pixels={options.max_pixels:,}: it may be a decompression bomb, which "
            "fills the memory. If you trust it, increase max_pixels."
        )


def check_bytes(needed, options):
    """Raise if an image takes more memory than `max_pixels` pixels may.

    Parameters
    ----------
    needed : int
    options : ReadOptions
    """
    if needed > _PIXEL_BYTES * options.max_pixels + _MORE_BYTES:
        raise NoImageError(
            f"would take about {needed / 1e6:,.0f} MB to decode, more than the "
            f"{_PIXEL_BYTES * options.max_pixels / 1e6:,.0f} MB of "
            f"max_pixels={options.max_pixels:,}, {_PIXEL_BYTES} bytes each: it may be "
            "a decompression bomb, which fills the memory. If you trust it, set "
            f"max_pixels={-(-needed // _PIXEL_BYTES)}, or convert it to a PNG or JPEG "
            "of the size that you need first."
        )


def _turn_of(image):
    if image.format == "TIFF":  # Pillow itself turns it
        return Turn()
    return _TURNS.get(image.getexif().get(_ORIENTATION), Turn())


def _load(image, options, whole):
    """Decode an image, a large JPEG at a fraction of its size; return its full size."""
    full = image.size
    by_fraction = image.format in ("JPEG", "MPO") and options.size is not None
    if by_fraction and not whole and options.interpolation != "nearest":
        swapped = _turn_of(image).swapped
        shape = full if swapped else full[::-1]
        wanted = _uncropped_size(shape, two_sides(options.size), options.aspect)
        wanted = wanted if swapped else wanted[::-1]
        least = tuple(max(1, int(side * _REDUCING_GAP)) for side in wanted)
        image.draft(options.mode, least)
    fraction = image.size
    # before anything else, for the metadata of some formats come after the image
    check_bytes(bytes_to_decode(image, full), options)
    image.load()
    # that of icons, and of a TIFF that was turned, is known only now
    return full if image.size == fraction else image.size


def _uncropped_size(shape, size, aspect):
    """Return the size of the whole image after resizing the part that is kept."""
    if aspect == "stretch":
        return size
    scales = [side / whole for side, whole in zip(size, shape, strict=True)]
    scale = max(scales) if aspect == "crop" else min(scales)
    return tuple(scale * whole for whole in shape)


# -- values ---------------------------------------------------------------------------


def _is_deep(image):
    """Say whether an image has more than 8 bits, which are in grey images alone."""
    return image.mode.startswith("I") or image.mode == "F"


def _tiles(box, sides):
    """Yield the tiles (left, upper, right, lower) of a box."""
    left, upper, right, lower = box
    for y in range(upper, lower, sides[1]):
        for x in range(left, right, sides[0]):
            yield x, y, min(x + sides[0], right), min(y + sides[1], lower)


def _part(image, box):
    return image if box == (0, 0, *image.size) else image.crop(box)


def _levels_of(image, options):
    """Return the values of an image of more than 8 bits, and its black and white."""
    low, high = math.inf, -math.inf
    for box in _tiles((0, 0, *image.size), (_TILE, _TILE)):
        values = np.asarray(_part(image, box))
        low, high = min(low, values.min()), max(high, values.max())
        if not np.isfinite([low, high]).all():
            raise NoImageError(
                "contains NaN or infinity, which are no levels of grey. Replace them "
                "and pass the array instead: np.nan_to_num(np.asarray(image)); or "
                "leave it out."
            )
    least = 65535.0
    if image.mode == "F":
        least = 1.0
    # older releases of Pillow read 16-bit files as 32-bit integers
    elif image.mode == "I" and image.format is None:
        least = 255.0
    window = window_of(low, high, options.black, options.white, least)
    return Levels(float(low), float(high), window)


def _converted(image, options, levels):
    """Convert an image to the requested mode, or one of many bits to shares of white.

    Colours of transparent images are weighted by alpha where pixels are averaged.
    """
    from PIL import Image

    if levels is not None:
        shares = levels.window.shares(np.asarray(image, dtype=np.float64))
        return Image.fromarray(shares.astype(np.float32))
    image = _to_mode(_to_eight_bits(image), options)
    weighted = image.mode == "RGBA" and options.interpolation != "nearest"
    return image.convert("RGBa") if weighted else image


def _to_eight_bits(image):
    """Convert an image of 8 bits to L, LA, RGB or RGBA."""
    alpha = "A" if "transparency" in image.info else ""
    modes = {"P": "RGB" + alpha, "L": "L" + alpha, "RGB": "RGB" + alpha, "1": "L"}
    modes |= {"LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
    mode = modes.get(image.mode, "RGB")  # CMYK, YCbCr, LAB and HSV
    return image if image.mode == mode else image.convert(mode)


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


# -- sizes ----------------------------------------------------------------------------


def _to_size(image, full, turn, options, levels):
    """Resize an image to the requested size, and turn it upright.

    Parameters
    ----------
    image : Pillow image
    full : tuple (width, height)
        Its size in the file, of which it may be a fraction.
    turn : Turn
    options : ReadOptions
    levels : Levels or None
    """
    from PIL import Image

    size, place = two_sides(options.size), (0, 0)
    shape = full if turn.swapped else full[::-1]
    inner, part = size, (0, 0, *shape)
    if options.aspect == "crop":
        part = central_box(shape, size)
    elif options.aspect == "pad":
        top, left, *inner = inner_place(shape, size)
        place = (left, top)
    # the sides of an image at a fraction of its size are rounded up
    factor = next(k for k in (1, 2, 4, 8) if -(-full[0] // k) == image.width)
    box = [side / factor for side in _stored_box(part, shape, turn)]
    box = (*box[:2], min(box[2], image.width), min(box[3], image.height))
    # of two pixels that are equally near the later one of the upright image is taken
    mirrored = turn.reversed if turn.swapped else turn.reversed[::-1]
    ends = [
        end - _NEARER * (end - start) * is_reversed
        for start, end, is_reversed in zip(box[:2], box[2:], mirrored, strict=True)
    ]
    box = (*box[:2], *(ends if options.interpolation == "nearest" else box[2:]))
    target = tuple(inner if turn.swapped else inner[::-1])
    image = _turned(_resized(image, target, box, options, levels), turn)
    if tuple(inner) == size:
        return image
    frame = _grey(size[::-1], options.fill, options.mode)
    if image.mode == "F":
        frame = Image.new("F", size[::-1], options.fill)
    frame.paste(image, place)
    return frame


def _stored_box(part, shape, turn):
    """Return where a part (top, left, height, width) of an upright image is stored."""
    starts = [
        whole - start - side if is_reversed else start
        for start, side, whole, is_reversed in zip(
            part[:2], part[2:], shape, turn.reversed, strict=True
        )
    ]
    ends = [start + side for start, side in zip(starts, part[2:], strict=True)]
    order = 1 if turn.swapped else -1
    return (*starts[::order], *ends[::order])


def _turned(image, turn):
    from PIL import Image

    if turn.method is None:
        return image
    return image.transpose(getattr(Image.Transpose, turn.method))


def _resized(image, size, box, options, levels):
    """Convert a part of an image, and resize it as Pillow does in two steps.

    Parameters
    ----------
    image : Pillow image
    size : tuple (width, height)
    box : tuple of float (left, upper, right, lower)
    options : ReadOptions
    levels : Levels or None
    """
    from PIL import Image

    resampling = Image.Resampling[options.interpolation.upper()]
    if options.interpolation == "nearest":
        image = image.resize(size, resampling, box=box)
        return _converted(image, options, levels)
    factors = [
        min(int((end - start) / side / _REDUCING_GAP) or 1, _MOST_REDUCED)
        for start, end, side in zip(box[:2], box[2:], size, strict=True)
    ]
    outer = (*map(math.floor, box[:2]), *map(math.ceil, box[2:]))
    image = _reduced(image, outer, tuple(factors), options, levels)
    box = tuple(
        (edge - start) / factor
        for edge, start, factor in zip(box, 2 * outer[:2], 2 * factors, strict=True)
    )
    image = image.resize(size, resampling, box=box, reducing_gap=_REDUCING_GAP)
    return image.convert("RGBA") if image.mode == "RGBa" else image


def _reduced(image, box, factors, options, levels):
    """Convert a part of an image, and average as many pixels as `factors` say to one.

    Each tile is converted by itself, and its pixels are those of the whole.
    """
    from PIL import Image

    sides = [max(1, _TILE // factor) * factor for factor in factors]
    whole, found = None, None
    for tile in _tiles(box, sides):
        part = _converted(_part(image, tile), options, levels)
        part = part if factors == (1, 1) else part.reduce(factors)
        if tile == box:
            return part
        if whole is None:
            found = [
                -(-(end - start) // factor)
                for start, end, factor in zip(box[:2], box[2:], factors, strict=True)
            ]
            whole = Image.new(part.mode, tuple(found))
        place = [
            (start - first) // factor
            for start, first, factor in zip(tile[:2], box[:2], factors, strict=True)
        ]
        whole.paste(part, tuple(place))
    return whole


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
