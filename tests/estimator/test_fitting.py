"""How a fit goes: curves, early stopping, going on from an earlier one."""

import re

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from tests.conftest import double, quick

# -- curves ----------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 0.5])
def test_data_loss_and_penalty_make_the_loss(digits, alpha):
    X, y = digits
    clf = quick(alpha=alpha, max_epochs=4).fit(X, y)
    assert len(clf.loss_curve_) == clf.n_epochs_ == 4
    parts = zip(clf.data_loss_curve_, clf.penalty_curve_, strict=True)
    assert [data + penalty for data, penalty in parts] == clf.loss_curve_
    squares = sum(
        p.square().sum().item() for p in clf.module_.parameters() if p.ndim > 1
    )
    assert clf.penalty_curve_[-1] == pytest.approx(alpha / 2 * squares, rel=1e-5)


def test_data_loss_is_the_weighted_cross_entropy(digits):
    # with a step too small to matter, the loss of the epoch is that of the network
    X, y = digits
    weight = np.random.RandomState(0).uniform(0, 2, size=300)
    clf = quick(optimizer="sgd", lr=1e-12, max_epochs=1, architecture=double)
    clf.fit(X, y, sample_weight=weight)
    expected = log_loss(y, clf.predict_proba(X), sample_weight=weight)
    assert clf.data_loss_curve_[0] == pytest.approx(expected, rel=1e-6)


# -- early stopping --------------------------------------------------------------------


def test_early_stopping_ends_with_the_best_epoch(digits):
    X, y = digits
    clf = quick(early_stopping=True, max_epochs=60, n_iter_no_change=4, lr=0.01).fit(
        X, y
    )
    scores = clf.validation_scores_
    assert clf.n_epochs_ == len(scores) < 60
    assert clf.best_validation_score_ == max(scores)
    losses = clf.validation_loss_curve_
    ties = [epoch for epoch, score in enumerate(scores, 1) if score == max(scores)]
    assert len(ties) > 1
    assert clf.best_epoch_ == min(ties, key=lambda epoch: losses[epoch - 1])
    assert clf.net_.history[-1, "train_batch_count"] == 9  # 270 images, 30 held out
    assert clf.n_epochs_ == ties[0] + 4  # epochs without a higher accuracy


@pytest.mark.parametrize("n, patience", [(60, 15), (300, 10)])
def test_patience_counts_steps_of_few_images(digits, n, patience):
    X, y = digits
    # learning nothing: no epoch is better than the first
    clf = quick(early_stopping=True, lr=1e-12, max_epochs=50).fit(X[:n], y[:n])
    assert clf.n_epochs_ == 1 + patience
    clf.set_params(n_iter_no_change=3).fit(X[:n], y[:n])
    assert clf.n_epochs_ == 4


def test_early_stopping_restores_weights(digits):
    # an epoch that scores best and is followed by ruin must be the one that stays
    X, y = digits
    X_val, y_val = X[200:], y[200:]
    clf = quick(
        early_stopping=True, max_epochs=8, n_iter_no_change=8, optimizer="sgd", lr=0.2
    )
    clf.fit(X[:200], y[:200], X_val=X_val, y_val=y_val)
    assert clf.score(X_val, y_val) == pytest.approx(
        clf.best_validation_score_, abs=1e-6
    )
    assert clf.best_epoch_ < clf.n_epochs_, "the last epoch was the best: a hollow test"


def test_weights_of_validation_images_count(digits):
    X, y = digits
    weight = np.random.RandomState(0).uniform(size=100)
    clf = quick().fit(
        X[:200], y[:200], X_val=X[200:], y_val=y[200:], sample_weight_val=weight
    )
    expected = clf.score(X[200:], y[200:], sample_weight=weight)
    assert clf.validation_scores_[-1] == pytest.approx(expected, abs=1e-6)


def test_validation_data_without_early_stopping_are_only_validated(digits):
    X, y = digits
    clf = quick(max_epochs=6).fit(X, y)
    validated = quick(max_epochs=6).fit(X, y, X_val=X[:50], y_val=y[:50])
    assert len(validated.validation_scores_) == 6
    assert np.array_equal(validated.predict_proba(X), clf.predict_proba(X))
    assert (
        clf.validation_scores_ is clf.best_validation_score_ is clf.best_epoch_ is None
    )


def test_a_patience_of_one_and_a_wide_tolerance_stop_at_once(digits):
    X, y = digits
    clf = quick(early_stopping=True, n_iter_no_change=1, tol=1.0, max_epochs=9).fit(
        X, y
    )
    assert clf.n_epochs_ == 2


# -- going on --------------------------------------------------------------------------


