"""Reading images: every form and format, every way in which a file can be bad."""

import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image, JpegImagePlugin
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_l2cnn.augmentation import Augmentation
from sklearn_l2cnn.preprocessing import (
    ChannelStandardizer,
    ImageReader,
    ImageResizer,
    ImagesToRows,
)
from tests.conftest import quick


def picture(side=(20, 30), seed=0, depth=3):
    """A smooth picture as an array of uint8."""
    rng = np.random.RandomState(seed)
    small = rng.randint(0, 256, size=(4, 5, depth)).astype(np.uint8)
    return ImageResizer(side, interpolation="bicubic").fit_transform(small[None])[0]


def far(one, other):
    return abs(one.astype(int) - np.asarray(other).astype(int)).max()


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of several sizes as files, and their labels."""
    paths, labels = [], []
    for k in range(12):
        path = tmp_path / f"{k:02d}.{'jpg' if k % 2 else 'png'}"
        image = picture((20 + k, 30 - k), seed=k) // 2 + 127 * (k % 3 == 0)
        Image.fromarray(image.astype(np.uint8)).save(path)
        paths.append(str(path))
        labels.append(k % 3 == 0)
    return paths, np.array(labels)


# -- what comes in --------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:X has feature names")
def test_every_form_of_the_same_file_gives_the_same(folder, monkeypatch):
    paths, _ = folder
    expected = ImageReader((8, 8)).fit_transform(paths)
    assert expected.shape == (12, 8, 8, 3) and expected.dtype == np.uint8
    monkeypatch.chdir(Path(paths[0]).parent)
    for X in (
        list(map(Path, paths)),
        np.array(paths),
        np.array(paths, dtype=object),
        np.array(paths)[:, np.newaxis],
        pd.Series(paths),
        pd.Series(paths, dtype="string"),
        pd.DataFrame({"path": paths}),
        pd.DataFrame({"path": paths}, index=range(5, 17)),
        pl.Series(paths),
        pl.DataFrame({"path": paths}),
        [Path(path).read_bytes() for path in paths],
        [bytearray(Path(path).read_bytes()) for path in paths],
        [Image.open(path) for path in paths],
        [os.path.basename(path) for path in paths],
        [*paths[:6], *map(Path, paths[6:9]), *map(Image.open, paths[9:])],
    ):
        assert np.array_equal(ImageReader((8, 8)).fit_transform(X), expected)
        fitted = ImageReader((8, 8)).fit(paths)
        assert np.array_equal(fitted.transform(X), expected)


def test_arrays_of_many_sizes_and_dtypes():
    bytes_ = picture((20, 30))
    X = [
        bytes_,
        bytes_[:, :, 0],
        bytes_ / 255,
        (bytes_ / 255).astype(np.float32),
        bytes_.astype(np.uint16) * 257,
        torch.tensor(bytes_),
        bytes_[:, :, :1] > 127,
        np.dstack([bytes_, np.full((20, 30), 255, np.uint8)]),
    ]
    # one size and dtype of array alone would be one array
    found = [ImageReader((10, 15)).fit_transform([x, bytes_[:9]])[0] for x in X]
    together = ImageReader((10, 15)).fit_transform([X[0], X[2], X[6]])
    assert np.array_equal(together, [found[0], found[2], found[6]])
    expected = ImageResizer((10, 15)).fit_transform(bytes_[np.newaxis])[0]
    for k in (0, 2, 3, 4, 5, 7):
        assert far(found[k], expected) <= 1
    assert far(found[1], found[1][..., :1]) == 0, "grey is repeated"
    assert far(found[1][..., 0], expected[..., 0]) == 0
    white = ImageResizer((10, 15)).fit_transform(255 * np.uint8(X[6])[np.newaxis])
    assert far(found[6], white[0]) == 0


def test_images_of_pillow_stay_as_they_are(tmp_path):
    path = tmp_path / "large.jpg"
    Image.fromarray(picture((600, 800))).save(path)
    expected = ImageReader(100).fit_transform([str(path)])
    with Image.open(path) as image:
        small = ImageReader(8, mode="L").fit_transform([image])
        assert (image.size, image.mode) == ((800, 600), "RGB")
        assert far(ImageReader(100).fit_transform([image]), expected) <= 6
        assert np.array_equal(ImageReader(8, mode="L").fit_transform([image]), small)


def test_an_image_of_pillow_may_come_often_in_threads(tmp_path):
    path = tmp_path / "large.jpg"
    Image.fromarray(picture((1000, 1000))).save(path)
    for _ in range(3):
        with Image.open(path) as image:
            found = ImageReader(8, n_jobs=2).fit_transform([image] * 64)
        assert far(found, found[:1]) == 0


def test_white_is_learnt_of_floats_and_of_integers_apart():
    half = np.full((9, 12, 3), 0.5)
    for others, value in (
        (np.full((9, 10, 3), 30000, np.uint16), 117),
        (np.full((8, 12, 3), 128, np.int64), 128),
    ):
        reader = ImageReader(4)
        found = reader.fit_transform([half, others])
        assert found[:, 0, 0, 0].tolist() == [128, value]
        assert reader.white_ == 1 and reader.integer_white_ > 1
        assert found.tolist() == reader.transform([others, half])[::-1].tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("first", [0, 1])
def test_a_bad_array_spoils_no_other(bad, first):
    good, spoilt = np.full((9, 12, 3), 0.5), np.full((10, 12, 3), 0.5)
    spoilt[0, 0, 0] = bad
    X = [good, spoilt][:: 1 - 2 * first]
    with pytest.warns(UserWarning, match=f"row {1 - first}: .*contains"):
        found = ImageReader(4, on_error="fill").fit_transform(X)
    assert found[:, 0, 0, 0].tolist() == [128, 0][:: 1 - 2 * first]
    with pytest.raises(ValueError, match=f"Row {1 - first} of X contains"):
        ImageReader(4).fit_transform(X)


def test_what_is_no_image_among_others_is_filled():
    good = np.full((9, 12, 3), 0.5)
    for odd in (None, np.nan, np.zeros((0, 3, 3)), np.arange(3)):
        with pytest.warns(UserWarning, match="1 of 2 images could not be read"):
            found = ImageReader(4, on_error="fill").fit_transform([odd, good])
        assert found[:, 0, 0, 0].tolist() == [0, 128]


@pytest.mark.parametrize("sizes", [(9, 9, 9), (9, 9, 7)])
def test_arrays_in_a_column(sizes):
    arrays = [picture((side, 12), side) for side in sizes]
    expected = ImageReader(4).fit_transform(arrays)
    column = np.empty(3, dtype=object)
    column[:] = arrays
    for X in (pd.Series(arrays), pd.DataFrame({"image": arrays}), column):
        assert np.array_equal(ImageReader(4).fit_transform(X), expected)
    fitted = ImageReader(4).fit(pd.Series(arrays))
    assert np.array_equal(fitted.transform(pd.Series(arrays[:2])), expected[:2])


def test_lists_of_one_path_are_rows_of_a_column(folder):
    paths, _ = folder
    expected = ImageReader(4).fit_transform(paths)
    found = ImageReader(4).fit_transform([[path] for path in paths])
    assert np.array_equal(found, expected)


def test_what_is_transparent_has_no_colour():
    image = np.zeros((8, 8, 4), np.uint8)
    image[:, ::2], image[:, 1::2] = (255, 0, 0, 0), (0, 0, 255, 255)
    X = [image, image[:6]]
    reader = ImageReader(4, mode="RGBA")
    arrays = reader.fit_transform(X)
    files = reader.fit_transform(list(map(Image.fromarray, X)))
    assert far(arrays[..., :3], [0, 0, 255]) == 0
    assert far(arrays, files) <= 2


def test_modes_of_more_than_eight_bits_in_memory():
    grey = picture(depth=1)[..., 0]
    expected = ImageReader(8, "L").fit_transform([Image.fromarray(grey)])
    for mode in ("F", "I"):
        image = Image.fromarray(grey).convert(mode)
        assert far(ImageReader(8, "L").fit_transform([image]), expected) <= 1
    shares = Image.fromarray(grey.astype(np.float32) / 255)
    assert far(ImageReader(8, "L").fit_transform([shares]), expected) <= 1


def test_a_frame_of_pixels_is_one_array():
    X = np.random.RandomState(0).uniform(size=(5, 16))
    frame = pd.DataFrame(X, columns=[f"p{k}" for k in range(16)])
    found = ImageReader(4, "L").fit_transform(frame)
    assert np.array_equal(found, ImageReader(4, "L").fit_transform(X))


def test_one_array_is_resized_as_its_images_are():
    X = np.stack([picture((20, 30), seed) for seed in range(4)])
    fitted = ImageReader((8, 8)).fit(X)
    assert fitted.image_shape_ == (20, 30, 3) and fitted.n_features_in_ == 1800
    one_by_one = ImageReader((8, 8)).fit_transform([Image.fromarray(x) for x in X])
    assert far(fitted.transform(X), one_by_one) <= 2
    rows = ImageReader((8, 8), image_shape=(20, 30, 3)).fit_transform(X.reshape(4, -1))
    assert np.array_equal(rows.reshape(4, 8, 8, 3), fitted.transform(X))


@pytest.mark.parametrize(
    ("values", "white"),
    [(1.0, 1), (0.3, 1), (1.5, 255), (255, 255), (256, 65535), (70000, 70000)],
)
def test_what_is_white_is_learnt(values, white):
    X = np.random.RandomState(0).uniform(0, 1, size=(5, 6, 6)) * values
    X[0, 0, 0] = values
    reader = ImageReader((6, 6), mode="L").fit(X)
    assert reader.white_ == white
    expected = np.round(X * (255 / white))
    assert (
        far(
            reader.transform(X)[..., 0] if X.ndim == 4 else reader.transform(X),
            expected,
        )
        == 0
    )
    with pytest.warns(UserWarning, match=f"were cut off at 0 and {white:g}"):
        found = reader.transform(X - 0.1 * white)
    assert found.min() == 0


@pytest.mark.parametrize("wrong", [{"fill": 2}, {"background": -1}, {"n_jobs": 0}])
def test_what_is_no_shade_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ImageReader(**wrong).fit_transform([RGB])


def test_files_after_an_array_and_an_array_after_files(folder):
    paths, _ = folder
    arrays = np.stack([picture((20, 30), seed) for seed in range(3)])
    reader = ImageReader((8, 8)).fit(arrays)
    files = reader.transform(paths)
    assert np.array_equal(files, ImageReader((8, 8)).fit_transform(paths))
    expected = reader.transform(arrays)
    assert np.array_equal(reader.fit(paths).transform(arrays), expected)
    assert not hasattr(reader, "image_shape_")


def test_the_column_of_a_frame_has_a_name(folder):
    paths, _ = folder
    reader = ImageReader().fit(pd.DataFrame({"path": paths}))
    assert reader.feature_names_in_.tolist() == ["path"]
    assert reader.n_features_in_ == 1
    with pytest.raises(ValueError, match="feature names"):
        reader.transform(pd.DataFrame({"file": paths}))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("cat.jpg", r"a single image, 'cat.jpg'.*Pass a list"),
        (b"\x89PNG", r"a single image, bytes"),
        (Image.new("L", (3, 3)), r"a single image, PIL image of mode 'L'"),
        (pd.DataFrame({"a": ["1.jpg"], "b": ["2.jpg"]}), r"X has 2 columns"),
        (["a.jpg", None], r"Row 1 of X is None, of type NoneType"),
        (pd.Series(["a.jpg", np.nan]), r"Row 1 of X is nan"),
        (["a.jpg", 3], r"Row 1 of X is 3, of type int"),
        ([np.zeros((3, 3)), np.zeros(4)], r"Row 1 of X is array.*ndarray"),
        ([np.zeros((3, 3)), np.full((4, 3), np.nan)], "NaN"),
        ([], r"X is empty, it has 0 sample"),
    ],
    ids=repr,
)
def test_what_is_no_list_of_images_is_named(X, message):
    with pytest.raises(ValueError, match=message):
        ImageReader().fit(X).transform(X)


# -- formats --------------------------------------------------------------------------


def saved(image, tmp_path, ending, **options):
    path = tmp_path / f"x.{ending}"
    image.save(path, **options)
    return [path]


RGB = Image.fromarray(picture())


@pytest.mark.parametrize(
    ("ending", "options", "most"),
    [
        ("png", {}, 0),
        ("bmp", {}, 0),
        ("tiff", {}, 0),
        ("webp", {"lossless": True}, 0),
        ("ppm", {}, 0),
        ("jpg", {"quality": 95, "subsampling": 0}, 12),
        ("jpg", {"quality": 95, "progressive": True, "subsampling": 0}, 12),
    ],
)
def test_formats(tmp_path, ending, options, most):
    [found] = ImageReader((20, 30)).fit_transform(
        saved(RGB, tmp_path, ending, **options)
    )
    assert far(found, RGB) <= most


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("wanted", ["L", "RGB", "RGBA"])
def test_modes(mode, wanted):
    image = RGB.convert(mode)
    [found] = ImageReader((20, 30), wanted).fit_transform([image])
    expected = np.asarray(image.convert("RGB").convert(wanted)).reshape(20, 30, -1)
    assert far(found, expected) <= 1


def test_cmyk_as_a_file(tmp_path):
    path = saved(RGB.convert("CMYK"), tmp_path, "jpg", quality=95, subsampling=0)
    [found] = ImageReader((20, 30)).fit_transform(path)
    assert far(found, RGB) < 25


@pytest.mark.parametrize("background", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["alpha", "palette", "colour key"])
def test_a_background_shines_through(tmp_path, background, kind):
    image = RGB.convert("RGBA")
    holes = np.zeros((20, 30), dtype=bool)
    holes[5:10, 3:20] = True
    if kind == "alpha":
        image.putalpha(Image.fromarray(np.where(holes, 0, 255).astype(np.uint8)))
        path = saved(image, tmp_path, "png")
    else:
        flat = np.where(holes, 1, 2).astype(np.uint8)
        image = Image.fromarray(flat, mode="P" if kind == "palette" else "L")
        if kind == "palette":
            image.putpalette([0, 0, 0, 9, 9, 9, 200, 100, 50])
        path = saved(image, tmp_path, "png", transparency=1)
    [found] = ImageReader((20, 30), background=background).fit_transform(path)
    assert (found[holes] == 255 * background).all()
    if kind == "palette":
        assert (found[~holes] == [200, 100, 50]).all()


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_sixteen_bits(tmp_path, ending):
    values = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    path = saved(Image.fromarray(values), tmp_path, ending)
    [found] = ImageReader((20, 30), "L").fit_transform(path)
    assert far(found[..., 0], np.round(values / 257)) == 0


def test_floats(tmp_path):
    values = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    path = saved(Image.fromarray(values), tmp_path, "tiff")
    [found] = ImageReader((20, 30), "L").fit_transform(path)
    assert far(found[..., 0], np.round(255 * values)) == 0


@pytest.mark.parametrize("ending", ["gif", "tiff", "png", "webp"])
def test_of_many_images_the_first_is_taken(tmp_path, ending):
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if ending == "webp" else {}
    path = saved(
        frames[0],
        tmp_path,
        ending,
        save_all=True,
        append_images=frames[1:],
        **options,
    )
    [found] = ImageReader((9, 9)).fit_transform(path)
    assert (found == [255, 0, 0]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(20, 30), (5, 5)])
def test_images_are_turned_upright(tmp_path, orientation, size):
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # what turns it back is 270
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = RGB.resize((300, 200))
    lying = image.transpose(turns[orientation]) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(lying, tmp_path, "jpg", exif=exif, quality=95, subsampling=0)
    [found] = ImageReader(size, "RGB", "stretch").fit_transform(path)
    [expected] = ImageReader(size, "RGB", "stretch").fit_transform([image])
    assert far(found, expected) <= 12


def test_large_jpegs_are_decoded_at_a_fraction(tmp_path, monkeypatch):
    image = RGB.resize((1600, 1200), Image.Resampling.BICUBIC)
    path = saved(image, tmp_path, "jpg", quality=95)
    drafts = []
    own = JpegImagePlugin.JpegImageFile.draft

    def watch(self, mode, size):
        found = own(self, mode, size)
        drafts.append(self.size)
        return found

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", watch)
    [found] = ImageReader((60, 80)).fit_transform(path)
    assert drafts == [(200, 150)], "an eighth, which still is 2.5 pixels for one"
    [expected] = ImageReader((60, 80)).fit_transform([image])
    assert far(found, expected) <= 8
    drafts.clear()
    ImageReader((60, 80), interpolation="nearest").fit_transform(path)
    assert drafts == []


# -- sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize("aspect", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("side", [(20, 30), (30, 20), (7, 7), (1, 40)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_files_come_to_a_size_as_arrays_do(aspect, side, mode):
    X = picture(side)
    reader = ImageReader((9, 12), mode, aspect, fill=0.4)
    [found] = reader.fit_transform([Image.fromarray(X)])
    expected = reader.fit_transform(X[np.newaxis])[0]
    assert found.shape == (9, 12, {"L": 1, "RGB": 3, "RGBA": 4}[mode])
    assert far(found, expected) <= 2
    [first] = ImageReader(
        (9, 12), mode, aspect, fill=0.4, channels="first"
    ).fit_transform([Image.fromarray(X)])
    assert np.array_equal(first.transpose(1, 2, 0), found)


# -- files that cannot be read --------------------------------------------------------


def bomb(width, height):
    """A PNG of 70 bytes that says it has so many pixels."""

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
def test_a_bad_file_is_named_with_its_path(bad_files, name):
    path = bad_files / name
    with pytest.raises((ValueError, OSError), match=MESSAGES[name]) as caught:
        ImageReader().fit_transform([str(path)])
    assert str(path) in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_bad_files_are_filled_and_listed(bad_files, folder, n_jobs):
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


def test_the_first_failure_is_raised_whatever_the_threads(bad_files, folder):
    good, _ = folder
    X = 30 * good + [bad_files / "empty.jpg"] + 30 * good + [bad_files / "text.jpg"]
    for n_jobs in (1, 2):
        before = threading.active_count()
        with pytest.raises(ValueError, match=r"empty\.jpg"):
            ImageReader(n_jobs=n_jobs).fit_transform(X)
        assert threading.active_count() == before


def test_a_path_may_not_lead_out_of_its_root(folder, tmp_path):
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
def test_nothing_is_looked_up_on_a_network(address):
    with pytest.raises(ValueError, match="is an address on a network"):
        ImageReader().fit_transform([address])


def test_only_what_is_named_is_opened(folder, monkeypatch):
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
def test_any_damage_is_a_clear_error_or_an_image(tmp_path, seed):
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


# -- threads and pipelines ------------------------------------------------------------


def test_threads_change_nothing(folder):
    paths = 20 * folder[0]
    expected = ImageReader().fit_transform(paths)
    for n_jobs in (1, 2, -1):
        assert np.array_equal(ImageReader(n_jobs=n_jobs).fit_transform(paths), expected)


def test_a_column_of_paths_goes_through_a_search(folder):
    paths, labels = folder
    frame = pd.DataFrame({"path": paths, "size": range(12)})
    pipeline = make_pipeline(
        ImageReader(size=(8, 8)),
        ChannelStandardizer(),
        quick(augment=Augmentation(), max_epochs=15, lr=0.01),
    )
    grid = {
        "imagereader__size": [(6, 6), (8, 8)],
        "l2cnnclassifier__alpha": [1e-4, 1e-2],
        "l2cnnclassifier__augment__brightness": [0, 0.1],
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise", n_jobs=1)
    search.fit(frame[["path"]], labels)
    assert search.best_score_ > 0.8
    assert search.predict(frame[["path"]]).dtype == bool


def test_paths_beside_other_columns(folder):
    paths, _ = folder
    frame = pd.DataFrame({"path": paths, "size": range(12)})
    columns = ColumnTransformer(
        [
            ("image", make_pipeline(ImageReader((4, 4)), ImagesToRows()), ["path"]),
            ("size", "passthrough", ["size"]),
        ]
    )
    assert columns.fit_transform(frame).shape == (12, 4 * 4 * 3 + 1)


def test_a_pipeline_of_rows_is_named_for_pandas():
    reader = ImageReader((2, 3), "L").fit(np.zeros((4, 25)))
    names = reader.get_feature_names_out()
    assert names.tolist() == [f"pixel_{r}_{c}" for r in range(2) for c in range(3)]
