"""Networks of timm by name: channels, classes, weights, and what these are used to."""

import pickle
import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.base import clone

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._utils.layers import compute_dtype
from sklearn_l2cnn.architectures import (
    build_network,
    list_architectures,
    pixels_of_weights,
)
from sklearn_l2cnn.architectures._heads import last_layer
from sklearn_l2cnn.feature_extraction import CNNFeatures
from tests.conftest import quick

NAME = "timm:test_efficientnet"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def photographs():
    """Thirty small colour images of three classes."""
    rng = np.random.RandomState(0)
    y = np.arange(30) % 3
    X = rng.randint(0, 120, (30, 40, 44, 3)) + 40 * y[:, None, None, None]
    return X.astype(np.uint8), y


@pytest.fixture(scope="module", params=["weights.pth", "model.safetensors"])
def published(request, tmp_path_factory):
    """A file as timm publishes them, of a network of 1,000 classes."""
    torch.manual_seed(7)
    network = timm.create_model("test_efficientnet")
    path = tmp_path_factory.mktemp("weights") / request.param
    save = save_file if path.suffix == ".safetensors" else torch.save
    save(network.state_dict(), path)
    return path, network.eval()


def still(**parameters):
    """A fit that changes nothing of a network."""
    defaults = {"architecture": NAME, "max_epochs": 1, "lr": 1e-30, "random_state": 0}
    return L2CNNClassifier(**(defaults | parameters))


def test_names_are_found_by_patterns():
    found = list_architectures("timm:*efficientnet_lite*")
    assert "timm:tf_efficientnet_lite0" in found
    assert all(name.startswith("timm:") for name in found)
    assert not [name for name in list_architectures() if name.startswith("timm:")]
    assert list_architectures("resnet18") == ["resnet18"]
    assert list_architectures("timm:no_such_network") == []


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_byobnet"])
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 48, 32), (5, 64, 64)])
def test_networks_are_built_for_images_and_classes(name, shape):
    network = build_network(f"timm:{name}", shape, 7).eval()
    assert network(torch.zeros(2, *shape)).shape == (2, 7)
    assert compute_dtype(network) == torch.float32


def test_a_fit_is_that_of_the_function_of_the_same_network(photographs):
    X, y = photographs

    def by_hand(input_shape, n_classes):
        return timm.create_model(
            "test_efficientnet", in_chans=input_shape[0], num_classes=n_classes
        )

    one, other = (
        still(architecture=a, lr=1e-3, max_epochs=2).fit(X, y) for a in (NAME, by_hand)
    )
    assert np.array_equal(one.predict_proba(X), other.predict_proba(X))
    assert one.score(X, y) == other.score(X, y)


def test_it_is_kept_as_a_recipe_and_its_weights(photographs):
    X, y = photographs
    clf = still(lr=1e-3, dropout=0.2).fit(X, y)
    assert clf.net_.__getstate__()["network"][0] == NAME
    back = pickle.loads(pickle.dumps(clf))
    assert np.array_equal(back.predict_proba(X), clf.predict_proba(X))
    assert clone(clf).architecture == NAME


def test_values_that_no_state_dict_has_are_kept(photographs):
    """Of such a network a recipe would lose the places of attention."""
    X, y = photographs
    name = "timm:swin_tiny_patch4_window7_224"
    clf = still(architecture=name).fit(X[:6, :32, :32], y[:6])
    back = pickle.loads(pickle.dumps(clf))
    found = back.predict_proba(X[:6, :32, :32])
    assert np.array_equal(found, clf.predict_proba(X[:6, :32, :32]))


# -- weights of a file ----------------------------------------------------------------


def test_published_weights_are_loaded_from_a_file(photographs, published):
    X, y = photographs
    path, network = published
    clf = still(pretrained=path).fit(X, y)
    theirs = network.state_dict()
    for name, weight in clf.module_.named_parameters():
        if not name.startswith("classifier"):
            torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-20)
    assert clf.module_.classifier.out_features == 3
    np.testing.assert_allclose(clf.channel_mean_, MEAN)
    np.testing.assert_allclose(clf.channel_scale_, STD)


