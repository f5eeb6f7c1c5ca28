"""L2CNNClassifier as a user meets it: parameters, labels, curves, early stopping."""

import functools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.utils._param_validation import InvalidParameterError
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from tests.conftest import SmallNet, double, tiny


def quick(**parameters):
    """An estimator that takes a moment."""
    return L2CNNClassifier(
        **{"architecture": tiny, "max_epochs": 3, "random_state": 0, **parameters}
    )


# -- what it gives --------------------------------------------------------------------


def test_learns_digits(digits, device):
    X, y = digits
    clf = L2CNNClassifier(random_state=0, device=device).fit(X[:200], y[:200])
    assert clf.score(X[200:], y[200:]) > 0.9
    assert clf.device_.startswith(device)


def test_outputs_agree_with_each_other(digits):
    X, y = digits
    clf = quick().fit(X, y)
    probabilities = clf.predict_proba(X)
    assert probabilities.shape == (300, 10) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        np.log(probabilities), clf.predict_log_proba(X), rtol=1e-3
    )
    logits = clf.decision_function(X)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)
    assert np.array_equal(clf.predict(X), clf.classes_[logits.argmax(axis=1)])
    assert clf.score(X, y) == np.mean(clf.predict(X) == y)


def test_two_classes_have_one_score(digits):
    X, y = digits
    X, y = X[y < 2], y[y < 2]
    clf = quick(max_epochs=10).fit(X, y)
    scores = clf.decision_function(X)
    assert scores.shape == y.shape
    assert np.array_equal(clf.predict(X), clf.classes_[(scores > 0).astype(int)])
    np.testing.assert_allclose(
        clf.predict_proba(X)[:, 1], 1 / (1 + np.exp(-scores)), rtol=1e-5, atol=1e-12
    )


def test_one_class_is_learnt_without_complaint(digits, recwarn):
    X, _ = digits
    clf = quick().fit(X[:20], ["only"] * 20)
    assert set(clf.predict(X)) == {"only"}
    assert np.array_equal(clf.predict_proba(X), np.ones((300, 1)))
    assert clf.decision_function(X).shape == (300,)
    assert not recwarn.list


@pytest.mark.parametrize(
    "names",
    [
        ["cat", "dog", "eel"],
        [3, -1, 7],
        [True, False],
        [0.0, 1.0, 2.0],
        np.array(["a", "bb"], dtype=object),
        pd.Categorical(["x", "y"]),
    ],
)
def test_labels_of_any_type(digits, names):
    X = digits[0][:30]
    names = np.asarray(names)
    y = names[np.arange(30) % len(names)]
    clf = quick().fit(X, y)
    assert np.array_equal(clf.classes_, np.unique(names))
    assert clf.predict(X).dtype == clf.classes_.dtype
    assert set(clf.predict(X)) <= set(names)


@pytest.mark.parametrize("make", [pd.Series, torch.tensor, list, pd.Index])
def test_labels_in_any_container(digits, make):
    X, y = digits
    expected = quick().fit(X, y).predict_proba(X)
    assert np.array_equal(quick().fit(X, make(y.tolist())).predict_proba(X), expected)


# -- images ---------------------------------------------------------------------------


def test_layouts_and_containers_of_the_same_images_give_the_same_model(colours):
    X, y = colours
    expected = quick().fit(X, y).predict_proba(X)
    first = np.moveaxis(X, 3, 1)
    rows = X.reshape(60, -1)
    for images, options in (
        (np.ascontiguousarray(first), {"channels": "first"}),
        (first, {"channels": "first"}),
        (torch.tensor(X), {}),
        (rows, {"image_shape": (6, 5, 3)}),
        (pd.DataFrame(rows), {"image_shape": (6, 5, 3)}),
        (first.reshape(60, -1), {"image_shape": [6, 5, 3], "channels": "first"}),
        (X.tolist(), {}),
    ):
        clf = quick(**options).fit(images, y)
        assert clf.image_shape_ == (6, 5, 3) and clf.n_features_in_ == 90
        assert np.array_equal(clf.predict_proba(images), expected)


