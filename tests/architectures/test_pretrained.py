"""Tests of weights from files, published weights, and frozen layers."""

import copy
import re
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.architectures import build_network
from tests.conftest import SmallNet, quick, tiny


def save(module, path):
    torch.save(module.state_dict(), path)
    return path


def published(name="resnet18", **options):
    torch.manual_seed(1)
    return getattr(torchvision.models, name)(weights=None, **options)


def assert_same(one, other, but=()):
    for key, value in one.items():
        if not key.startswith(but):
            assert torch.equal(value, other[key]), key


def begins_at_zero(layer):
    """Say whether all parameters of a layer are 0."""
    return not any(parameter.any() for parameter in layer.parameters())


# -- from a file ----------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1000, 37])
def test_torchvision_state_is_loaded_except_for_the_head(tmp_path, classes):
    theirs = published(num_classes=classes)
    path = save(theirs, tmp_path / "weights.pth")
    net = build_network("resnet18", (3, 32, 32), 10, pretrained=path)
    assert net.conv1.kernel_size == (7, 7), "the stem is kept"
    assert_same(theirs.state_dict(), net.state_dict(), but=("fc.",))
    assert net.fc.logits.out_features == 10
    assert begins_at_zero(net.fc.logits)
    assert net.fc.dense.weight.any(), "what is in front of the last layer is drawn"


def test_loaded_backbone_gives_the_same_features(tmp_path):
    theirs = published()
    path = save(theirs, tmp_path / "weights.pth")
    net = build_network("resnet18", (3, 64, 64), 10, pretrained=str(path))
    images = torch.randn(2, 3, 64, 64)
    for module in (theirs, net):
        module.eval().fc = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(net(images), theirs(images))


@pytest.mark.long
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_other_channels_give_the_same_features_for_grey_images(tmp_path, depth):
    theirs = published("mobilenet_v3_small")
    path = save(theirs, tmp_path / "weights.pth")
    net = build_network("mobilenet_v3_small", (depth, 64, 64), 10, pretrained=path)
    grey = torch.randn(2, 1, 64, 64)
    for module in (theirs, net):
        module.eval().classifier = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(
            net(grey.expand(-1, depth, -1, -1)),
            theirs(grey.expand(-1, 3, -1, -1)),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "two_conv",
        "unet",
        "resnet18",
        pytest.param("vgg11", marks=pytest.mark.long),
    ],
)
def test_state_of_a_named_network(tmp_path, name):
    torch.manual_seed(1)
    mine = build_network(name, (1, 12, 12), 4)
    path = save(mine, tmp_path / "weights.pth")
    same = build_network(name, (1, 12, 12), 4, pretrained=path)
    assert_same(mine.state_dict(), same.state_dict())
    torch.manual_seed(2)
    more = build_network(name, (1, 12, 12), 9, pretrained=path)
    last = {"resnet18": "fc.logits", "vgg11": "classifier.3"}.get(name, "logits")
    assert_same(mine.state_dict(), more.state_dict(), but=(last,))
    assert more.state_dict()[f"{last}.weight"].shape[0] == 9
    assert begins_at_zero(more.get_submodule(last))


def test_state_of_a_custom_network(tmp_path):
    mine = SmallNet((1, 4, 4), 3)
    path = save(mine, tmp_path / "weights.pth")
    net = build_network(SmallNet, (1, 4, 4), 3, pretrained=path)
    assert_same(mine.state_dict(), net.state_dict())


@pytest.mark.long
def test_dropout_with_a_state(tmp_path):
    path = save(published(), tmp_path / "weights.pth")
    net = build_network("resnet18", (3, 32, 32), 3, pretrained=path, dropout=0.2)
    assert isinstance(net.fc.dropout, nn.Dropout)
    mine = build_network("densenet121", (3, 32, 32), 3, dropout=0.2)
    path = save(mine, tmp_path / "mine.pth")
    net = build_network("densenet121", (3, 32, 32), 3, dropout=0.2, pretrained=path)
    assert_same(mine.state_dict(), net.state_dict())


def test_fit_starts_from_the_state(digits, tmp_path):
    X, y = digits
    first = quick(max_epochs=10, lr=0.01).fit(X, y)
    path = save(first.module_, tmp_path / "weights.pth")
    pretrained = quick(pretrained=path, max_epochs=1).fit(X, y)
    random = quick(max_epochs=1).fit(X, y)
    assert pretrained.data_loss_curve_[0] < 0.5 * random.data_loss_curve_[0]


