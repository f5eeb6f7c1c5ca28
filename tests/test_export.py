"""Classifiers as torch modules and ONNX graphs, against what they predict."""

import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

from benchmarks.bench_onnx import WANTED, one_network
from sklearn_l2cnn import L2CNNClassifierCV, export
from sklearn_l2cnn.architectures import list_architectures
from sklearn_l2cnn.architectures._registry import ARCHITECTURES
from sklearn_l2cnn.export import to_onnx, to_torch
from sklearn_l2cnn.feature_selection import FilterSelector
from sklearn_l2cnn.preprocessing import ImageReader, ImagesToRows, PixelScaler
from tests.conftest import SmallNet, double, quick, tiny


class Functional(nn.Module):
    """Branches, functions instead of layers, and a dict with the logits in it."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.conv = nn.Conv2d(input_shape[0], 4, 3)
        self.head = nn.Linear(8, n_classes)

    def forward(self, X):
        seen = nn.functional.silu(self.conv(X))
        seen = torch.cat([seen.amax(dim=(2, 3)), seen.mean(dim=(2, 3))], dim=1)
        return {"logits": self.head(seen), "seen": seen}


def as_images(X):
    return X / 255


def as_rows(X):
    return (X / 255).reshape(len(X), -1).astype(np.float32)


def as_first(X):
    return np.stack([X, 255 - X, X // 2], axis=1)


def as_rows_of_colours(X):
    return as_first(X).reshape(len(X), -1)


def far_from_zero(X):
    return X.astype(np.float32) + 1e4


FIRST = {"channels": "first"}
CASES = {
    "uint8": (None, {}),
    "float64": (as_images, {}),
    "rows of float32": (as_rows, {}),
    "channels first": (as_first, FIRST),
    "rows of colours": (as_rows_of_colours, {**FIRST, "image_shape": (8, 8, 3)}),
    "far from zero": (far_from_zero, {}),
    "not standardised": (as_images, {"standardize": False}),
    "class weights": (None, {"class_weight": "balanced"}),
    "batch norm and dropout": (None, {"architecture": SmallNet}),
    "the built-in network": (None, {"architecture": "plain", "max_epochs": 1}),
    "functional": (as_images, {"architecture": Functional}),
    "views": (None, {"tta": ["flip", "shift"]}),
    "float64 network": (as_images, {"architecture": double}),
}


@pytest.fixture(params=CASES)
def fitted(request, digits):
    """Fitted classifiers of all kinds, and images as they were fitted to."""
    change, parameters = CASES[request.param]
    X, y = digits
    X = X if change is None else change(X)
    return quick(**parameters).fit(X, y), X


def unseen(X):
    """Return images that the classifier has not seen."""
    return np.ascontiguousarray(X[:40][:, ::-1])


def run(model, X):
    """Return what onnxruntime finds."""
    runtime = pytest.importorskip("onnxruntime")
    content = model if isinstance(model, str) else model.SerializeToString()
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [part.name for part in session.get_inputs()] == ["X"]
    names = [part.name for part in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": X}), strict=True))


def needs_onnx():
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)


def test_the_module_gives_the_probabilities(fitted):
    clf, X = fitted
    X = unseen(X)
    before = clf.predict_proba(X)
    module = to_torch(clf)
    found = module(torch.from_numpy(X))
    assert not module.training and not found.requires_grad
    np.testing.assert_allclose(found.numpy(), before, rtol=0, atol=1e-6)
    assert found.numpy().dtype == before.dtype
    np.testing.assert_array_equal(clf.classes_[found.argmax(1)], clf.predict(X))
    # it is a copy
    for parameter in module.parameters():
        parameter.zero_()
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert all(parameter.requires_grad for parameter in clf.module_.parameters())


@pytest.mark.long
def test_torch_exports_the_module_for_any_number_of_images(fitted):
    clf, X = fitted
    X = torch.from_numpy(unseen(X))
    shapes = ({0: torch.export.Dim("n")},)
    module = to_torch(clf)
    program = torch.export.export(module, (X[:3],), dynamic_shapes=shapes).module()
    for n in (2, 17):
        torch.testing.assert_close(program(X[:n]), module(X[:n]), rtol=0, atol=1e-6)


def test_products_in_bfloat16_stay_in_bfloat16(some):
    X, y = some
    clf = quick(max_epochs=1).fit(X, y)
    clf.net_.lower = torch.bfloat16  # whatever the processor
    found = to_torch(clf)(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(found, clf.predict_proba(X), rtol=0, atol=1e-6)
    full = clf.set_params(precision="float32").fit(X, y).predict_proba(X)
    assert np.abs(found - full).max() > 1e-5


def test_hooks_are_not_copied(some):
    X, y = some
    clf, seen = quick(max_epochs=1).fit(X, y), []
    clf.module_[0].register_forward_hook(lambda *args: seen.append(args))
    to_torch(clf)(torch.from_numpy(X))
    assert not seen


def test_the_module_says_which_images_it_takes(some):
    module = to_torch(quick(max_epochs=1).fit(*some))
    with pytest.raises(ValueError, match="expecting images of 8 x 8 pixels"):
        module(torch.zeros(2, 9, 8))


def test_the_module_is_where_it_is_wanted(some, device):
    X, y = some
    clf = quick(max_epochs=1, device="cpu").fit(X, y)
    found = to_torch(clf, device)(torch.from_numpy(X).to(device))
    assert found.device.type == device
    np.testing.assert_allclose(found.cpu(), clf.predict_proba(X), rtol=0, atol=2e-3)


@pytest.mark.parametrize("wrap", [FrozenEstimator, "search", "cv", "selector"])
def test_what_holds_a_classifier_is_that_classifier(some, wrap):
    X, y = some
    clf = quick(max_epochs=1)
    if wrap == "search":
        outer = GridSearchCV(clf, {"alpha": [0.1]}, cv=2).fit(X, y)
    elif wrap == "cv":
        outer = L2CNNClassifierCV([0, 1], cv=2, max_epochs=1, random_state=0).fit(X, y)
    elif wrap == "selector":
        outer = FilterSelector(clf, fraction=0.3).fit(X, y)
    else:
        outer = wrap(clf.fit(X, y))
    found = to_torch(outer)(torch.from_numpy(X))
    np.testing.assert_allclose(found, outer.predict_proba(X), rtol=0, atol=1e-6)
    needs_onnx()
    output = run(to_onnx(outer), X)
    np.testing.assert_allclose(output["probabilities"], found, rtol=0, atol=1e-5)


def test_a_pipeline_is_a_sequence_of_modules(some):
    X, y = some
    model = make_pipeline(PixelScaler((-1, 1)), "passthrough", quick()).fit(X, y)
    found = to_torch(model)(torch.from_numpy(X))
    np.testing.assert_allclose(found, model.predict_proba(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("function", [to_torch, to_onnx])
def test_what_has_no_network_is_refused(function, some):
    X, _ = some
    with pytest.raises(TypeError, match="LogisticRegression has no .* here"):
        function(LogisticRegression())
    with pytest.raises(TypeError, match="is a class; a fitted estimator"):
        function(L2CNNClassifierCV)
    with pytest.raises(ValueError, match="not fitted yet"):  # a NotFittedError
        function(quick())
    with pytest.raises(TypeError, match="ImageReader is no torch module"):
        function(
            ImageReader(size=8).fit(X), **({"X": X} if function is to_onnx else {})
        )


@pytest.mark.long
def test_the_graph_gives_labels_and_probabilities(fitted, tmp_path):
    needs_onnx()
    clf, X = fitted
    to_onnx(clf, tmp_path / "a.onnx")
    new = unseen(X)
    for n in (1, len(new)):
        output = run(str(tmp_path / "a.onnx"), new[:n])
        assert list(output) == ["label", "probabilities"]
        proba = clf.predict_proba(new[:n])
        np.testing.assert_allclose(output["probabilities"], proba, rtol=0, atol=1e-5)
        assert output["probabilities"].dtype == np.float32
        np.testing.assert_array_equal(output["label"], clf.predict(new[:n]))
        assert output["label"].dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array(["cat", "dögs"]), np.array(["cat", "dögs"], dtype=object)),
        (np.array(["no", "yes"], dtype=object), np.array(["no", "yes"], dtype=object)),
        (np.array([False, True]), np.array([0, 1])),
        (np.array([-3, 7], dtype=np.int8), np.array([-3, 7])),
        (np.array([1.0, 2.0]), np.array([1, 2])),
        (np.array(["one"]), np.array(["one"], dtype=object)),
    ],
    ids=["str", "object", "bool", "int", "float", "one class"],
)
@pytest.mark.filterwarnings("ignore:There is one class")
def test_labels_are_int64_or_strings(some, labels, expected):
    needs_onnx()
    X, y = some
    clf = quick(max_epochs=2).fit(X, labels[y % len(labels)])
    output = run(to_onnx(clf), X)
    positions = np.searchsorted(clf.classes_, clf.predict(X))
    np.testing.assert_array_equal(output["label"], expected[positions])
    assert output["label"].dtype == expected.dtype


def test_X_decides_dtype_and_form(some):
    needs_onnx()
    X, y = some
    clf = quick(max_epochs=1).fit(X / 255, y)
    given = (X / 255).reshape(len(X), -1).astype(np.float16)
    output = run(to_onnx(clf, X=given[:1]), given)
    proba = clf.predict_proba(given)
    np.testing.assert_allclose(output["probabilities"], proba, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="dtype <U1 came; images or rows of numbers"):
        to_onnx(clf, X=np.array([["a"]]))


class OtherwiseExported(nn.Module):
    """A network that is another one while torch exports it."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.layers = tiny(input_shape, n_classes)

    def forward(self, X):
        return self.layers(X) * (0.9 if torch.compiler.is_exporting() else 1)