def test_fitted_on_images_predicts_rows_and_the_other_way_round(colours):
    X, y = colours
    clf = quick().fit(X, y)
    assert np.array_equal(clf.predict_proba(X.reshape(60, -1)), clf.predict_proba(X))


def test_the_same_images_in_other_units_train_alike(digits):
    X, y = digits
    options = {"architecture": double, "batch_size": len(X), "max_epochs": 10}
    expected = quick(**options).fit(X, y)
    for other in (
        X / 255,
        X.astype(float),
        X.astype(np.float32),
        X.astype(int) * 3 + 40,
    ):
        clf = quick(**options).fit(other, y)
        np.testing.assert_allclose(
            clf.predict_proba(other), expected.predict_proba(X), rtol=1e-6
        )


def test_constant_pixels_train(digits, recwarn):
    X, y = digits
    X = np.stack([X / 255, np.full(X.shape, 0.1)], axis=3)
    clf = quick(max_epochs=20).fit(X, y)
    assert clf.channel_scale_[1] == 1.0 and clf.channel_mean_[1] == 0.1
    assert clf.score(X, y) > 0.9
    assert (
        quick()
        .fit(np.zeros((6, 4, 4)), [0, 1] * 3)
        .predict_proba(np.ones((1, 4, 4)))[0]
        .sum()
    )
    assert not recwarn.list


def test_standardize_false_leaves_pixels_as_they_are(digits):
    X, y = digits
    seen = []

    class Looking(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny((1, 8, 8), 10)

        def forward(self, X):
            seen.append((float(X.min()), float(X.max())))
            return self.net(X)

    clf = quick(architecture=Looking(), standardize=False).fit(X, y)
    assert clf.channel_mean_.tolist() == [0] and clf.channel_scale_.tolist() == [1]
    assert max(high for _, high in seen) == pytest.approx(X.max() / 255)
    clf = quick(architecture=Looking(), standardize=False).fit(X.astype(float), y)
    assert max(high for _, high in seen) == X.max()


def test_a_frame_of_784_columns_as_fetch_openml_gives_it():
    rng = np.random.RandomState(0)
    y = pd.Series([str(k % 3) for k in range(60)], dtype="category", name="class")
    X = rng.randint(0, 100, size=(60, 784)) + 50 * y.astype(int).to_numpy()[:, None]
    X = pd.DataFrame(X, columns=[f"pixel{k}" for k in range(1, 785)])
    clf = quick(max_epochs=15).fit(X, y)
    assert clf.image_shape_ == (28, 28, 1)
    assert list(clf.feature_names_in_) == list(X.columns)
    assert clf.classes_.tolist() == ["0", "1", "2"]
    assert clf.score(X, y) > 0.9
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(X[X.columns[::-1]])


def test_large_offsets_lose_nothing(digits):
    X, y = digits
    near = X.astype(float)
    expected = quick(max_epochs=20).fit(near, y).score(near, y)
    far = near + 1e9
    assert quick(max_epochs=20).fit(far, y).score(far, y) == pytest.approx(
        expected, abs=0.02
    )


def test_a_prediction_does_not_depend_on_its_company(digits):
    X, y = digits
    clf = L2CNNClassifier(max_epochs=2, random_state=0).fit(X, y)
    together = clf.predict_proba(X)
    order = np.random.RandomState(0).permutation(300)
    assert np.array_equal(clf.predict_proba(X[order]), together[order])
    one_by_one = np.concatenate([clf.predict_proba(X[k : k + 1]) for k in range(20)])
    assert np.array_equal(one_by_one, together[:20])


# -- errors leave things as they were -------------------------------------------------


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_unfitted(method):
    with pytest.raises(NotFittedError):
        getattr(L2CNNClassifier(), method)(np.zeros((1, 4)))


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": -1},
        {"alpha": "strong"},
        {"architecture": "plane"},
        {"image_shape": 28},
        {"channels": "middle"},
        {"optimizer": "adagradient"},
        {"lr": 0},
        {"momentum": 1.0},
        {"batch_size": 0},
        {"batch_size": "big"},
        {"max_epochs": 0},
        {"validation_fraction": 1.0},
        {"n_iter_no_change": 0},
        {"class_weight": "equal"},
        {"device": 0},
        {"callbacks": "all"},
        {"verbose": -1},
        {"random_state": -1},
    ],
)
def test_wrong_parameters_are_named(parameters):
    name = next(iter(parameters))
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of L2CNN"):
        L2CNNClassifier(**parameters).fit(np.zeros((4, 4)), [0, 1, 0, 1])


