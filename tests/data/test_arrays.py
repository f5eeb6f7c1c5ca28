"""Arrays of other libraries: torch's tensors go in and come out where they are."""

import warnings

import array_api_strict
import numpy as np
import pytest
import sklearn.utils._array_api
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._data import pixels
from sklearn_l2cnn._data.arrays import as_tensor, as_tensor_if_dispatched
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import PixelSelector
from tests.conftest import SmallNet, quick, tiny

RNG = np.random.RandomState(0)
DTYPES = ["uint8", "float32", "float64"]


@pytest.fixture
def dispatch():
    """Switch scikit-learn's array API dispatch on."""
    with config_context(array_api_dispatch=True):
        yield


# -- tensors that are no arrays -------------------------------------------------------


def quantized():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, which is to lose them
        return torch.quantize_per_tensor(torch.rand(4, 3, 3), 0.1, 0, torch.quint8)


def nested():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that they are a prototype
        return torch.nested.nested_tensor([torch.rand(3, 3) for _ in range(4)])


ODD = {
    "nested": (nested, "nested tensor.*torch.stack"),
    "meta": (lambda: torch.empty((4, 3, 3), device="meta"), "device 'meta'"),
    "sparse": (
        lambda: torch.eye(4, 9).to_sparse(),
        "torch.sparse_coo.*to_dense",
    ),
    "quantized": (quantized, r"quantized tensor came.*dequantize\(\)"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("dispatched", [False, True])
@pytest.mark.parametrize("what", ["X", "y", "sample_weight", "X_val", "predict"])
def test_tensors_that_are_no_arrays_are_named(kind, dispatched, what):
    make, message = ODD[kind]
    given = {"X": np.eye(4, 9), "y": np.array([0, 1, 0, 1])}
    clf = quick()
    with config_context(array_api_dispatch=dispatched):
        if what == "predict":
            clf.fit(torch.eye(4, 9), torch.tensor(given["y"]))
            if dispatched and kind == "meta":  # newer releases of scikit-learn's own
                message = f"the same device|{message}"
            with pytest.raises((TypeError, ValueError), match=message):
                clf.predict(make())
            return
        given |= {what: make()} | ({"y_val": given["y"]} if what == "X_val" else {})
        with pytest.raises(TypeError, match=message):
            clf.fit(**given)
    assert not hasattr(clf, "net_")


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X.requires_grad_(),
        lambda X: torch.complex(X, -X).conj().imag,
        lambda X: X.to(torch.float8_e4m3fn),
        lambda X: X.bfloat16(),
        list,
    ],
)
def test_tensors_that_numpy_does_not_know_are_numbers_all_the_same(change):
    X, y = torch.arange(36.0).reshape(4, 3, 3) // 8, [0, 1, 0, 1]
    expected = quick().fit(X, y).predict_proba(X)
    X = change(X.clone())
    assert np.array_equal(quick().fit(X, y).predict_proba(X), expected)


def test_labels_may_require_a_gradient():
    X, y = np.eye(4, 9), torch.tensor([0.0, 1, 0, 1], requires_grad=True)
    assert quick().fit(X, y).classes_.tolist() == [0, 1]
    with config_context(array_api_dispatch=True):
        assert quick().fit(X, y).classes_.tolist() == [0, 1]


# -- the door -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [lambda X: X, lambda X: X[::-1], lambda X: X[:, ::2]]
)
@pytest.mark.parametrize("writeable", [True, False])
def test_a_tensor_shares_the_memory_of_an_array(recwarn, change, writeable):
    array = np.arange(24.0).reshape(2, 3, 4)
    array.flags.writeable = writeable
    array = change(array)
    tensor = as_tensor(array)
    assert np.array_equal(tensor.numpy(), array)
    shares = tensor.data_ptr() == array.__array_interface__["data"][0]
    assert shares == all(stride > 0 for stride in array.strides)
    assert array.flags.writeable == writeable
    assert not recwarn.list


def test_a_tensor_keeps_the_memory_of_an_array():
    array = np.arange(1e6)
    array.flags.writeable = False
    tensor = as_tensor(array)
    expected = array.sum()
    del array
    assert float(tensor.sum()) == expected


