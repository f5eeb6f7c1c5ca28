"""L2 that is L2, and weights that are weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from tests.conftest import SmallNet, double, tiny
from tests.loops import parameters_of


def assert_same_model(one, other):
    """The same bits in every parameter and in every statistic."""
    for mine, theirs in zip(
        one.module_.state_dict().values(),
        other.module_.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(mine, theirs)
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_
    assert np.array_equal(one.channel_mean_, other.channel_mean_)
    assert np.array_equal(one.channel_scale_, other.channel_scale_)
    assert np.array_equal(one.classes_, other.classes_)


# -- L2 that is L2 --------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_sgd_is_torchs_sgd_with_weight_decay_on_the_weights(
    colours, alpha, momentum, weighted
):
    X, y = colours
    weight = np.random.RandomState(1).uniform(size=60) if weighted else np.ones(60)
    module = double((3, 6, 5), 3)
    clf = L2CNNClassifier(
        alpha,
        architecture=module,
        optimizer="sgd",
        lr=0.1,
        momentum=momentum,
        batch_size=60,
        max_epochs=8,
        random_state=0,
    ).fit(X, y, sample_weight=weight)

    images = torch.tensor((X - clf.channel_mean_) / clf.channel_scale_).permute(
        0, 3, 1, 2
    )
    labels, weight = torch.tensor(y), torch.tensor(weight / weight.mean())
    decayed = [p for p in module.parameters() if p.ndim >= 2]
    spared = [p for p in module.parameters() if p.ndim < 2]
    reference = torch.optim.SGD(
        [{"params": decayed, "weight_decay": alpha}, {"params": spared}],
        lr=0.1,
        momentum=momentum,
    )
    losses = []
    for _ in range(8):
        reference.zero_grad()
        loss = (
            F.cross_entropy(module(images), labels, reduction="none") * weight
        ).mean()
        loss.backward()
        reference.step()
        losses.append(loss.item())
    for mine, theirs in zip(parameters_of(clf), module.parameters(), strict=True):
        # weights of mean 1 are float32, everything else is float64
        rtol = 1e-5 if weighted else 1e-9
        np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(clf.data_loss_curve_, losses, rtol=1e-6)


@pytest.mark.long
def test_larger_alpha_smaller_norm(digits):
    X, y = digits
    norms = []
    for alpha in (0, 1e-3, 1e-2, 1e-1, 1):
        clf = L2CNNClassifier(
            alpha, architecture=tiny, lr=0.01, max_epochs=30, random_state=0
        ).fit(X, y)
        norms.append(sum((p**2).sum() for p in parameters_of(clf) if p.ndim > 1))
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 0.05 * norms[0]


def test_alpha_of_zero_is_no_penalty_bit_for_bit(digits):
    X, y = digits
    options = {"architecture": tiny, "max_epochs": 4, "random_state": 0}
    without = L2CNNClassifier(0, **options).fit(X, y)
    with pytest.MonkeyPatch.context() as patch:
        rule = "sklearn_l2cnn._training.regularization.Regularization"
        patch.setattr(f"{rule}.finish_gradient", lambda self: None)
        patch.setattr(f"{rule}.step", lambda self, update: update())
        bare = L2CNNClassifier(0, **options).fit(X, y)
    assert_same_model(without, bare)
    assert set(without.penalty_curve_) == {0.0}


@pytest.mark.long
def test_the_gradient_at_a_stationary_point_balances_the_penalty(digits):
    # where J is stationary, the gradient of the data loss is exactly -alpha W
    X, y = digits
    clf = L2CNNClassifier(
        0.05,
        architecture=lambda shape, k: nn.Sequential(
            nn.Flatten(), nn.Linear(64, k)
        ).double(),
        optimizer="sgd",
        lr=0.5,
        batch_size=300,
        max_epochs=3000,
        random_state=0,
    ).fit(X, y)
    images = (X[..., None] / 255 - clf.channel_mean_) / clf.channel_scale_
    logits = clf.module_(torch.tensor(images).permute(0, 3, 1, 2))
    F.cross_entropy(logits, torch.tensor(y)).backward()
    weight, bias = clf.module_[1].weight, clf.module_[1].bias
    np.testing.assert_allclose(weight.grad, -0.05 * weight.detach(), atol=1e-6)
    np.testing.assert_allclose(bias.grad, np.zeros(10), atol=1e-6)


# -- weights that are weights ---------------------------------------------------------

CONFIGURATIONS = {
    "batches of 8": {"batch_size": 8},
    "one batch": {"batch_size": 10**6},
    "early stopping": {"batch_size": 8, "early_stopping": True, "n_iter_no_change": 2},
    "balanced": {"batch_size": 8, "class_weight": "balanced"},
    "class weights": {"batch_size": 8, "class_weight": {0: 0.3, 1: 1.7, 2: 1.0}},
    "norm and dropout": {"batch_size": 8, "architecture": SmallNet},
    "float64": {"batch_size": 8, "architecture": double},
    "default": {"architecture": "plain", "max_epochs": 2},
}


@pytest.fixture(params=["uint8", "float32", "float64"])
def weighted(request):
    """Images of a dtype with integer weights, zeros among them."""
    rng = np.random.RandomState(3)
    X = rng.uniform(0, 255, size=(50, 5, 4, 2)).astype(request.param)
    return X, rng.randint(0, 3, size=50), rng.randint(0, 4, size=50)


@pytest.fixture(params=CONFIGURATIONS)
def clf(request):
    options = {"architecture": tiny, "max_epochs": 4, "random_state": 0}
    return L2CNNClassifier(**(options | CONFIGURATIONS[request.param]))


def fit(clf, X, y, weight=None):
    from sklearn.base import clone

    return clone(clf).fit(X, y, sample_weight=weight)


def test_weight_zero_is_removal(clf, weighted):
    X, y, weight = weighted
    kept = weight > 0
    assert_same_model(fit(clf, X, y, weight), fit(clf, X[kept], y[kept], weight[kept]))


def test_weight_k_is_k_repeats_in_any_order(clf, weighted):
    X, y, weight = weighted
    rows = np.random.RandomState(0).permutation(np.repeat(np.arange(50), weight))
    assert_same_model(fit(clf, X, y, weight), fit(clf, X[rows], y[rows]))


def test_a_constant_factor_and_the_order_are_nothing(clf, weighted):
    X, y, _ = weighted
    weight = np.random.RandomState(1).uniform(0.1, 2, size=50)
    expected = fit(clf, X, y, weight)
    order = np.random.RandomState(2).permutation(50)
    for factor in (1, 3, 0.1, 1e-30, np.pi * 1e20):
        assert_same_model(
            fit(clf, X[order], y[order], weight[order] * factor), expected
        )


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 0.3, 1: 1.7, 2: 1}])
@pytest.mark.parametrize("batch_size", [8, 10**6])
def test_weights_in_partial_fit(weighted, batch_size, class_weight):
    X, y, weight = weighted

    def passes(*parts):
        clf = L2CNNClassifier(
            architecture=tiny,
            batch_size=batch_size,
            class_weight=class_weight,
            random_state=0,
        )
        for X, y, weight in parts:
            clf.partial_fit(X, y, classes=[0, 1, 2], sample_weight=weight)
        return clf

    first, second = slice(0, 25), slice(25, 50)
    kept = np.flatnonzero(weight[:25]), 25 + np.flatnonzero(weight[25:])
    expected = passes(*((X[part], y[part], weight[part]) for part in (first, second)))
    removed = passes(*((X[part], y[part], weight[part]) for part in kept))
    repeated = passes(
        *(
            (X[rows], y[rows], None)
            for rows in (
                np.random.RandomState(0).permutation(np.repeat(part, weight[part]))
                for part in kept
            )
        )
    )
    scaled = passes(
        *((X[part], y[part], weight[part] * 0.1) for part in (first, second))
    )
    for other in (removed, repeated, scaled):
        assert_same_model(other, expected)


def test_weights_of_validation_images(weighted):
    X, y, weight = weighted
    rows = np.repeat(np.arange(50), weight)
    options = {"architecture": tiny, "early_stopping": True, "random_state": 0}
    one = L2CNNClassifier(**options).fit(
        X, y, X_val=X, y_val=y, sample_weight_val=weight
    )
    other = L2CNNClassifier(**options).fit(X, y, X_val=X[rows], y_val=y[rows])
    assert_same_model(one, other)


def test_a_class_without_weight_is_not_there(digits):
    X, y = digits
    clf = L2CNNClassifier(architecture=tiny, max_epochs=2, random_state=0)
    clf.fit(X, y, sample_weight=(y != 3).astype(float))
    assert 3 not in clf.classes_ and len(clf.classes_) == 9


def test_weights_matter(clf, weighted):
    X, y, weight = weighted
    one, other = fit(clf, X, y, weight), fit(clf, X, y, weight[::-1])
    assert one.loss_curve_ != other.loss_curve_
