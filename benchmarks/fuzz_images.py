"""Does ImageReader read any file as an image or an error that names its row?

python -m benchmarks.fuzz_images --cases N [--seed S] [--jobs J]

Files of every format that Pillow writes are damaged at random: bits, numbers of
headers, lengths of chunks, cuts, insertions, halves of two files, with the checksums of
PNG put right. Each is read twice, with ``on_error="raise"`` and ``"fill"``, as bytes,
as a file or as an image that Pillow has opened, next to a good image. What comes out
must be an image of the shape and dtype that were asked for, the same both times, or a
ValueError or an OSError that names the row; within the memory that `max_pixels` allows
and a minute; with nothing printed, no warning but those of the package, no file left
open, and global state as it was.
"""

import functools
import io
import os
import struct
import sys
import tempfile
import warnings
import zlib

import numpy as np
from PIL import Image, features

from benchmarks import _fuzzing
from sklearn_l2cnn.preprocessing import ImageReader

# Beside what max_pixels allows: lines, tiles, what Pillow loads for a format.
_MORE = 72 << 20
_EXTREMES = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF]
_EXTREMES += [0xFFFFFFFF, 0x80000000, 3000, 9000, 20_000, 100_000]


def main():
    return _fuzzing.main("benchmarks.fuzz_images", __doc__, case)


# -- files ----------------------------------------------------------------------------


@functools.cache
def good_files():
    """Return files of all formats that Pillow writes here, by name."""
    rng = np.random.RandomState(0)
    pixels = rng.randint(0, 256, (6, 8, 3)).astype(np.uint8)
    colour = Image.fromarray(pixels).resize((23, 17), Image.Resampling.BICUBIC)
    files = {}
    for name, image, kind, options in _recipes(colour):
        stream = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image.save(stream, kind, **options)
        except (OSError, ValueError, KeyError, AttributeError):
            continue  # this build of Pillow does not write it
        files[name] = stream.getvalue()
    # this, and the first images of each kind, take memory once
    Image.init()
    X = [colour, grey_array(), Image.fromarray(grey_array().astype(np.float32))]
    ImageReader(4, "RGBA", "pad", dtype="float32", n_jobs=2).fit_transform(X)
    return files


def grey_array():
    """Return an image that is all grey."""
    return np.full((3, 4), 128, np.uint8)


def _recipes(colour):
    """Yield what is saved how: name, image, format, options."""
    grey, alpha = colour.convert("L"), colour.convert("RGBA")
    alpha.putalpha(grey)
    few = colour.quantize(12)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 200)
    shares = Image.fromarray(np.asarray(grey).astype(np.float32) / 255)
    modes = {mode: colour.convert(mode) for mode in ("1", "L", "RGB", "CMYK", "I")}
    modes |= {"RGBA": alpha, "LA": alpha.convert("LA"), "P": few}
    modes |= {"I;16": deep, "F": shares, "LAB": _lab(colour)}
    turned = Image.Exif()
    turned[0x0112] = 6
    plain = ("bmp", "dib", "ppm", "pfm", "tga", "sgi", "pcx", "im", "msp", "xbm", "dds")
    plain += ("spider", "qoi", "ico", "icns", "jpeg2000", "webp", "avif", "gif", "png")
    plain += ("tiff", "jpeg", "blp", "eps", "palm")
    for kind in plain:
        for mode, image in modes.items():
            yield f"{kind} {mode}", image, kind, {}
    frames = {"save_all": True, "append_images": [few, colour, grey.convert("RGB")]}
    for kind in ("gif", "webp", "tiff", "png", "mpo", "avif"):
        yield f"{kind} of frames", colour, kind, frames
        yield f"{kind} turned", colour, kind, {"exif": turned}
    yield "gif transparent", few, "gif", {"transparency": 3, "disposal": 2}
    yield "png key", colour, "png", {"transparency": (9, 9, 9)}
    yield "png palette with alpha", few, "png", {"transparency": bytes(range(12))}
    for mode in ("L", "RGB", "CMYK"):
        options = {"progressive": True, "subsampling": 0, "exif": turned}
        yield f"jpeg progressive {mode}", modes[mode], "jpeg", options
    yield "jpeg restarts", colour, "jpeg", {"restart_marker_blocks": 1}
    yield "webp lossless", alpha, "webp", {"lossless": True}
    yield "tga rle", colour, "tga", {"compression": "tga_rle"}
    yield "ico bmp", alpha, "ico", {"bitmap_format": "bmp"}
    yield "jpeg2000 tiles", colour, "jpeg2000", {"tile_size": (8, 8), "no_jp2": True}
    for way in ("packbits", "lzw", "deflate", "adobe_deflate", "jpeg", "webp"):
        for mode in ("L", "RGB", "RGBA", "P", "F", "I;16"):
            options = {"compression": "jpeg" if way == "jpeg" else f"tiff_{way}"}
            options = {"compression": way} if way in ("packbits", "webp") else options
            yield f"tiff {way} {mode}", modes[mode], "tiff", options
    for way in ("group3", "group4", "tiff_ccitt", "lzma", "zstd"):
        image = colour if way in ("lzma", "zstd") else modes["1"]
        yield f"tiff {way}", image, "tiff", {"compression": way, "tiffinfo": {278: 99}}