class LooksAtValues(OtherwiseExported):
    """A network that does different things for different images."""

    def forward(self, X):
        return self.layers(X) if X.sum() > 0 else -self.layers(X)


def test_a_graph_that_is_off_is_not_written(some, tmp_path):
    needs_onnx()
    path = tmp_path / "a.onnx"
    clf = quick(architecture=OtherwiseExported).fit(*some)
    with pytest.raises(RuntimeError, match="off by 0.0.* in 'probabilities', where 1e"):
        to_onnx(clf, path)
    assert not path.exists()
    to_onnx(clf, path, tolerance=0.2)
    to_onnx(clf, path, tolerance=None)
    assert path.exists()


def test_bfloat16_is_exported_in_float32(some):
    needs_onnx()
    X, y = some
    clf = quick().fit(X, y)
    full = clf.predict_proba(X)
    clf.net_.lower = torch.bfloat16
    with pytest.raises(RuntimeError, match="bfloat16, and the graph in float32: with"):
        to_onnx(clf)
    output = run(to_onnx(clf, tolerance=0.05), X)
    np.testing.assert_allclose(output["probabilities"], full, rtol=0, atol=1e-5)


def test_a_network_that_looks_at_values_is_named(some):
    needs_onnx()
    clf = quick(architecture=LooksAtValues, max_epochs=1).fit(*some)
    with pytest.raises(ValueError, match="L2CNNClassifier has no ONNX graph"):
        to_onnx(clf)


