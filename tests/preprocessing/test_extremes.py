"""Tests of all image transformers with extreme numbers and a changed world."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_l2cnn._utils.seeds import random_states
from sklearn_l2cnn.preprocessing import (
    ChannelsLast,
    ChannelStandardizer,
    ContrastNormalizer,
    HistogramEqualizer,
    PatchWhitener,
    PixelScaler,
    PixelStandardizer,
    TorchvisionTransformer,
)
from tests.preprocessing.test_transformers import (
    ALL,
    CONFIGURED,
    IDS,
    assert_same_learnt,
    images,
)

# -- the world around a call -----------------------------------------------------------


def with_defaults_of_torch(function):
    """Call a function where somebody has set all defaults of torch otherwise."""
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return function()
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(
    "transformer",
    [*(cls() for cls in ALL), *CONFIGURED],
    ids=lambda transformer: repr(transformer)[:60],
)
def test_defaults_of_torch_do_not_count(transformer, dtype):
    X = images(dtype=dtype, side=(8, 6))
    transformer = clone(transformer)
    expected = transformer.fit_transform(X)
    found = with_defaults_of_torch(lambda: clone(transformer).fit(X).transform(X))
    assert found.dtype == expected.dtype and np.array_equal(found, expected)
    if hasattr(transformer, "inverse_transform"):
        expected = transformer.inverse_transform(expected)
        found = with_defaults_of_torch(lambda: transformer.inverse_transform(found))
        assert np.array_equal(found, expected)
    if hasattr(transformer, "partial_fit"):
        partial = with_defaults_of_torch(lambda: clone(transformer).partial_fit(X))
        assert_same_learnt(partial, clone(transformer).fit(X))


@pytest.mark.parametrize("cls", ALL, ids=IDS)
def test_global_generators_are_left_alone(cls):
    X, before = images(), random_states()
    fitted = cls().fit(X)
    fitted.transform(X)
    assert random_states() == before
    if cls is TorchvisionTransformer:
        cls(lambda batch: batch + torch.rand_like(batch)).fit_transform(X / 255)
        assert random_states() == before


# -- extreme numbers -------------------------------------------------------------------

EXTREMES = {
    "float32": (-0.0, 1e-45, 1e-38, 1e-20, 1e17, 1e19, 1e38, np.finfo("float32").max),
    "float64": (1e-310, 1e-200, 1e153, 1e155, 1e200, 1e300, np.finfo("float64").max),
}


def extreme_images(value, dtype):
    """Yield images that hold an extreme value in different ways."""
    rng = np.random.RandomState(0)
    for shape in ((5, 6, 6, 3), (4, 1, 1, 1), (1, 6, 6, 4)):
        yield np.full(shape, value, dtype)
        yield np.where(rng.rand(*shape) < 0.5, value, -value).astype(dtype)
        some = rng.uniform(0, 1, shape).astype(dtype)
        some[0, 0, 0, 0] = value
        yield some


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "value, dtype", [(v, d) for d in EXTREMES for v in EXTREMES[d]]
)
def test_extreme_numbers_give_finite_numbers_or_a_clear_error(value, dtype):
    for X in extreme_images(value, dtype):
        for transformer in [*(cls() for cls in ALL), *CONFIGURED]:
            if isinstance(transformer, ChannelsLast):
                X_in = X.transpose(0, 3, 1, 2)
            else:
                X_in = X
            transformer = clone(transformer)
            try:
                found = [transformer.fit(X_in).transform(X_in)]
                if hasattr(transformer, "inverse_transform"):
                    found.append(transformer.inverse_transform(found[0]))
            except ValueError as error:
                assert "too large" in str(error), (transformer, error)
                continue
            assert all(np.isfinite(part).all() for part in found), transformer


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e154, 1e200, 1e307])
def test_what_has_no_unit_is_the_same_for_extreme_numbers(scale):
    X = images(dtype="float64") - 0.5
    large = X * scale
    for transformer in (PixelScaler((-1, 1)), HistogramEqualizer()):
        expected = transformer.fit_transform(X)
        found = transformer.fit_transform(large)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    for window in (None, 3):
        expected = ContrastNormalizer(window, epsilon=0.01).fit_transform(X)
        found = ContrastNormalizer(window, epsilon=0.01 * scale).fit_transform(large)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("cls", [ChannelStandardizer, PixelStandardizer, PatchWhitener])
def test_pixels_whose_variance_overflows_leave_a_fitted_transformer_alone(cls):
    X = images(dtype="float64", side=(6, 8))
    fitted = cls().fit(X)
    before = fitted.transform(X)
    for call in (fitted.fit, fitted.partial_fit):
        with pytest.raises(ValueError, match="variance overflows float64. Divide X"):
            call(1e200 * X)
    assert np.array_equal(fitted.transform(X), before)
    again = fitted.partial_fit(X[:3])
    assert_same_learnt(again, cls().fit(X).partial_fit(X[:3]))


def test_a_transform_of_ones_own_that_gives_no_numbers():
    X = images(dtype="float32")
    with pytest.raises(ValueError, match="TorchvisionTransformer gives NaN or a value"):
        TorchvisionTransformer(torch.log).fit(X - 2)