def _lab(colour):
    from PIL import ImageCms

    if not features.check("littlecms2"):
        return colour
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    return ImageCms.applyTransform(colour, to_lab)


# -- damage ---------------------------------------------------------------------------


def damaged(content, other, draw):
    """Return a file that was changed in one to six ways."""
    content = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        if not content:
            break
        draw.choice(_WAYS)(content, other, draw)
    if content[:4] == b"\x89PNG" and draw.random() < 0.7:
        _put_right(content)
    return bytes(content)


def _place(content, draw):
    """Return a place in a file, near its head as often as anywhere."""
    most = len(content) if draw.random() < 0.5 else min(len(content), 64)
    return draw.randrange(most)


def _flip(content, other, draw):
    for _ in range(draw.choice((1, 1, 4, 20))):
        content[_place(content, draw)] ^= 1 << draw.randrange(8)


def _replace(content, other, draw):
    for _ in range(draw.choice((1, 3, 10))):
        content[_place(content, draw)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, 0x2C))


def _cut(content, other, draw):
    del content[draw.randrange(len(content)) :]


def _leave_out(content, other, draw):
    start = _place(content, draw)
    del content[start : start + draw.choice((1, 2, 4, 17, 100))]


def _insert(content, other, draw):
    start = _place(content, draw)
    content[start:start] = draw.randbytes(draw.choice((1, 2, 4, 30, 1000)))


def _repeat(content, other, draw):
    start = _place(content, draw)
    piece = content[start : start + draw.choice((4, 12, 60, 500))]
    content[start:start] = piece * draw.choice((1, 1, 50))


def _number(content, other, draw):
    """Write an extreme number of one to four bytes, in either order."""
    start, number = _place(content, draw), draw.choice(_EXTREMES)
    form = draw.choice((">I", "<I", ">H", "<H", "B"))
    number &= (1 << 8 * struct.calcsize(form)) - 1
    content[start : start + struct.calcsize(form)] = struct.pack(form, number)


def _splice(content, other, draw):
    start = _place(content, draw)
    content[start:] = other[draw.randrange(len(other)) :]


def _transplant(content, other, draw):
    """Copy a piece of another file over this one, to the same place or elsewhere."""
    size, start = draw.choice((2, 4, 8, 40)), _place(other, draw)
    place = start if draw.random() < 0.5 else _place(content, draw)
    piece = other[start : start + size]
    content[place : place + len(piece)] = piece


_WAYS = (_flip, _replace, _cut, _leave_out, _insert, _repeat, _number, _number, _splice)
_WAYS += (_transplant,)


def _put_right(content):
    """Write the checksums of the chunks of a PNG, as far as they can be found."""
    start = 8
    while start + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, start)
        end = start + 8 + length
        if end + 4 > len(content):
            return
        content[end : end + 4] = struct.pack(">I", zlib.crc32(content[start + 4 : end]))
        start = end + 4


