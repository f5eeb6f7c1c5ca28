"""Tests of ImageReader with bad files."""

import io
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from sklearn_l2cnn.preprocessing import ImageReader
from tests.pictures import RGB


def bomb(width, height):
    """Return a PNG of 70 bytes whose header has the given size."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(b"\0" * 100)),
            chunk(b"IEND", b""),
        ]
    )


def encoded(kind):
    stream = io.BytesIO()
    RGB.resize((200, 200)).save(stream, kind)
    return stream.getvalue()


BAD = {
    "truncated.jpg": (encoded("jpeg")[:900], "truncated or damaged"),
    "truncated.png": (encoded("png")[:200], "truncated or damaged"),
    "empty.jpg": (b"", "is empty"),
    "text.jpg": (
        b"this is no image",
        r"not an image that Pillow can read.*b'this is no",
    ),
    "drawing.svg": (b'<?xml version="1.0"?>\n<svg width="9"></svg>', "is an SVG"),
    "bomb.png": (bomb(40_000, 40_000), r"(?i)pixels.*bomb"),
    "large.png": (bomb(10_000, 9_000), r"90,000,000 pixels, more than max_pixels"),
}


@pytest.fixture
def bad_files(tmp_path):
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    return tmp_path


MESSAGES = {
    **{name: message for name, (_, message) in BAD.items()},
    "folder.jpg": "is a folder, an image file was expected",
    "missing.jpg": "there is no such file",
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", MESSAGES)
def test_error_of_a_bad_file_names_its_path(bad_files, name):
    path = bad_files / name
    with pytest.raises((ValueError, OSError), match=MESSAGES[name]) as caught:
        ImageReader().fit_transform([str(path)])
    assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_on_error_fill(bad_files, folder, n_jobs):
    good, _ = folder
    bad = [str(bad_files / name) for name in MESSAGES]
    X = [*good[:5], *bad, *good[5:]]
    reader = ImageReader((8, 8), on_error="fill", fill=0.2, n_jobs=n_jobs)
    with pytest.warns(UserWarning, match=f"{len(bad)} of {len(X)} images") as caught:
        found = reader.fit_transform(X)
    [message] = [str(w.message) for w in caught if "images could" in str(w.message)]
    for path in bad:
        assert path in message
    assert (found[5 : 5 + len(bad)] == 51).all()
    rest = np.delete(found, slice(5, 5 + len(bad)), axis=0)
    assert np.array_equal(rest, ImageReader((8, 8)).fit_transform(good))


def test_first_failure_is_raised_for_any_number_of_threads(bad_files, folder):
    good, _ = folder
    X = 30 * good + [bad_files / "empty.jpg"] + 30 * good + [bad_files / "text.jpg"]
    for n_jobs in (1, 2):
        before = threading.active_count()
        with pytest.raises(ValueError, match=r"empty\.jpg"):
            ImageReader(n_jobs=n_jobs).fit_transform(X)
        assert threading.active_count() == before


def test_path_outside_of_root_raises(folder, tmp_path):
    paths, _ = folder
    inner = tmp_path / "inner"
    inner.mkdir()
    Image.open(paths[0]).save(inner / "own.png")
    (inner / "link.png").symlink_to(paths[0])
    reader = ImageReader(root=inner)
    assert reader.fit_transform(["own.png", inner / "own.png"]).shape[0] == 2
    for outside in ("../00.png", paths[0], "link.png"):
        with pytest.raises(ValueError, match=r"lies outside of root="):
            reader.fit_transform([outside])
    with pytest.raises(FileNotFoundError, match="no such file"):
        reader.fit_transform(["other.png"])


@pytest.mark.parametrize("address", ["https://example.org/a.jpg", "s3://bucket/a.png"])
def test_url_raises(address):
    with pytest.raises(ValueError, match="is an address on a network"):
        ImageReader().fit_transform([address])


def test_only_the_given_paths_are_opened(folder, monkeypatch):
    paths, _ = folder
    opened = []
    own = open

    def watch(file, *args, **kwargs):
        opened.append(str(file))
        return own(file, *args, **kwargs)

    monkeypatch.setattr("builtins.open", watch)
    reader = ImageReader().fit(paths[:3])
    assert opened == [], "fit reads nothing"
    reader.transform(paths[:3])
    assert opened == paths[:3]


@pytest.mark.parametrize("seed", range(60))
def test_damaged_files_raise_a_clear_error_or_give_an_image(tmp_path, seed):
    rng = np.random.RandomState(seed)
    kinds = ("jpeg", "png", "gif", "webp", "tiff", "bmp")
    stream = io.BytesIO()
    RGB.save(stream, kinds[seed % len(kinds)])
    content = bytearray(stream.getvalue())
    for _ in range(rng.randint(1, 30)):
        content[rng.randint(len(content))] = rng.randint(256)
    content = bytes(content[: rng.randint(1, len(content) + 1)])
    path = tmp_path / "x"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of metadata
        for X in ([str(path)], [content]):
            try:
                found = ImageReader((8, 8)).fit_transform(X)
            except (ValueError, OSError) as error:
                assert str(path) in str(error) or "bytes b" in str(error)
            else:
                assert found.shape == (1, 8, 8, 3)


# -- sources that are no files, and images that are no images -------------------------


class PathLike:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


@pytest.fixture
def strange_paths(tmp_path):
    """Pipes, devices, sockets and circles of links: what no image is read from."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("other")
    (tmp_path / "other").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(tmp_path / "socket"))
        yield [
            (tmp_path / "pipe", None, "is a pipe"),
            ("/dev/zero", None, "is a device"),
            (tmp_path / "socket", None, "socket|No such device"),
            (tmp_path / "circle", None, "symbolic links"),
            ("circle", tmp_path, "cannot be followed|symbolic links"),
            (PathLike(3), None, "type PathLike is no path"),
        ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
@pytest.mark.parametrize("on_error", ["raise", "fill"])
def test_only_regular_files_are_read(strange_paths, on_error):
    for path, root, message in strange_paths:
        reader, X = ImageReader(4, root=root, on_error=on_error), [RGB, path]
        if on_error == "raise":
            with pytest.raises((ValueError, OSError), match=f"Row 1 of X: .*{message}"):
                reader.fit_transform(X)
        else:
            with pytest.warns(UserWarning, match=f"row 1: .*({message})"):
                assert not reader.fit_transform(X)[1].any()


def test_paths_may_be_of_bytes(folder):
    paths, _ = folder
    as_bytes = [PathLike(os.fsencode(path)) for path in paths]
    expected = ImageReader(4).fit_transform(paths)
    assert np.array_equal(ImageReader(4).fit_transform(as_bytes), expected)
    names = [PathLike(os.fsencode(os.path.basename(path))) for path in paths]
    reader = ImageReader(4, root=os.path.dirname(paths[0]))
    assert np.array_equal(reader.fit_transform(names), expected)


NO_IMAGES = {
    "nothing": (Image.new("RGB", (0, 5)), "has 0 x 5 pixels; an image has at least"),
    "NaN": (Image.fromarray(np.full((3, 4), np.nan, np.float32)), "contains NaN"),
    "one NaN": (Image.fromarray(np.float32([[1, 2, np.nan]])), "contains NaN"),
    "infinity": (Image.fromarray(np.float32([[1, 2, -np.inf]])), "or infinity"),
    "objects": (np.array([[1, None]], dtype=object), "array of dtype object; real"),
    "text": (np.array([["a", "b"]]), "array of dtype <U1; real numbers"),
    "complex": (np.ones((2, 2)) * 1j, r"dtype complex128.*Pass image\.real"),
    "dates": (np.array([["2020-01-01"]], "M8[D]"), "array of dtype datetime64"),
    "records": (np.zeros((2, 2), [("a", int)]), "array of dtype .*'a'"),
    "bytes": (b"\x89PNG\r\n\x1a\n", "bytes b'.*is not an image"),
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_image_is_named_by_its_row_or_filled(name):
    odd, message = NO_IMAGES[name]
    X = [RGB, np.full((9, 12, 3), 0.5), odd]
    with pytest.raises(ValueError, match=f"^Row 2 of X.*{message}"):
        ImageReader(4).fit_transform(X)
    with pytest.warns(UserWarning, match=f"row 2: .*{message}") as told:
        found = ImageReader(4, on_error="fill", fill=0.2).fit_transform(X)
    assert (found[2] == 51).all() and (found[1] == 128).all() and len(told) == 1


def test_kinds_and_numbers_of_errors_stay_as_they_were(tmp_path):
    with pytest.raises(FileNotFoundError, match="^Row 0 of X: 'lost.png': there is no"):
        ImageReader().fit_transform(["lost.png"])
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="Row 1 of X: .*Not a dir") as caught:
        ImageReader().fit_transform([RGB, tmp_path / "file" / "a.png"])
    assert caught.value.errno == caught.value.__cause__.errno != 0


def test_warnings_of_pillow_name_no_row_and_are_left_out(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        ImageReader().fit_transform([encoded("png")])
        assert warnings.filters == before
    assert not told


def test_what_pillow_logs_is_not_printed(caplog):
    # three samples become 200, which Pillow logs as an error
    tag = struct.pack("<HHII", 277, 3, 1, 3)
    content = encoded("tiff")
    assert content.count(tag) == 1
    content = content.replace(tag, struct.pack("<HHII", 277, 3, 1, 200))
    with pytest.raises(ValueError, match="Row 0 of X"):
        ImageReader().fit_transform([content])
    assert [r.levelname for r in caplog.records] == ["ERROR"]
    assert logging.getLogger("PIL").handlers == []
    script = (
        "import sys; from sklearn_l2cnn.preprocessing import ImageReader\n"
        "try: ImageReader().fit_transform([sys.stdin.buffer.read()])\n"
        "except ValueError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=content, capture_output=True, check=True
    )
    assert done.stdout == done.stderr == b""


def test_an_envelope_of_any_other_format_is_not_opened():
    # a record of IPTC: a grey image of 8 x 8 pixels, and in it what Pillow would open
    def field(record, number, data):
        return struct.pack(">BBBH", 0x1C, record, number, len(data)) + data

    inner = encoded("png")
    content = b"".join(
        [
            field(3, 60, b"\x01\x00"),
            *(field(3, 20, b"\x08"), field(3, 30, b"\x08"), field(3, 120, b"\x05")),
            field(8, 10, inner),
        ]
    )
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "IPTC"
    with pytest.raises(ValueError, match="is IPTC, which holds a file of another form"):
        ImageReader().fit_transform([content])