def test_a_pickle_of_a_classifier(digits, tmp_path, monkeypatch, recwarn):
    X, y = digits
    monkeypatch.chdir(tmp_path)
    clf = quick(max_epochs=1).fit(X, y)
    joblib.dump(clf, "c.joblib")
    torch.save(clf, "c.pt")
    # torch 2.4 cannot load, within a load, what a net of skorch wants
    several = torch.__version__ >= (2, 5)
    for path in ("c.joblib", "c.pt")[: 1 + several]:
        with pytest.raises(ValueError, match="a pickle of something else") as caught:
            quick(pretrained=path).fit(X, y)
        assert "weights_only` set" not in str(caught.value) and not recwarn
        line = re.search(r"torch\.save\(.*'weights.pt'\)", str(caught.value))[0]
        exec(line, {"torch": torch, "joblib": joblib})
        again = quick(pretrained="weights.pt", max_epochs=1).fit(X, y)
        assert again.data_loss_curve_[0] < clf.data_loss_curve_[0]
        Path("weights.pt").unlink()
        recwarn.clear()  # older releases of torch warn of their own pickles


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "there is no such file.*torch.save.*True loads the published"),
        (b"not a state", "could not be read as a state dict"),
        ([1, 2], "holds a list; a state dict was expected"),
        ({}, "a state dict was expected"),
        ({"epoch": 3, "model": {}}, "holds a dict with 'epoch', 'model'; a state dict"),
        ({"conv.weight": torch.zeros(1)}, "weights of another network.*is missing"),
    ],
)
@pytest.mark.parametrize("name", ["plain", "resnet18"])
def test_invalid_state_raises(tmp_path, content, message, name):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    error = FileNotFoundError if content is None else ValueError
    with pytest.raises(error, match=message):
        build_network(name, (1, 8, 8), 3, pretrained=path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda one: one.to(torch.complex64) * 1j, "weight is complex"),
        (lambda one: one.to("meta"), "weight is a .* 'meta', without"),
        (lambda one: one * torch.nan, "weight holds nan"),
        (lambda one: one.to_sparse(), "weight is a .* layout torch.sparse_coo"),
    ],
)
@pytest.mark.parametrize("layer", ["0", "3"])
def test_values_that_a_network_cannot_have_are_named(tmp_path, change, message, layer):
    state = tiny((1, 4, 4), 2).state_dict()
    state[f"{layer}.weight"] = change(state[f"{layer}.weight"])
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(ValueError, match=rf"{layer}\.{message}"):
        build_network(tiny, (1, 4, 4), 2, pretrained=tmp_path / "state.pt")


def test_file_with_code_raises(tmp_path):
    torch.save({"weight": print}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="could not be read"):
        build_network("plain", (1, 8, 8), 3, pretrained=tmp_path / "weights.pth")


# -- published weights ----------------------------------------------------------------


def test_published_weights_are_loaded_by_torchvision(monkeypatch):
    theirs, asked = published(), []

    def get_state_dict(self, *arguments, **options):
        asked.append(self)
        return theirs.state_dict()

    monkeypatch.setattr(
        torchvision.models.ResNet18_Weights, "get_state_dict", get_state_dict
    )
    net = build_network("resnet18", (3, 32, 32), 5, pretrained=True)
    assert asked == [torchvision.models.ResNet18_Weights.DEFAULT]
    assert_same(theirs.state_dict(), net.state_dict(), but=("fc.",))


@pytest.mark.parametrize("value", [False, np.False_, np.bool_(0)])
def test_no_weights_as_numpy_says_it(value, digits):
    clf = quick(architecture="conv_pool", pretrained=value, max_epochs=1).fit(*digits)
    assert clf.predict(digits[0]).shape == (300,)


def test_failed_download_says_where_to_put_the_file(monkeypatch, tmp_path, capfd):
    def no_connection(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_connection)
    with pytest.raises(OSError, match="could not be downloaded.*no route") as caught:
        build_network("resnet18", (3, 32, 32), 5, pretrained=True)
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    assert f"put it at {file}" in str(caught.value)
    assert "pretrained=False" in str(caught.value)
    assert capfd.readouterr() == ("", "")

    # a file at that place is loaded
    file.parent.mkdir(parents=True, exist_ok=True)
    theirs = published()
    save(theirs, file)
    net = build_network("resnet18", (1, 32, 32), 5, pretrained=True)
    assert_same(theirs.state_dict(), net.state_dict(), but=("fc.", "conv1."))


