"""Tests of ImageReader with images of more than 8 bits: black, white and dtype."""

import warnings

import numpy as np
import pytest
from PIL import Image

from sklearn_l2cnn.datasets import load_image_folder
from sklearn_l2cnn.preprocessing import ImageReader
from tests.pictures import far, picture

# What scanners and cameras give: 12 bits, Hounsfield units, 16 bits.
TWELVE = (np.arange(2 * 600).reshape(2, 20, 30) * 3.4).astype(np.uint16)
HOUNSFIELD = (np.arange(2 * 600).reshape(2, 20, 30) * 4.835 - 1000).astype(np.int16)
SIXTEEN = (np.arange(2 * 600).reshape(2, 20, 30) * 54.6).astype(np.uint16)
GUESSED = "were taken as grey between black={} and white={}"


def forms_of(images, tmp_path):
    """Yield one array of images, a list of arrays, files, and images of Pillow."""
    yield images
    yield [images[0], images[1, :19]]
    paths = []
    for k, image in enumerate(images):
        kind = "tiff" if image.dtype != np.uint16 else "png"
        if image.dtype == np.int16:  # Pillow writes 16 bits without signs only
            image = image.astype(np.float32)
        paths.append(tmp_path / f"{k}.{kind}")
        Image.fromarray(image).save(paths[-1])
    yield paths
    yield [Image.open(path) for path in paths]


@pytest.mark.parametrize(
    ("images", "black", "white"),
    [(TWELVE, 0, 4095), (HOUNSFIELD, -1000, 4800), (SIXTEEN, 0, 65535)],
    ids=["12 bits", "Hounsfield", "16 bits"],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32", np.float32])
def test_a_window_is_kept_in_every_form(images, black, white, dtype, tmp_path):
    shares = (images.astype(float) - black) / (white - black)
    for X in forms_of(images, tmp_path):
        reader = ImageReader((20, 30), "L", black=black, white=white, dtype=dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = reader.fit_transform(X)[0].reshape(20, 30)
        assert found.dtype == dtype
        if dtype == "uint8":
            assert far(found, np.round(255 * shares[0])) == 0
        else:
            np.testing.assert_allclose(found, shares[0], atol=1e-6)
            assert len(np.unique(found)) == len(np.unique(images[0]))


@pytest.mark.parametrize(
    ("images", "black", "white"),
    [(TWELVE, 0, 4095), (HOUNSFIELD, -1000, 4797), (TWELVE * 4, 0, 16383)],
    ids=["12 bits", "Hounsfield", "14 bits"],
)
def test_the_window_of_arrays_is_found_with_a_warning(images, black, white):
    images = images.copy()
    images[0, 0, :2] = black, white
    for X in (images, list(images), [images[0], images[1, :19]]):
        reader = ImageReader((20, 30), "L")
        with pytest.warns(UserWarning, match=GUESSED.format(black, white)) as told:
            found = reader.fit_transform(X)
        assert len(told) == 1 and f"white={white}), with dtype=" in str(told[0].message)
        assert (reader.black_, reader.white_) == (black, white)
        assert len(np.unique(found)) > 200
    with pytest.warns(UserWarning, match=f"cut off at {black} and {white}, the black"):
        reader.transform([image + 2 for image in images])


def test_dark_files_of_16_bits_are_told_of(tmp_path):
    for k, X in enumerate((TWELVE, SIXTEEN)):
        *_, paths, opened = forms_of(X, tmp_path)
        for files in (paths, opened):
            if k:  # as they use the 16 bits
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    ImageReader().fit_transform(files)
                continue
            with pytest.warns(UserWarning, match=r"0 and white=65535\. .*white=4095\)"):
                ImageReader().fit_transform(files)


def test_files_with_windows_of_their_own_are_told_of(tmp_path):
    for k, highest in enumerate((0.9, 1.2)):
        image = np.linspace(0, highest, 600, dtype=np.float32).reshape(20, 30)
        Image.fromarray(image).save(tmp_path / f"{k}.tiff")
    paths = [tmp_path / "0.tiff", tmp_path / "1.tiff"]
    with pytest.warns(UserWarning, match="white=1; black=0 and white=255"):
        ImageReader().fit_transform(paths)
    reader = ImageReader((20, 30), "L", white=1.2, dtype="float32")
    found = reader.fit_transform(paths)
    assert found.max(axis=(1, 2, 3)) == pytest.approx([0.75, 1])


def test_folders_of_dark_files_are_told_of(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(TWELVE[0]).save(tmp_path / "a" / "0.png")
    with pytest.warns(UserWarning, match="white=4095"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("aspect", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_floats_are_the_same_images_as_bytes(mode, aspect, interpolation, tmp_path):
    colour, grey = picture((9, 14)), picture((9, 14), depth=1)[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    options = {"interpolation": interpolation, "fill": 0.4}
    for X in (colour[None], [colour, grey], [tmp_path / "deep.png", grey / 255.0]):
        one = ImageReader((12, 12), mode, aspect, **options)
        found = one.set_params(dtype="float32").fit_transform(X)
        assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
        expected = one.set_params(dtype="uint8").fit_transform(X)
        assert far(255 * found, expected) <= 2


def test_unreadable_images_are_filled_with_floats():
    reader = ImageReader(4, on_error="fill", fill=0.3, dtype="float32")
    with pytest.warns(UserWarning, match="1 of 2 images could not be read"):
        found = reader.fit_transform([None, picture((9, 14))])
    assert np.unique(found[0]) == pytest.approx([0.3])


@pytest.mark.filterwarnings("ignore:Values from .* were taken as grey")
def test_a_window_without_width_raises():
    with pytest.raises(ValueError, match="black=5 is not below white=5"):
        ImageReader(black=5, white=5).fit([TWELVE[0]])
    # one side alone leaves the other to be found on the right side of it
    assert ImageReader(black=300).fit(TWELVE // 50).white_ == 1023
    assert ImageReader(white=-7).fit(TWELVE).black_ == -8
    assert ImageReader().fit(np.full((2, 3, 3), -4.0)).white_ == -3


@pytest.mark.filterwarnings("ignore:Values from .* were taken as grey")
def test_a_window_wider_than_the_largest_number():
    image = np.array([[-1.5e308, 0, 1.5e308]])
    found = ImageReader((1, 3), "L").fit_transform([image, image])
    assert found[0].ravel().tolist() == [0, 128, 255]