# -- the estimator --------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [tiny, SmallNet])
@pytest.mark.parametrize("weighted", [False, True])
def test_tensors_learn_what_arrays_learn(digits, dispatch, architecture, weighted):
    X, y = digits
    weight = 1.0 + np.arange(len(y)) % 3 if weighted else None
    clf = quick(
        architecture=architecture, early_stopping=True, class_weight="balanced"
    ).fit(X, y, sample_weight=weight)
    tensors = [torch.from_numpy(part) for part in (X, y)]
    given = None if weight is None else torch.from_numpy(weight)
    other = clone(clf).fit(*tensors, sample_weight=given)
    assert other.loss_curve_ == clf.loss_curve_
    assert other.validation_scores_ == clf.validation_scores_
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        found = getattr(other, method)(tensors[0])
        assert isinstance(found, torch.Tensor) and found.dtype == torch.float32
        np.testing.assert_allclose(found, getattr(clf, method)(X), rtol=1e-3, atol=1e-4)
    labels = other.predict(tensors[0])
    assert isinstance(labels, torch.Tensor) and labels.dtype == torch.int64
    assert np.array_equal(labels, clf.predict(X))
    # scikit-learn takes the mean of a tensor in float32
    assert other.score(*tensors) == pytest.approx(clf.score(X, y), abs=1e-6)
    for name in ("classes_", "channel_mean_", "channel_scale_"):
        assert isinstance(getattr(other, name), torch.Tensor)
        np.testing.assert_allclose(getattr(other, name), getattr(clf, name), rtol=1e-12)


def test_tensors_stay_on_their_device(digits, dispatch, device):
    X, y = (torch.from_numpy(part).to(device) for part in digits)
    clf = quick(early_stopping=True, device=device).fit(X, y)
    for result in (clf.predict(X), clf.predict_proba(X), clf.classes_):
        assert result.device == X.device


def test_images_are_never_copied_whole_to_numpy(digits, dispatch, monkeypatch):
    monkeypatch.setattr(pixels, "_CHUNK_VALUES", 10 * 64)
    X, y = (torch.from_numpy(part) for part in digits)
    weight = torch.ones(len(y))

    def refuse_data(name):
        original = getattr(torch.Tensor, name)

        def refused(self, *args, **kwargs):
            images = len(self.shape) > 1
            assert not images or self.numel() <= 10 * 64, f"{name} of the data"
            return original(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, refused)

    for name in ("numpy", "__array__", "tolist"):
        refuse_data(name)
    clf = quick(early_stopping=True, class_weight="balanced")
    clf.fit(X, y, sample_weight=weight, X_val=X[:50], y_val=y[:50]).predict_proba(X)
    clf.fit(X.float(), y).predict(X.float())
    clf.partial_fit(X.double(), y)


def test_a_search_over_tensors(digits, dispatch):
    X, y = (torch.from_numpy(part) for part in digits)
    search = GridSearchCV(quick(), {"alpha": [1e-4, 1.0]}, cv=2)
    found = clone(search).fit(X, y)
    expected = search.fit(*digits).cv_results_["mean_test_score"]
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], expected, 1e-6)
    assert isinstance(found.predict(X), torch.Tensor)


def test_partial_fit_with_tensors(digits, dispatch):
    X, y = digits
    expected = quick().partial_fit(X, y, classes=np.arange(10)).partial_fit(X, y)
    tensors = [torch.from_numpy(part) for part in digits]
    clf = quick().partial_fit(*tensors, classes=torch.arange(10)).partial_fit(*tensors)
    np.testing.assert_allclose(clf.loss_curve_, expected.loss_curve_, rtol=1e-5)


def test_labels_that_are_no_numbers_stay_numpy(digits, dispatch):
    X, y = digits
    names = np.array(["zero", "one", "two"])[y % 3]
    clf = quick().fit(torch.from_numpy(X), names)
    assert clf.classes_.tolist() == ["one", "two", "zero"]
    assert set(clf.predict(torch.from_numpy(X))) <= set(names)
    assert isinstance(clf.predict_proba(torch.from_numpy(X)), torch.Tensor)


def test_labels_and_weights_follow_the_images(digits, dispatch):
    X, y = digits
    tensor = torch.from_numpy(X)
    one = quick().fit(tensor, y, sample_weight=np.ones(len(y)))
    two = quick().fit(tensor, torch.from_numpy(y), sample_weight=torch.ones(len(y)))
    three = quick().fit(tensor, y, sample_weight=2.5)
    assert one.loss_curve_ == two.loss_curve_ == three.loss_curve_
    assert isinstance(one.predict(tensor), torch.Tensor)
    four = quick().fit(X, torch.from_numpy(y), sample_weight=torch.ones(len(y)))
    assert isinstance(four.predict(X), np.ndarray)


