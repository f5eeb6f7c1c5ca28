"""CNNFeatures: outputs of layers, compared with hooks and with the logits."""

import copy
import pickle
import threading

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from benchmarks._measure import in_new_process
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import chunks
from sklearn_l2cnn._training.runtime import torch_threads
from sklearn_l2cnn.feature_extraction import CNNFeatures, _features
from sklearn_l2cnn.feature_extraction._places import pooled
from tests.architectures.test_pretrained import published, save
from tests.conftest import SmallNet, double, linux, quick
from tests.preprocessing.test_transformers import outcomes
from tests.training.networks import LastBatch

pytestmark = pytest.mark.usefixtures("a_build_for_cuda_is_no_device")

# A check of transformers that keep the dtype of X: the features have the network's.
PRESERVES = {"check_transformer_preserve_dtypes"}


class Counting(L2CNNClassifier):
    """Counts how often it was trained."""

    trained = 0

    def fit(self, X, y, sample_weight=None):
        type(self).trained += 1
        return super().fit(X, y, sample_weight)


def features(layer="last", pool="flatten", **parameters):
    return CNNFeatures(quick(**parameters), layer=layer, pool=pool)


def network_input(clf, X):
    """Standardise images by the formula."""
    images = X.reshape(len(X), *clf.image_shape_) / 255
    images = (images - clf.channel_mean_) / clf.channel_scale_
    return torch.tensor(images, dtype=torch.float32).permute(0, 3, 1, 2)


# -- conformance ----------------------------------------------------------------------


def assert_all_checks(transformer, without=frozenset()):
    """Run as many checks as scikit-learn's own transformers get; none may fail."""
    results = outcomes(transformer)
    peer = check_estimator(StandardScaler(), on_skip=None, on_fail=None)
    names, others = ({r["check_name"] for r in part} for part in (results, peer))
    assert others - names == set(without)
    assert len(results) >= len(peer) - len(without)
    passed, least = (
        sum(r["status"] == "passed" for r in part) for part in (results, peer)
    )
    assert passed >= least - len(without)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "parameters",
    [{}, {"layer": ["0", -1], "pool": "mean"}, {"layer": "*", "pool": "max"}],
    ids=str,
)
def test_check_estimator(parameters):
    assert_all_checks(CNNFeatures(quick(), **parameters), PRESERVES)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_check_estimator_of_the_default_and_of_a_backbone(tmp_path):
    assert_all_checks(CNNFeatures(), PRESERVES)
    path = save(published("mobilenet_v3_small"), tmp_path / "weights.pth")
    name = "mobilenet_v3_small"
    backbone = CNNFeatures(name, pretrained=str(path), layer="features.3")
    assert_all_checks(backbone, PRESERVES)