def test_nothing_is_printed_and_the_world_is_left_alone(some, capfd):
    needs_onnx()
    clf = quick(max_epochs=1).fit(*some)
    to_onnx(clf)  # what libraries warn of when they are imported is theirs
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    filters = list(warnings.filters)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = to_onnx(clf).SerializeToString()
    assert capfd.readouterr() == ("", "")
    assert warnings.filters == filters
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    assert b"site-packages" not in content and b".py" not in content
    assert content == to_onnx(clf).SerializeToString()


def test_a_warning_of_the_network_is_heard(some):
    needs_onnx()

    class Warns(OtherwiseExported):
        def forward(self, X):
            warnings.warn("of the network itself", UserWarning, stacklevel=1)
            return self.layers(X)

    with pytest.warns(UserWarning, match="of the network itself"):
        clf = quick(architecture=Warns, max_epochs=1).fit(*some)
    with pytest.warns(UserWarning, match="of the network itself"):
        to_onnx(clf)


def test_large_weights_get_a_file_of_their_own(some, tmp_path, monkeypatch):
    needs_onnx()
    monkeypatch.setattr(export, "_MOST_BYTES", 100)
    X, y = some
    clf = quick(max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="needs files. Give a path"):
        to_onnx(clf)
    model = to_onnx(clf, tmp_path / "a.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"a.onnx", "a.onnx.data"}
    proba = clf.predict_proba(X)
    for held in (str(tmp_path / "a.onnx"), model):
        found = run(held, X)["probabilities"]
        np.testing.assert_allclose(found, proba, rtol=0, atol=1e-5)


def test_without_a_runtime_nothing_is_compared(some, monkeypatch):
    needs_onnx()
    clf = quick(architecture=OtherwiseExported, max_epochs=1).fit(*some)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    to_onnx(clf)


@pytest.mark.parametrize("name", ["onnx", "onnxscript"])
def test_what_is_missing_is_named(some, monkeypatch, name):
    clf = quick(max_epochs=1).fit(*some)
    if name == "onnxscript":
        needs_onnx()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{name} is needed.*sklearn-l2cnn\[onnx\]"):
        to_onnx(clf)


def test_pipelines_go_through_skl2onnx(some):
    needs_onnx()
    pytest.importorskip("skl2onnx")
    X, y = some
    model = make_pipeline(PixelScaler(), quick(max_epochs=1)).fit(X, y)
    with pytest.raises(ValueError, match="Pipeline does not know .* pass a few"):
        to_onnx(model)
    output = run(to_onnx(model, X=X[:3]), X)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(output["probabilities"], proba, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(output["label"], model.predict(X))
    rows = make_pipeline(ImagesToRows(), LogisticRegression()).fit(X / 255.0, y)
    X = (X / 255).astype(np.float32)
    output = run(to_onnx(rows, X=X), X)
    proba = rows.predict_proba(X)
    np.testing.assert_allclose(output["probabilities"], proba, rtol=0, atol=1e-5)


SMALL = [name for name in list_architectures() if name in ARCHITECTURES]


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    ["unet", *(pytest.param(n, marks=pytest.mark.slow) for n in SMALL if n != "unet")],
)
def test_every_network_of_the_package_is_the_same_in_onnx(name, digits):
    needs_onnx()
    X, y = digits
    X = X.repeat(4, axis=1).repeat(4, axis=2)
    clf = quick(architecture=name, max_epochs=1).fit(X[:100], y[:100])
    output = run(to_onnx(clf), X[100:140])
    proba = clf.predict_proba(X[100:140])
    np.testing.assert_allclose(output["probabilities"], proba, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(output["label"], clf.predict(X[100:140]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in list_architectures() if name not in ARCHITECTURES]
)
def test_every_network_of_torchvision_is_the_same_in_onnx(name):
    needs_onnx()
    figures = one_network(name, large_too=False)
    if not figures:
        pytest.skip("more parameters than a test trains")
    [figure] = figures
    assert figure.value < WANTED
