"""How much memory Pillow takes for decoding an image, as far as its header tells.

A small file may hold a huge image, and a decoder may need several times the memory of
the image. What is said here was read in the sources of Pillow, libjpeg, libtiff,
libwebp and openjpeg, and is held to measured peaks by tests.
"""

import math
import re
import struct

# A pixel in memory, as Pillow keeps it: 4 bytes in all other modes.
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
# Bytes that a decoder takes for each pixel beside the image itself. WebP: two canvases,
# and the decoded pixels in one piece. AVIF: planes of up to 16 bits, pixels and a copy.
# Icons: an image with colours, and alpha. FITS: lists of numbers.
_BY_FORMAT = {"WEBP": 13, "AVIF": 16, "ICO": 16, "GIF": 1, "FITS": 60}
# JPEG 2000: an integer for every channel, coefficients and a copy.
_BY_CHANNEL = {"JPEG2000": 6, "ICNS": 6}
# What openjpeg keeps of every tile, however small, and of every channel of it.
_TILE, _CHANNEL_OF_TILE = 6000, 1200
# The decoders of Pillow that go over an image line by line.
_BY_LINES = frozenset(
    ("raw", "zip", "gif", "bit", "fli", "hex", "packbits", "pcd", "pcx", "sgi_rle")
    + ("sun_rle", "tga_rle", "xbm", "bcn", "jpeg", "libtiff")
)
# The others are written in Python, and make bytes of all pixels, and copies of them.
_IN_PYTHON = 12
# Two lines of up to four values of 16 bits, and one of the decoder's own.
_LINE = 24
# Tags of TIFF.
_BITS, _ORIENTATION, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_LENGTH = (
    258,
    274,
    278,
    322,
    323,
)
# Where PNG and JPEG 2000 have two sides of four bytes.
_SIDES = re.compile(rb"(?:IHDR|ihdr|\xff\x4f\xff\x51.{4})(.{8})", re.DOTALL)

# Where JPEG 2000 has the sides and offsets of image and tiles, of four bytes each.
_TILES = re.compile(rb"\xff\x4f\xff\x51.{4}(.{32})", re.DOTALL)


def bytes_to_decode(image, full):
    """Return about how many bytes it takes to decode an image that was opened.

    Parameters
    ----------
    image : Pillow image
        With the size at which it is to be decoded.
    full : tuple (width, height)
        Its size in the file.

    Returns
    -------
    size : int
        0 if it is decoded already.
    """
    from PIL import ImageFile

    if not isinstance(image, ImageFile.ImageFile):
        return 0
    if not image.tile and image.fp is None:
        return 0
    pixels, stored = math.prod(image.size), _STORED.get(image.mode, 4)
    if image.format == "ICNS":
        pixels = max(pixels, _pixels_within(image.fp))
    codec = image.tile[0][0] if image.tile else None
    if image.format in _BY_FORMAT:
        beside = _BY_FORMAT[image.format] * pixels
    elif image.format in _BY_CHANNEL:
        depth = len(image.getbands())
        of_tiles = (_TILE + _CHANNEL_OF_TILE * depth) * _tiles_within(image.fp)
        beside = _BY_CHANNEL[image.format] * depth * pixels + of_tiles
    elif codec == "jpeg":
        beside = _coefficients(image, full)
    elif codec == "libtiff":
        beside = _strip(image)
    else:
        beside = 0 if codec in _BY_LINES else _IN_PYTHON * pixels
    if image.format == "TIFF" and image.tag_v2.get(_ORIENTATION, 1) != 1:
        beside = max(beside, stored * pixels)  # it is turned once it is decoded
    return stored * pixels + beside + _LINE * max(full[0], image.width)


def _coefficients(image, full):
    """Return the bytes of the coefficients of a JPEG that comes in several scans.

    Those of one scan are decoded line by line.
    """
    whole_in_one = not image.info.get("progressive") and _is_interleaved(image)
    sides = [(across, down) for _, across, down, _ in image.layer]
    if whole_in_one or not sides or not all(across and down for across, down in sides):
        return 0
    most = max(across for across, _ in sides) * max(down for _, down in sides)
    share = sum(across * down for across, down in sides) / most
    return math.ceil(2 * share * math.prod(full))


def _is_interleaved(image):
    """Say whether the first scan of a JPEG has all channels; where in doubt, no."""
    file = image.fp
    before = file.tell()
    file.seek(2)
    try:
        while (marker := file.read(2))[:1] == b"\xff":
            (length,) = struct.unpack(">H", file.read(2))
            if marker[1] == 0xDA:
                return file.read(1) == bytes([image.layers])
            file.seek(length - 2, 1)
    except struct.error:  # the end of the file
        pass
    finally:
        file.seek(before)
    return False


def _strip(image):
    """Return the bytes of a strip or tile of a TIFF, which are decoded at once."""
    tags, bits = image.tag_v2, image.tag_v2.get(_BITS, 8)
    width, rows = tags.get(_TILE_WIDTH, image.width), tags.get(_TILE_LENGTH)
    if rows is None:
        rows = min(tags.get(_ROWS_PER_STRIP, image.height), image.height)
    bits = sum(bits) if isinstance(bits, tuple) else bits
    # twice, for libtiff has a copy of its own where colours are converted
    return 2 * int(width) * int(rows) * max(4, math.ceil(bits / 8))


def _pixels_within(file):
    """Return the most pixels of the images in a file that holds several."""
    found = _SIDES.findall(_content(file))
    return max((math.prod(struct.unpack(">II", two)) for two in found), default=0)


def _tiles_within(file):
    """Return the most tiles of the JPEG 2000 images in a file."""
    most = 0
    for sizes in _TILES.findall(_content(file)):
        width, height, _, _, across, down, left, top = struct.unpack(">8I", sizes)
        if across and down:
            tiles = -(-(width - left) // across) * -(-(height - top) // down)
            most = max(most, tiles)
    return most


def _content(file):
    before = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(before)
    return content


def pixels_of_icons(file):
    """Return the largest number of pixels of an image in a file of icons.

    Pillow decodes icons when it opens them. The sizes in their list are less than 257,
    which those of the images themselves need not be.

    Parameters
    ----------
    file : file opened for reading

    Returns
    -------
    pixels : int
        0 in any other file.
    """
    head = file.read(6)
    most = 0
    if head[:4] == b"\0\0\1\0":
        for k in range(int.from_bytes(head[4:], "little")):
            file.seek(6 + 16 * k + 12)
            file.seek(int.from_bytes(file.read(4), "little"))
            most = max(most, _pixels_of_icon(file.read(24)))
    file.seek(0)
    return most


def _pixels_of_icon(head):
    """Return the number of pixels that the head of a PNG or of a bitmap names."""
    head = head.ljust(24, b"\0")
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return math.prod(struct.unpack(">II", head[16:]))
    form = "<HH" if head[:4] == b"\x0c\0\0\0" else "<ii"
    width, height = struct.unpack_from(form, head, 4)
    return abs(width * height)
