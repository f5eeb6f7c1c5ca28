"""Common tests of all image transformers."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

from sklearn_l2cnn import preprocessing
from sklearn_l2cnn.preprocessing import (
    CenterCropper,
    ChannelsFirst,
    ChannelsLast,
    ChannelStandardizer,
    ContrastNormalizer,
    HistogramEqualizer,
    ImagePadder,
    ImageReader,
    ImageResizer,
    ImagesToRows,
    PatchWhitener,
    PixelScaler,
    PixelStandardizer,
    RowsToImages,
    ToChannels,
    ToGray,
    TorchvisionTransformer,
)
from tests.conformance.test_classifiers import ABSENT

pytestmark = pytest.mark.usefixtures("a_build_for_cuda_is_no_device")

ALL = [getattr(preprocessing, name) for name in preprocessing.__all__]
IDS = preprocessing.__all__
LEARNERS = [PixelScaler, ChannelStandardizer, PixelStandardizer, PatchWhitener]
INVERTIBLE = [
    ChannelsFirst,
    ChannelsLast,
    ImagePadder,
    ImagesToRows,
    RowsToImages,
    ChannelStandardizer,
    PixelScaler,
    PixelStandardizer,
]
# Transformers that return uint8 for uint8.
UINT8_TO_UINT8 = [
    CenterCropper,
    ChannelsFirst,
    ChannelsLast,
    HistogramEqualizer,
    ImagePadder,
    ImageReader,
    ImageResizer,
    ImagesToRows,
    RowsToImages,
    ToChannels,
    ToGray,
    TorchvisionTransformer,
]
# Transformers with parameters other than the defaults.
CONFIGURED = [
    CenterCropper(size=2),
    ContrastNormalizer(window=3),
    ImagePadder(size=9, mode="reflect"),
    ImageReader(size=5, mode="L", aspect="pad"),
    ImageResizer(size=(7, 3), aspect="crop", interpolation="bicubic"),
    PatchWhitener(patch_size=2, stride=1),
    PixelScaler((-1, 1), pixel_range=(0, 10)),
    ToChannels(4),
]


# -- conformance ----------------------------------------------------------------------


def outcomes(transformer):
    results = check_estimator(transformer, on_skip=None, on_fail=None)
    for result in results:
        reason = str(result["exception"])
        if result["status"] != "passed":
            name = result["check_name"]
            assert result["status"] == "skipped", (name, reason)
            assert name.startswith("check_array_api"), (name, reason)
            assert any(word in reason for word in ABSENT), reason
        assert not result["expected_to_fail"]
    return results


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "transformer",
    [*(cls() for cls in ALL), *CONFIGURED],
    ids=lambda transformer: repr(transformer)[:60],
)
def test_check_estimator(transformer):
    results = outcomes(transformer)
    checks = {result["check_name"] for result in results}
    expected = check_estimator(StandardScaler(), on_skip=None, on_fail=None)
    missing = {result["check_name"] for result in expected} - checks
    # ImageReader always returns uint8 and preserves no dtype of floats
    reader = isinstance(transformer, ImageReader)
    assert missing == ({"check_transformer_preserve_dtypes"} if reader else set())
    assert len(results) >= len(expected) - reader
    passed = sum(result["status"] == "passed" for result in results)
    assert passed >= sum(r["status"] == "passed" for r in expected) - reader


@pytest.mark.long
@pytest.mark.parametrize("cls", ALL, ids=IDS)
@pytest.mark.parametrize(
    "check",
    [
        "check_param_validation",
        "check_dataframe_column_names_consistency",
        "check_inplace_ensure_writeable",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_checks_outside_check_estimator(cls, check):
    if cls is RowsToImages and check.endswith(("_pandas", "_out")):
        # the output is images, which have no columns and stay arrays: scikit-learn
        # asserts that there is a data frame, without a word
        with pytest.raises(AssertionError, match=r"feature names|^$"):
            getattr(estimator_checks, check)(cls.__name__, cls())
        return
    getattr(estimator_checks, check)(cls.__name__, cls())


@pytest.mark.parametrize("cls", ALL, ids=IDS)
def test_tags_do_not_relax_checks(cls):
    tags = cls().__sklearn_tags__()
    assert tags.requires_fit and not tags.no_validation and not tags._skip_test
    assert not tags.non_deterministic and not tags.input_tags.allow_nan
    assert tags.input_tags.two_d_array and tags.input_tags.three_d_array
    assert not tags.input_tags.string and tags.array_api_support


def test_lists_of_transformers_are_complete():
    assert set(LEARNERS) == {cls for cls in ALL if hasattr(cls, "partial_fit")}
    assert set(INVERTIBLE) == {cls for cls in ALL if hasattr(cls, "inverse_transform")}


# -- forms and dtypes -----------------------------------------------------------------


def images(n=6, side=(5, 8), depth=3, dtype="uint8", seed=0):
    rng = np.random.RandomState(seed)
    values = rng.randint(0, 256, size=(n, *side, depth)).astype("uint8")
    return values if dtype == "uint8" else (values / 255).astype(dtype)


def as_last(result, transformer):
    """Reshape a result to (n, height, width, channels)."""
    n, shape = len(result), transformer.output_shape_
    if result.ndim == 2:
        result = result.reshape(n, *shape)
    return result.reshape(n, *shape)


# Transformers that change the layout.
LAYOUTS = [ChannelsFirst, ChannelsLast]


@pytest.mark.parametrize("cls", [cls for cls in ALL if cls not in LAYOUTS])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_rows_and_images_give_the_same(cls, dtype):
    X = images(dtype=dtype)
    from_images = cls().fit(X)
    from_rows = cls(image_shape=(5, 8, 3)).fit(X.reshape(6, -1))
    one, other = from_images.transform(X), from_rows.transform(X.reshape(6, -1))
    assert other.ndim == (4 if cls is RowsToImages else 2)
    assert one.ndim == (2 if cls is ImagesToRows else 4)
    assert np.array_equal(one.reshape(6, -1), other.reshape(6, -1))
    assert one.shape[1:] == from_images.output_shape_ or one.ndim == 2
    assert len(from_rows.get_feature_names_out()) == other[0].size


@pytest.mark.parametrize("cls", [c for c in ALL if c not in (*LAYOUTS, ImagesToRows)])
def test_channels_first_gives_the_same_images(cls):
    X = images()
    last = cls().fit_transform(X)
    first = cls(channels="first").fit_transform(X.transpose(0, 3, 1, 2))
    assert np.array_equal(first.transpose(0, 2, 3, 1), last)


@pytest.mark.parametrize("cls", ALL, ids=IDS)
def test_grey_images_without_a_channel_axis(cls):
    X = images(depth=1)
    with_axis, without = cls().fit(X), cls().fit(X[..., 0])
    if cls is ChannelsLast:
        X = X.transpose(0, 3, 1, 2)
        with_axis = cls().fit(X)
    one, other = with_axis.transform(X), without.transform(X.reshape(6, 5, 8))
    assert np.array_equal(one.reshape(6, -1), other.reshape(6, -1))
    if cls not in (ToChannels, ImageReader, ImagesToRows):
        assert other.ndim == 3


@pytest.mark.parametrize("cls", ALL, ids=IDS)
def test_output_dtype(cls):
    found = cls().fit_transform(images())
    assert found.dtype == (np.uint8 if cls in UINT8_TO_UINT8 else np.float32)
    for dtype in ("float32", "float64"):
        found = cls().fit_transform(images(dtype=dtype))
        assert found.dtype == (np.uint8 if cls is ImageReader else dtype)
        assert found.flags.c_contiguous and found.flags.writeable


@pytest.mark.parametrize("cls", ALL, ids=IDS)
def test_input_is_not_changed(cls):
    X = images(dtype="float64")
    before = X.copy()
    found = cls().fit_transform(X)
    found[...] = 0
    assert np.array_equal(X, before)
    X.flags.writeable = False
    cls().fit_transform(X[:, ::-1])


@pytest.mark.parametrize("cls", ALL, ids=IDS)
def test_output_does_not_depend_on_chunks(cls, monkeypatch):
    X = images(n=11, dtype="float64")
    whole = cls().fit(X)
    expected = whole.transform(X)
    monkeypatch.setattr("sklearn_l2cnn._data.pixels._CHUNK_VALUES", 4 * X[0].size)
    chunked = cls().fit(X)
    np.testing.assert_allclose(whole.transform(X), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(chunked.transform(X), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cls", ALL, ids=IDS)
def test_clone_and_pickle(cls):
    X = images()
    fitted = cls().fit(X)
    assert vars(clone(fitted)).keys() == fitted.get_params().keys()
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.transform(X), fitted.transform(X))


@pytest.mark.parametrize("cls", ALL, ids=IDS)
def test_images_of_another_shape_raise(cls):
    X, other = images(), images(side=(6, 8))
    if cls is ChannelsLast:
        X, other = X.transpose(0, 3, 1, 2), other.transpose(0, 3, 1, 2)
    with pytest.raises(ValueError, match=r"5 x 8 pixels with 3 channels"):
        cls().fit(X).transform(other)


@pytest.mark.parametrize("cls", ALL, ids=IDS)
@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("way", ["set_output", "globally", "pipeline"])
def test_set_output_makes_frames_of_rows_alone(cls, library, way):
    frames = pytest.importorskip(library)
    X = images()
    forms = [
        (cls(), X),
        (cls(), X[..., 0]),
        (cls(image_shape=(5, 8, 3)), X.reshape(6, -1)),
    ]
    for transformer, form in forms:
        plain = clone(transformer).fit_transform(form)
        if way == "pipeline":
            transformer = make_pipeline(transformer)
        with config_context(transform_output=library if way == "globally" else None):
            if way != "globally":
                transformer.set_output(transform=library)
            both = transformer.fit_transform(form), transformer.transform(form)
        for found in both:
            assert np.array_equal(found, plain)
            if plain.ndim > 2:
                assert type(found) is np.ndarray
            else:
                assert type(found) is frames.DataFrame
                assert [*found.columns] == [*transformer.get_feature_names_out()]
    transformer.set_output(transform="default")
    assert type(transformer.transform(form)) is np.ndarray


def test_frames_keep_their_index():
    X = pd.DataFrame(images().reshape(6, -1), index=range(9, 3, -1))
    scaler = PixelScaler(image_shape=(5, 8, 3)).set_output(transform="pandas")
    assert [*scaler.fit_transform(X).index] == [*X.index]


@pytest.mark.parametrize("cls", ALL, ids=IDS)
def test_array_api_dispatch_with_tensors(cls):
    X = torch.tensor(images(dtype="float32"))
    with config_context(array_api_dispatch=True):
        found = cls().fit_transform(X)
    assert isinstance(found, torch.Tensor) and found.device == X.device
    expected = cls().fit_transform(X.numpy())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cls", INVERTIBLE, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("form", ["images", "rows"])
def test_inverse_transform(cls, form):
    X = images(dtype="float64")
    fitted = cls()
    if form == "rows":
        X = X.reshape(6, -1)
        fitted.set_params(image_shape=(5, 8, 3))
    fitted.fit(X)
    found = fitted.inverse_transform(fitted.transform(X))
    if cls in (ImagesToRows, RowsToImages):  # their inverses return a fixed form
        found = found.reshape(X.shape)
    assert found.shape == X.shape
    np.testing.assert_allclose(found, X, rtol=1e-12, atol=1e-12)


# -- fitted attributes ----------------------------------------------------------------


def learnt(transformer):
    return {
        name: value
        for name, value in vars(transformer).items()
        if name.endswith("_") and not name.startswith("_")
    }


def assert_same_learnt(one, other, rtol=1e-9):
    one, other = learnt(one), learnt(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("cls", LEARNERS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("weighted", [False, True])
def test_partial_fit_matches_fit(cls, weighted):
    X = images(n=30, dtype="float64")
    weight = np.random.RandomState(0).uniform(0.5, 2, 30) if weighted else None
    whole, parts = cls().fit(X, sample_weight=weight), cls()
    for rows in (slice(0, 7), slice(7, 8), slice(8, 30)):
        part = None if weight is None else weight[rows]
        parts.partial_fit(X[rows], sample_weight=part)
    assert_same_learnt(whole, parts, rtol=1e-7)
    np.testing.assert_allclose(parts.transform(X), whole.transform(X), atol=1e-8)


@pytest.mark.parametrize("cls", LEARNERS, ids=lambda cls: cls.__name__)
def test_fit_resets_and_partial_fit_does_not(cls):
    X, Y = images(dtype="float64"), 1 + 3 * images(dtype="float64", seed=1)
    fresh = cls().fit(Y)
    assert_same_learnt(cls().fit(X).fit(Y), fresh)
    both = cls().partial_fit(X).partial_fit(Y)
    assert_same_learnt(both, cls().fit(np.concatenate([X, Y])), rtol=1e-7)
    assert not np.allclose(both.transform(X), fresh.transform(X))


@pytest.mark.parametrize("cls", LEARNERS, ids=lambda cls: cls.__name__)
def test_sample_weight_matches_repetition(cls):
    X = images(n=20, dtype="float64")
    X[3] = 100  # of weight 0
    weight = np.random.RandomState(0).randint(0, 3, 20)
    weight[3] = 0
    one = cls().fit(X, sample_weight=weight)
    other = cls().fit(np.repeat(X, weight, axis=0))
    assert_same_learnt(one, other)


# ImageReader learns the white of floats.
@pytest.mark.parametrize("cls", [c for c in ALL if c not in (*LEARNERS, ImageReader)])
def test_other_transformers_are_stateless(cls):
    X, Y = images(dtype="float64"), images(dtype="float64", seed=1)
    assert np.array_equal(cls().fit(X).transform(X), cls().fit(Y).transform(X))


@pytest.mark.parametrize("cls", LEARNERS, ids=lambda cls: cls.__name__)
def test_failed_fit_keeps_the_fitted_attributes(cls):
    X = images(dtype="float64")
    fitted = cls().fit(X)
    before = fitted.transform(X)
    for call in (fitted.fit, fitted.partial_fit):
        with pytest.raises(ValueError, match="NaN"):
            call(np.full_like(X, np.nan))
        assert np.array_equal(fitted.transform(X), before)
    unfitted = cls()
    with pytest.raises(ValueError, match="NaN"):
        unfitted.fit(np.full_like(X, np.nan))
    assert not learnt(unfitted)


# -- arbitrary arrays -----------------------------------------------------------------

DTYPES = ["uint8", "bool", "int16", "int64", "float16", "float32", "float64", "uint16"]


def any_array():
    shape = array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=7)
    finite = {"allow_nan": False, "allow_infinity": False}
    return st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays(
            dtype,
            shape,
            elements=st.floats(-1e4, 1e4, width=16, **finite)
            if dtype.startswith("float")
            else None,
        )
    )


def expected_dtype(transformer, X):
    if isinstance(transformer, ImageReader):
        return np.uint8
    if X.dtype == np.uint8:
        return np.uint8 if type(transformer) in UINT8_TO_UINT8 else np.float32
    small = X.dtype.itemsize <= 2 or X.dtype == np.float32
    return np.float32 if small else np.float64


@pytest.mark.long
@pytest.mark.parametrize(
    "transformer",
    [*(cls() for cls in ALL), *CONFIGURED],
    ids=lambda transformer: repr(transformer)[:60],
)
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(X=any_array())
def test_any_array_is_transformed_or_raises_a_clear_error(transformer, X):
    transformer = clone(transformer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # shapes of rows, clipped pixels
        try:
            found = transformer.fit(X).transform(X)
            again = transformer.transform(X[:1])
        except ValueError as error:
            depth = X.shape[-1] if X.ndim == 4 else 1
            swapped = "is more likely. Pass channels=" in str(error)
            colours = "Images with" in str(error) and (depth > 4 or X.ndim == 4)
            assert swapped or colours, error
            return
    assert len(found) == len(X)
    assert found[0].size == np.prod(transformer.output_shape_)
    assert len(transformer.get_feature_names_out()) in (
        found[0].size,
        X[0].size,  # of one-to-one transformers
    )
    assert found.dtype == expected_dtype(transformer, X)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(again, found[:1], rtol=1e-5, atol=1e-5)
