"""What goes wrong is named, and leaves things as they were."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.utils._param_validation import InvalidParameterError
from torch import nn

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from tests.conftest import quick, tiny

# -- errors leave things as they were --------------------------------------------------


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_unfitted(method):
    with pytest.raises(NotFittedError):
        getattr(L2CNNClassifier(), method)(np.zeros((1, 4)))


def test_a_batch_norm_needs_more_than_one_image(digits):
    X, y = digits
    for rows, batch_size in ((slice(1), "auto"), (slice(10), 1)):
        clf = L2CNNClassifier(
            architecture="resnet18", batch_size=batch_size, max_epochs=1
        )
        with pytest.raises(
            ValueError, match="single image.*n_samples=1.*'plain', take"
        ):
            clf.fit(X[rows], y[rows])
        assert not hasattr(clf, "classes_")


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": -1},
        {"alpha": True},
        {"activity_alpha": True},
        {"lr": True},
        {"max_epochs": True},
        {"threads": True},
        {"alpha": "strong"},
        {"penalty": "l3"},
        {"penalty": object()},
        {"l1_ratio": 1.1},
        {"penalize": "biases"},
        {"activity_alpha": -1},
        {"max_norm": 0},
        {"dropout": 1.0},
        {"architecture": 7},
        {"pretrained": 1.5},
        {"freeze": 3},
        {"label_smoothing": 1.0},
        {"gradient_clip": 0},
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


@pytest.mark.parametrize("name", ["alpha", "activity_alpha"])
@pytest.mark.parametrize("value", [1e39, {"*": 1e39}])
def test_a_strength_beyond_float32_is_named(name, value):
    clf = quick(**{name: value})
    with pytest.raises(ValueError, match=rf"^{name}.*1e\+39.*3\.4e\+38"):
        clf.fit(np.zeros((4, 4)), [0, 1, 0, 1])


@pytest.mark.parametrize("classes", [[], 3, [[0, 1]], np.zeros((0, 2))])
def test_classes_of_another_shape_are_named(classes):
    clf = quick()
    with pytest.raises(ValueError, match=r"classes has shape \(.*\(n_classes,\)"):
        clf.partial_fit(np.zeros((4, 4)), [0, 1, 0, 1], classes=classes)
    assert not hasattr(clf, "net_")


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
    shown = capsys.readouterr()
    assert "train_loss" in shown.out and not shown.err


# -- interrupts ------------------------------------------------------------------------


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
def test_an_interrupt_keeps_what_was_learnt_and_is_raised(digits, batch, epochs):
    X, y = digits
    clf = quick(architecture=Interrupting(batch), max_epochs=5)
    with pytest.raises(KeyboardInterrupt) as caught:
        clf.fit(X, y)
    [note] = caught.value.__notes__
    assert f"after {epochs} epochs" in note and "warm_start" in note
    assert clf.n_epochs_ == len(clf.loss_curve_) == epochs
    assert clf.predict_proba(X).shape == (300, 10)
    clf = pickle.loads(pickle.dumps(clf)).set_params(warm_start=True)
    clf.module_.left = 0  # never again
    assert clf.fit(X, y).n_epochs_ == epochs + 5  # as the note says


def test_an_interrupt_in_partial_fit_is_raised(digits):
    X, y = digits
    clf = quick(architecture=Interrupting(5))
    with pytest.raises(KeyboardInterrupt):
        clf.partial_fit(X, y, classes=range(10))
    assert clf.n_epochs_ == 0 and clf.predict(X).shape == (300,)
    clf.module_.left = 0
    assert clf.partial_fit(X, y).n_epochs_ == 1


def test_an_interrupt_in_early_stopping_keeps_the_best_epoch(digits):
    X, y = digits
    clf = quick(architecture=Interrupting(28), early_stopping=True, max_epochs=9)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)
    assert len(clf.validation_scores_) == 3


@pytest.mark.parametrize("own", [True, False])
def test_an_interrupt_ends_a_search(digits, own):
    X, y = digits
    clf = quick(architecture=Interrupting(7), max_epochs=2)
    search = GridSearchCV(clf, {"alpha": [0, 1]}, cv=2)
    if own:
        parameters = {"architecture": Interrupting(7), "max_epochs": 2}
        search = L2CNNClassifierCV(alphas=[0, 1], cv=2, **parameters)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    assert not hasattr(search, "best_estimator_")


def test_an_interrupted_refit_is_kept(digits):
    X, y = digits
    # five batches an epoch in a fold, ten in the refit
    parameters = {"architecture": Interrupting(15), "max_epochs": 2}
    search = L2CNNClassifierCV(alphas=[0, 1], cv=2, **parameters)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    assert search.n_epochs_ == 1 and search.predict(X).shape == (300,)


# -- what is finite, and nonsense ------------------------------------------------------


def test_a_loss_that_went_astray_is_warned_of(digits):
    X, y = digits
    clf = quick(optimizer="sgd", lr=3, max_epochs=1)
    with pytest.warns(
        ConvergenceWarning, match=r"data loss of .* 2\.3\. Lower lr .* 3"
    ):
        clf.fit(X, y)
    assert 23 < clf.data_loss_curve_[-1] < np.inf


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_search_warns_of_it_once_where_it_refits(digits, early_stopping):
    X, y = digits
    search = L2CNNClassifierCV(
        alphas=[0, 1e-4],
        cv=2,
        architecture=tiny,
        optimizer="sgd",
        lr=3,
        max_epochs=1,
        random_state=0,
        early_stopping=early_stopping,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(X, y)
    assert sum(issubclass(one.category, ConvergenceWarning) for one in caught) == 1


def test_ordinary_trainings_are_not_warned_of(digits):
    X, y = digits
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick().fit(X, y)
        quick(max_epochs=1, lr=1e-5).fit(X, y)
        quick(early_stopping=True, n_iter_no_change=3, alpha=10).fit(X, y)


@pytest.mark.parametrize("search", ["own", "scikit-learn's"])
def test_a_fold_with_one_class_is_warned_of(digits, search):
    X, y = digits
    y = np.sort(y % 2)
    options = {"cv": KFold(2), "refit": False}
    if search == "own":
        own = {"architecture": tiny, "max_epochs": 1}
        fitted = L2CNNClassifierCV(alphas=[0, 1], **own, **options)
    else:
        fitted = GridSearchCV(quick(max_epochs=1), {"alpha": [0, 1]}, **options)
    X, y = X[np.r_[:100, 200:300]], np.repeat([0, 1], 100)
    with pytest.warns(UserWarning, match=r"one class to learn from, \[[01]\].*Stratif"):
        fitted.fit(X, y)


@pytest.mark.parametrize("factor", [1e200, 1e308])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "go on", "predict"])
def test_huge_pixels_are_an_error_and_no_warning(digits, factor, method):
    X, y = digits
    X = X / 255
    clf = quick(max_epochs=1)
    huge = np.full_like(X, factor) if method == "go on" else X * factor
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if method in ("go on", "predict"):
            clf.fit(X, y)
        with pytest.raises(ValueError, match="too large"):
            if method == "predict":
                clf.predict(huge)
            elif method == "fit":
                clf.fit(huge, y)
            else:
                clf.partial_fit(huge, y, classes=np.arange(10))


def test_an_argument_that_fit_does_not_have_is_named_with_those_it_has(digits):
    X, y = digits
    message = r"L2CNNClassifier\.fit\(\) got .*'validation_data'\. .*X_val and y_val"
    with pytest.raises(TypeError, match=message):
        quick().fit(X, y, validation_data=(X, y))