@pytest.mark.parametrize(
    "parameters, X, y, options, message",
    [
        ({}, np.zeros((4, 3, 3)), [0, 1, 0], {}, "inconsistent numbers of samples"),
        ({}, np.zeros((4, 4)), None, {}, "requires y to be passed"),
        (
            {},
            np.zeros((4, 4)),
            np.eye(4, dtype=int),
            {},
            "Multioutput target .*one label",
        ),
        ({}, np.zeros((4, 4)), [0.5, 1.7, 2.2, 3.9], {}, "Unknown label type"),
        ({}, np.zeros((4, 4)), [0, 1, np.nan, 0], {}, "y contains NaN"),
        ({}, np.zeros((4, 4)), [0, 1] * 2, {"sample_weight": [0] * 4}, "non-zero"),
        (
            {},
            np.zeros((4, 4)),
            [0, 1] * 2,
            {"sample_weight": [1, 1, -1, 1]},
            "Negative",
        ),
        (
            {},
            np.zeros((4, 4)),
            [0, 1] * 2,
            {"sample_weight": [1, 1]},
            "sample_weight.shape",
        ),
        ({"image_shape": (0, 4)}, np.zeros((4, 4)), [0, 1] * 2, {}, "is not a shape"),
        ({"image_shape": (2,)}, np.zeros((4, 4)), [0, 1] * 2, {}, "is not a shape"),
        (
            {"class_weight": {0: 0, 1: 0}},
            np.zeros((4, 4)),
            [0, 1] * 2,
            {},
            "class_weight",
        ),
        ({"class_weight": {5: 1}}, np.zeros((4, 4)), [0, 1] * 2, {}, "class"),
        (
            {},
            np.zeros((4, 4)),
            [0, 1] * 2,
            {"X_val": np.zeros((2, 4))},
            "y_val was not",
        ),
        ({}, np.zeros((4, 4)), [0, 1] * 2, {"y_val": [0, 1]}, "X_val was not provided"),
        (
            {},
            np.zeros((4, 4)),
            [0, 1] * 2,
            {"X_val": np.zeros((2, 9)), "y_val": [0, 1]},
            "X has 9 features, but L2CNNClassifier is expecting 4",
        ),
        (
            {},
            np.zeros((4, 4)),
            [0, 1] * 2,
            {"X_val": np.zeros((2, 4)), "y_val": [0, 7]},
            r"y_val has labels that are not among the classes: \[7\]",
        ),
    ],
)
def test_wrong_data_are_named_and_nothing_stays_half_fitted(
    parameters, X, y, options, message
):
    clf = quick(**parameters)
    with pytest.raises(ValueError, match=message):
        clf.fit(X, y, **options)
    assert not [name for name in vars(clf) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        clf.predict(np.zeros((1, 4)))


def test_a_failed_fit_leaves_the_last_one_in_place(digits):
    X, y = digits
    clf = quick().fit(X, y)
    expected = clf.predict_proba(X)
    before = dict(vars(clf))
    with pytest.raises(ValueError, match="contains NaN"):
        clf.fit(np.full((4, 3, 3), np.nan), [0, 1, 0, 1])
    clf.set_params(lr=1e30, optimizer="sgd")
    with pytest.raises(ValueError, match="diverged in epoch 1"):
        clf.fit(X, y)
    clf.set_params(lr=1e-3, optimizer="adam")
    assert vars(clf) == before
    assert np.array_equal(clf.predict_proba(X), expected)


def test_divergence_is_named_with_what_to_change(digits):
    X, y = digits
    clf = quick(optimizer="sgd", lr=1e30)
    with pytest.raises(
        ValueError, match=r"diverged in epoch 1: .* Lower lr \(it is 1e\+30\)"
    ):
        clf.fit(X, y)
    assert not hasattr(clf, "classes_")


def test_cuda_where_there_is_none_is_an_error_at_fit(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    clf = L2CNNClassifier(device="cuda")
    with pytest.raises(ValueError, match="sees no CUDA device"):
        clf.fit(np.zeros((4, 4)), [0, 1, 0, 1])


def test_nothing_is_printed_unless_asked(digits, capsys):
    X, y = digits
    quick().fit(X, y)
    assert capsys.readouterr() == ("", "")
    quick(verbose=1).fit(X, y)
    assert "train_loss" in capsys.readouterr().out


# -- parameters work ------------------------------------------------------------------


def test_architectures(digits):
    X, y = digits
    module = tiny((1, 8, 8), 10)
    before = [p.clone() for p in module.parameters()]
    clf = quick(architecture=module).fit(X, y)
    assert isinstance(clf.module_, nn.Sequential) and clf.module_ is not module
    assert all(
        torch.equal(p, q) for p, q in zip(before, module.parameters(), strict=True)
    )
    assert isinstance(quick(architecture=SmallNet).fit(X, y).module_, SmallNet)
    assert quick(architecture=double).fit(X, y).predict_proba(X).dtype == np.float64


def test_frozen_parameters_stay(digits):
    X, y = digits
    module = tiny((1, 8, 8), 10)
    module[0].requires_grad_(False)
    clf = quick(architecture=module, alpha=0.1).fit(X, y)
    assert torch.equal(clf.module_[0].weight, module[0].weight)
    assert not torch.equal(clf.module_[3].weight, module[3].weight)


@pytest.mark.parametrize(
    "optimizer, lr",
    [
        ("adam", 1e-2),
        ("sgd", 1e-2),
        (torch.optim.AdamW, 1e-2),
        (torch.optim.SGD, 1e-2),
        (torch.optim.RMSprop, 1e-3),
    ],
)
def test_optimizers_lower_the_loss(digits, optimizer, lr):
    X, y = digits
    clf = quick(optimizer=optimizer, lr=lr, max_epochs=5).fit(X, y)
    assert clf.loss_curve_[-1] < 0.7 * clf.loss_curve_[0]


def test_a_line_search_sees_the_whole_objective(digits):
    # strong Wolfe conditions hold along the objective, penalty included, or not at all:
    # each of its steps must lower the sum, although the data loss alone would rise
    X, y = digits
    search = functools.partial(
        torch.optim.LBFGS, line_search_fn="strong_wolfe", max_iter=3
    )
    options = {"optimizer": search, "lr": 1.0, "batch_size": 300, "alpha": 0.3}
    clf = quick(architecture=double, max_epochs=8, **options).fit(X, y)
    squares = sum(
        p.square().sum().item() for p in clf.module_.parameters() if p.ndim > 1
    )
    objective = log_loss(y, clf.predict_proba(X)) + 0.15 * squares
    assert objective < clf.loss_curve_[0]
    values = np.array(clf.data_loss_curve_[1:]) + np.array(clf.penalty_curve_[:-1])
    assert (np.diff([*values, objective]) <= 1e-12).all()


def test_momentum_reaches_sgd_and_classes_that_take_one(digits):
    X, y = digits
    for optimizer in ("sgd", torch.optim.SGD):
        net = quick(optimizer=optimizer, momentum=0.5, max_epochs=1).fit(X, y).net_
        assert net.optimizer_.param_groups[0]["momentum"] == 0.5


def test_batch_size_decides_the_number_of_steps(digits):
    X, y = digits
    assert quick(batch_size=50).fit(X, y).net_.history[-1, "train_batch_count"] == 6
    assert quick(batch_size=10**6).fit(X, y).net_.history[-1, "train_batch_count"] == 1
    assert quick().fit(X, y).net_.history[-1, "train_batch_count"] == 10


def test_class_weight_moves_the_decision(digits):
    X, y = digits
    y = (y > 6).astype(int)
    share = [
        np.mean(quick(class_weight=weight, lr=0.01).fit(X, y).predict(X))
        for weight in ({0: 1, 1: 0.01}, None, "balanced", {0: 0.01, 1: 1})
    ]
    assert share[0] < share[1] < share[3]
    assert share[1] <= share[2]


# -- curves ---------------------------------------------------------------------------


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


# -- early stopping -------------------------------------------------------------------


def test_early_stopping_ends_with_the_best_epoch(digits):
    X, y = digits
    clf = quick(early_stopping=True, max_epochs=60, n_iter_no_change=4, lr=0.01).fit(
        X, y
    )
    scores = clf.validation_scores_
    assert clf.n_epochs_ == len(scores) < 60
    assert clf.best_validation_score_ == max(scores)
    assert clf.best_epoch_ == 1 + scores.index(max(scores))
    assert clf.net_.history[-1, "train_batch_count"] == 9  # 270 images, 30 held out
    if clf.best_epoch_ < clf.n_epochs_:
        assert max(scores[clf.best_epoch_ :]) <= max(scores)


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


def test_validation_data_without_early_stopping_are_only_watched(digits):
    X, y = digits
    clf = quick(max_epochs=6).fit(X, y)
    watched = quick(max_epochs=6).fit(X, y, X_val=X[:50], y_val=y[:50])
    assert len(watched.validation_scores_) == 6
    assert np.array_equal(watched.predict_proba(X), clf.predict_proba(X))
    assert (
        clf.validation_scores_ is clf.best_validation_score_ is clf.best_epoch_ is None
    )


def test_a_patience_of_one_and_a_wide_tolerance_stop_at_once(digits):
    X, y = digits
    clf = quick(early_stopping=True, n_iter_no_change=1, tol=1.0, max_epochs=9).fit(
        X, y
    )
    assert clf.n_epochs_ == 2


# -- going on -------------------------------------------------------------------------


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
    assert clf.net_.penalty.alpha == 0.3
    assert clf.penalty_curve_[-1] / 0.3 < 0.9 * clf.penalty_curve_[2] / 1e-4


def test_warm_start_refuses_other_data(digits):
    X, y = digits
    clf = quick(warm_start=True).fit(X, y)
    with pytest.raises(
        ValueError, match="warm_start=True cannot go on: y has the classes"
    ):
        clf.fit(X, y % 5)
    with pytest.raises(ValueError, match="cannot go on: X holds images of 4 x 8"):
        clf.fit(X[:, :4], y)


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


# -- interrupts -----------------------------------------------------------------------


class Interrupting(nn.Module):
    """A network in whose n-th batch the user loses patience."""

    def __init__(self, batch):
        super().__init__()
        self.net, self.left = tiny((1, 8, 8), 10), batch

    def forward(self, X):
        if self.training:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self.net(X)


@pytest.mark.parametrize("batch, epochs", [(1, 0), (12, 1), (22, 2)])
def test_an_interrupt_keeps_what_was_learnt(digits, batch, epochs):
    X, y = digits
    clf = quick(architecture=Interrupting(batch), max_epochs=5)
    with pytest.warns(
        ConvergenceWarning, match=f"interrupted after {epochs} of 5 epochs"
    ):
        clf.fit(X, y)
    assert clf.n_epochs_ == len(clf.loss_curve_) == epochs
    assert clf.predict_proba(X).shape == (300, 10)
    pickle.loads(pickle.dumps(clf))


def test_an_interrupt_in_early_stopping_keeps_the_best_epoch(digits):
    X, y = digits
    clf = quick(architecture=Interrupting(28), early_stopping=True, max_epochs=9)
    with pytest.warns(ConvergenceWarning, match="interrupted after 3 of 9"):
        clf.fit(X, y)
    assert len(clf.validation_scores_) == 3


def test_clone_and_repr():
    clf = L2CNNClassifier(alpha=0.1, architecture=tiny((1, 2, 2), 2), callbacks=[])
    copy = clone(clf)
    assert copy.get_params()["alpha"] == 0.1
    assert copy.architecture is not clf.architecture
    assert repr(L2CNNClassifier(alpha=0.5)) == "L2CNNClassifier(alpha=0.5)"


def test_train_and_test(digits):
    X, y = digits
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    clf = L2CNNClassifier(random_state=0).fit(X, y)
    assert clf.score(X_test, y_test) > 0.85