def test_warm_start_goes_on(digits):
    X, y = digits
    clf = quick(warm_start=True).fit(X, y)
    first = clf.loss_curve_[-1]
    clf.fit(X, y)
    assert clf.n_epochs_ == len(clf.loss_curve_) == 6
    assert clf.loss_curve_[3] < 1.2 * first
    cold = quick().fit(X, y)
    cold.fit(X, y)
    assert cold.n_epochs_ == 3


def test_warm_start_follows_changed_parameters(digits):
    X, y = digits
    clf = quick(warm_start=True).fit(X, y)
    clf.set_params(alpha=0.3, max_epochs=40, lr=0.01).fit(X, y)
    assert clf.net_.objective.alpha == 0.3
    assert clf.penalty_curve_[-1] / 0.3 < 0.9 * clf.penalty_curve_[2] / 1e-4


def test_warm_start_refuses_other_data(digits):
    X, y = digits
    clf = quick(warm_start=True).fit(X, y)
    with pytest.raises(
        ValueError, match="warm_start=True cannot go on: y has the classes"
    ):
        clf.fit(X, y % 5)
    with pytest.raises(ValueError, match=r"pretrained='weights.pt'.* freeze= for"):
        clf.fit(X, y + 1)
    with pytest.raises(ValueError, match="cannot go on: X holds images of 4 x 8"):
        clf.fit(X[:, :4], y)


def test_other_classes_are_taught_as_the_message_says(digits, tmp_path, monkeypatch):
    X, y = digits
    monkeypatch.chdir(tmp_path)
    clf = quick(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="warm_start=True cannot go on") as caught:
        clf.fit(X, y % 5)
    line = re.search(r"torch.save\(.*?'weights.pt'\)", str(caught.value))[0]
    exec(line, {"torch": torch, "clf": clf})
    *hidden, _ = (name for name, _ in clf.module_.named_children())
    options = {"pretrained": "weights.pt", "freeze": hidden}
    other = quick(**options).fit(X, y % 5)
    before, after = clf.module_.state_dict(), other.module_.state_dict()
    same = [name for name in before if np.array_equal(before[name], after[name])]
    assert {name.split(".")[0] for name in same} <= {*hidden} and same


def test_partial_fit_learns_from_pieces(digits):
    X, y = digits
    clf = quick(lr=0.01)
    for _ in range(8):
        for rows in np.array_split(np.arange(300), 3):
            assert clf.partial_fit(X[rows], y[rows], classes=np.arange(10)) is clf
    assert clf.score(X, y) > 0.9
    assert clf.n_epochs_ == 24
    np.testing.assert_allclose(clf.channel_mean_, (X / 255).mean(), rtol=1e-6)
    np.testing.assert_allclose(clf.channel_scale_, (X / 255).std(), rtol=1e-6)


def test_partial_fit_of_everything_is_an_epoch_of_fit(digits):
    X, y = digits
    once = quick(max_epochs=1).fit(X, y)
    part = quick().partial_fit(X, y, classes=np.unique(y))
    assert np.array_equal(part.predict_proba(X), once.predict_proba(X))
    assert part.loss_curve_ == once.loss_curve_


def test_partial_fit_goes_on_after_fit(digits):
    X, y = digits
    clf = quick().fit(X, y)
    last = clf.loss_curve_[-1]
    clf.partial_fit(X, y)
    assert clf.n_epochs_ == 4 and clf.loss_curve_[-1] < last


def test_partial_fit_asks_for_classes_and_keeps_to_them(digits):
    X, y = digits
    clf = quick()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        clf.partial_fit(X, y)
    assert not hasattr(clf, "classes_")
    clf.partial_fit(X[:50], y[:50] % 2, classes=[0, 1, 2])
    assert clf.classes_.tolist() == [0, 1, 2]
    with pytest.raises(
        ValueError, match="not the same as on last call|on the last call"
    ):
        clf.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="y has labels that are not among the classes"):
        clf.partial_fit(X, y)


def test_a_failed_partial_fit_changes_nothing(digits):
    X, y = digits
    clf = quick().partial_fit(X, y, classes=np.arange(10))
    expected, curve = clf.predict_proba(X), list(clf.loss_curve_)
    clf.set_params(lr=1e30)
    with pytest.raises(ValueError, match="diverged"):
        for _ in range(3):
            clf.partial_fit(X * 2, y)
    assert np.array_equal(clf.predict_proba(X), expected)
    assert clf.loss_curve_ == curve
    clf.set_params(lr=1e-3).partial_fit(X, y)
    other = quick().partial_fit(X, y, classes=np.arange(10)).partial_fit(X, y)
    assert np.array_equal(clf.predict_proba(X), other.predict_proba(X))
