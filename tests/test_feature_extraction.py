"""CNNFeatures: values of layers, against hooks by hand and the logits themselves."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.feature_extraction import CNNFeatures
from tests.conftest import SmallNet, double, quick
from tests.test_common import a_build_for_cuda_is_no_device  # noqa: F401
from tests.test_pretrained import published, save
from tests.test_transformers import outcomes

# What a transformer of scikit-learn gets that keeps dtypes: ours has the network's.
PRESERVES = {"check_transformer_preserve_dtypes"}


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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "parameters",
    [{}, {"layer": ["0", -1], "pool": "mean"}, {"layer": "*", "pool": "max"}],
    ids=str,
)
def test_check_estimator(parameters):
    assert_all_checks(CNNFeatures(quick(), **parameters), PRESERVES)


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
    # so that a logistic regression on them can be what the network is
    lr = LogisticRegression().fit(found, y)
    lr.coef_, lr.intercept_ = weight, bias
    assert np.array_equal(lr.predict(found), transformer.estimator_.predict(X))


@pytest.mark.parametrize("pool", ["flatten", "mean", "max"])
@pytest.mark.parametrize("layer", ["conv1", "relu2", "dense1", "logits"])
def test_values_are_those_that_a_hook_sees(digits, layer, pool):
    X, y = digits
    transformer = features(layer, pool, architecture="plain", max_epochs=1).fit(X, y)
    network, seen = copy.deepcopy(transformer.module_).eval(), []
    network.get_submodule(layer).register_forward_hook(
        lambda layer, inputs, output: seen.append(output.detach().clone())
    )
    with torch.no_grad():
        network(network_input(transformer.estimator_, X))
    expected = seen[0].numpy()
    if expected.ndim == 4 and pool != "flatten":
        expected = getattr(expected, pool)(axis=(2, 3))
    found = transformer.transform(X)
    expected = expected.reshape(len(X), -1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.std() > 0 and transformer.layers_ == [layer]
    assert len(transformer.get_feature_names_out()) == found.shape[1]


def test_names_say_where_a_value_is(digits):
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


def test_a_part_made_of_layers_is_one_output(digits):
    X, y = digits[0][:40], digits[1][:40]
    transformer = features("layer4", "mean", architecture="resnet18", max_epochs=1)
    found = transformer.fit(X, y).transform(X)
    assert found.shape == (40, 512) and transformer.layers_ == ["layer4"]
    pooled = CNNFeatures(FrozenEstimator(transformer.estimator_), layer="avgpool")
    np.testing.assert_allclose(found, pooled.fit_transform(X), rtol=1e-5, atol=1e-6)


class Counting(L2CNNClassifier):
    trained = 0

    def fit(self, X, y, sample_weight=None):
        type(self).trained += 1
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("layer", ["conv9", 9, -10, True, 1.5, ["conv1", "x"], "x*"])
def test_a_wrong_layer_lists_what_there_is_before_anything_is_trained(digits, layer):
    if layer == 1.5:
        layer = [1.5]  # past the check of the type
    transformer = CNNFeatures(L2CNNClassifier(max_epochs=10**6), layer=layer)
    with pytest.raises(ValueError, match=r"layers are 'conv1' 32 x 8 x 8, 'relu1'"):
        transformer.fit(*digits)  # with as many epochs it would never end
    assert not hasattr(transformer, "estimator_")
    with pytest.raises(ValueError, match="one layer at least was expected"):
        features([]).fit(*digits)
    other = CNNFeatures(Counting(max_epochs=1), layer=layer)
    with pytest.raises(ValueError, match="layers are 'conv1'"):
        other.fit(*digits)  # of a class that is not ours it is found afterwards
    assert not hasattr(other, "estimator_") and not hasattr(other, "n_features_in_")


# -- what an image's features depend on -----------------------------------------------


@pytest.mark.parametrize("layer", ["last", ["0", 2]])
def test_features_do_not_depend_on_neighbours(digits, layer):
    X, y = digits
    transformer = features(layer).fit(X, y)
    whole = transformer.transform(X)
    for rows in (slice(0, 1), slice(3, 5), slice(7, 290), np.arange(300)[::-3]):
        assert np.array_equal(transformer.transform(X[rows]), whole[rows])
    assert np.array_equal(clone(transformer).fit_transform(X, y), whole)
    again = pickle.loads(pickle.dumps(transformer))
    assert np.array_equal(again.transform(X), whole)


def test_looking_changes_nothing(digits):
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
    # products of bfloat16 have eight bits; what comes out is rounded to them
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
    if form != "frame":  # which is missed
        with pytest.raises(ValueError, match="CNNFeatures is expecting images of 6 x"):
            transformer.transform(np.zeros((2, 7, 5, 3)))


def test_data_frames_come_out(digits):
    X, y = digits
    transformer = features("0", "mean").fit(X, y)
    expected = transformer.transform(X)
    for library, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        frame = transformer.set_output(transform=library).transform(X)
        assert isinstance(frame, kind)
        assert list(frame.columns) == ["0_0", "0_1", "0_2", "0_3"]
        assert np.array_equal(frame.to_numpy(), expected)


def test_tensors_go_through_under_dispatch(digits):
    X, y = digits
    expected = features().fit_transform(X, y)
    with config_context(array_api_dispatch=True):
        found = features().fit_transform(torch.tensor(X), torch.tensor(y))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


# -- the estimator inside -------------------------------------------------------------


def test_what_is_trained_is_a_clone_that_learns_the_same(digits):
    X, y = digits
    inner = quick(alpha=0.01)
    transformer = CNNFeatures(inner).fit(X, y)
    assert not hasattr(inner, "net_") and transformer.estimator_ is not inner
    alone = clone(inner).fit(X, y)
    assert np.array_equal(
        transformer.estimator_.predict_proba(X), alone.predict_proba(X)
    )
    default = CNNFeatures(image_shape=(8, 8)).fit(X[:40].reshape(40, -1), y[:40])
    assert type(default.estimator_) is L2CNNClassifier
    assert default.estimator_.image_shape == (8, 8)


def test_random_state_replaces_that_of_the_estimator(digits):
    X, y = digits[0][:60], digits[1][:60]
    expected = features(random_state=7).fit_transform(X, y)
    for inner in (
        quick(random_state=0),
        GridSearchCV(quick(), {"alpha": [1e-4]}, cv=2),
    ):
        found = CNNFeatures(inner, random_state=7).fit(X, y)
        assert np.array_equal(found.transform(X), expected)
        assert found.estimator.get_params().get("random_state", 0) == 0
    frozen = FrozenEstimator(quick(random_state=0).fit(X, y))
    found = CNNFeatures(frozen, random_state=7).fit_transform(X)
    assert np.array_equal(found, features().fit_transform(X, y))
    one, other = (CNNFeatures(random_state=1).fit_transform(X, y) for _ in range(2))
    assert np.array_equal(one, other)


def test_what_is_frozen_stays(digits):
    X, y = digits
    clf = quick().fit(X, y)
    expected = CNNFeatures(quick()).fit(X, y).transform(X)
    transformer = CNNFeatures(FrozenEstimator(clf)).fit(X[:5])
    assert transformer.module_ is clf.module_
    assert np.array_equal(transformer.transform(X), expected)
    assert np.array_equal(clone(transformer).fit(X[:5], y[:5]).transform(X), expected)
    with pytest.raises(ValueError, match="CNNFeatures is expecting images of 8 x 8"):
        CNNFeatures(FrozenEstimator(clf)).fit(np.zeros((4, 9, 8)))
    with pytest.raises(NotFittedError):
        CNNFeatures(FrozenEstimator(quick())).fit(X)


def test_a_search_inside_gives_the_best(digits):
    X, y = digits
    search = GridSearchCV(quick(max_epochs=1), {"alpha": [0.0, 10.0]}, cv=2)
    transformer = CNNFeatures(search).fit(X, y)
    best = transformer.estimator_.best_estimator_
    assert transformer.module_ is best.module_
    frozen = CNNFeatures(FrozenEstimator(transformer.estimator_)).fit(X)
    assert np.array_equal(frozen.transform(X), transformer.transform(X))


def test_a_search_outside_sets_alpha(digits):
    def accuracy_of_the_network(pipeline, X, y):
        return pipeline[0].estimator_.score(X, y)

    X, y = digits
    pipeline = make_pipeline(features(max_epochs=15), LogisticRegression(max_iter=1000))
    grid = {"cnnfeatures__estimator__alpha": [1e-3, 1e3]}
    search = GridSearchCV(pipeline, grid, cv=2, scoring=accuracy_of_the_network)
    search.fit(X, y)
    low, high = search.cv_results_["mean_test_score"]
    assert low > 0.5 > high
    assert search.best_estimator_[0].estimator_.alpha == 1e-3
    assert search.best_estimator_.score(X, y) > 0.8  # the regression's


@pytest.mark.parametrize("wrap", [lambda p: p, FrozenEstimator, "search"])
def test_pipelines_are_refused_with_what_to_do(digits, wrap):
    pipeline = make_pipeline(FunctionTransformer(), Counting())
    if wrap == "search":
        wrapped = GridSearchCV(pipeline, {"counting__alpha": [1.0]})
    else:
        wrapped = wrap(pipeline)
    Counting.trained = 0
    with pytest.raises(
        ValueError,
        match=r"Put the steps in front of this transformer: "
        r"make_pipeline\(\.\.\., CNNFeatures\(Counting\(\)\)\)",
    ):
        CNNFeatures(wrapped).fit(*digits)
    assert Counting.trained == 0


def test_other_estimators_have_no_network(digits):
    with pytest.raises(TypeError, match="has no network"):
        CNNFeatures(LogisticRegression()).fit(*digits)


# -- weights and metadata -------------------------------------------------------------


def test_weights_reach_the_training(digits):
    X, y = digits[0][:60], digits[1][:60]
    weight = np.arange(60) % 3
    weighted = features().fit(X, y, sample_weight=weight)
    repeated = features().fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert np.array_equal(weighted.transform(X), repeated.transform(X))
    assert not np.array_equal(weighted.transform(X), features().fit_transform(X, y))


def test_validation_data_reach_the_training(digits):
    X, y = digits
    transformer = features().fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert len(transformer.estimator_.validation_scores_) == 3


def test_metadata_are_routed(digits):
    X, y = digits[0][:60], digits[1][:60]
    weight = np.arange(60) % 3
    expected = features().fit(X, y, sample_weight=weight).transform(X)
    with config_context(enable_metadata_routing=True):
        asking = quick().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(CNNFeatures(asking), LogisticRegression())
        pipeline[1].set_fit_request(sample_weight=False)
        pipeline.fit(X, y, sample_weight=weight)
        assert np.array_equal(pipeline[0].transform(X), expected)
        with pytest.raises(UnsetMetadataPassedError):
            features().fit(X, y, sample_weight=weight)
        # whom nobody else could ask is asked for
        default = CNNFeatures(device="cpu")
        assert default.get_metadata_routing().consumes("fit", ["sample_weight"])
        deaf = CNNFeatures(quick().set_fit_request(sample_weight=False))
        assert not deaf.get_metadata_routing().consumes("fit", ["sample_weight"])


# -- backbones ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_a_backbone_gives_what_its_last_layer_was_given(tmp_path, name):
    theirs = published(name).eval()
    path = save(theirs, tmp_path / "weights.pth")
    X = np.random.RandomState(0).uniform(size=(5, 64, 64, 3))
    backbone = CNNFeatures(name, pretrained=path, standardize=False).fit(X)
    found = backbone.transform(X)
    if name == "resnet18":
        theirs.fc = nn.Identity()
    else:
        theirs.classifier[1 if name.startswith("squeeze") else 3] = nn.Identity()
    with torch.no_grad():
        images = torch.tensor(X, dtype=torch.float32).permute(0, 3, 1, 2)
        expected = theirs(images).flatten(1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert backbone.layers_ == ["last"]
    assert backbone.get_feature_names_out()[0].startswith("last_0")


def test_a_state_of_our_own_keeps_what_its_head_has_learnt(tmp_path, digits):
    X, y = digits[0][:40], digits[1][:40]
    clf = quick(architecture="resnet18", max_epochs=1).fit(X, y)
    path = save(clf.module_, tmp_path / "weights.pth")
    found = CNNFeatures("resnet18", pretrained=path).fit_transform(X)
    expected = CNNFeatures(FrozenEstimator(clf)).fit_transform(X)
    assert found.shape == (40, 128)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for layer in ("layer1", "fc.relu", -1):
        CNNFeatures("resnet18", pretrained=path, layer=layer).fit(X)
    with pytest.raises(ValueError, match="layers are 'conv1'"):
        CNNFeatures("resnet18", pretrained=path, layer="conv9").fit(X)


def test_a_backbone_standardises_by_the_weighted_images_alone(tmp_path):
    network = build_network("plain", (1, 6, 6), 4)
    path = save(network, tmp_path / "weights.pth")
    rng = np.random.RandomState(0)
    X = rng.normal(3, 2, size=(30, 6, 6))
    weight = rng.randint(0, 3, 30)
    weighted = CNNFeatures("plain", pretrained=path).fit(X, sample_weight=weight)
    repeats = np.repeat(X, weight, axis=0)
    mean, scale = repeats.mean(), repeats.std()
    images = torch.tensor((X - mean) / scale, dtype=torch.float32)[:, None]
    with torch.no_grad():
        expected = network.eval()[:-1](images).numpy()
    np.testing.assert_allclose(weighted.transform(X), expected, rtol=1e-4, atol=1e-5)
    order = rng.permutation(len(repeats))
    other = CNNFeatures("plain", pretrained=path).fit(repeats[order])
    assert np.array_equal(other.transform(X), weighted.transform(X))
    again = pickle.loads(pickle.dumps(weighted))
    assert np.array_equal(again.transform(X), weighted.transform(X))
    assert clone(weighted).fit(X[:2]).n_features_in_ == 36


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"estimator": "resnet18"}, "random weights. Give pretrained=True"),
        ({"estimator": "resnet81", "pretrained": "x"}, "Did you mean"),
        ({"estimator": quick(), "pretrained": True}, "for a name as estimator"),
        ({"pretrained": "weights.pth"}, "for a name as estimator"),
        (
            {"estimator": quick(), "image_shape": (8, 8)},
            r"Set it in the estimator: L2CNNClassifier\(image_shape=\(8, 8\)\)",
        ),
        ({"estimator": quick(), "channels": "first"}, "would be ignored here"),
    ],
)
def test_contradictions_are_refused(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        CNNFeatures(**parameters).fit(*digits)
