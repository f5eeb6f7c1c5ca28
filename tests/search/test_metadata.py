"""Weights, groups and other metadata on their way through L2CNNClassifierCV."""

import numpy as np
import pytest
import sklearn
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold

from sklearn_l2cnn import L2CNNClassifier
from tests.search.searches import ALPHAS, NETWORK, assert_same_search, searches


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


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
    unset = searches()[0]
    for _ in range(2):  # nothing is set, then fit alone
        match = r"Call `L2CNNClassifierCV.set_score_request\("
        with pytest.raises(UnsetMetadataPassedError, match=match):
            unset.fit(X, y, sample_weight=np.ones(len(y)))
        unset.set_fit_request(sample_weight=True)
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
