"""Learning rates of layers, against loops of torch, and over the epochs."""

import copy
import functools
import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn._training.rates import by_rate
from sklearn_l2cnn.feature_selection import prune
from sklearn_l2cnn.persistence import load, save
from tests.conftest import double, on_devices, quick, tiny
from tests.loops import assert_close, one_batch, parameters_of, reference

OPTIMIZERS = {
    "sgd": (functools.partial(torch.optim.SGD, momentum=0.9), 1e-9),
    "adam": (torch.optim.Adam, 1e-7),
}


def groups_of(module, rates, alpha):
    """Group the parameters of `double` by hand: two layers, with and without decay."""
    layers = [layer for layer in module if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [
        {"params": [parameter], "lr": rate, "weight_decay": decay}
        for layer, rate in zip(layers, rates, strict=True)
        for parameter, decay in ((layer.weight, alpha), (layer.bias, 0.0))
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("lr", [{"0": 0.003, "*": 0.02}, {"[1-9]*": 0.02, "0": 0.003}])
def test_each_layer_takes_its_own_steps(colours, name, alpha, lr):
    X, y = colours
    module = double((3, 6, 5), 3)
    clf = one_batch(X, alpha=alpha, architecture=module, optimizer=name, lr=lr)
    clf.fit(X, y)
    make, rtol = OPTIMIZERS[name]
    theirs = make(groups_of(module, (0.003, 0.02), alpha), lr=1.0)
    assert_close(parameters_of(clf), reference(module, clf, X, y, theirs), rtol)


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_layer_takes_its_own_steps_on_a_device(digits, cuda, name):
    parameters = {"lr": {"0": 0.003, "*": 0.01}, "optimizer": name, "batch_size": 50}
    here, there, eager = on_devices(*digits, **parameters)
    np.testing.assert_allclose(here.loss_curve_, there.loss_curve_, rtol=1e-4)
    np.testing.assert_allclose(there.loss_curve_, eager.loss_curve_, rtol=1e-6)


def half_cosine(epoch, epochs):
    return 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def test_a_schedule_lowers_all_rates_alike(colours):
    X, y = colours
    module = double((3, 6, 5), 3)
    lr = {"0": 0.002, "*": 0.02}
    clf = one_batch(X, architecture=module, lr=lr, lr_schedule="cosine", alpha=0.0)
    clf.fit(X, y)
    adam = torch.optim.Adam(groups_of(module, lr.values(), 0.0))
    factors = iter([half_cosine(epoch, 8) for epoch in range(8)])

    rates = np.repeat(list(lr.values()), 2)  # of weights and biases

    def before():
        factor = next(factors)
        for group, rate in zip(adam.param_groups, rates, strict=True):
            group["lr"] = rate * factor

    theirs = reference(module, clf, X, y, adam, before=before)
    assert_close(parameters_of(clf), theirs, 1e-7)
    largest = [row["event_lr"] for row in clf.net_.history]
    np.testing.assert_allclose(largest, [0.02 * half_cosine(k, 8) for k in range(8)])


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "plateau", None])
def test_equal_rates_of_layers_are_one_rate_bit_for_bit(some, schedule):
    one, other = (
        quick(lr=lr, lr_schedule=schedule, max_epochs=6).fit(*some)
        for lr in (0.01, {"0": 0.01, "*": 0.01})
    )
    for mine, theirs in zip(parameters_of(one), parameters_of(other), strict=True):
        assert np.array_equal(mine, theirs)
    rates = [group["lr"] for group in other.net_.optimizer_.param_groups]
    assert rates == [0.01, 0.01]


@pytest.mark.parametrize("penalty", ["l1", "group"])
def test_proximal_steps_are_those_of_each_rate(colours, penalty):
    X, y = colours
    module = double((3, 6, 5), 3)

    def fitted(lr):
        return one_batch(
            X, alpha=0.05, penalty=penalty, architecture=module, optimizer="sgd", lr=lr
        ).fit(X, y)

    same, small = fitted({"0": 0.05, "*": 0.05}), fitted({"0": 1e-12, "*": 0.05})
    assert_close(parameters_of(fitted(0.05)), parameters_of(same), 0)
    np.testing.assert_allclose(parameters_of(small)[0], module[0].weight.detach())