# -- a case ---------------------------------------------------------------------------


def case(seed):
    """Yield what is wrong with the reading of one damaged file."""
    draw = _fuzzing.draw(seed)
    files = good_files()
    first, other = (files[draw.choice(sorted(files))] for _ in range(2))
    content = damaged(first, other, draw)
    reader = ImageReader(
        (draw.choice((1, 5, 16)), draw.choice((4, 16))),
        draw.choice(("L", "RGB", "RGBA")),
        draw.choice(("crop", "pad", "stretch")),
        interpolation=draw.choice(("nearest", "bilinear", "bicubic")),
        dtype=draw.choice(("uint8", "float32")),
        fill=draw.choice((0.0, 0.2)),
        max_pixels=draw.choice((1, 300, *[1 << 20] * 7, 89_478_485)),
        n_jobs=draw.choice((None, None, None, 2)),
    )
    way = draw.choice(("bytes", "bytes", "path", "opened"))
    most = 4 * reader.max_pixels + _MORE
    with tempfile.TemporaryDirectory() as folder, _fuzzing.little_memory(most) as found:
        path = os.path.join(folder, "x")
        with open(path, "wb") as file:
            file.write(content)
        yield from _read_both_ways(reader, way, content, path)
    yield from found


def _read_both_ways(reader, way, content, path):
    """Yield what is wrong with the two ways to treat errors."""
    good, results, refused = grey_array(), [], []
    for on_error in ("raise", "fill"):
        reader.set_params(on_error=on_error)
        source = {"bytes": content, "path": path}.get(way) or _opened(content)
        if source is None:
            return
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                found = reader.fit_transform([source, good])
            except (ValueError, OSError) as error:
                yield from _wrong_with(error, on_error)
                refused.append(str(error))
                continue
        texts = [str(warning.message) for warning in told]
        yield from (f"a warning: {text}" for text in texts if not _is_ours(text))
        refused += [text for text in texts if "could not be read" in text]
        results.append(found)
        yield from _wrong_with_result(found, reader)
    if len(results) == 2 and not np.array_equal(*results):
        yield "it is read as two images"
    if len(refused) == 1:
        yield f"it is an error one way only: {refused[0]}"
    if len(refused) == 2 and not _same(*refused):
        yield f"it is two errors: {refused}"


def _opened(content):
    """Return what Pillow opens, or None; what it says of it is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Image.open(io.BytesIO(content))
        except Exception:
            return None


def _is_ours(text):
    return "images could not be read" in text or "were taken as grey" in text


def _same(error, warning):
    """Say whether a warning lists the failure that an error names."""
    return error.removeprefix("Row 0 of X: ") in warning


def _wrong_with(error, on_error):
    """Yield what is wrong with an error."""
    kinds = [type(one).__name__ for one in _fuzzing.causes_of(error)]
    if on_error == "fill":
        yield f"{kinds} with on_error='fill': {error}"
    if not str(error).startswith("Row 0 of X"):
        yield f"an error without its row: {error}"
    if "MemoryError" in kinds:
        yield f"more memory than it may have: {error}"


def _wrong_with_result(found, reader):
    """Yield what is wrong with two images, of which the second is grey."""
    depth = {"L": 1, "RGB": 3, "RGBA": 4}[reader.mode]
    if found.shape != (2, *reader.size, depth) or found.dtype != reader.dtype:
        yield f"an array of shape {found.shape} of {found.dtype}"
    if found.dtype == np.float32 and not (found.min() >= 0 and found.max() <= 1):
        yield f"values from {found.min()} to {found.max()}"
    levels = found[1, :, :, 0] * (1 if found.dtype == np.uint8 else 255.0)
    grey, fill = abs(levels - 128) < 0.01, abs(levels - 255 * reader.fill) < 0.01
    if not grey.any() or not (grey | (fill & (reader.aspect == "pad"))).all():
        yield f"the image next to it is {np.unique(levels)}"


if __name__ == "__main__":
    sys.exit(main())
