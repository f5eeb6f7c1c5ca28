"""Tests of the memory that ImageReader takes, by the peaks of a process of its own."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, features

from sklearn_l2cnn.preprocessing import ImageReader
from tests.conftest import linux
from tests.pictures import picture

SIDE = 1600
PIXELS = SIDE * SIDE
# of lines, tiles and Python itself, whatever the number of pixels
MORE = 24e6


def lossless_webp(width, height):
    """Return the header of a WebP of 34 bytes that names a size."""
    bits = (width - 1) | (height - 1) << 14
    chunk = b"VP8L" + struct.pack("<IBI", 14, 0x2F, bits) + b"\0" * 9
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def in_an_icon(png):
    """Return an icon whose list says 16 x 16 pixels, with a PNG of any size in it."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(png), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + png


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def large_files():
    """Return files of as many pixels in modes and formats that take much memory."""
    colour = Image.fromarray(picture((40, 40))).resize((SIDE, SIDE))
    grey, few = colour.convert("L"), colour.quantize(8)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 250)
    shares = Image.fromarray(np.asarray(grey).astype(np.float32) / 255)
    turned = Image.Exif()
    turned[0x0112] = 6
    lzw = {"compression": "tiff_lzw"}
    files = {
        "grey": encoded(grey, "png"),
        "colour": encoded(colour, "png"),
        "palette": encoded(few, "gif", transparency=1),
        "transparent palette": encoded(few, "png", transparency=b"\0\x80\xff"),
        "alpha": encoded(colour.convert("RGBA"), "png"),
        "16 bits": encoded(deep, "png"),
        "floats": encoded(shares, "tiff", **lzw),
        "one strip": encoded(colour, "tiff", tiffinfo={278: SIDE}, **lzw),
        "turned": encoded(colour, "tiff", exif=turned, **lzw),
        "turned JPEG": encoded(colour, "jpeg", exif=turned),
        "scans": encoded(colour, "jpeg", progressive=True, subsampling=0),
        "CMYK": encoded(colour.convert("CMYK"), "jpeg"),
        "WebP": encoded(colour, "webp", method=0),
        "lossless WebP": encoded(colour, "webp", lossless=True, method=0, quality=0),
        "JPEG 2000": encoded(colour.convert("RGBA"), "jpeg2000"),
        "icon": in_an_icon(encoded(colour, "png")),
        "line": encoded(Image.new("RGB", (PIXELS, 1)), "png"),
    }
    if "avif" in features.get_supported():
        files["AVIF"] = encoded(colour, "avif", speed=10, subsampling="4:4:4")
    return files


SCRIPT = """
import sys
from pathlib import Path
from PIL import Image
from benchmarks._measure import memory
from sklearn_l2cnn.preprocessing import ImageReader

Image.init()
small = Image.new("RGB", (8, 8))
[*map(ImageReader(64, "RGBA").fit_transform, [[small], [small.convert("F")]])]
for path in sorted(Path(sys.argv[1]).iterdir()):
    for most in {most}:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        before, error = memory("VmRSS"), ""
        try:
            ImageReader(64, max_pixels=most, mode={mode!r}).fit_transform([path])
        except ValueError as raised:
            error = str(raised)
        print(path.name, most, memory() - before, "max_pixels" in error, error != "",
            sep=";")
"""