@pytest.mark.parametrize(
    "name",
    [
        NAME,
        "timm:deit_tiny_distilled_patch16_224",  # two heads
        "timm:levit_128s",  # with a norm in front
        "timm:mobilenetv3_small_050",  # of a class of timm's own
    ],
)
def test_new_last_layers_of_loaded_weights_begin_at_zero(tmp_path, name):
    """Random ones would give a loss of 18 where a guess among ten gives 2.3."""
    shape, path = (3, 224, 224), tmp_path / "weights.pt"
    own = build_network(name, shape, 1000)
    torch.save(own.state_dict(), path)
    for n_classes in (10, 1000):
        network = build_network(name, shape, n_classes, pretrained=path).eval()
        heads = network.get_classifier()
        for head in heads if isinstance(heads, tuple) else [heads]:
            assert bool(last_layer(head)[1].weight.any()) == (n_classes == 1000)
            norms = [m for m in head.modules() if isinstance(m, torch.nn.BatchNorm1d)]
            assert all(norm.weight.all() for norm in norms), "else it could not learn"
        with torch.no_grad():
            logits = network(torch.rand(2, *shape))
        assert bool(logits.any()) == (n_classes == 1000)


def test_grey_images_are_as_grey_ones_of_three_channels(photographs, published):
    X, y = photographs
    path, _ = published
    grey = X[..., :1]
    one = CNNFeatures(NAME, pretrained=path).fit(grey)
    three = CNNFeatures(NAME, pretrained=path, standardize=False)
    mean, std = np.mean(MEAN), np.mean(STD)
    seen = (np.repeat(grey, 3, axis=3) / 255 - mean) / std
    found = three.fit_transform(seen.astype(np.float32))
    np.testing.assert_allclose(one.transform(grey), found, rtol=1e-3, atol=1e-3)
    clf = still(pretrained=path).fit(grey, y)
    assert clf.channel_mean_ == pytest.approx([mean])


@pytest.mark.parametrize("factor, white", [(1 / 255, 1.0), (1.0, 255.0)])
def test_floats_are_counted_as_they_are(photographs, published, factor, white):
    X, y = photographs
    path, _ = published
    rates = {"classifier": 0.1, "*": 1e-30}  # the new last layer begins at 0
    clf = still(pretrained=path, lr=rates)
    clf.fit((X * factor).astype(np.float32), y)
    np.testing.assert_allclose(clf.channel_mean_, white * np.array(MEAN))
    np.testing.assert_allclose(clf.channel_scale_, white * np.array(STD))
    whole = still(pretrained=path, lr=rates).fit(X, y)
    assert np.ptp(whole.predict_proba(X)) > 0.01
    np.testing.assert_allclose(
        clf.predict_proba((X * factor).astype(np.float32)),
        whole.predict_proba(X),
        atol=1e-5,
    )


def test_other_numbers_are_standardised_by_themselves(photographs, published):
    X, y = photographs
    path, _ = published
    X = (X / 64.0 - 2).astype(np.float32)
    with pytest.warns(UserWarning, match=r"pixels of \[0, 1\] or 0 to 255.*from -2 to"):
        clf = still(pretrained=path).fit(X, y)
    np.testing.assert_allclose(clf.channel_mean_, X.mean((0, 1, 2)), rtol=1e-5)
    raw = still(pretrained=path, standardize=False).fit(X, y)
    assert not raw.channel_mean_.any()


def test_weights_of_an_earlier_fit_are_used_to_its_images(photographs, tmp_path):
    X, y = photographs
    clf = still(lr=1e-3).fit(X, y)
    torch.save(clf.module_.state_dict(), tmp_path / "own.pt")
    again = still(pretrained=tmp_path / "own.pt").fit(X, y)
    np.testing.assert_allclose(again.channel_mean_, clf.channel_mean_)
    assert torch.equal(again.module_.classifier.weight, clf.module_.classifier.weight)


def test_partial_fit_keeps_the_pixels_of_the_weights(photographs, published):
    X, y = photographs
    clf = still(pretrained=published[0], lr=1e-3)
    for _ in range(2):
        clf.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(clf.channel_mean_, MEAN)


