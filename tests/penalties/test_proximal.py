"""Penalties in training: proximal steps, exact zeros, and a penalty of one's own."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.model_selection import GridSearchCV
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.penalties import L1, L2, Group
from tests.conftest import double, quick
from tests.loops import assert_close, one_batch, parameters_of, reference

OPTIMIZERS = {
    "plain sgd": {"optimizer": "sgd", "lr": 0.5, "momentum": 0.0},
    "sgd": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9},
    "adam": {"optimizer": "adam", "lr": 0.02, "lr_schedule": "cosine"},
    "amsgrad": {
        "optimizer": lambda parameters, lr: torch.optim.Adam(
            parameters, lr=lr, amsgrad=True
        ),
        "lr": 0.02,
        "lr_schedule": "cosine",
    },
}


def linear(input_shape, n_classes):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(input_shape), n_classes)
    ).double()


@pytest.fixture(scope="module")
def strips():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(200, 12))
    y = (X[:, :4] @ rng.normal(size=(4, 3)) + rng.normal(size=(200, 3))).argmax(1)
    return X, y


@pytest.mark.long
@pytest.mark.parametrize(
    "penalty, name",
    [
        (penalty, name)
        for penalty in ("l1", "elasticnet", "group")
        for name in OPTIMIZERS
        if name != "amsgrad" or penalty == "group"
    ],
)
def test_training_ends_where_the_penalty_balances_the_loss(strips, name, penalty):
    # the subgradient condition: g + ridge = -alpha * sign where there is something, and
    # no more than alpha where the weight is 0
    X, y = strips
    alpha, ratio = (0.02, 0.6) if penalty != "group" else (0.02, None)
    clf = L2CNNClassifier(
        alpha,
        penalty=penalty,
        l1_ratio=ratio or 0.5,
        architecture=linear,
        batch_size=200,
        max_epochs=1200,
        random_state=0,
        **OPTIMIZERS[name],
    ).fit(X, y)
    images = torch.tensor((X - clf.channel_mean_) / clf.channel_scale_)
    F.cross_entropy(
        clf.module_(images.reshape(200, 1, 1, 12)), torch.tensor(y)
    ).backward()
    weight, gradient = clf.module_[1].weight.detach(), clf.module_[1].weight.grad
    if penalty == "group":
        norms = weight.norm(dim=1, keepdim=True)
        expected = -alpha * math.sqrt(12) * weight / norms
        zero = (norms == 0).expand_as(weight)
        torch.testing.assert_close(gradient[~zero], expected[~zero], atol=2e-4, rtol=0)
        bound = alpha * math.sqrt(12) + 2e-4
        assert (gradient.norm(dim=1)[norms[:, 0] == 0] <= bound).all()
        return
    lasso, ridge = (alpha, 0) if penalty == "l1" else (alpha * 0.6, alpha * 0.4)
    zero = weight == 0
    assert 3 < int(zero.sum()) < 33, "neither nothing nor everything"
    balance = gradient + ridge * weight + lasso * weight.sign()
    assert balance[~zero].abs().max() < 2e-4
    assert gradient[zero].abs().max() <= lasso + 2e-4


@pytest.mark.long
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_group_removes_whole_filters(colours, name):
    X, y = colours
    rate = {"sgd": 0.05, "adam": 0.01}[name]
    clf = quick(
        alpha=0.03, penalty="group", optimizer=name, lr=rate, max_epochs=200
    ).fit(X, y)
    norms = clf.module_[0].weight.detach().flatten(1).norm(dim=1)
    assert 0 < int((norms == 0).sum()) < len(norms)
    assert clf.score(X, y) > 0.9


@pytest.mark.long
def test_l1_is_sparse_and_l2_is_not(digits):
    X, y = digits
    shares = {}
    for penalty in ("l1", "l2"):
        clf = quick(alpha=0.003, penalty=penalty, max_epochs=40, lr=0.01).fit(X, y)
        weights = np.concatenate([w.ravel() for w in parameters_of(clf) if w.ndim > 1])
        shares[penalty] = (weights == 0).mean()
    assert shares["l1"] > 0.3 and shares["l2"] == 0


@pytest.mark.parametrize("penalty", ["l1", "group"])
def test_decoupled_steps_are_the_rate_times_alpha(colours, penalty):
    X, y = colours
    module = double((3, 6, 5), 3)
    clf = one_batch(
        X, alpha=0.05, penalty=penalty, optimizer="adamw", architecture=module, lr=0.01
    ).fit(X, y)
    adam = torch.optim.Adam(module.parameters(), lr=0.01)
    prox = {"l1": L1(), "group": Group()}[penalty].prox

    def shrink():
        with torch.no_grad():
            for p in module.parameters():
                if p.ndim >= 2:
                    p.copy_(prox(p, torch.tensor(0.01 * 0.05, dtype=p.dtype)))

    assert_close(parameters_of(clf), reference(module, clf, X, y, adam, shrink), 1e-7)


def test_no_penalty_is_alpha_zero_bit_for_bit(digits):
    X, y = digits
    one = quick(alpha=0.5, penalty=None).fit(X, y)
    other = quick(alpha=0).fit(X, y)
    for mine, theirs in zip(parameters_of(one), parameters_of(other), strict=True):
        assert np.array_equal(mine, theirs)
    assert one.penalty_curve_ == other.penalty_curve_ == [0.0] * 3


# -- a penalty of one's own -----------------------------------------------------------


class Huber:
    """Ridge near zero, lasso far away: smooth, so it has a gradient alone."""

    def value(self, weight):
        return F.huber_loss(weight, torch.zeros_like(weight), reduction="sum")

    def gradient(self, weight):
        return weight.clamp(-1, 1)


class NotNegative:
    """A constraint as a penalty: its proximal step is a projection."""

    def value(self, weight):
        return torch.zeros((), dtype=weight.dtype)

    def prox(self, weight, step):
        return weight.clamp_min(0)


def test_a_penalty_of_ones_own(colours):
    X, y = colours
    module = double((3, 6, 5), 3)
    clf = one_batch(X, alpha=0.3, penalty=Huber(), architecture=module, lr=0.01)
    clf.fit(X, y)
    adam = torch.optim.Adam(module.parameters(), lr=0.01)

    def add():
        for p in module.parameters():
            if p.ndim >= 2:
                p.grad += 0.3 * p.detach().clamp(-1, 1)

    theirs = reference(module, clf, X, y, adam, before=add)
    assert_close(parameters_of(clf), theirs, 1e-7)
    weights = [torch.tensor(w) for w in theirs if w.ndim >= 2]
    expected = 0.3 * sum(float(Huber().value(weight)) for weight in weights)
    assert clf.penalty_curve_[-1] == pytest.approx(expected, rel=1e-6)

    clf = quick(penalty=NotNegative(), max_epochs=30, lr=0.01).fit(X, y)
    weights = [w for w in parameters_of(clf) if w.ndim >= 2]
    assert all(w.min() >= 0 and w.max() > 0 for w in weights)


def test_penalties_in_a_search(colours):
    X, y = colours
    grid = {"penalty": ["l2", L1(), Group(), None], "alpha": [0.01, {"0": 0.1}]}
    search = GridSearchCV(quick(max_epochs=2), grid, cv=2, error_score="raise")
    search.fit(X, y)
    assert len(search.cv_results_["params"]) == 8
    assert "penalty=L2()" in repr(L2CNNClassifier(penalty=L2()))