def test_another_library(digits, dispatch):
    X, y = digits
    strict = [array_api_strict.asarray(part) for part in (X.astype(float), y)]
    clf = quick().fit(*strict)
    for result in (clf.predict(strict[0]), clf.decision_function(strict[0])):
        assert type(result) is type(strict[0])
    if hasattr(sklearn.utils._array_api, "check_same_namespace"):  # a younger rule
        with pytest.raises(ValueError, match="must use the same namespace"):
            clf.predict(X)
    else:
        assert isinstance(clf.predict(X), np.ndarray)


def test_without_dispatch_tensors_come_out_as_arrays(digits):
    X, y = (torch.from_numpy(part) for part in digits)
    clf = quick().fit(X, y)
    assert as_tensor_if_dispatched(X) is None
    assert isinstance(clf.predict(X), np.ndarray)
    assert isinstance(clf.channel_mean_, np.ndarray)


@pytest.mark.parametrize(
    "dtype, expected",
    [
        (torch.uint8, torch.uint8),
        (torch.bool, torch.float32),
        (torch.int16, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.int64, torch.float64),
        (torch.float64, torch.float64),
    ],
)
def test_every_dtype_of_tensors(dispatch, dtype, expected):
    X = torch.ones((2, 3, 4, 5)).to(dtype)
    images = as_images(X)
    assert images.dtype == expected and images.shape == X.shape
    assert as_images(X, channels="first").shape == (2, 4, 5, 3)
    assert as_images(X.reshape(2, -1), image_shape=(3, 4, 5)).shape == X.shape


@pytest.mark.parametrize(
    "change, message",
    [
        ({"X": lambda X: X.to(torch.complex64)}, "Complex data not supported"),
        ({"X": lambda X: X / 0.0}, "infinity|NaN"),
        ({"X": lambda X: X[:, :0]}, "images without pixels"),
        ({"X": lambda X: X[:7]}, "inconsistent numbers of samples"),
        ({"y": lambda y: torch.stack([y, y], 1)}, "Multioutput"),
        ({"y": lambda y: y + 0.5}, "Unknown label type"),
        ({"y": lambda y: y / torch.zeros(())}, "NaN|infinity"),
        ({"sample_weight": lambda y: y[:5] * 1.0}, r"sample_weight.shape == \(5,\)"),
        ({"sample_weight": lambda y: y * -1.0}, "Negative values"),
        (
            {"sample_weight": lambda y: y / torch.zeros(())},
            "sample_weight contains NaN",
        ),
        ({"sample_weight": lambda y: y * 0.0}, "at least one non-zero number"),
    ],
)
def test_what_is_wrong_with_tensors_is_said(digits, dispatch, change, message):
    X, y = (torch.from_numpy(part) for part in digits)
    arguments = {"X": X, "y": y, "sample_weight": None}
    for name, how in change.items():
        arguments[name] = how(y if name == "sample_weight" else arguments[name])
    with pytest.raises(ValueError, match=message):
        quick().fit(**arguments)


def test_a_column_of_labels_is_warned_about(digits, dispatch):
    X, y = (torch.from_numpy(part) for part in digits)
    with pytest.warns(DataConversionWarning, match="column-vector"):
        quick().fit(X, y[:, None])


def test_unknown_validation_labels_of_tensors(digits, dispatch):
    X, y = (torch.from_numpy(part) for part in digits)
    with pytest.raises(ValueError, match=r"y_val has labels .*\[11\] were found"):
        quick().fit(X, y, X_val=X[:2], y_val=torch.tensor([0, 11]))


def test_gradients_do_not_come_along(digits, dispatch):
    X = torch.from_numpy(digits[0]).float().requires_grad_()
    clf = L2CNNClassifier(architecture=tiny, max_epochs=1, random_state=0)
    assert not clf.fit(X, torch.from_numpy(digits[1])).predict_proba(X).requires_grad


def test_what_comes_out_can_be_computed_with(digits, dispatch):
    X, y = map(torch.from_numpy, digits)
    clf = quick().fit(X, y)
    features = CNNFeatures(FrozenEstimator(clf)).fit(X)
    for method in (
        clf.predict,
        clf.predict_proba,
        clf.decision_function,
        features.transform,
        PixelSelector(FrozenEstimator(clf), max_features=9).fit(X).transform,
    ):
        found = method(X[:5])
        assert not found.is_inference()
        found += 1
        weight = torch.ones(found.shape, requires_grad=True)
        (weight * found).sum().backward()
        assert torch.equal(weight.grad, found.to(weight.dtype))


def test_memory_that_torch_does_not_take_is_copied():
    records = np.zeros(3, dtype=[("name", "u1"), ("image", "f4", (2, 2))])
    records["image"] = np.arange(12.0).reshape(3, 2, 2)
    tensor = as_tensor(records["image"])
    assert np.array_equal(tensor.numpy(), records["image"])
