"""L2CNNClassifierCV finds what GridSearchCV finds, bit for bit."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import accuracy_score, get_scorer, log_loss, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import GradientNormClipping

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from tests.conftest import SmallNet, tiny

ALPHAS = [1.0, 1e-3]
MORE = [1e-3, 10.0, 0.1]
NETWORK = {"architecture": tiny, "max_epochs": 3, "lr": 0.01, "random_state": 0}
TIMES = {f"{m}_{w}_time" for m in ("mean", "std") for w in ("fit", "score")}


@pytest.fixture
def some(digits):
    X, y = digits
    return X[:150], y[:150]


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def searches(search=(), network=(), alphas=ALPHAS):
    """A search of ours and the one that it must equal."""
    search, network = {"cv": 3} | dict(search), NETWORK | dict(network)
    return (
        L2CNNClassifierCV(alphas, **search, **network),
        GridSearchCV(L2CNNClassifier(**network), {"alpha": alphas}, **search),
    )


def assert_same_results(mine, theirs):
    assert list(mine) == list(theirs)
    for key in set(theirs) - TIMES:
        np.testing.assert_array_equal(mine[key], theirs[key], err_msg=key)
        assert np.asarray(mine[key]).dtype == np.asarray(theirs[key]).dtype, key
    for key in TIMES:
        assert mine[key].shape == theirs[key].shape and (mine[key] >= 0).all()


def assert_same_search(mine, theirs, X):
    assert_same_results(mine.cv_results_, theirs.cv_results_)
    assert mine.best_index_ == theirs.best_index_
    assert mine.best_params_ == theirs.best_params_ == {"alpha": mine.alpha_}
    assert mine.n_splits_ == theirs.n_splits_
    assert mine.multimetric_ == theirs.multimetric_
    if hasattr(theirs, "best_score_"):
        assert mine.best_score_ == theirs.best_score_
    else:
        assert not hasattr(mine, "best_score_")
    for name in ("predict", "predict_proba", "decision_function", "predict_log_proba"):
        ours, expected = getattr(mine, name)(X), getattr(theirs, name)(X)
        assert np.array_equal(ours, expected) and ours.dtype == expected.dtype


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
        "architecture": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    },
    "group": {"penalty": "group", "decoupled": True},
    "another seed": {"random_state": np.random.RandomState(3)},
}


@pytest.mark.parametrize("name", [*SEARCHES, *NETWORKS])
def test_same_as_grid_search(some, name):
    mine, theirs = searches(SEARCHES.get(name, {}), NETWORKS.get(name, {}), MORE)
    X, y = some
    assert_same_search(mine.fit(X, y), theirs.fit(X, y), X)
    assert mine.score(X, y) == theirs.score(X, y)
    scores = mine.cv_results_["mean_test_score"]
    assert len(set(scores)) > 1  # or nothing would have been compared


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
        mine.set_params(lr=1e30, optimizer="sgd").fit(X, y)
    mine.set_params(lr=0.01, optimizer="adam")
    assert vars(mine) == before


# -- weights, groups, routing ---------------------------------------------------------


def test_weights_reach_training_and_score(some):
    X, y = some
    weight = np.random.RandomState(0).randint(0, 4, len(y))
    mine = searches()[0].fit(X, y, weight)
    for k, (train, test) in enumerate(StratifiedKFold(3).split(X, y)):
        for a, alpha in enumerate(ALPHAS):
            one = L2CNNClassifier(alpha, **NETWORK).fit(
                X[train], y[train], weight[train]
            )
            score = one.score(X[test], y[test], weight[test])
            assert mine.cv_results_[f"split{k}_test_score"][a] == score
            assert mine.scores_path_[a, k, -1] == pytest.approx(score, rel=1e-6)
    alone = L2CNNClassifier(mine.alpha_, **NETWORK).fit(X, y, weight)
    assert np.array_equal(mine.predict_proba(X), alone.predict_proba(X))
    assert mine.score(X, y, weight) == alone.score(X, y, weight) != alone.score(X, y)


def test_weight_is_repetition_within_a_fold(some):
    X, y = some
    weight = np.random.RandomState(0).randint(0, 4, len(y))
    folds = list(StratifiedKFold(3).split(X, y))
    number = np.empty(len(y), dtype=int)
    for k, (_, test) in enumerate(folds):
        number[test] = k
    many = np.repeat(np.arange(len(y)), weight)
    repeated = [
        (np.flatnonzero(number[many] != k), np.flatnonzero(number[many] == k))
        for k in range(3)
    ]
    weighted = searches({"cv": folds}, alphas=4)[0].fit(X, y, 7.0 * weight)
    plain = searches({"cv": repeated}, alphas=4)[0].fit(X[many], y[many])
    assert np.array_equal(weighted.alphas_, plain.alphas_)
    for key in plain.cv_results_:
        if key.startswith("split"):
            assert np.allclose(weighted.cv_results_[key], plain.cv_results_[key])
    assert np.array_equal(weighted.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("several", [False, True])
def test_a_scorer_that_takes_no_weight_is_told_of(some, several):
    X, y = some

    def plain(clf, X, y):
        return clf.score(X, y)

    scoring = {"plain": plain, "accuracy": "accuracy"} if several else plain
    refit = "plain" if several else True
    mine = searches({"scoring": scoring, "refit": refit})[0]
    weight = np.random.RandomState(0).randint(0, 4, len(y))
    with pytest.warns(UserWarning, match="takes no sample_weight") as caught:
        mine.fit(X, y, weight)
    assert len(caught) == 1
    train, test = next(StratifiedKFold(3).split(X, y))
    one = L2CNNClassifier(ALPHAS[0], **NETWORK).fit(X[train], y[train], weight[train])
    name = "plain" if several else "score"
    found = mine.cv_results_[f"split0_test_{name}"][0]
    assert found == one.score(X[test], y[test])
    if several:
        weighted = mine.cv_results_["split0_test_accuracy"][0]
        assert weighted == one.score(X[test], y[test], weight[test]) != found


def test_groups_go_to_the_splitter(some):
    X, y = some
    groups = np.arange(len(y)) % 5
    mine, theirs = searches({"cv": GroupKFold(3)})
    mine.fit(X, y, groups=groups)
    assert_same_search(mine, theirs.fit(X, y, groups=groups), X)


@pytest.mark.parametrize("scoring", ["default", "one", "several"])
def test_routing(some, routing, scoring):
    X, y = some
    groups, weight = np.arange(len(y)) % 5, np.random.RandomState(0).rand(len(y))
    mine, theirs = searches({"cv": GroupKFold(3)})
    theirs.estimator.set_fit_request(sample_weight=True)
    if scoring == "default":
        mine.set_score_request(sample_weight=True)
        theirs.estimator.set_score_request(sample_weight=True)
    else:
        weighted = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        plain = make_scorer(accuracy_score).set_score_request(sample_weight=False)
        several = {"weighted": weighted, "plain": plain}
        chosen = weighted if scoring == "one" else several
        refit = True if scoring == "one" else "plain"
        mine.set_params(scoring=chosen, refit=refit)
        theirs.set_params(scoring=chosen, refit=refit)
    mine.fit(X, y, sample_weight=weight, groups=groups)
    theirs.fit(X, y, sample_weight=weight, groups=groups)
    assert_same_search(mine, theirs, X)
    ours = mine.score(X, y, sample_weight=weight)
    if scoring == "several":  # the metric that decides asks for none
        assert ours == mine.best_estimator_.score(X, y)
    else:
        assert ours == theirs.score(X, y, sample_weight=weight)
        assert ours != mine.best_estimator_.score(X, y)


def test_routing_asks_for_what_scorers_want(some, routing):
    X, y = some
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        searches()[0].fit(X, y, sample_weight=np.ones(len(y)))
    mine = searches()[0].set_score_request(sample_weight=False)
    weight = np.random.RandomState(0).rand(len(y))
    mine.fit(X, y, sample_weight=weight)
    assert not np.array_equal(
        mine.predict_proba(X), searches()[0].fit(X, y).predict_proba(X)
    )


def test_routing_through_a_search_over_the_search(some, routing):
    X, y = some
    inner = searches({"cv": GroupKFold(2)}, {"max_epochs": 1}, [1e-3, 1.0])[0]
    inner.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    outer = GridSearchCV(inner, {"lr": [1e-3, 1e-2]}, cv=GroupKFold(2))
    groups = np.arange(len(y)) % 5
    outer.fit(X, y, sample_weight=np.ones(len(y)), groups=groups)
    assert outer.best_params_ == {"lr": 1e-2}


def test_metadata_needs_routing(some):
    with pytest.raises(ValueError, match="colour.*enable_metadata_routing=True"):
        searches()[0].fit(*some, colour=1)


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