@pytest.mark.parametrize("architecture", ["plain", tiny, SmallNet])
def test_networks_without_published_weights_raise(digits, architecture):
    with pytest.raises(
        ValueError, match="pretrained=True needs a network of torchvisi"
    ):
        quick(architecture=architecture, pretrained=True).fit(*digits)


@pytest.mark.long
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_second_head_of_published_weights_is_removed(monkeypatch, name):
    theirs = published(name, init_weights=False)
    weights = torchvision.models.get_model_weights(name)
    monkeypatch.setattr(
        weights, "get_state_dict", lambda self, *_, **__: theirs.state_dict()
    )
    for depth in (3, 1):
        net = build_network(name, (depth, 96, 96), 5, pretrained=True)
        with torch.no_grad():
            assert net.train()(torch.randn(2, depth, 96, 96)).shape == (2, 5)


# -- frozen layers --------------------------------------------------------------------


def test_frozen_layers_are_not_trained(digits):
    X, y = digits
    start = tiny((1, 8, 8), 10)
    clf = quick(architecture=start, freeze="0", lr=0.01).fit(X, y)
    assert torch.equal(clf.module_[0].weight, start[0].weight)
    assert torch.equal(clf.module_[0].bias, start[0].bias)
    assert not torch.equal(clf.module_[3].weight, start[3].weight)
    assert start[0].weight.requires_grad


def test_frozen_batch_norm_is_in_evaluation_mode(digits):
    X, y = digits
    start = SmallNet((1, 8, 8), 10)
    clf = quick(architecture=start, freeze=["conv", "norm"], max_epochs=2).fit(X, y)
    assert torch.equal(clf.module_.norm.running_mean, start.norm.running_mean)
    free = quick(architecture=start, max_epochs=2).fit(X, y)
    assert not torch.equal(free.module_.norm.running_mean, start.norm.running_mean)


@pytest.mark.long
def test_freezing_by_patterns_and_unfreezing_for_a_second_stage(colours):
    X, y = colours
    clf = L2CNNClassifier(
        architecture="resnet18",
        freeze=["conv1", "bn1", "layer*"],
        max_epochs=1,
        warm_start=True,
        random_state=0,
    )
    before = copy.deepcopy(clf.fit(X, y).module_.state_dict())
    trained = {name for name, p in clf.module_.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith("fc.") for name in trained)
    clf.fit(X, y)
    assert_same(before, clf.module_.state_dict(), but=("fc.",))
    clf.set_params(freeze=None).fit(X, y)
    assert all(p.requires_grad for p in clf.module_.parameters())
    assert not torch.equal(before["conv1.weight"], clf.module_.conv1.weight)


def test_parameters_frozen_by_the_user_stay_frozen(digits):
    X, y = digits
    start = tiny((1, 8, 8), 10)
    start[0].bias.requires_grad_(False)
    clf = quick(architecture=start, freeze="0", warm_start=True).fit(X, y)
    clf.set_params(freeze=None).fit(X, y)
    assert torch.equal(clf.module_[0].bias, start[0].bias)
    assert not torch.equal(clf.module_[0].weight, start[0].weight)


def test_partial_fit_follows_freeze(digits):
    X, y = digits
    clf = quick(freeze="0").partial_fit(X, y, classes=np.arange(10))
    kernel = clf.module_[0].weight.clone()
    clf.set_params(freeze="3").partial_fit(X, y)
    assert not torch.equal(clf.module_[0].weight, kernel)
    dense = clf.module_[3].weight.clone()
    with pytest.raises(ValueError, match="freeze: '9' means no layer"):
        clf.set_params(freeze="9").partial_fit(X, y)
    clf.set_params(freeze="3").partial_fit(X, y)
    assert torch.equal(clf.module_[3].weight, dense)


@pytest.mark.parametrize(
    "freeze, message",
    [
        (["0", "3"], "leaves nothing to be trained"),
        ("conv9", "freeze: 'conv9' means no layer. The layers are '0', '1'"),
        ([3], "freeze has 3"),
    ],
)
def test_invalid_freeze_raises(digits, freeze, message):
    with pytest.raises(ValueError, match=message):
        quick(freeze=freeze).fit(*digits)
