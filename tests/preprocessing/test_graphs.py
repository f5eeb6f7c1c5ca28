"""Transformers as torch modules, and as steps of a pipeline in ONNX."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_l2cnn import L2CNNClassifier, preprocessing
from sklearn_l2cnn.export import to_torch
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
from tests.conftest import quick

# What reads files, or calls a function that may do anything.
NO_MODULES = [ImageReader(size=8), TorchvisionTransformer()]
MODULES = [
    CenterCropper(size=(8, 5)),
    ChannelsFirst(),
    ChannelsLast(),
    ChannelStandardizer(),
    ContrastNormalizer(),
    ContrastNormalizer(window=5),
    HistogramEqualizer(),
    ImagePadder(size=17, fill=0.5),
    ImagePadder(size=17, mode="edge"),
    ImagePadder(size=30, mode="reflect"),
    ImageResizer(size=(7, 9), interpolation="nearest"),
    ImageResizer(size=(7, 9)),
    ImageResizer(size=16, aspect="crop", interpolation="bicubic"),
    ImageResizer(size=16, aspect="pad", fill=0.5),
    ImagesToRows(),
    PatchWhitener(),
    PixelScaler((-1, 1)),
    PixelStandardizer(),
    RowsToImages(image_shape=(12, 11, 3)),
    ToChannels(4),
    ToGray(),
]
DTYPES = ["uint8", "float32", "float64"]
# What is computed otherwise for other dtypes; of the rest one stands for all.
BY_DTYPE = ContrastNormalizer, HistogramEqualizer, ImageResizer, PatchWhitener
GRAPHS = [
    pytest.param(transformer, dtype, marks=[] if one else pytest.mark.slow)
    for k, transformer in enumerate(MODULES)
    for dtype in DTYPES
    if (one := dtype == DTYPES[k % 3]) or isinstance(transformer, BY_DTYPE)
]


def images(dtype):
    X = np.random.RandomState(0).uniform(size=(20, 12, 11, 3))
    return (255 * X).astype(dtype) if dtype == "uint8" else X.astype(dtype)


def may_have_none(transformer, X):
    """Say whether a transformer may have no graph, or one that rounds otherwise."""
    if isinstance(transformer, ImageResizer):
        return X.dtype == np.uint8 and transformer.interpolation != "nearest"
    return isinstance(transformer, HistogramEqualizer) and X.dtype != np.uint8


def skl2onnx():
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    return pytest.importorskip("skl2onnx")


def run(model, X):
    """Return what onnxruntime finds, the only output alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    if not isinstance(X, dict):
        X = {session.get_inputs()[0].name: X}
    outputs = session.run(None, X)
    return outputs if len(outputs) > 1 else outputs[0]


def test_every_transformer_is_met_here():
    met = {type(transformer).__name__ for transformer in [*MODULES, *NO_MODULES]}
    assert met == set(preprocessing.__all__)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transformer", MODULES, ids=repr)
def test_the_module_transforms(transformer, dtype):
    X = images(dtype)
    expected = transformer.fit_transform(X)
    found = to_torch(transformer)(torch.from_numpy(X))
    np.testing.assert_array_equal(found.numpy(), expected, strict=True)


def test_the_module_is_a_copy_and_leaves_images_alone():
    X = images("float32")
    transformer = PixelScaler().fit(X)
    module, before = to_torch(transformer), X.copy()
    expected = transformer.transform(X)
    transformer.set_params(feature_range=(5, 6)).fit(X)
    np.testing.assert_array_equal(module(torch.from_numpy(X)).numpy(), expected)
    np.testing.assert_array_equal(X, before)


@pytest.mark.long
@pytest.mark.parametrize(("transformer", "dtype"), GRAPHS, ids=repr)
def test_the_graph_transforms(transformer, dtype):
    to_onnx, X = skl2onnx().to_onnx, images(dtype)
    transformer.fit(X)
    try:
        model = to_onnx(transformer, X[:1])
    except (RuntimeError, ValueError) as error:
        assert may_have_none(transformer, X)
        assert "is off by" in str(error) or "has no ONNX graph" in str(error)
        return
    assert [output.name for output in model.graph.output] == ["variable"]
    for part in (X[:1], X):
        expected, found = transformer.transform(part), run(model, part)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


