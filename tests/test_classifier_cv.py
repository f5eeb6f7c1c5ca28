"""L2CNNClassifierCV finds what GridSearchCV finds.

Networks that are trained together round otherwise than one by one, so that these are of
float64: there it shows in the last digits of a loss and in no accuracy. One by one they
are the same bit for bit.
"""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import GradientNormClipping

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from tests.conftest import SmallNet, tiny
from tests.search.searches import (
    MORE,
    NETWORK,
    assert_same_results,
    assert_same_search,
    refuse_stacks,
    searches,
)

SEARCHES = {
    "three folds": {},
    "five folds by default": {"cv": None},
    "shuffled": {"cv": ShuffleSplit(2, random_state=0)},
    "repeated": {
        "cv": RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0)
    },
    "logarithmic loss": {"scoring": "neg_log_loss"},
    "one minus the other": {"scoring": lambda clf, X, y: -clf.score(X, y)},
    "two processes": {"n_jobs": 2},
}
NETWORKS = {
    "early stopping": {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 5},
    "plateau": {"lr_schedule": "plateau", "max_epochs": 8, "lr": 0.2},
    "class weights": {"class_weight": "balanced"},
    "norm and dropout": {"architecture": SmallNet},
    "augmented": {"augment": "shift", "tta": "shift"},
    "callbacks": {"callbacks": [GradientNormClipping(0.1)]},
    "a module": {
        "architecture": torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 10)
        ).double()
    },
    "group": {"penalty": "group", "optimizer": "adamw"},
    "another seed": {"random_state": np.random.RandomState(3)},
}


@pytest.mark.long
@pytest.mark.parametrize("name", [*SEARCHES, *NETWORKS])
def test_same_as_grid_search(some, name):
    mine, theirs = searches(SEARCHES.get(name, {}), NETWORKS.get(name, {}), MORE)
    X, y = some
    assert_same_search(mine.fit(X, y), theirs.fit(X, y), X)
    assert mine.score(X, y) == theirs.score(X, y)
    scores = mine.cv_results_["mean_test_score"]
    assert len(set(scores)) > 1  # or nothing would have been compared


@pytest.mark.parametrize("name", ["logarithmic loss", "early stopping", "augmented"])
def test_one_by_one_every_bit_is_the_same(some, name, monkeypatch):
    refuse_stacks(monkeypatch)
    network = {"architecture": tiny, **NETWORKS.get(name, {})}
    mine, theirs = searches(SEARCHES.get(name, {}), network)
    X, y = some
    assert_same_search(mine.fit(X, y), theirs.fit(X, y), X, exact=True)


def test_folds_given_as_positions_or_masks(some):
    X, y = some
    positions = list(KFold(3, shuffle=True, random_state=1).split(X))
    rows = np.arange(len(y))
    masks = [(np.isin(rows, train), np.isin(rows, test)) for train, test in positions]
    mine, theirs = searches({"cv": iter(positions)})
    theirs.set_params(cv=positions).fit(X, y)
    assert_same_search(mine.fit(X, y), theirs, X)
    assert_same_search(mine.set_params(cv=masks).fit(X, y), theirs, X)


@pytest.mark.parametrize("labels", [str, object, bool, float])
def test_labels_of_any_type(some, labels):
    X, y = some
    y = (y % 2 if labels is bool else y).astype(labels if labels is not object else str)
    y = y.astype(object) if labels is object else y
    mine, theirs = searches()
    assert_same_search(mine.fit(X, y), theirs.fit(X, y), X)
    assert mine.predict(X).dtype == y.dtype


