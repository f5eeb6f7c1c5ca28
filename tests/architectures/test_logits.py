"""What networks return: logits alone, among other things, or in disguise."""

import pickle
import warnings
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn import L2CNNClassifierCV
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.feature_extraction import CNNFeatures
from tests.conftest import quick, tiny

Pair = namedtuple("Pair", ["loss", "scores"])


class Returning(nn.Module):
    """The quickest network, with something done to what it returns."""

    def __init__(self, input_shape, n_classes, wrap):
        super().__init__()
        self.net, self.wrap = tiny(input_shape, n_classes), wrap

    def forward(self, X):
        hidden = self.net[:-1](X)
        return self.wrap(self.net[-1](hidden), hidden)


def returning(wrap):
    return lambda input_shape, n_classes: Returning(input_shape, n_classes, wrap)


def alone(logits, hidden):
    return logits


def as_dict(logits, hidden):
    return {"hidden": hidden, "out": logits}


def as_tuple(logits, hidden):
    return hidden, None, logits


def as_namedtuple(logits, hidden):
    return Pair(None, logits)


def as_model_output(logits, hidden):
    return OrderedDict(logits=logits, other=logits * 2)


@pytest.mark.parametrize("wrap", [as_dict, as_tuple, as_namedtuple, as_model_output])
def test_logits_among_other_things_are_found(digits, wrap):
    X, y = digits
    expected = quick(architecture=returning(alone)).fit(X, y)
    clf = quick(architecture=returning(wrap)).fit(X, y)
    assert clf.predict_proba(X) == pytest.approx(expected.predict_proba(X), abs=1e-5)
    assert clf.loss_curve_ == pytest.approx(expected.loss_curve_, rel=1e-5)
    again = quick(architecture=clf.module_, max_epochs=1).fit(X, y)
    assert again.score(X, y) > 0.8
    features = CNNFeatures(clf, layer="net.1").fit(X, y).transform(X[:3])
    assert features.shape == (3, 256)


def test_such_networks_can_be_pickled_and_searched(digits):
    X, y = digits
    architecture = Returning((1, 8, 8), 10, as_dict)
    clf = quick(architecture=architecture, max_epochs=1).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    search = L2CNNClassifierCV(
        alphas=[0, 1e-3], cv=2, architecture=architecture, max_epochs=2, random_state=0
    )
    assert search.fit(X, y).score(X, y) > 0.5


@pytest.mark.parametrize(
    "wrap, found",
    [
        (lambda logits, hidden: {"a": logits, "b": logits}, r"dict\('a': \(2, 10\), "),
        (lambda logits, hidden: (hidden, "x"), r"tuple\(0: \(2, 256\), 1: str\)"),
        (lambda logits, hidden: None, r"NoneType\(\)"),
    ],
)
def test_where_no_logits_are_found_it_says_how_to_choose(wrap, found):
    with pytest.raises(ValueError, match=found) as error:
        build_network(returning(wrap), (1, 8, 8), 10)
    assert "class Logits(YourNetwork):" in str(error.value)


HEADS = {
    "probabilities": nn.Softmax(dim=1),
    "no negative numbers": nn.ReLU(),
    "no negative numbers, but below 1": nn.Sigmoid(),
}


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("name", HEADS)
def test_an_activation_behind_the_last_layer_is_warned_of(name, n_classes):
    network = nn.Sequential(*tiny((1, 8, 8), n_classes), HEADS[name])
    with pytest.warns(UserWarning, match=f"returns {name.split(',')[0]}.*raw scores"):
        built = build_network(network, (1, 8, 8), n_classes)
    for found, given in zip(built.parameters(), network.parameters(), strict=True):
        assert torch.equal(found, given)


def zeros(input_shape, n_classes):
    network = tiny(input_shape, n_classes)
    nn.init.zeros_(network[-1].weight)
    nn.init.zeros_(network[-1].bias)
    return network


def positive(input_shape, n_classes):
    network = tiny(input_shape, n_classes)
    nn.init.constant_(network[-1].bias, 1)
    return network


def averaging(input_shape, n_classes):
    """Maps are normed and averaged: what comes out hardly depends on the image."""
    layers = nn.Conv2d(1, 4, 3), nn.GroupNorm(1, 4), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, n_classes))


@pytest.mark.parametrize("make", [tiny, zeros, positive, averaging, nn.LogSoftmax])
@pytest.mark.parametrize("n_classes", [1, 2, 10])
def test_other_networks_are_not_warned_of(make, n_classes):
    network = make
    if make is nn.LogSoftmax:
        network = nn.Sequential(*tiny((1, 8, 8), n_classes), nn.LogSoftmax(dim=1))
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(10):
            torch.manual_seed(seed)
            build_network(network, (1, 8, 8), n_classes)
    torch.set_rng_state(state)
