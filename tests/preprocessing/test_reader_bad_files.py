"""Tests of ImageReader with bad files."""

import io
import struct
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
