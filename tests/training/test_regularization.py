"""Penalties, projections and clipping in training, against torch and definitions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.base import clone
from torch import nn

from tests.conftest import double, quick, tiny
from tests.loops import assert_close, groups, one_batch, parameters_of, reference

# -- against torch --------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_coupled_l2_under_adam_is_torchs_adam_with_weight_decay(colours, alpha):
    X, y = colours
    module = double((3, 6, 5), 3)
    clf = one_batch(X, alpha=alpha, architecture=module, lr=0.01).fit(X, y)
    adam = torch.optim.Adam(groups(module, alpha), lr=0.01)
    assert_close(parameters_of(clf), reference(module, clf, X, y, adam), 1e-7)


@pytest.mark.parametrize("alpha", [0.01, 3.0])
@pytest.mark.parametrize(
    "parameters", [{"optimizer": "adamw"}, {"callbacks": "batches"}]
)
def test_decoupled_l2_under_adam_is_torchs_adamw(colours, alpha, parameters):
    if "callbacks" in parameters:  # one that follows batches
        from skorch.callbacks import GradientNormClipping

        parameters = {"callbacks": [GradientNormClipping(1e9)], "optimizer": "adamw"}
    X, y = colours
    module = double((3, 6, 5), 3)
    clf = one_batch(X, alpha=alpha, architecture=module, lr=0.01, **parameters)
    clf.fit(X, y)
    adamw = torch.optim.AdamW(groups(module, alpha), lr=0.01)
    adamw.param_groups[1]["weight_decay"] = 0
    assert_close(parameters_of(clf), reference(module, clf, X, y, adamw), 1e-7)
    assert set(clf.penalty_curve_) == {0.0}
    assert clf.loss_curve_ == clf.data_loss_curve_


def test_decoupled_and_coupled_are_the_same_under_plain_sgd_and_differ_under_adam(
    colours,
):
    X, y = colours
    module = double((3, 6, 5), 3)

    def weights(**parameters):
        return parameters_of(
            one_batch(X, alpha=0.1, architecture=module, **parameters).fit(X, y)
        )

    sgd = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0}
    assert_close(weights(**sgd), weights(**(sgd | {"optimizer": "sgdw"})))
    coupled, decoupled = weights(lr=0.01), weights(lr=0.01, optimizer="adamw")
    assert np.abs(coupled[0] - decoupled[0]).max() > 1e-3


def test_gradient_clip_is_torchs_and_takes_the_penalty_in(colours):
    X, y = colours
    module = double((3, 6, 5), 3)
    clf = one_batch(
        X, alpha=0.3, architecture=module, lr=0.1, optimizer="sgd", gradient_clip=0.2
    ).fit(X, y)
    sgd = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)

    def clip():
        for p in module.parameters():
            if p.ndim >= 2:
                p.grad += 0.3 * p.detach()
        nn.utils.clip_grad_norm_(module.parameters(), 0.2)

    theirs = reference(module, clf, X, y, sgd, before=clip)
    assert_close(parameters_of(clf), theirs)
    free = one_batch(X, alpha=0.3, lr=0.1, optimizer="sgd").fit(X, y)
    assert np.abs(parameters_of(free)[0] - theirs[0]).max() > 1e-3


def test_label_smoothing_is_torchs(colours):
    X, y = colours
    for weight in (None, np.random.RandomState(0).uniform(0.1, 1, size=60)):
        clf = one_batch(X, alpha=0, label_smoothing=0.2, max_epochs=1)
        clf.fit(X, y, sample_weight=weight, X_val=X, y_val=y)
        # a cosine of one epoch has the whole rate; the loss is that before the step
        start = clone(clf).set_params(lr=1e-30).fit(X, y).module_
        images = torch.tensor((X - clf.channel_mean_) / clf.channel_scale_)
        if weight is not None:  # the pixels are standardised by weight
            start = clone(clf).set_params(lr=1e-30).fit(X, y, weight).module_
        losses = F.cross_entropy(
            start(images.permute(0, 3, 1, 2)),
            torch.tensor(y),
            label_smoothing=0.2,
            reduction="none",
        )
        expected = np.average(losses.detach(), weights=weight)
        assert clf.data_loss_curve_[0] == pytest.approx(expected, rel=1e-6)
        losses = F.cross_entropy(
            clf.module_(images.permute(0, 3, 1, 2)),
            torch.tensor(y),
            label_smoothing=0.2,
        )
        valid = clf.net_.history[-1, "valid_loss"]
        assert valid == pytest.approx(float(losses.detach()), rel=1e-6)


# -- strengths of their own -----------------------------------------------------------


def test_a_strength_for_each_layer_is_torchs_group_for_each_layer(colours):
    X, y = colours
    module = double((3, 6, 5), 3)
    clf = one_batch(
        X, alpha={"0": 0.2, "3": 0.01}, architecture=module, lr=0.1, optimizer="sgd"
    ).fit(X, y)
    parameters = [
        {"params": [module[0].weight], "weight_decay": 0.2},
        {"params": [module[3].weight], "weight_decay": 0.01},
        {"params": [module[0].bias, module[3].bias]},
    ]
    sgd = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    assert_close(parameters_of(clf), reference(module, clf, X, y, sgd))
    weights = [torch.tensor(w) for w in parameters_of(clf) if w.ndim >= 2]
    expected = sum(
        alpha * float(w.square().sum()) / 2
        for alpha, w in zip((0.2, 0.01), weights, strict=True)
    )
    assert clf.penalty_curve_[-1] == pytest.approx(expected, rel=1e-9)


def test_penalize_all_reaches_the_biases(colours):
    X, y = colours
    module = double((3, 6, 5), 3)
    options = {"architecture": module, "lr": 0.1, "optimizer": "sgd"}
    clf = one_batch(X, alpha=0.2, penalize="all", **options).fit(X, y)
    sgd = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.2)
    assert_close(parameters_of(clf), reference(module, clf, X, y, sgd))


@pytest.mark.parametrize(
    "alpha, message",
    [
        ({"conv7": 0.1}, "alpha: 'conv7' means no layer.*'0', '3'"),
        ({"0": -0.1}, "alpha.*'0'.*-0.1"),
        ({"0": "strong"}, "alpha.*'0'.*'strong'"),
        ({0: 0.1}, "alpha has 0 as a name.*names of"),
        ({}, "alpha.*empty"),
    ],
)
def test_a_mapping_that_means_nothing_is_named(colours, alpha, message):
    with pytest.raises(ValueError, match=message):
        quick(alpha=alpha).fit(*colours)


# -- max_norm -------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_filter_and_unit_is_projected_after_every_step(colours, optimizer):
    from skorch.callbacks import Callback

    X, y = colours
    seen = []

    class Watch(Callback):
        def on_batch_end(self, net, training=None, **kwargs):
            if training:
                norms = [
                    float(p.detach().flatten(1).norm(dim=1).max())
                    for p in net.module_.parameters()
                    if p.ndim >= 2
                ]
                seen.append(max(norms))

    options = {"max_norm": 0.4, "optimizer": optimizer, "lr": 0.05, "batch_size": 20}
    followed = quick(**options, callbacks=[("watch", Watch())])
    followed.fit(X, y)
    watch = dict(followed.net_.callbacks_)["watch"]
    assert watch is not None and len(seen) == 9
    assert max(seen) <= 0.4 * (1 + 1e-6) and max(seen) > 0.39
    alone = quick(**options).fit(X, y)
    for mine, theirs in zip(parameters_of(alone), parameters_of(followed), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)


def test_max_norm_is_torchs_renorm_after_the_step(colours):
    X, y = colours
    module = double((3, 6, 5), 3)
    clf = one_batch(
        X, alpha=0, max_norm=0.5, architecture=module, lr=0.1, optimizer="sgd"
    ).fit(X, y)
    sgd = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)

    def renorm():
        with torch.no_grad():
            for p in module.parameters():
                if p.ndim >= 2:
                    p.copy_(torch.renorm(p, 2, 0, 0.5))

    # torch's renorm brings norms to max_norm / (norm + 1e-7) of themselves
    theirs = reference(module, clf, X, y, sgd, renorm)
    assert_close(parameters_of(clf), theirs, 1e-5)


# -- with everything at once ----------------------------------------------------------

EVERYTHING = {
    "penalty": "elasticnet",
    "alpha": {"0": 1e-3, "3": 1e-2},
    "activity_alpha": 1e-3,
    "max_norm": 2.0,
    "gradient_clip": 1.0,
    "label_smoothing": 0.1,
    "lr_schedule": "plateau",
}


@pytest.mark.long
def test_everything_together_learns_and_is_reproducible(digits):
    X, y = digits
    one, other = (
        quick(**EVERYTHING, max_epochs=20, lr=0.01).fit(X, y) for _ in range(2)
    )
    assert one.score(X, y) > 0.9
    for mine, theirs in zip(parameters_of(one), parameters_of(other), strict=True):
        assert np.array_equal(mine, theirs)
    assert one.loss_curve_ == other.loss_curve_


def test_partial_fit_follows_changed_parameters(digits):
    X, y = digits
    clf = quick(alpha=0.0).partial_fit(X, y, classes=np.arange(10))
    assert clf.penalty_curve_ == [0.0]
    clf.set_params(alpha=0.1, penalty="l1", max_norm=0.1).partial_fit(X, y)
    assert clf.penalty_curve_[-1] > 0
    norms = clf.module_[3].weight.detach().norm(dim=1)
    assert float(norms.max()) <= 0.1 * (1 + 1e-6)


def test_weights_and_repeats_with_everything(digits):
    X, y = digits
    weight = np.random.RandomState(0).randint(0, 3, size=len(X))
    clf = quick(**EVERYTHING, batch_size=32)
    one = clone(clf).fit(X, y, sample_weight=weight)
    rows = np.repeat(np.arange(len(X)), weight)
    other = clone(clf).fit(X[rows], y[rows])
    for mine, theirs in zip(parameters_of(one), parameters_of(other), strict=True):
        assert np.array_equal(mine, theirs)
    assert one.penalty_curve_ == other.penalty_curve_


def test_tiny_keeps_the_names_that_these_tests_use():
    assert [name for name, _ in tiny((1, 8, 8), 3).named_children()] == list("0123")


def test_devices_agree(digits, device):
    X, y = digits
    options = {**EVERYTHING, "max_epochs": 2}
    here = quick(**options, device="cpu").fit(X, y).predict_proba(X)
    there = quick(**options, device=device).fit(X, y).predict_proba(X)
    assert np.abs(here - there).max() < 0.01
