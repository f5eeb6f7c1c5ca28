"""Tests of intensity transformers against numpy, loops, scikit-learn and scipy."""

import warnings

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklearn_l2cnn.preprocessing import (
    ChannelStandardizer,
    ContrastNormalizer,
    HistogramEqualizer,
    PatchWhitener,
    PixelScaler,
    PixelStandardizer,
)


def pixels(dtype="float64", n=25, side=(6, 7), depth=3):
    rng = np.random.RandomState(0)
    X = rng.randint(0, 256, size=(n, *side, depth)).astype(np.uint8)
    X[..., 0] //= 2
    X[:, -1, 1] = 9  # a constant pixel
    return X if dtype == "uint8" else X / 255


# -- ranges ---------------------------------------------------------------------------


def test_uint8_is_divided_by_255():
    X = pixels("uint8")
    found = PixelScaler().fit_transform(X)
    np.testing.assert_allclose(found, X / 255, rtol=1e-6)
    assert PixelScaler().fit(X[:, :1, :1]).pixel_range_ == (0.0, 1.0)


@pytest.mark.parametrize("feature_range", [(0, 1), (-1, 1), (2, 5.5)])
def test_scaling_of_floats_matches_min_max_scaler(feature_range):
    X = 40 * pixels() - 7
    found = PixelScaler(feature_range).fit_transform(X)
    column = MinMaxScaler(feature_range).fit_transform(X.reshape(-1, 1))
    np.testing.assert_allclose(found, column.reshape(X.shape), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose([found.min(), found.max()], feature_range)


def test_given_pixel_range():
    X = pixels()
    found = PixelScaler((0, 10), pixel_range=(-1, 3)).fit_transform(X)
    np.testing.assert_allclose(found, (X + 1) * 2.5)


def test_scaling_constant_images():
    found = PixelScaler((-1, 1)).fit_transform(np.full((3, 2, 2), 7.0))
    assert (found == -1).all()


@pytest.mark.parametrize("wrong", [(1, 0), (1, 1), (0,), (0, np.inf), ("a", "b")])
@pytest.mark.parametrize("name", ["feature_range", "pixel_range"])
def test_invalid_range_raises(name, wrong):
    with pytest.raises(ValueError, match=rf"{name}=.* is not a range"):
        PixelScaler(**{name: wrong}).fit(pixels())


# -- standardisation ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_channels_have_mean_0_and_standard_deviation_1(dtype):
    X = pixels(dtype)
    real = X / 255 if dtype == "uint8" else X
    step = ChannelStandardizer().fit(X)
    np.testing.assert_allclose(step.mean_, real.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(step.var_, real.var(axis=(0, 1, 2)))
    expected = (real - step.mean_) / np.sqrt(step.var_)
    np.testing.assert_allclose(step.transform(X), expected, rtol=1e-5, atol=1e-6)


def test_channel_standardizer_with_sample_weight():
    X, weight = pixels(), np.random.RandomState(1).uniform(0, 2, 25)
    step = ChannelStandardizer().fit(X, sample_weight=weight)
    mean = np.average(X.mean(axis=(1, 2)), axis=0, weights=weight)
    np.testing.assert_allclose(step.mean_, mean)
    square = np.average(((X - mean) ** 2).mean(axis=(1, 2)), axis=0, weights=weight)
    np.testing.assert_allclose(step.var_, square)


def test_a_constant_channel_is_only_centred():
    X = pixels()
    X[..., 1] = 5
    found = ChannelStandardizer().fit(X)
    assert found.scale_[1] == 1 and (found.transform(X)[..., 1] == 0).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_pixel_standardizer_matches_standard_scaler(weighted):
    X = pixels()
    weight = np.random.RandomState(1).uniform(0.1, 2, 25) if weighted else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = PixelStandardizer().fit(X, sample_weight=weight)
    with np.errstate(invalid="ignore"):
        scaler = StandardScaler().fit(X.reshape(25, -1), sample_weight=weight)
    np.testing.assert_allclose(found.mean_.ravel(), scaler.mean_)
    np.testing.assert_allclose(found.scale_.ravel(), scaler.scale_)
    expected = scaler.transform(X.reshape(25, -1))
    rows = found.transform(X).reshape(25, -1)
    np.testing.assert_allclose(rows, expected, rtol=1e-9, atol=1e-9)


# -- contrast -------------------------------------------------------------------------


def test_contrast_normalizer_of_whole_images():
    X = pixels()
    found = ContrastNormalizer(epsilon=0.1).fit_transform(X)
    for image, result in zip(X, found, strict=True):
        scale = np.sqrt(image.var() + 0.01)
        expected = (image - image.mean()) / scale
        np.testing.assert_allclose(result, expected, atol=1e-12)
    flat = ContrastNormalizer().fit_transform(np.full((2, 4, 4), 0.7))
    assert abs(flat).max() < 1e-12


@pytest.mark.parametrize("window", [1, 3, 5])
def test_contrast_normalizer_with_a_window(window):
    X = pixels()
    found = ContrastNormalizer(window, epsilon=0.1).fit_transform(X)
    # torchvision's rule for the width of the Gaussian
    sigma = 0.3 * ((window - 1) * 0.5 - 1) + 0.8
    far = np.arange(window) - window // 2
    weights = np.exp(-0.5 * (far / sigma) ** 2)
    weights /= weights.sum()

    def blur(values):
        for axis in (0, 1):
            values = ndimage.correlate1d(values, weights, axis=axis, mode="mirror")
        return values

    for image, result in zip(X, found, strict=True):
        mean = blur(image)
        variance = (blur(image**2) - mean**2).clip(0).mean(axis=2, keepdims=True)
        expected = (image - mean) / np.sqrt(variance + 0.01)
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)


def test_window_larger_than_the_image():
    found = ContrastNormalizer(window=9).fit_transform(pixels(side=(1, 3)))
    assert np.isfinite(found).all()


def test_even_window_raises():
    with pytest.raises(ValueError, match=r"window=4 has no middle.*5"):
        ContrastNormalizer(window=4).fit(pixels())


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_histogram_equalizer_matches_ranks(dtype):
    X = pixels("uint8")
    X = X if dtype == "uint8" else (X / 255).astype(dtype)
    found = HistogramEqualizer().fit_transform(X)
    for image, result in zip(X, found, strict=True):
        for channel in range(3):
            values = image[..., channel].ravel()
            counts = stats.rankdata(values, method="max")
            share = (counts - counts.min()) / (len(values) - counts.min())
            expected = np.round(255 * share) if dtype == "uint8" else share
            np.testing.assert_allclose(
                result[..., channel].ravel(), expected, atol=1e-7
            )
    assert found.dtype == X.dtype


def test_equalizing_only_depends_on_the_order():
    X = pixels()
    once = HistogramEqualizer().fit_transform(X)
    np.testing.assert_array_equal(HistogramEqualizer().fit_transform(X**3), once)
    assert (HistogramEqualizer().fit_transform(np.full((1, 3, 3), 0.4)) == 0).all()


# -- whitening ------------------------------------------------------------------------


def patches_of(X, side, stride):
    """Return the flattened patches (channels, side, side) as rows."""
    n, height, width, _ = X.shape
    return np.array(
        [
            X[k, r : r + side, c : c + side].transpose(2, 0, 1).ravel()
            for k in range(n)
            for r in range(0, height - side + 1, stride)
            for c in range(0, width - side + 1, stride)
        ]
    )


def smooth(n=60, side=9, depth=2):
    X = np.random.RandomState(0).normal(size=(n, side, side, depth))
    X[..., 1] += X[..., 0]
    return ndimage.gaussian_filter(X, (0, 1, 1, 0))


@pytest.mark.parametrize("stride", [1, 2])
def test_statistics_of_patches(stride):
    X = smooth()
    step = PatchWhitener(3, stride=stride).fit(X)
    rows = patches_of(X, 3, stride)
    assert step.n_patches_seen_ == len(rows)
    np.testing.assert_allclose(step.mean_, rows.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(step.covariance_, np.cov(rows.T, bias=True), atol=1e-12)


def test_whitening_matches_the_whitened_patches():
    X = smooth()
    step = PatchWhitener(3, epsilon=1e-3, stride=1).fit(X)
    values, vectors = np.linalg.eigh(step.covariance_)
    ridge = 1e-3 * values.mean()
    matrix = vectors @ np.diag((values + ridge) ** -0.5) @ vectors.T
    rows = patches_of(X, 3, 1)
    white = (rows - step.mean_) @ matrix
    # the middle pixel of a channel is number 4 of 9
    expected = white[:, [4, 13]].reshape(60, 7, 7, 2)
    found = step.transform(X)[:, 1:-1, 1:-1]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    # whole whitened patches have the identity as covariance, up to the ridge
    covariance = np.cov(white.T, bias=True)
    shrunk = vectors @ np.diag(values / (values + ridge)) @ vectors.T
    np.testing.assert_allclose(covariance, shrunk, atol=1e-8)


def test_whitening_decorrelates_neighbouring_pixels():
    X = smooth(n=200)

    def correlation(images):
        left, right = images[:, 2:6, 2:5, 0], images[:, 2:6, 3:6, 0]
        return np.corrcoef(left.ravel(), right.ravel())[0, 1]

    found = PatchWhitener(5, epsilon=1e-4).fit_transform(X)
    assert correlation(X) > 0.7 and abs(correlation(found)) < 0.2


def test_whitening_constant_images():
    found = PatchWhitener(3).fit_transform(np.full((3, 6, 6), 2.0))
    assert np.isfinite(found).all() and abs(found).max() < 1e-6


def test_whitening_mirrors_edges():
    X = smooth(n=8)
    step = PatchWhitener(3, stride=1).fit(X)
    wide = np.pad(X, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect")
    inner = step.filters_ @ (patches_of(wide, 3, 1) - step.mean_).T
    expected = inner.T.reshape(8, 9, 9, 2)
    np.testing.assert_allclose(step.transform(X), expected, rtol=1e-8, atol=1e-8)


def test_whitening_does_not_depend_on_the_number_of_threads():
    X = smooth()
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(PatchWhitener().fit_transform(X))
    torch.set_num_threads(before)
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-12)


def test_partial_fit_with_uint8_and_floats():
    scaler = PixelScaler().partial_fit(np.full((2, 3, 3), 254.0))
    scaler.partial_fit(np.full((2, 3, 3), 7, np.uint8))
    assert scaler.pixel_range_ == (0.0, 254.0)


@pytest.mark.parametrize("cls", [ChannelStandardizer, PixelStandardizer, PixelScaler])
def test_pixels_in_other_units_warn(cls):
    X = np.random.RandomState(0).randint(0, 256, size=(5, 4, 4)).astype(np.uint8)
    fitted = cls().fit(X)
    with pytest.warns(UserWarning, match="The training images were uint8, these are"):
        fitted.transform(X.astype(float))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.transform(X)
        fitted.transform(X / 255)


def test_inverse_transform_of_uint8_is_between_0_and_1():
    X = np.random.RandomState(0).randint(0, 256, size=(5, 4, 4)).astype(np.uint8)
    for cls in (ChannelStandardizer, PixelStandardizer, PixelScaler):
        fitted = cls().fit(X)
        back = fitted.inverse_transform(fitted.transform(X))
        assert np.abs(255 * back - X).max() < 1e-3