def test_training_goes_on_with_rates_of_layers(some, tmp_path):
    X, y = some
    lr = {"0": 0.003, "*": 0.01}
    clf = quick(lr=lr, warm_start=True).fit(X, y).fit(X, y)
    assert clf.n_epochs_ == 6
    clf.set_params(lr={"0": 0.001, "*": 0.01}).partial_fit(X, y)
    assert [g["lr"] for g in clf.net_.optimizer_.param_groups] == [0.001, 0.01]
    path = tmp_path / "model"
    save(clf, path)
    back, twin = load(path, architecture=tiny), copy.deepcopy(clf)
    for each in (back, twin):
        each.partial_fit(X, y)
    for mine, theirs in zip(parameters_of(back), parameters_of(twin), strict=True):
        assert np.array_equal(mine, theirs)
    state = parameters_of(clf)
    clf.set_params(lr={"*": 0.01})
    with pytest.raises(ValueError, match="names other layers than lr="):
        clf.partial_fit(X, y)
    for mine, before in zip(parameters_of(clf), state, strict=True):
        assert np.array_equal(mine, before)
    clf.fit(X, y)  # a warm start has an optimizer of its own
    assert len(clf.net_.optimizer_.param_groups) == 1


def test_searches_train_one_by_one_and_pruning_keeps_groups(some):
    lr = {"0": 0.003, "*": 0.01}
    search = L2CNNClassifierCV(
        [1e-3, 1.0], cv=2, lr=lr, architecture=tiny, max_epochs=2, random_state=0
    ).fit(*some)
    alone = quick(alpha=search.alpha_, lr=lr, max_epochs=2).fit(*some)
    for mine, theirs in zip(parameters_of(search), parameters_of(alone), strict=True):
        assert np.array_equal(mine, theirs)
    clf = quick(lr=lr, penalty="group", alpha=0.1, max_epochs=20).fit(*some)
    small = prune(clf, fraction=0.5)
    small.partial_fit(*some)
    assert len(small.net_.optimizer_.param_groups) == 2


@pytest.mark.parametrize(
    "lr, message",
    [
        ({}, r"lr=\{\} is empty. Something like"),
        ({"*": 0}, r"lr has '\*': 0. .* to positive numbers"),
        ({"*": True}, "positive numbers"),
        ({1: 0.1}, "lr has 1 as a name"),
        ({"0": 0.1}, "lr has no rate for 1 layers of the network, '3'. Add '\\*'"),
        ({"conv9": 0.1, "*": 0.1}, "lr: 'conv9' means no layer. The layers are '0'"),
    ],
)
def test_errors_say_what_to_do(some, lr, message):
    with pytest.raises(ValueError, match=message):
        quick(lr=lr).fit(*some)


def test_optimizers_have_to_keep_the_groups(some):
    def flat(groups, lr):
        parameters = [p for group in groups for p in group["params"]]
        return torch.optim.SGD(parameters, lr=lr)

    clf = quick(lr={"0": 0.1, "*": 0.01}, optimizer=flat)
    with pytest.raises(ValueError, match="has made 1 groups of the 2"):
        clf.fit(*some)
    kept = quick(lr={"0": 0.1, "*": 0.01}, optimizer=torch.optim.RMSprop).fit(*some)
    assert [g["lr"] for g in kept.net_.optimizer_.param_groups] == [0.1, 0.01]


def test_a_training_that_diverges_says_its_rates(some):
    with pytest.raises(ValueError, match=r"it is 1e\+30 for '0', 0.01 for '\*'"):
        quick(lr={"0": 1e30, "*": 0.01}, max_epochs=9).fit(*some)


def test_parameters_that_are_grouped_are_all_there_is():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    named = list(network.named_parameters())
    found = by_rate(named, {"1": 1.0, "*": 2.0})
    assert [group["lr"] for group in found] == [1.0, 2.0]
    listed = [id(p) for group in found for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for _, p in named)


def test_it_is_a_parameter_as_any_other():
    lr = {"0": 0.1, "*": 0.2}
    clf = L2CNNClassifier(lr=lr)
    assert clf.lr is lr and clone(clf).get_params()["lr"] == lr
    assert "lr={'*': 0.2" in repr(clf) or "lr={'0': 0.1" in repr(clf)
