"""Tests of ImageReader with formats, modes and sizes of files."""

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from sklearn_l2cnn.preprocessing import ImageReader
from tests.pictures import RGB, far, picture


def saved(image, tmp_path, ending, **options):
    path = tmp_path / f"x.{ending}"
    image.save(path, **options)
    return [path]


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


def test_cmyk_file(tmp_path):
    path = saved(RGB.convert("CMYK"), tmp_path, "jpg", quality=95, subsampling=0)
    [found] = ImageReader((20, 30)).fit_transform(path)
    assert far(found, RGB) < 25


@pytest.mark.parametrize("background", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["alpha", "palette", "colour key"])
def test_blending_with_a_background(tmp_path, background, kind):
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
def test_only_the_first_of_several_images_is_read(tmp_path, ending):
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
def test_exif_orientation(tmp_path, orientation, size):
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # undone by a rotation of 270
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


@pytest.mark.parametrize("ending", ["png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", [3, 5, 6, 7, 8])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_exif_orientation_of_other_formats(
    tmp_path, ending, orientation, interpolation
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if ending == "webp" else {}
    lying = Image.fromarray(picture((12, 18)))
    path = saved(lying, tmp_path, ending, exif=exif, **options)
    upright = {3: 2, 5: None, 6: 3, 7: None, 8: 1}[orientation]
    X = np.asarray(lying)
    X = X.swapaxes(0, 1) if upright is None else np.rot90(X, upright)
    X = np.rot90(X, 2) if orientation == 7 else X
    half = X.shape[0] // 2, X.shape[1] // 2
    reader = ImageReader(half, interpolation=interpolation)
    [found] = ImageReader(X.shape[:2]).fit_transform(path)
    assert np.array_equal(found, X)
    [found], [expected] = (
        reader.fit_transform(x) for x in (path, [Image.fromarray(X.copy())])
    )
    assert far(found, expected) <= 1


def test_large_jpegs_are_decoded_at_a_fraction_of_their_size(tmp_path, monkeypatch):
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
    assert drafts == [(200, 150)], "an eighth, 2.5 times the requested size"
    [expected] = ImageReader((60, 80)).fit_transform([image])
    assert far(found, expected) <= 8
    drafts.clear()
    ImageReader((60, 80), interpolation="nearest").fit_transform(path)
    assert drafts == []


# -- sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize("aspect", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("side", [(20, 30), (30, 20), (7, 7), (1, 40)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_resizing_of_files_matches_that_of_arrays(aspect, side, mode):
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