class OtherwiseExported(ImagesToRows):
    """A transformer that is another one while torch exports it."""

    def _transform(self, images):
        return images + 1 if torch.compiler.is_exporting() else images


def test_a_step_that_is_off_is_named():
    to_onnx = skl2onnx().to_onnx
    X, y = images("float32"), np.arange(20) % 2
    model = make_pipeline(OtherwiseExported(), LogisticRegression()).fit(X, y)
    with pytest.raises(RuntimeError, match="of OtherwiseExported is off by 1 in 'var"):
        to_onnx(model, X[:1])


@pytest.mark.parametrize("transformer", NO_MODULES, ids=repr)
def test_what_is_no_module_says_what_to_do(transformer):
    X = images("uint8")
    transformer.fit(X)
    with pytest.raises(TypeError, match=r"is no torch module.* pipeline\[k:\]"):
        to_torch(transformer)
    with pytest.raises(TypeError, match=r"is no torch module.* pipeline\[k:\]"):
        skl2onnx().to_onnx(transformer, X[:1])


@pytest.mark.long
@pytest.mark.parametrize(
    ("labels", "options"), [([0, 1, 2], None), (["a", "b", "c"], {"zipmap": False})]
)
def test_a_pipeline_becomes_one_graph(labels, options, monkeypatch):
    to_onnx = skl2onnx().to_onnx
    from skl2onnx import _supported_operators

    known = _supported_operators.sklearn_operator_name_map
    monkeypatch.delitem(known, L2CNNClassifier, raising=False)
    X, y = images("uint8"), np.array(labels)[np.arange(20) % 3]
    model = make_pipeline(
        PixelScaler(),
        ImageResizer(size=8),
        PatchWhitener(patch_size=3),
        quick(max_epochs=2),
    ).fit(X, y)
    graph = to_onnx(model, X[:1], options=options)
    names = [output.name for output in graph.graph.output]
    assert names == ["label", "probabilities"]
    found, probabilities = run(graph, X)
    np.testing.assert_array_equal(found, model.predict(X))
    expected = model.predict_proba(X)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


@pytest.mark.long
def test_transformers_stand_in_front_of_other_estimators():
    to_onnx = skl2onnx().to_onnx
    X, y = images("float32"), np.arange(20) % 2
    model = make_pipeline(ToGray(), ImagesToRows(), LogisticRegression()).fit(X, y)
    found, probabilities = run(to_onnx(model, X[:1], options={"zipmap": False}), X)
    np.testing.assert_array_equal(found, model.predict(X))
    expected = model.predict_proba(X)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


def test_a_search_is_converted(some):
    X, y = some
    search = GridSearchCV(quick(max_epochs=1), {"alpha": [0.1]}, cv=2).fit(X, y)
    found, probabilities = run(skl2onnx().to_onnx(search, X[:1]), X)
    np.testing.assert_array_equal(found, search.predict(X))
    expected = search.predict_proba(X)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


@pytest.mark.long
def test_columns_of_a_frame_are_pixels(some):
    to_onnx = skl2onnx().to_onnx
    X, y = some
    frame = pd.DataFrame(X.reshape(len(X), -1) / 255.0)
    frame.columns = [f"pixel{k}" for k in frame.columns]
    model = make_pipeline(PixelScaler(), quick(max_epochs=1)).fit(frame, y)
    columns = {name: frame[[name]].to_numpy() for name in frame.columns}
    _, probabilities = run(to_onnx(model, frame[:1]), columns)
    expected = model.predict_proba(frame)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"columns of several dtypes.*to_numpy\(\)"):
        to_onnx(model, frame[:1].astype({"pixel0": "float32"}))