def peaks(folder, most, mode):
    """Return, by file and `max_pixels`, the peak, and whether it was refused."""
    script = SCRIPT.format(most=most, mode=mode)
    command = [sys.executable, "-W", "ignore", "-c", script, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        name, pixels, peak, refused, raised = line.split(";")
        assert refused == raised, line
        found[name, int(pixels)] = int(peak), refused == "True"
    return found


@linux
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_file_takes_four_bytes_for_each_of_max_pixels_or_is_refused(tmp_path, mode):
    files = large_files()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    plenty = 30 * PIXELS
    found = peaks(tmp_path, [PIXELS, plenty], mode)
    for (name, most), (peak, refused) in found.items():
        assert peak < 4 * most + MORE, (name, peak)
        assert not (refused and most == plenty), f"{name} was refused"
    refused = {name for (name, _), (_, refused) in found.items() if refused}
    # four bytes are enough for what most files are
    assert refused <= {
        *("one strip", "WebP", "lossless WebP", "AVIF", "JPEG 2000", "icon", "line")
    }


@linux
def test_headers_of_a_few_bytes_take_no_memory(tmp_path):
    (tmp_path / "webp").write_bytes(lossless_webp(16383, 5461))
    head = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 6, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head
    (tmp_path / "icon").write_bytes(in_an_icon(png + b"\0" * 99))
    found = peaks(tmp_path, [89_478_485], "RGB")
    assert len(found) == 2
    for name, (peak, refused) in found.items():
        assert refused and peak < MORE, name


@linux
def test_a_file_of_many_tiles_takes_what_is_kept_of_each(tmp_path):
    image = Image.new("RGB", (1000, 1000))
    (tmp_path / "tiles").write_bytes(encoded(image, "jpeg2000", tile_size=(8, 8)))
    enough_for_pixels, plenty = 6_000_000, 60_000_000
    found = peaks(tmp_path, [enough_for_pixels, plenty], "RGB")
    (few, refused), (all_that_it_takes, read) = found.values()
    assert refused and few < MORE
    assert not read and 4 * enough_for_pixels + MORE < all_that_it_takes < 4 * plenty


@linux
def test_no_more_is_asked_of_a_file_than_it_has(tmp_path):
    # a chunk in front of the pixels that says it has 2 GB
    content = encoded(Image.new("RGB", (9, 9)), "png")
    chunk = struct.pack(">I", 2**31 - 9) + b"abCd"
    (tmp_path / "chunk").write_bytes(content[:33] + chunk + content[33:])
    script = (
        "import resource, sys; from benchmarks._measure import memory\n"
        "from sklearn_l2cnn.preprocessing import ImageReader\n"
        "sys.argv[1:] and ImageReader(4).fit_transform([sys.argv[2]])\n"
        "most = memory('VmSize') + 2**29\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "try: ImageReader(4).fit_transform([sys.argv[1]])\n"
        "except ValueError as error: print(error, error.__cause__.__cause__)\n"
    )
    good = tmp_path / "good"
    good.write_bytes(content)
    command = [sys.executable, "-c", script, str(tmp_path / "chunk"), str(good)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert "truncated" in done.stdout and "MemoryError" not in done.stdout


def test_what_it_would_take_is_said_and_can_be_allowed():
    colour = Image.fromarray(picture((40, 40))).resize((1500, 1500))
    X = [encoded(colour, "webp", lossless=True, method=0, quality=0)]
    message = r"Row 0 of X: bytes b'RIFF.* would take about 38 MB to decode.*max_pixels"
    with pytest.raises(ValueError, match=message) as caught:
        ImageReader(8, max_pixels=2_250_000).fit_transform(X)
    needed = int(str(caught.value).split("set max_pixels=")[1].split(",")[0])
    assert ImageReader(8, max_pixels=needed).fit_transform(X).shape == (1, 8, 8, 3)
    # an opened image is decoded by the reader; one that is loaded takes no more
    opened = Image.open(io.BytesIO(X[0]))
    with pytest.raises(ValueError, match=r"PIL image of mode 'RGB' would take about"):
        ImageReader(8, max_pixels=2_250_000).fit_transform([opened])
    opened.load()
    found = ImageReader(8, max_pixels=2_250_000).fit_transform([opened])
    assert np.array_equal(found, ImageReader(8).fit_transform(X))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("aspect", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(3, 5), (40, 7), (200, 300)])
def test_tiles_are_parts_of_the_whole(monkeypatch, mode, aspect, size):
    X = picture((113, 205), depth=4)
    deep = Image.fromarray(X[..., 0].astype(np.uint16) * 257)
    images = [Image.fromarray(X), Image.fromarray(X[..., :3]).quantize(16), deep]
    reader = ImageReader(size, mode, aspect)
    monkeypatch.setattr("sklearn_l2cnn._data.decoding._TILE", 10**6)
    expected = reader.fit_transform(images)
    monkeypatch.setattr("sklearn_l2cnn._data.decoding._TILE", 8)
    assert np.array_equal(reader.fit_transform(images), expected)


def test_very_many_pixels_are_averaged_in_two_steps(monkeypatch):
    X = picture((300, 400))
    expected = ImageReader((2, 3)).fit_transform([Image.fromarray(X)])
    monkeypatch.setattr("sklearn_l2cnn._data.decoding._MOST_REDUCED", 8)
    found = ImageReader((2, 3)).fit_transform([Image.fromarray(X)])
    assert np.abs(found.astype(int) - expected).max() <= 2