@pytest.mark.parametrize(
    "check",
    [
        "check_param_validation",
        "check_dataframe_column_names_consistency",
        "check_inplace_ensure_writeable",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_set_output_transform_polars",
        "check_global_output_transform_pandas",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_checks_outside_check_estimator(check):
    getattr(estimator_checks, check)("CNNFeatures", features())


def test_no_tag_relaxes_a_check(tmp_path):
    for transformer in (CNNFeatures(), CNNFeatures("resnet18", pretrained=True)):
        tags = transformer.__sklearn_tags__()
        assert tags.requires_fit and not tags.no_validation and not tags._skip_test
        assert not tags.non_deterministic and not tags.input_tags.allow_nan
        assert tags.input_tags.two_d_array and tags.input_tags.three_d_array
        assert tags.array_api_support
        assert tags.target_tags.required == (transformer.estimator is None)


# -- the values -----------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["plain", "unet", "resnet18", SmallNet])
def test_the_last_hidden_layer_times_the_last_weights_is_the_logits(
    digits, architecture
):
    X, y = digits[0][:70], digits[1][:70]
    transformer = features(architecture=architecture, max_epochs=1).fit(X, y)
    found = transformer.transform(X)
    last = [m for m in transformer.module_.modules() if isinstance(m, nn.Linear)][-1]
    weight, bias = last.weight.detach().numpy(), last.bias.detach().numpy()
    expected = transformer.estimator_.decision_function(X)
    np.testing.assert_allclose(found @ weight.T + bias, expected, rtol=1e-4, atol=1e-4)
    assert transformer.layers_ == ["last"] and found.dtype == np.float32
    # a logistic regression with these weights predicts the same
    lr = LogisticRegression().fit(found, y)
    lr.coef_, lr.intercept_ = weight, bias
    assert np.array_equal(lr.predict(found), transformer.estimator_.predict(X))


@pytest.mark.parametrize("pool", ["flatten", "mean", "max"])
@pytest.mark.parametrize("layer", ["conv1", "relu2", "dense1", "logits"])
def test_values_are_those_that_a_hook_records(digits, layer, pool):
    X, y = digits
    transformer = features(layer, pool, architecture="plain", max_epochs=1).fit(X, y)
    network, outputs = copy.deepcopy(transformer.module_).eval(), []
    network.get_submodule(layer).register_forward_hook(
        lambda layer, inputs, output: outputs.append(output.detach().clone())
    )
    with torch.no_grad():
        network(network_input(transformer.estimator_, X))
    expected = outputs[0].numpy()
    if expected.ndim == 4 and pool != "flatten":
        expected = getattr(expected, pool)(axis=(2, 3))
    found = transformer.transform(X)
    expected = expected.reshape(len(X), -1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.std() > 0 and transformer.layers_ == [layer]
    assert len(transformer.get_feature_names_out()) == found.shape[1]


def test_names_are_layers_and_indices(digits):
    X, y = digits
    transformer = features(["0", "last"]).fit(X[:50], y[:50])
    found = transformer.transform(X[:3])
    columns = list(transformer.get_feature_names_out())
    assert columns[:2] == ["0_0_0_0", "0_0_0_1"] and columns[-1] == "last_255"
    with torch.no_grad():
        maps = transformer.module_[0](network_input(transformer.estimator_, X[:3]))
    column = columns.index("0_3_5_1")
    np.testing.assert_allclose(found[:, column], maps[:, 3, 5, 1], rtol=1e-5)
    # "last" of this network is a ReLU of these maps, flattened
    np.testing.assert_allclose(found[:, 256:], found[:, :256].clip(0))


@pytest.mark.parametrize(
    "layer, expected",
    [
        ("conv2", ["conv2"]),
        (0, ["conv1"]),
        (-1, ["logits"]),
        (np.int64(-2), ["relu3"]),
        ("conv*", ["conv1", "conv2"]),
        (["relu*", "last", "relu3", 0], ["relu1", "relu2", "relu3", "last", "conv1"]),
        (("logits", "logits", -1), ["logits"]),
    ],
)
def test_layers_by_name_index_pattern_and_several(digits, layer, expected):
    X, y = digits
    parameters = {"architecture": "plain", "max_epochs": 1}
    transformer = features(layer, **parameters).fit(X[:40], y[:40])
    assert transformer.layers_ == expected
    single = [
        CNNFeatures(FrozenEstimator(transformer.estimator_), layer=name).fit(X[:40])
        for name in expected
    ]
    columns = [one.transform(X[:40]) for one in single]
    assert np.array_equal(transformer.transform(X[:40]), np.hstack(columns))


def test_a_module_made_of_layers_is_one_output(digits):
    X, y = digits[0][:40], digits[1][:40]
    transformer = features("layer4", "mean", architecture="resnet18", max_epochs=1)
    found = transformer.fit(X, y).transform(X)
    assert found.shape == (40, 512) and transformer.layers_ == ["layer4"]
    pooled = CNNFeatures(FrozenEstimator(transformer.estimator_), layer="avgpool")
    np.testing.assert_allclose(found, pooled.fit_transform(X), rtol=1e-5, atol=1e-6)
    # a pattern means the layers in a module, as in all parameters
    inner = CNNFeatures(FrozenEstimator(transformer.estimator_), layer="layer[4]")
    names = inner.fit(X).layers_
    assert "layer4.0.conv1" in names and len(names) > 2
    assert all(name.startswith("layer4.") for name in names)


@pytest.mark.parametrize("layer", ["conv9", 9, -10, True, 1.5, ["conv1", "x"], "x*"])
def test_a_wrong_layer_is_an_error_before_training_that_lists_the_layers(digits, layer):
    if layer == 1.5:
        layer = [1.5]  # past the check of the type
    transformer = CNNFeatures(L2CNNClassifier(max_epochs=10**6), layer=layer)
    with pytest.raises(ValueError, match=r"layers are 'conv1' 32 x 8 x 8, 'relu1'"):
        transformer.fit(*digits)  # training would not end
    assert not hasattr(transformer, "estimator_")
    with pytest.raises(ValueError, match="at least one layer was expected"):
        features([]).fit(*digits)
    other = CNNFeatures(Counting(max_epochs=1), layer=layer)
    with pytest.raises(ValueError, match="layers are 'conv1'"):
        other.fit(*digits)  # after training, for a subclass
    assert not hasattr(other, "estimator_") and not hasattr(other, "n_features_in_")


# -- independence of other images ---------------------------------------------------


@pytest.mark.parametrize("layer", ["last", ["0", 2]])
def test_features_do_not_depend_on_other_images(digits, layer):
    X, y = digits
    transformer = features(layer).fit(X, y)
    whole = transformer.transform(X)
    for rows in (slice(0, 1), slice(3, 5), slice(7, 290), np.arange(300)[::-3]):
        assert np.array_equal(transformer.transform(X[rows]), whole[rows])
    assert np.array_equal(clone(transformer).fit_transform(X, y), whole)
    again = pickle.loads(pickle.dumps(transformer))
    assert np.array_equal(again.transform(X), whole)


def test_features_do_not_depend_on_the_number_of_threads(digits, monkeypatch):
    X, y = digits
    transformer = features(["0", "last"]).fit(X, y)
    monkeypatch.setattr(chunks, "_known", {})
    monkeypatch.setattr(chunks, "_MOST_ROWS", 32)
    monkeypatch.setattr(chunks, "_WORTH_A_THREAD", 1)
    found, used = {}, set()

    def recorded(values, pool):
        used.add(threading.get_ident())
        return pooled(values, pool)

    monkeypatch.setattr(_features, "pooled", recorded)
    for threads in (1, 2, 5):
        used.clear()
        with torch_threads(threads):
            found[threads] = transformer.transform(X)
        # in the threads of a pool, or in this one
        assert (threading.get_ident() in used) is (threads == 1)
    assert np.array_equal(found[1], found[2]) and np.array_equal(found[1], found[5])
    # a module that remembers something is in one thread
    alone = features("conv1", architecture=LastBatch).fit(X, y)
    used.clear()
    alone.transform(X)
    assert used == {threading.get_ident()}


@pytest.mark.long
@linux
def test_features_are_in_memory_once():
    code = """if True:
        import numpy as np
        from sklearn.frozen import FrozenEstimator
        from benchmarks._measure import memory
        from sklearn_l2cnn import L2CNNClassifier
        from sklearn_l2cnn.feature_extraction import CNNFeatures

        X = np.random.RandomState(0).randint(0, 256, (3000, 28, 28)).astype(np.uint8)
        clf = L2CNNClassifier(architecture="conv_pool", max_epochs=1)
        frozen = FrozenEstimator(clf.fit(X[:20], np.arange(20) % 2))
        features = CNNFeatures(frozen, layer="conv1").fit(X)
        features.transform(X[:600])
        before = memory()
        size = features.transform(X).nbytes
        print((memory() - before) / size)
    """
    [share] = in_new_process(code)
    assert 0.5 < share < 1.4


def test_transform_does_not_change_the_network(digits):
    X, y = digits
    transformer = features("conv", architecture=SmallNet).fit(X, y)
    before = pickle.dumps(transformer.module_.state_dict())
    proba = transformer.estimator_.predict_proba(X)
    transformer.transform(X)
    assert pickle.dumps(transformer.module_.state_dict()) == before
    assert np.array_equal(transformer.estimator_.predict_proba(X), proba)
    assert not any(m._forward_hooks for m in transformer.module_.modules())


def test_dtypes_are_those_of_the_network(digits):
    X, y = digits
    assert features(architecture=double).fit_transform(X, y).dtype == np.float64
    found = features(precision="bfloat16").fit_transform(X, y)
    assert found.dtype == np.float32
    # bfloat16 has eight bits, to which the features are rounded
    rounded = torch.tensor(found).bfloat16().float().numpy()
    assert np.array_equal(found, rounded)


def test_devices(digits, device):
    X, y = digits
    transformer = features(["0", "last"], device=device).fit(X, y)
    assert transformer.estimator_.device_.startswith(device)
    found = transformer.transform(X)
    moved = copy.deepcopy(transformer.module_).cpu().eval()
    with torch.no_grad():
        maps = moved[0](network_input(transformer.estimator_, X)).flatten(1)
    np.testing.assert_allclose(found[:, :256], maps, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["rows", "first", "frame", "list", "tensor"])
def test_any_form_of_images(colours, form):
    X, y = colours
    expected = features(max_epochs=1).fit_transform(X, y)
    parameters = {}
    if form == "first":
        X, parameters = X.transpose(0, 3, 1, 2), {"channels": "first"}
    elif form == "list":
        X = list(X)
    elif form == "tensor":
        X = torch.tensor(X)
    else:
        X, parameters = X.reshape(60, -1), {"image_shape": (6, 5, 3)}
    if form == "frame":
        X = pd.DataFrame(X, columns=[f"p{k}" for k in range(90)])
    transformer = features(max_epochs=1, **parameters).fit(X, y)
    assert np.array_equal(transformer.transform(X), expected)
    assert transformer.n_features_in_ == 90 and transformer.image_shape_ == (6, 5, 3)
    assert hasattr(transformer, "feature_names_in_") == (form == "frame")
    if form != "frame":  # whose names would be missing
        with pytest.raises(ValueError, match="CNNFeatures is expecting images of 6 x"):
            transformer.transform(np.zeros((2, 7, 5, 3)))


def test_output_can_be_a_data_frame(digits):
    X, y = digits
    transformer = features("0", "mean").fit(X, y)
    expected = transformer.transform(X)
    for library, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        frame = transformer.set_output(transform=library).transform(X)
        assert isinstance(frame, kind)
        assert list(frame.columns) == ["0_0", "0_1", "0_2", "0_3"]
        assert np.array_equal(frame.to_numpy(), expected)


def test_tensors_give_tensors_under_dispatch(digits):
    X, y = digits
    expected = features().fit_transform(X, y)
    with config_context(array_api_dispatch=True):
        found = features().fit_transform(torch.tensor(X), torch.tensor(y))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
