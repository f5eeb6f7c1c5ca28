"""CNNFeatures of named networks with given weights."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch.exceptions import DeviceWarning
from torch import nn

from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.feature_extraction import CNNFeatures
from tests.architectures.test_pretrained import published, save
from tests.conftest import quick


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_features_of_a_backbone_are_the_input_of_its_last_layer(tmp_path, name):
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


@pytest.mark.long
def test_a_state_of_a_classifier_keeps_its_trained_head(tmp_path, digits):
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
def test_contradicting_parameters_are_errors(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        CNNFeatures(**parameters).fit(*digits)


def test_a_backbone_from_cuda_is_loaded_without_cuda(tmp_path, digits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = save(build_network("plain", (1, 8, 8), 4), tmp_path / "weights.pth")
    fitted = CNNFeatures("plain", pretrained=path, device="cpu").fit(digits[0])
    expected = fitted.transform(digits[0])
    fitted.estimator_.net_.device = "cuda"  # as if it had been fitted there
    state = pickle.dumps(fitted)
    with pytest.warns(DeviceWarning, match="no CUDA devices are available"):
        again = pickle.loads(state)
    assert again.estimator_.device_ == "cpu"
    assert np.array_equal(again.transform(digits[0]), expected)


@pytest.mark.gpu
def test_pickled_networks_are_on_the_cpu(tmp_path, digits, cuda):
    path = save(build_network("plain", (1, 8, 8), 4), tmp_path / "weights.pth")
    fitted = CNNFeatures("plain", pretrained=path, device="cuda").fit(digits[0])
    found = fitted.transform(digits[0])
    net = fitted.estimator_.net_
    assert all(p.is_cuda for p in net.module_.parameters())
    state = net.__getstate__()
    assert all(type(weight) is np.ndarray for weight in state["weights"].values())
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.transform(digits[0]), found)
