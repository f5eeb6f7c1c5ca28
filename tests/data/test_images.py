"""Tests of the validation of images: layouts, dtypes and error messages."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from sklearn_l2cnn._data.images import as_images

RNG = np.random.RandomState(0)


# -- layouts --------------------------------------------------------------------------


def test_layouts_give_the_same_images():
    images = RNG.randint(0, 256, size=(5, 4, 6, 3)).astype(np.uint8)
    first = np.moveaxis(images, 3, 1)
    assert np.array_equal(as_images(images), images)
    assert np.array_equal(as_images(first, channels="first"), images)
    rows = images.reshape(5, -1)
    assert np.array_equal(as_images(rows, image_shape=(4, 6, 3)), images)
    rows = first.reshape(5, -1)
    from_rows = as_images(rows, image_shape=(4, 6, 3), channels="first")
    assert np.array_equal(from_rows, images)


@pytest.mark.parametrize("channels", ["last", "first"])
def test_grey_images_have_one_channel(channels):
    images = RNG.uniform(size=(5, 4, 6))
    assert as_images(images, channels=channels).shape == (5, 4, 6, 1)
    assert np.array_equal(as_images(images, channels=channels)[..., 0], images)


@pytest.mark.parametrize(
    "n_features, shape",
    [(1, (1, 1)), (2, (1, 2)), (4, (2, 2)), (5, (1, 5)), (784, (28, 28))],
)
def test_rows_without_a_shape_are_squares_or_strips(n_features, shape):
    assert as_images(np.zeros((3, n_features))).shape == (3, *shape, 1)


def test_rows_of_colour_images_warn():
    with pytest.warns(UserWarning, match=r"image_shape=\(32, 32, 3\)"):
        assert as_images(np.zeros((3, 3072))).shape == (3, 1, 3072, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_images(np.zeros((3, 3072)), image_shape=(32, 32, 3))
        as_images(np.zeros((3, 30)))


@pytest.mark.parametrize(
    ("shape", "channels", "other"),
    [((5, 12, 16, 16), "last", "first"), ((5, 16, 16, 12), "first", "last")],
)
def test_channels_that_seem_to_stand_elsewhere_warn(shape, channels, other):
    taken = "12 x 16 pixels with 16" if channels == "last" else "16 x 12 pixels with 16"
    match = rf"images of {taken} .* 16 x 16 pixels with 12 .* channels='{other}'"
    with pytest.warns(UserWarning, match=match) as told:
        found = as_images(np.zeros(shape), channels=channels)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_images(np.zeros(shape), channels=other)
        as_images(np.zeros(shape), channels=channels, image_shape=found.shape[1:])


@pytest.mark.parametrize(
    "shape",
    [
        *((8, 8, 3), (28, 28, 1), (3, 3, 3), (1, 4, 4), (12, 16, 3), (3, 4, 4)),
        *((16, 16, 16), (16, 16, 12), (12, 16, 15), (9, 2, 2)),
    ],
)
def test_sensible_shapes_do_not_warn(shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_images(np.zeros((5, *shape))).shape[1:] == shape


def test_rows_with_a_shape_of_two_are_grey():
    assert as_images(np.zeros((3, 6)), image_shape=[2, 3]).shape == (3, 2, 3, 1)


# -- types of arrays ------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype, working",
    [
        ("uint8", "uint8"),
        ("bool", "float32"),
        ("int8", "float32"),
        ("uint16", "float32"),
        ("int32", "float64"),
        ("int64", "float64"),
        ("uint64", "float64"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("longdouble", "float64"),
        ("object", "float64"),
    ],
)
def test_numeric_dtypes_are_converted_without_loss(dtype, working):
    values = np.array([[0, 1, 1, 0], [1, 0, 0, 1]]).astype(dtype)
    images = as_images(values)
    assert images.dtype == getattr(torch, working)
    assert np.array_equal(images.reshape(2, 4), values.astype(working))


def test_lists_frames_memory_maps_and_tensors(tmp_path):
    rows = RNG.randint(0, 9, size=(4, 9)).astype(np.float64)
    expected = rows.reshape(4, 3, 3, 1)
    images = expected[..., 0]
    mapped = np.memmap(tmp_path / "rows", dtype=np.float64, mode="w+", shape=rows.shape)
    mapped[:] = rows
    mapped.flush()
    mapped = np.memmap(tmp_path / "rows", dtype=np.float64, mode="r", shape=rows.shape)
    for X in (
        rows.tolist(),
        images.tolist(),
        list(images),
        tuple(images),
        [torch.tensor(image) for image in images],
        pd.DataFrame(rows),
        mapped,
        torch.tensor(rows),
        torch.tensor(images, requires_grad=True),
        torch.tensor(images, dtype=torch.bfloat16),
        np.array([*images, None], dtype=object)[:-1],
    ):
        assert np.array_equal(as_images(X), expected)


# -- error messages -------------------------------------------------------------------


@pytest.mark.parametrize(
    "X, options, error, message",
    [
        (np.zeros((2, 3, 32, 32)), {}, ValueError, "channels='first', or image_shape="),
        (
            np.zeros((2, 32, 32, 3)),
            {"channels": "first"},
            ValueError,
            "channels='last', or image_shape=",
        ),
        (np.zeros((2, 5)), {"image_shape": (2, 2)}, ValueError, "makes 2 x 2 x 1 = 4"),
        (
            np.array([[1.0, 2.0, "a"]], dtype=object),
            {},
            ValueError,
            "X holds text: could",
        ),
        (
            np.zeros((2, 3, 4)),
            {"image_shape": (3, 3)},
            ValueError,
            "make the two agree",
        ),
        (
            np.zeros((2, 3, 4)),
            {"image_shape": (4, 3)},
            ValueError,
            r"pass X.reshape\(len\(X\), -1\), or leave it out",
        ),
        (np.zeros((2, 1, 2, 3, 4)), {}, ValueError, "has 5 dimensions"),
        (np.zeros(5), {}, ValueError, "Reshape your data"),
        (np.float64(3), {}, ValueError, "Expected 2D array, got scalar array"),
        (np.zeros((0, 4)), {}, ValueError, "Found array with 0 sample"),
        (np.zeros((0, 4, 4)), {}, ValueError, "Found array with 0 sample"),
        (np.zeros((3, 0)), {}, ValueError, "0 feature"),
        (np.zeros((3, 4, 0)), {}, ValueError, "images without pixels"),
        (np.array([[1.0, np.nan]]), {}, ValueError, "contains NaN"),
        (np.full((2, 3, 3), np.inf), {}, ValueError, "contains infinity"),
        (np.array([[1j, 2]]), {}, ValueError, "Complex data not supported.*np.abs"),
        (sparse.csr_array(np.eye(3)), {}, TypeError, "Sparse data was passed"),
        (np.array(["a.png", "b.png"]), {}, ValueError, "paths of image files"),
        (["a.png", "b.png"], {}, ValueError, "paths of image files"),
        (
            np.array([["2020-01-01"]], dtype="M8[D]"),
            {},
            ValueError,
            "dates or durations",
        ),
        ([np.zeros((2, 2)), np.zeros((3, 2))], {}, ValueError, r"\(2, 2\), \(3, 2\)"),
        ([[1, 2], [{}, 3]], {}, TypeError, "argument must be.* string.* number"),
    ],
)
def test_messages_while_fitting(X, options, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        as_images(X, **options)


@pytest.mark.parametrize(
    "X, expected, message",
    [
        (
            np.zeros((2, 5)),
            (3, 3, 1),
            "X has 5 features, but the estimator is expecting 9",
        ),
        (np.zeros((3, 3)), (3, 3, 1), r"One image alone is passed as X\[np.newaxis\]"),
        (
            np.zeros((4, 5, 3)),
            (4, 5, 3),
            r"One image alone is passed as X\[np.newaxis\]",
        ),
        (np.zeros((2, 4, 4)), (3, 3, 1), "4 x 4 pixels with 1 channel, but .* 3 x 3"),
        (np.zeros((2, 3, 8, 8)), (8, 8, 3), "look like channels='first'"),
        (np.zeros((2, 3, 3, 3)), (3, 3, 1), "with 3 channels, but"),
    ],
)
def test_messages_while_predicting(X, expected, message):
    with pytest.raises(ValueError, match=message):
        as_images(X, expected=expected)


def test_unusual_layout_with_image_shape():
    images = as_images(np.zeros((2, 3, 32, 32)), image_shape=(3, 32, 32))
    assert images.shape == (2, 3, 32, 32)
