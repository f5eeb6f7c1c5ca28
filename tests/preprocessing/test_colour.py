"""Tests of colour, grey and transparency against Pillow and the formulas."""

import numpy as np
import pytest
from PIL import Image

from sklearn_l2cnn.preprocessing import ToChannels, ToGray


def pixels(depth, dtype="uint8", n=5):
    values = np.random.RandomState(depth).randint(0, 256, size=(n, 7, 6, depth))
    return values.astype(np.uint8) if dtype == "uint8" else values / 255


def test_grey_matches_pillow():
    X = pixels(3)
    found = ToGray().fit_transform(X)
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in X]
    assert found.shape == (5, 7, 6, 1) and found.dtype == np.uint8
    assert abs(found[..., 0].astype(int) - expected).max() <= 1


def test_grey_of_floats_matches_the_formula():
    X = pixels(3, "float64")
    expected = 0.299 * X[..., 0] + 0.587 * X[..., 1] + 0.114 * X[..., 2]
    np.testing.assert_allclose(ToGray().fit_transform(X)[..., 0], expected, rtol=1e-12)
    white = ToGray().fit_transform(np.ones((1, 2, 2, 3)))
    np.testing.assert_allclose(white, 1, rtol=1e-12)


@pytest.mark.parametrize("background", [0.0, 0.5, 1.0])
def test_blending_with_a_background_matches_pillow(background):
    X = pixels(4)
    found = ToChannels(3, background=background).fit_transform(X)
    level = round(255 * background)
    for image, result in zip(X, found, strict=True):
        behind = Image.new("RGBA", (6, 7), (level, level, level, 255))
        over = Image.alpha_composite(behind, Image.fromarray(image))
        far = result.astype(int) - np.asarray(over.convert("RGB"))
        assert abs(far).max() <= 1


def test_blending_with_a_background_matches_the_formula():
    X = pixels(4, "float64")
    found = ToChannels(3, background=0.25).fit_transform(X)
    alpha = X[..., 3:]
    np.testing.assert_allclose(found, alpha * X[..., :3] + (1 - alpha) * 0.25)
    found = ToGray(background=0.25).fit_transform(pixels(2, "float64"))
    grey, alpha = np.moveaxis(pixels(2, "float64"), 3, 0)
    np.testing.assert_allclose(found[..., 0], alpha * grey + (1 - alpha) * 0.25)


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_grey_is_repeated_and_opaque(dtype):
    X, white = pixels(1, dtype), 255 if dtype == "uint8" else 1
    colour = ToChannels(3).fit_transform(X)
    assert np.array_equal(colour, np.repeat(X, 3, axis=3))
    both = ToChannels(4).fit_transform(X)
    assert np.array_equal(both[..., :3], colour) and (both[..., 3] == white).all()
    X = pixels(2, dtype)
    both = ToChannels(4).fit_transform(X)
    assert np.array_equal(both, X[..., [0, 0, 0, 1]])
    assert both.dtype == X.dtype


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_same_number_of_channels_returns_the_same_images(depth):
    X = pixels(depth)
    assert np.array_equal(ToChannels(depth).fit_transform(X), X)


@pytest.mark.parametrize("step", [ToGray(), ToChannels(3)])
def test_more_than_four_channels_raise(step):
    with pytest.raises(ValueError, match=r"Images with 6 channels .* X\[..., :3\]"):
        step.fit(pixels(6))
