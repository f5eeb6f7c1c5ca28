"""Statistics of the channels, standardising, units."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch

from sklearn_l2cnn._data import pixels as _pixels
from sklearn_l2cnn._data.arrays import as_tensor
from sklearn_l2cnn._data.pixels import (
    chunks,
    merge_statistics,
    standardized,
    warn_about_units,
)

RNG = np.random.RandomState(0)


def channel_statistics(images, *arguments):
    moments = _pixels.moments_of(as_tensor(images))
    return _pixels.channel_statistics(moments, *arguments)


def naive_statistics(images, weight):
    images = images / 255 if images.dtype == np.uint8 else images.astype(np.longdouble)
    pixels = images.reshape(len(images), -1, images.shape[3])
    weight = weight[:, None, None] * np.ones_like(pixels)
    mean = (weight * pixels).sum(axis=(0, 1)) / weight.sum(axis=(0, 1))
    variance = (weight * (pixels - mean) ** 2).sum(axis=(0, 1)) / weight.sum(
        axis=(0, 1)
    )
    return mean, variance


@pytest.mark.parametrize(
    "dtype, offset",
    [("uint8", 0), ("float32", 0), ("float32", 1e6), ("float64", 0), ("float64", 1e6)],
)
def test_statistics_match_the_definition(dtype, offset, monkeypatch):
    monkeypatch.setattr("sklearn_l2cnn._data.pixels._CHUNK_VALUES", 100)  # several
    images = (RNG.uniform(0, 255, size=(20, 4, 3, 2)) + offset).astype(dtype)
    weight = RNG.uniform(size=20)
    mean, variance = channel_statistics(images, np.arange(20), weight)
    expected_mean, expected_variance = naive_statistics(images, weight)
    np.testing.assert_allclose(mean, expected_mean.astype(float), rtol=1e-13)
    np.testing.assert_allclose(variance, expected_variance.astype(float), rtol=1e-9)


def test_a_constant_channel_has_no_variance_at_all():
    images = np.full((7, 3, 3, 2), 0.1)
    images[..., 1] = RNG.uniform(size=(7, 3, 3))
    mean, variance = channel_statistics(images, np.arange(7), RNG.uniform(size=7))
    assert mean[0] == 0.1 and variance[0] == 0.0 and variance[1] > 0


def test_pixels_of_bytes_that_hardly_vary():
    images = np.full((50, 9, 9, 2), 200, dtype=np.uint8)
    images[3, 4, 4, 1] = 201  # one of 4050
    mean, variance = channel_statistics(images, np.arange(50), np.ones(50))
    share = Fraction(1, 50 * 81)
    assert mean[0] == 200 / 255 and variance[0] == 0.0
    assert mean[1] == pytest.approx(float((200 + share) / 255), rel=1e-15)
    expected = float((share - share**2) / 255**2)
    assert variance[1] == pytest.approx(expected, rel=1e-12)


def test_overflowing_statistics_are_refused():
    images = np.array([1e200, -1e200]).reshape(2, 1, 1, 1)
    with pytest.raises(ValueError, match="Divide X by a constant"):
        channel_statistics(images, np.arange(2), np.ones(2))


def test_merged_statistics_are_those_of_both_sets():
    images = RNG.normal(3, 2, size=(30, 2, 2, 2))
    weight = RNG.uniform(size=30)
    whole, *parts = [
        (weight[rows].sum(), *channel_statistics(images, rows, weight[rows]))
        for rows in (np.arange(30), np.arange(12), np.arange(12, 30))
    ]
    for merged, expected in zip(merge_statistics(*parts), whole, strict=True):
        np.testing.assert_allclose(merged, expected, rtol=1e-6)  # the share is float32


def test_standardized_is_the_formula_and_refuses_what_overflows():
    images = RNG.randint(0, 256, size=(3, 2, 2, 1)).astype(np.uint8)
    result = standardized(
        as_tensor(images), np.array([0.2]), np.array([0.5]), torch.float32
    )
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, (images / 255 - 0.2) / 0.5, rtol=1e-6)
    with pytest.raises(ValueError, match="too large for dtype"):
        huge = torch.full((1, 1, 1, 1), 1e300, dtype=torch.float64)
        standardized(huge, np.zeros(1), np.ones(1), torch.float32)


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (1000, 1000, 3)])
@pytest.mark.parametrize("n_rows", [0, 1, 7, 1000])
def test_chunks_cover_all_rows_once(n_rows, shape):
    covered = [row for chunk in chunks(n_rows, shape) for row in range(n_rows)[chunk]]
    assert covered == list(range(n_rows))


@pytest.mark.parametrize(
    "trained, unit, come, warns",
    [
        (np.uint8, 255, np.full((1, 1, 1, 1), 200.0), "divide by 255"),
        (
            np.float64,
            255,
            np.full((1, 1, 1, 1), 200, dtype=np.uint8),
            "astype('float32')",
        ),
        (np.uint8, 255, np.full((1, 1, 1, 1), 200, dtype=np.uint8), False),
        (np.float32, 255, np.full((1, 1, 1, 1), 200.0), False),
        (np.uint8, 255, np.full((1, 1, 1, 1), 0.8), False),
        (np.float32, 1, np.full((1, 1, 1, 1), 1, dtype=np.uint8), False),
        (np.float32, 1, np.full((1, 1, 1, 1), 255.0), "Multiply or divide"),
        (np.float32, 255, np.full((1, 1, 1, 1), 0.8), "Multiply or divide"),
        (np.float32, 1, np.full((1, 1, 1, 1), -9.0), False),
        (np.float32, 255, np.zeros((1, 1, 1, 1)), False),
    ],
)
def test_a_change_of_units_is_told(trained, unit, come, warns):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_about_units(as_tensor(come), (np.dtype(trained), unit))
    assert len(caught) == bool(warns)
    assert not caught or warns in str(caught[0].message)
