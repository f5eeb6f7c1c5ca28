"""L2CNNClassifier as a user meets it: outputs, labels, images, parameters."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from tests.conftest import SmallNet, double, quick, tiny

# -- what it gives ---------------------------------------------------------------------


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


def test_one_class_is_learnt_with_a_warning(digits):
    X, _ = digits
    with pytest.warns(UserWarning, match=r"one class to learn from, \['only'\]"):
        clf = quick().fit(X[:20], ["only"] * 20)
    assert set(clf.predict(X)) == {"only"}
    assert np.array_equal(clf.predict_proba(X), np.ones((300, 1)))
    assert clf.decision_function(X).shape == (300,)


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


# -- images ----------------------------------------------------------------------------


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


# -- parameters work -------------------------------------------------------------------


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


def test_lbfgs_trains_the_default_network(digits):
    X, y = digits
    # without a line search, or on parts of the images, it may go anywhere
    lbfgs = functools.partial(
        torch.optim.LBFGS, line_search_fn="strong_wolfe", max_iter=5
    )
    clf = quick(
        architecture="plain", optimizer=lbfgs, lr=1.0, batch_size=100, max_epochs=2
    ).fit(X[:100], y[:100])
    assert clf.loss_curve_[-1] < 0.5 * clf.loss_curve_[0]


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