def test_other_weights_raise(photographs, tmp_path):
    torch.save({"conv.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"could not be loaded as the weights of timm"):
        still(pretrained=tmp_path / "other.pth").fit(*photographs)


# -- features -------------------------------------------------------------------------


def test_features_are_what_the_head_is_given(photographs, published):
    X, _ = photographs
    path, network = published
    features = CNNFeatures(NAME, pretrained=path).fit(X)
    seen = torch.tensor((X / 255 - np.array(MEAN)) / np.array(STD)).float()
    with torch.no_grad():
        maps = network.forward_features(seen.permute(0, 3, 1, 2))
        expected = network.forward_head(maps, pre_logits=True).numpy()
    np.testing.assert_allclose(features.transform(X), expected, rtol=1e-4, atol=1e-5)
    back = pickle.loads(pickle.dumps(features))
    assert np.array_equal(back.transform(X), features.transform(X))


def test_dense_layers_of_a_class_of_timm_are_heads_too(photographs, tmp_path):
    X, path = photographs[0][:3], tmp_path / "weights.pt"
    network = timm.create_model("mobilenetv3_small_050").eval()
    torch.save(network.state_dict(), path)
    features = CNNFeatures("timm:mobilenetv3_small_050", pretrained=path).fit(X)
    seen = torch.tensor((X / 255 - np.array(MEAN)) / np.array(STD)).float()
    with torch.no_grad():
        maps = network.forward_features(seen.permute(0, 3, 1, 2))
        expected = network.forward_head(maps, pre_logits=True).numpy()
    np.testing.assert_allclose(features.transform(X), expected, rtol=1e-3, atol=1e-4)


# -- what is not there ----------------------------------------------------------------


def test_an_unknown_name_raises(photographs):
    message = r"'timm:resnet18d_x' is not .*list_architectures\('timm:"
    with pytest.raises(ValueError, match=message):
        still(architecture="timm:resnet18d_x").fit(*photographs)
    with pytest.raises(ValueError, match=r"Did you mean 'timm:.*efficientnet_lite0"):
        still(architecture="timm:efficientnet_lite", pretrained=True).fit(*photographs)


def test_images_of_another_size_than_that_of_the_weights(photographs):
    with pytest.raises(ValueError, match=r"160 x 160 .*40 x 44.*ImageResizer\(size="):
        still(architecture="timm:test_vit", pretrained=True).fit(*photographs)


def test_weights_that_cannot_be_downloaded(photographs, monkeypatch):
    def fail(*arguments, pretrained=False, **options):
        print("downloading")
        raise OSError("no route to the hub")

    monkeypatch.setattr(timm, "create_model", fail)
    with (
        pytest.warns(UserWarning, match="trained on images of 224 x 224 pixels; of 40"),
        pytest.raises(
            OSError, match=r"no route.*model.safetensors of https://huggingf"
        ),
    ):
        still(architecture="timm:mobilenetv3_small_050", pretrained=True).fit(
            *photographs
        )


def test_without_timm_it_says_how_to_install_it(photographs, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        ImportError, match=r"pip install timm, or sklearn-l2cnn\[timm\]"
    ):
        still().fit(*photographs)


# -- torchvision's weights ------------------------------------------------------------


def test_weights_of_torchvision_have_their_own_pixels(tmp_path, photographs):
    from torchvision import models

    path = tmp_path / "weights.pth"
    torch.save(models.resnet18(weights=None).state_dict(), path)
    X, y = photographs
    clf = quick(architecture="resnet18", pretrained=path, max_epochs=1).fit(X, y)
    np.testing.assert_allclose(clf.channel_mean_, MEAN)
    np.testing.assert_allclose(clf.channel_scale_, STD)
    own = quick(architecture="resnet18", max_epochs=1).fit(X, y)
    np.testing.assert_allclose(own.channel_mean_, (X / 255).mean((0, 1, 2)))


def test_only_published_weights_have_pixels():
    assert pixels_of_weights("plain", False, 3, 0, 1) is None
    assert pixels_of_weights("resnet18", False, 3, 0, 1) is None
    assert pixels_of_weights(lambda *shape: None, True, 3, 0, 1) is None
    mean, scale = pixels_of_weights("timm:tf_efficientnet_lite0", True, 3, 0, 1)
    assert mean.tolist() == scale.tolist() == [0.5] * 3
    mean, _ = pixels_of_weights("vgg11", True, 2, 0.0, 200.0)
    np.testing.assert_allclose(mean, [255 * np.mean(MEAN)] * 2)
    # resizing goes a little beyond what pixels may be
    mean, _ = pixels_of_weights("vgg11", True, 3, -0.05, 1.04)
    np.testing.assert_allclose(mean, MEAN)