KINDS = {
    "rows": lambda X: X.reshape(len(X), -1),
    "frame": lambda X: pd.DataFrame(
        X.reshape(len(X), -1), columns=[f"p{k}" for k in range(64)], index=range(7, 157)
    ),
    "list": lambda X: X.tolist(),
    "list of arrays": list,
    "tensor": torch.from_numpy,
    "colour": lambda X: np.stack([X, X // 2, 255 - X], axis=-1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_any_kind(some, kind):
    X, y = KINDS[kind](some[0]), some[1]
    mine = searches()[0].fit(X, y)
    array = X if kind != "tensor" else X.numpy()
    theirs = searches()[1].fit(array, y)
    assert_same_search(mine, theirs, array)
    assert mine.image_shape_ == (8, 8, 3 if kind == "colour" else 1)
    assert hasattr(mine, "feature_names_in_") == (kind == "frame")
    assert mine.n_features_in_ == theirs.best_estimator_.n_features_in_


def test_channels_first(some):
    X, y = some
    X = np.stack([X, X // 2], axis=1)
    mine, theirs = searches(network={"channels": "first"})
    assert_same_search(mine.fit(X, y), theirs.fit(X, y), X)


def test_labels_that_a_training_fold_lacks_are_only_scored(some):
    X, y = some
    order = np.argsort(y, kind="stable")
    folds = [(order[:100], order[100:]), (order[40:], order[:40]), (order, order[:9])]
    mine, theirs = searches({"cv": folds})
    mine.fit(X, y)
    assert_same_search(mine, theirs.fit(X, y), X)
    known = np.isin(y[folds[0][1]], y[folds[0][0]])
    assert known.any() and not known.all()
    # of the rows that can be right, more are than of all; nobody can be right in fold 1
    assert (
        mine.scores_path_[:2, 0, -1] >= mine.cv_results_["split0_test_score"][:2]
    ).all()


SEVERAL = {
    "list": ["accuracy", "neg_log_loss"],
    "dict": {"accuracy": "accuracy", "neg_log_loss": get_scorer("neg_log_loss")},
    "callable": lambda clf, X, y: {
        "neg_log_loss": -log_loss(y, clf.predict_proba(X)),
        "accuracy": clf.score(X, y),
    },
}


@pytest.mark.parametrize("scoring", SEVERAL)
@pytest.mark.parametrize("refit", ["accuracy", "neg_log_loss", "worst"])
def test_several_metrics(some, scoring, refit):
    X, y = some
    if refit == "worst":
        refit = lambda results: results["rank_test_accuracy"].argmax()  # noqa: E731
    mine, theirs = searches({"scoring": SEVERAL[scoring], "refit": refit})
    assert_same_search(mine.fit(X, y), theirs.fit(X, y), X)
    if isinstance(refit, str):
        assert mine.score(X, y) == theirs.score(X, y)
    else:
        with pytest.raises(ValueError, match="several metrics"):
            mine.score(X, y)


@pytest.mark.parametrize("scoring", SEVERAL)
def test_several_metrics_need_one_that_decides(some, scoring):
    mine = searches({"scoring": SEVERAL[scoring]})[0]
    with pytest.raises(ValueError, match="multi-metric.*refit=True.*neg_log_loss"):
        mine.fit(*some)
    mine.set_params(refit=False).fit(*some)
    assert mine.cv_results_["rank_test_accuracy"].shape == (2,)
    assert not hasattr(mine, "best_index_") and not hasattr(mine, "alpha_")


def test_a_callable_refit_of_one_metric(some):
    X, y = some
    mine, theirs = searches({"refit": lambda results: 1}, alphas=MORE)
    assert_same_search(mine.fit(X, y), theirs.fit(X, y), X)
    assert mine.alpha_ == 10


@pytest.mark.parametrize("bad, error", [(0.5, TypeError), (3, IndexError)])
def test_a_callable_refit_returns_a_position(some, bad, error):
    with pytest.raises(error, match=f"refit returned {bad}"):
        searches({"refit": lambda results: bad})[0].fit(*some)


def test_refit_false_leaves_the_search_alone(some):
    X, y = some
    mine, theirs = searches({"refit": False})
    assert_same_results(mine.fit(X, y).cv_results_, theirs.fit(X, y).cv_results_)
    assert mine.alpha_ == theirs.best_params_["alpha"]
    assert mine.best_score_ == theirs.best_score_
    for name in ("predict", "predict_proba", "decision_function", "score", "net_"):
        assert not hasattr(mine, name)
    with pytest.raises(AttributeError, match="predict"):
        mine.predict(X)


def test_nothing_of_an_earlier_fit_stays(some):
    X, y = some
    mine = searches()[0].fit(X, y)
    mine.set_params(refit=False).fit(X, y)
    assert not hasattr(mine, "net_") and not hasattr(mine, "best_estimator_")


def test_a_fit_that_fails_changes_nothing(some):
    X, y = some
    mine = searches()[0].fit(X, y)
    before = dict(vars(mine))
    with pytest.raises(ValueError, match="NaN"):
        mine.fit(np.where(X > 0, np.nan, 1.0), y)
    with pytest.raises(ValueError, match="All 6 trainings"):
        mine.set_params(lr=1e200, optimizer="sgd").fit(X, y)
    mine.set_params(lr=0.01, optimizer="adam")
    assert vars(mine) == before


# -- an ordinary estimator ------------------------------------------------------------


def test_clone_pickle_and_repr(some):
    X, y = some
    mine = searches({"cv": KFold(2)})[0].fit(X, y)
    twin = pickle.loads(pickle.dumps(mine))
    assert np.array_equal(twin.predict_proba(X), mine.predict_proba(X))
    assert twin.best_estimator_.net_ is twin.net_
    assert not [name for name in vars(clone(mine)) if name.endswith("_")]
    assert repr(mine).startswith("L2CNNClassifierCV(alphas=[1.0, 0.001],")
    assert "max_epochs=3" in repr(mine)
    assert "L2CNNClassifierCV" in mine._repr_html_()


def test_the_refit_is_an_ordinary_classifier(some):
    X, y = some
    mine = searches()[0].fit(X, y)
    best = L2CNNClassifier(mine.alpha_, **NETWORK).fit(X, y)
    fitted = {name for name in vars(best) if name.endswith("_")}
    assert {*fitted, "module_", "device_", "precision_"} <= set(dir(mine))
    assert mine.loss_curve_ == best.loss_curve_
    assert mine.best_estimator_.get_params() == best.get_params()
    assert mine.module_ is mine.best_estimator_.module_
    assert mine.refit_time_ > 0


def test_in_a_pipeline_and_under_a_search(some):
    X, y = some
    mine = searches({"cv": 2}, {"max_epochs": 2})[0]
    pipe = make_pipeline(FunctionTransformer(np.asarray), mine)
    dummy = cross_val_score(DummyClassifier(), X, y, cv=2).mean()
    assert cross_val_score(pipe, X, y, cv=2).mean() > dummy + 0.2
    outer = GridSearchCV(mine, {"lr": [1e-9, 1e-2], "path": ["warm"]}, cv=2).fit(X, y)
    assert outer.best_params_ == {"lr": 1e-2, "path": "warm"}


def test_n_jobs_does_not_show(some):
    X, y = some
    for path in ("independent", "warm"):
        mine = L2CNNClassifierCV([1e-3, 0.1], cv=3, path=path, **NETWORK)
        one = clone(mine).fit(X, y)
        two = mine.set_params(n_jobs=2).fit(X, y)
        assert np.array_equal(one.predict_proba(X), two.predict_proba(X))
        assert np.array_equal(one.scores_path_, two.scores_path_)
        assert np.array_equal(one.norms_path_, two.norms_path_)
