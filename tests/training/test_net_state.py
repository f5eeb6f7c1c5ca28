"""What is kept of a net: it is made again from plain values and arrays."""

import copy
import pickle

import numpy as np
import pytest
import torch

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.architectures import build_network, list_architectures
from sklearn_l2cnn.architectures._recipe import recipe_of
from tests.conftest import SmallNet, quick, tiny

NAMES = ["plain", "unet", "resnet18", "mobilenet_v3_small", "vgg11"]


def nbytes(clf):
    return sum(weight.nbytes for weight in clf.module_.state_dict().values())


@pytest.mark.parametrize("name", NAMES)
def test_pickles_are_hardly_larger_than_the_weights(name, digits):
    X, y = digits[0][:20], digits[1][:20]
    clf = quick(architecture=name, max_epochs=1).fit(X, y)
    data = pickle.dumps(clf)
    assert len(data) < 1.1 * nbytes(clf)
    again = pickle.loads(data)
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert again.net_.history == clf.net_.history


def test_the_memory_of_an_optimizer_is_kept_where_training_went_on(digits):
    X, y = digits[0][:60], digits[1][:60]
    clf = quick(architecture="plain", max_epochs=1).fit(X, y)
    assert not any(clf.net_.optimizer_.state.values())
    again = pickle.loads(pickle.dumps(clf))
    for _ in range(2):
        for each in (clf, again):
            each.partial_fit(X, y)
        assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
        again = pickle.loads(pickle.dumps(again))
    assert len(pickle.dumps(clf)) > 2.9 * nbytes(clf)


@pytest.mark.parametrize("name", [*NAMES, "densenet121", "vit_b_16", "swin_t"])
def test_a_recipe_makes_the_network_of_a_name(name):
    side = 224 if name in ("vit_b_16", "swin_t") else 64
    check_recipe(name, side)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_architectures())
def test_every_name_has_a_recipe(name):
    check_recipe(name, 299 if name == "inception_v3" else 224)


def check_recipe(name, side):
    shape = 3, side, side
    network = build_network(name, shape, 4).eval()
    recipe = recipe_of(network, name, None, shape, 4)
    weights = network.state_dict()  # shared, since the largest have gigabytes
    with torch.random.fork_rng():
        before = torch.get_rng_state()
        again = recipe.made(weights).eval()
        assert torch.equal(torch.get_rng_state(), before)
    images = torch.rand(1, *shape)
    with torch.no_grad():
        assert torch.equal(again(images), network(images))


@pytest.mark.parametrize(
    "change",
    [
        lambda network: network.register_module("more", torch.nn.Linear(2, 2)),
        lambda network: network.register_forward_hook(print),
        lambda network: network.conv1.__setattr__("stride", (2, 2)),
    ],
)
def test_a_network_that_was_changed_is_kept_whole(change):
    network = build_network("plain", (1, 8, 8), 3)
    assert recipe_of(network, "plain", None, (1, 8, 8), 3) is not None
    change(network)
    assert recipe_of(network, "plain", None, (1, 8, 8), 3) is None


@pytest.mark.parametrize("architecture", [SmallNet, SmallNet((1, 8, 8), 10)])
def test_networks_of_ones_own_are_pickled_whole(architecture, digits):
    X, y = digits
    clf = quick(architecture=architecture, max_epochs=1).fit(X, y)
    for again in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf)):
        assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
        assert type(again.module_) is SmallNet


@pytest.mark.parametrize("architecture", ["plain", tiny])
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_made_in_inference_mode_can_be_trained(architecture, copied, digits):
    X, y = digits[0][:60], digits[1][:60]
    clf = quick(architecture=architecture, max_epochs=1).fit(X, y).partial_fit(X, y)
    with torch.inference_mode():
        again = copied(clf)
    for each in (clf, again):
        each.partial_fit(X, y)
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))


def test_frozen_layers_and_trimmed_nets_come_back(digits):
    X, y = digits[0][:40], digits[1][:40]
    clf = L2CNNClassifier(max_epochs=1, freeze="conv1", random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    assert not again.module_.conv1.weight.requires_grad
    assert again.module_.conv2.weight.requires_grad
    again.net_.trim_for_prediction()
    trimmed = pickle.loads(pickle.dumps(again))
    assert np.array_equal(trimmed.predict_proba(X), clf.predict_proba(X))
    with pytest.raises(ValueError, match="trim_for_prediction"):
        trimmed.partial_fit(X, y)
