"""L2CNNSearchCV gives what GridSearchCV gives, of any parameters, behind any steps."""

import logging
import pickle
import threading

import numpy as np
import pandas
import PIL.Image
import pytest
import sklearn
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import EfficiencyWarning, FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    ParameterGrid,
    RandomizedSearchCV,
    StratifiedKFold,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklearn_l2cnn import L2CNNClassifier, L2CNNSearchCV
from sklearn_l2cnn._training.stacked import plan
from sklearn_l2cnn.preprocessing import ImageReader
from tests.conftest import SmallNet, double
from tests.search.searches import NETWORK, assert_same_results, refuse_stacks
from tests.training.stacked.both_ways import count_stacks


def network(**parameters):
    return L2CNNClassifier(**(NETWORK | parameters))


def both(some, estimator, grid, search=(), **fit):
    """Search with both classes; what they find must be the same."""
    X, y = some
    search = {"cv": 3, **dict(search)}
    mine = L2CNNSearchCV(estimator, grid, **search).fit(X, y, **fit)
    theirs = GridSearchCV(estimator, grid, **search).fit(X, y, **fit)
    assert_same_results(mine.cv_results_, theirs.cv_results_)
    for name in ("best_index_", "best_params_", "n_splits_", "multimetric_"):
        assert getattr(mine, name, None) == getattr(theirs, name, None), name
    assert mine.get_params(deep=False).keys() > theirs.get_params(deep=False).keys()
    learnt, expected = ({n for n in vars(s) if n[-1] == "_"} for s in (mine, theirs))
    assert learnt == expected
    return mine, theirs


GRIDS = {
    "alpha and lr": (
        {},
        {"alpha": [1e-3, 0.1], "lr": [1e-3, 1e-2], "label_smoothing": [0, 0.1]},
    ),
    "momentum": (
        {"optimizer": "sgd"},
        {"momentum": [0.0, 0.5, 0.9], "lr": [0.01, 0.05], "max_norm": [None, 1.0]},
    ),
    "decoupled, momentum": (
        {"optimizer": "sgdw"},
        {"momentum": [0.0, 0.9], "alpha": [0.0, 0.1], "gradient_clip": [None, 0.5]},
    ),
    "momentum and corners": (
        {"optimizer": "sgd", "penalty": "elasticnet"},
        {"momentum": [0.0, 0.9], "alpha": [0.01], "l1_ratio": [0.0, 0.3, 1.0]},
    ),
    "l1_ratio, decoupled": (
        {"penalty": "elasticnet", "optimizer": "adamw"},
        {"l1_ratio": [0.2, 0.8], "alpha": [0.01, 0.1]},
    ),
    "repeats": ({}, {"alpha": [1e-3, 0.1], "random_state": [0, 1, 2]}),
    "groups": (
        {},
        {"alpha": [1e-3, 0.1], "batch_size": [16, 40], "penalty": ["l2", "l1"]},
    ),
    "lists": ({}, [{"alpha": [0.1]}, {"lr": [1e-3, 1e-2], "max_epochs": [1, 4]}]),
    "rates by layer": ({}, {"lr": [1e-2, {"*": 1e-2}, {"3": 1e-3, "*": 1e-2}]}),
    "early stopping": (
        {"early_stopping": True, "max_epochs": 6},
        {"alpha": [1e-3, 1.0], "n_iter_no_change": [1, 3]},
    ),
    "averages": ({"average": 0.9}, {"average": [None, 0.9], "lr": [0.01, 0.02]}),
    "schedules": ({}, {"lr_schedule": [None, "cosine", "plateau"], "lr": [0.01]}),
    "of one value": ({}, {"alpha": [0.1]}),
    "nothing": ({}, {}),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_results_are_those_of_grid_search(some, name):
    parameters, grid = GRIDS[name]
    both(some, network(**parameters), grid)


def test_networks_that_differ_in_numbers_are_trained_together(some, monkeypatch):
    sizes = count_stacks(monkeypatch)
    clf = network(optimizer="sgd", penalty="elasticnet")
    grid = {"momentum": [0.0, 0.9], "l1_ratio": [0.1, 0.9], "random_state": [0, 1]}
    L2CNNSearchCV(clf, grid, cv=3).fit(*some)
    assert sizes == [24]  # of all folds, and of both repeats


def test_one_by_one_every_bit_is_the_same(some, monkeypatch):
    refuse_stacks(monkeypatch)
    X, y = some
    grid = {"alpha": [1e-3, 0.1], "batch_size": [16, 32]}
    mine, theirs = (
        cls(network(), grid, cv=3).fit(X, y) for cls in (L2CNNSearchCV, GridSearchCV)
    )
    assert_same_results(mine.cv_results_, theirs.cv_results_, exact=True)
    assert np.array_equal(mine.predict_proba(X), theirs.predict_proba(X))


def test_in_processes_all_is_the_same(some):
    both(some, network(penalty="l2", architecture=SmallNet), {"alpha": [0.1, 1.0]})
    X, y = some
    clf = make_pipeline(MinMaxScaler(), network(image_shape=(8, 8), freeze="0"))
    grid = {"l2cnnclassifier__alpha": [0.1, 1.0]}
    mine = L2CNNSearchCV(clf, grid, cv=3, n_jobs=2).fit(X.reshape(len(y), -1), y)
    theirs = GridSearchCV(clf, grid, cv=3).fit(X.reshape(len(y), -1), y)
    assert_same_results(mine.cv_results_, theirs.cv_results_)


# -- pipelines ------------------------------------------------------------------------


class Counting(TransformerMixin, BaseEstimator):
    """Scale pixels, and count how often that is fitted."""

    fits = 0

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None, sample_weight=None):
        type(self).fits += 1
        self.mean_ = np.average(X, axis=0, weights=sample_weight)
        return self

    def transform(self, X):
        return (X - self.mean_) * self.factor


def behind(*steps, **parameters):
    return Pipeline(
        [*((str(type(s).__name__), s) for s in steps), ("clf", network(**parameters))]
    )


PIPELINES = {
    "one step": (
        behind(Counting()),
        {"clf__alpha": [0.1, 1.0], "clf__lr": [1e-3, 0.01]},
    ),
    "steps have parameters": (
        behind(Counting(), standardize=False),
        {"Counting__factor": [0.1, 1.0], "clf__alpha": [0.1, 1.0]},
    ),
    "a step is searched for": (
        behind(Counting(), standardize=False),
        {"Counting": ["passthrough", Counting(0.5)], "clf__lr": [1e-3, 0.01]},
    ),
    "no step": (behind(), {"clf__alpha": [0.1, 1.0]}),
    "nothing of the classifier": (behind(Counting()), {"Counting__factor": [0.1, 1.0]}),
    "another last step": (
        behind(Counting()),
        {"clf": [network(alpha=0.1), network(alpha=1.0)]},
    ),
    "the shape is searched for": (
        behind(),
        {"clf__image_shape": [None, (8, 8, 1)], "clf__alpha": [0.1, 1.0]},
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines(some, name):
    both(some, *PIPELINES[name], {"return_train_score": True})


def test_what_a_pipeline_makes_of_files(some, tmp_path):
    """Rows that are no images, in a list or a frame, and sizes that differ."""
    X, y = some
    paths = [str(tmp_path / f"{k}.png") for k in range(60)]
    for path, image in zip(paths, X, strict=False):
        PIL.Image.fromarray(image).save(path)
    pipeline = make_pipeline(ImageReader(size=(8, 8)), network())
    grid = {"imagereader__size": [(8, 8), (6, 6)], "l2cnnclassifier__alpha": [0.1, 1.0]}
    both((paths, y[:60]), pipeline, grid)
    both((pandas.DataFrame({"path": paths}), pandas.Series(y[:60])), pipeline, grid)


def test_images_that_have_no_form_for_some_candidates(some):
    X, y = some
    rows = X.reshape(len(y), -1)
    grid = {"image_shape": [None, (4, 4)], "alpha": [0.1, 1.0]}
    with pytest.warns(FitFailedWarning, match="image_shape=\\(4, 4\\)"):
        both((rows, y), network(), grid)
    with pytest.raises(ValueError, match="image_shape"):
        L2CNNSearchCV(network(), {"image_shape": [(4, 4)]}).fit(rows, y)


def test_steps_are_fitted_once_for_a_fold(some):
    grid = {"clf__alpha": [0.1, 1.0], "clf__batch_size": [16, 32]}
    Counting.fits = 0
    L2CNNSearchCV(behind(Counting()), grid, cv=3, refit=False).fit(*some)
    assert Counting.fits == 3


def test_a_scorer_of_the_user_gets_the_whole_pipeline(some):
    def scorer(estimator, X, y):
        assert isinstance(estimator, Pipeline) and X.dtype == np.uint8
        return estimator.score(X, y) - abs(estimator["Counting"].mean_).max()

    both(some, behind(Counting()), {"clf__alpha": [0.1, 1.0]}, {"scoring": scorer})


def test_a_step_that_fails(some):
    class Failing(Counting):
        def fit(self, X, y=None):
            if self.factor < 0:
                raise RuntimeError("a negative factor")
            return super().fit(X)

    search = {"error_score": 0.0}
    with pytest.warns(FitFailedWarning, match="a negative factor"):
        both(some, behind(Failing()), {"Failing__factor": [-1.0, 1.0]}, search)


# -- scores ---------------------------------------------------------------------------


def two_scores(estimator, X, y):
    return {"a": estimator.score(X, y), "b": -float(len(y))}


SCORINGS = {
    "name": {"scoring": "neg_log_loss", "return_train_score": True},
    "several": {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
    "a dict of them": {
        "scoring": {
            "x": "accuracy",
            "y": make_scorer(lambda y, p: float((y == p).sum())),
        },
        "refit": "y",
        "return_train_score": True,
    },
    "a callable of several": {"scoring": two_scores, "refit": "a"},
    "no refit": {"refit": False},
    "several without refit": {"scoring": ["accuracy", "f1_macro"], "refit": False},
    "refit says which": {"refit": lambda results: 1},
    "a splitter": {"cv": StratifiedKFold(2, shuffle=True, random_state=1)},
}


@pytest.mark.parametrize("name", SCORINGS)
def test_scores(some, name):
    mine, theirs = both(some, network(), {"alpha": [1e-3, 1.0]}, SCORINGS[name])
    if hasattr(theirs, "best_estimator_") and not callable(mine.refit):
        assert mine.best_score_ == pytest.approx(theirs.best_score_, rel=1e-9)
        assert mine.score(*some) == pytest.approx(theirs.score(*some), rel=1e-9)


@pytest.mark.parametrize("scoring", [None, ["accuracy", "neg_log_loss"]])
def test_a_scorer_that_fails(some, scoring):
    def fails(estimator, X, y):
        raise RuntimeError("no score")

    scoring = {"good": "accuracy", "bad": fails} if scoring else fails
    search = {"scoring": scoring, "refit": False, "error_score": -1.0}
    with pytest.warns(UserWarning, match="Scoring failed"):
        both(some, network(), {"alpha": [1e-3, 1.0]}, search)
    search["error_score"] = "raise"
    with pytest.raises(RuntimeError, match="no score"):
        L2CNNSearchCV(network(), {"alpha": [1.0]}, **search).fit(*some)


@pytest.mark.parametrize("error_score", [np.nan, -1.0])
def test_a_candidate_that_fails_has_the_error_score(some, error_score):
    grid = {"alpha": [-1.0, 0.1], "batch_size": [16, 32]}
    with pytest.warns(FitFailedWarning, match=r"alpha=-1.0, batch_size=16 in folds 0"):
        both(some, network(), grid, {"error_score": error_score})


def refuses(input_shape, n_classes):
    """Build nothing, with an error that is no ValueError."""
    raise AttributeError("there is no such layer")


@pytest.mark.parametrize("stacked", [True, False])
def test_a_network_that_cannot_be_built_fails(some, stacked, monkeypatch):
    if not stacked:
        refuse_stacks(monkeypatch)
    networks = [NETWORK["architecture"], refuses]
    grid = {"alpha": [0.01, 0.1], "architecture": networks}
    with pytest.warns(FitFailedWarning, match="there is no such layer"):
        both(some, network(), grid, {"error_score": 0.0})
    for some_networks in networks, [refuses]:  # one fails, or all
        grid = {"alpha": [0.01, 0.1], "architecture": some_networks}
        search = L2CNNSearchCV(network(), grid, error_score="raise")
        with pytest.raises(AttributeError, match="there is no such layer"):
            search.fit(*some)


def test_all_fail(some):
    search = L2CNNSearchCV(network(), {"alpha": [-1.0, -2.0]}, cv=3)
    with pytest.raises(ValueError, match="All 6 trainings of the search failed"):
        search.fit(*some)
    assert not [name for name in vars(search) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        search.predict(some[0])
    with pytest.raises(ValueError, match="'alpha' parameter"):
        L2CNNSearchCV(network(), {"alpha": [-1.0]}, error_score="raise").fit(*some)


# -- metadata -------------------------------------------------------------------------


def weights(n):
    return np.random.RandomState(0).randint(0, 4, n).astype(float)


def test_weights(some):
    weight = weights(len(some[1]))
    both(some, network(), {"alpha": [1e-3, 1.0]}, sample_weight=weight)
    grid = {"clf__alpha": [1e-3, 1.0]}
    both(some, behind(Counting()), grid, clf__sample_weight=weight)
    both(some, behind(Counting()), grid, Counting__sample_weight=weight + 1)


def test_groups(some):
    groups = np.arange(len(some[1])) % 4
    search = {"cv": GroupKFold(4)}
    both(some, network(), {"alpha": [1e-3, 1.0]}, search, groups=groups)


def test_routed_metadata(some):
    weight = weights(len(some[1]))
    grid = {"alpha": [1e-3, 1.0]}
    with sklearn.config_context(enable_metadata_routing=True):
        clf = network().set_fit_request(sample_weight=True)
        clf.set_score_request(sample_weight=True)
        both(some, clf, grid, sample_weight=weight)
        pipe = Pipeline(
            [("scale", Counting().set_fit_request(sample_weight=True)), ("clf", clf)]
        )
        # the score of a pipeline takes none in scikit-learn 1.6
        scorer = make_scorer(accuracy_score).set_score_request(sample_weight=False)
        search = {"scoring": scorer}
        both(some, pipe, {"clf__alpha": [1e-3, 1.0]}, search, sample_weight=weight)


# -- whose search it is ---------------------------------------------------------------


def reason_of(caplog):
    caplog.set_level(logging.INFO, "sklearn_l2cnn")
    return lambda: " ".join(caplog.messages)


def test_other_estimators_are_searched_by_scikit_learn(some, caplog):
    X, y = some
    told = reason_of(caplog)
    rows = X.reshape(len(y), -1)
    both((rows, y), LogisticRegression(max_iter=50), {"C": [0.1, 1.0]})
    assert "LogisticRegression is no L2CNNClassifier" in told()
    pipe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=50))
    both((rows, y), pipe, {"logisticregression__C": [0.1, 1.0]})


class Own(L2CNNClassifier):
    """A classifier whose fit does more."""

    def fit(self, X, y):
        return super().fit(X, y)


class OwnPipeline(Pipeline):
    """A pipeline that may do anything."""


@pytest.mark.parametrize(
    ("estimator", "grid", "fit", "reason"),
    [
        (Own(**NETWORK), {"alpha": [0.1]}, {}, "Own is no L2CNNClassifier"),
        (network(), {"device": ["cpu"]}, {}, "device is searched for"),
        (OwnPipeline([("clf", network())]), {"clf__alpha": [0.1]}, {}, "OwnPipeline"),
        (behind(), {"steps": [[("clf", network())]]}, {}, "steps of the pipeline"),
        (network(), {"alpha": [0.1]}, {"X_val": 1}, "each fit is given X_val, y_val"),
    ],
)
def test_what_is_not_ours_is_left_to_scikit_learn(
    some, caplog, estimator, grid, fit, reason
):
    X, y = some
    told = reason_of(caplog)
    fit = {"X_val": X[:9], "y_val": y[:9]} if fit else {}
    both(some, estimator, grid, **fit)
    assert reason in told()


def test_networks_that_cannot_be_stacked_are_told_of(some, caplog):
    told = reason_of(caplog)
    grid = {"architecture": [double, SmallNet], "alpha": [0.1, 1.0]}
    both(some, network(), grid)
    assert "a network of class SmallNet is no torch.nn.Sequential" in told()


def test_candidates_drawn_at_random(some):
    X, y = some
    clf, grid = network(), {"alpha": loguniform(1e-4, 1e-1), "lr": [1e-3, 1e-2]}
    mine = L2CNNSearchCV(clf, grid, n_candidates=5, random_state=3, cv=3).fit(X, y)
    theirs = RandomizedSearchCV(clf, grid, n_iter=5, random_state=3, cv=3).fit(X, y)
    assert_same_results(mine.cv_results_, theirs.cv_results_)
    logistic = L2CNNSearchCV(
        LogisticRegression(max_iter=9), {"C": loguniform(0.1, 1)}, n_candidates=2
    )
    with pytest.warns(Warning, match="lbfgs"):
        logistic.fit(X.reshape(len(y), -1), y)
    assert len(logistic.cv_results_["params"]) == 2


def test_what_is_told(some, capsys):
    grid = {"lr": [1e-3, 1e-2], "batch_size": [16, 64]}
    L2CNNSearchCV(network(), grid, cv=3, verbose=1, refit=False).fit(*some)
    start, net, *lines = capsys.readouterr().out.splitlines()
    assert start == "Fitting 3 folds for each of 4 candidates, totalling 12 networks"
    assert "parameters, batch size" in net
    assert all(line.startswith("epoch ") for line in lines) and ", took " in lines[-1]


def test_pickled_and_fitted_again(some):
    X, y = some
    search = L2CNNSearchCV(network(), {"alpha": [0.1, 1.0]}, cv=3).fit(X, y)
    again = pickle.loads(pickle.dumps(search))
    assert np.array_equal(again.predict_proba(X), search.predict_proba(X))
    search.set_params(refit=False).fit(X, y)
    assert not hasattr(search, "best_estimator_") and not hasattr(search, "predict")


# -- halving --------------------------------------------------------------------------


HALVED = {"alpha": [1e-3, 0.1], "lr": [1e-4, 1e-3, 1e-2], "batch_size": [16, 40]}


def halved_by_hand(some, parameters, grid, factor, epochs):
    """Train every candidate anew up to each rung: its rate does not depend on it."""
    alive, reached = [*range(len(ParameterGrid(grid)))], np.zeros(12, dtype=int)
    scores, taken = np.zeros((12, 3)), np.zeros(12, dtype=int)
    for rung, epoch in enumerate(epochs):
        clf = network(**parameters | {"max_epochs": epoch})
        found = GridSearchCV(clf, grid, cv=3, scoring="neg_log_loss").fit(*some)
        own = [found.cv_results_[f"split{k}_test_score"] for k in range(3)]
        scores[alive] = np.column_stack(own)[alive]
        taken[alive] = epoch
        if rung < len(epochs) - 1:
            best = sorted(alive, key=lambda k: -scores[k].mean())
            alive = best[: -(-len(alive) // factor)]
            reached[alive] += 1
    return scores, taken, reached


@pytest.mark.parametrize(
    ("factor", "max_epochs", "epochs"),
    [(2, 9, [2, 3, 5, 9]), (3, 7, [3, 7]), (5, 5, [1, 5])],
)
def test_halving_by_hand(some, factor, max_epochs, epochs):
    parameters = {"lr_schedule": None, "max_epochs": max_epochs}
    search = L2CNNSearchCV(
        network(**parameters), HALVED, cv=3, halving=factor, scoring="neg_log_loss"
    ).fit(*some)
    scores, taken, reached = halved_by_hand(some, parameters, HALVED, factor, epochs)
    results = search.cv_results_
    for k in range(3):
        np.testing.assert_allclose(results[f"split{k}_test_score"], scores[:, k], 1e-9)
    assert np.array_equal(results["n_resources"], taken)
    assert np.array_equal(results["iter"], reached)
    last = np.flatnonzero(reached == reached.max())
    assert search.best_index_ == last[scores[last].mean(axis=1).argmax()]
    best = search.cv_results_["params"][search.best_index_]
    alone = network(**parameters | best).fit(*some)
    assert np.array_equal(search.predict_proba(some[0]), alone.predict_proba(some[0]))


def test_halving_counts_networks_that_have_stopped_and_that_fail(some):
    clf = network(early_stopping=True, n_iter_no_change=1, max_epochs=8)
    grid = {"lr": [1e-6, 1e-2, 1e300, 1e-3]}
    with pytest.warns(FitFailedWarning, match="lr=1e\\+300"):
        search = L2CNNSearchCV(clf, grid, cv=3, halving=2).fit(*some)
    results = search.cv_results_
    assert results["iter"][1] == 2 and search.best_params_ == {"lr": 1e-2}
    assert results["iter"][2] == 0 and np.isnan(results["mean_test_score"][2])


def test_halving_goes_by_the_metric_that_decides(some):
    search = {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"}
    grid = {"lr": [1e-4, 1e-2, 1e-3]}
    several = L2CNNSearchCV(network(), grid, cv=3, halving=3, **search).fit(*some)
    one = L2CNNSearchCV(network(), grid, cv=3, halving=3, scoring="neg_log_loss")
    assert np.array_equal(
        one.fit(*some).cv_results_["iter"], several.cv_results_["iter"]
    )


def test_halving_by_several_metrics_needs_the_one_that_decides(some):
    search = {"scoring": ["accuracy", "f1_macro"], "refit": False, "halving": 2}
    with pytest.raises(ValueError, match="Name it as refit"):
        L2CNNSearchCV(network(), {"alpha": [0.1, 1.0]}, cv=3, **search).fit(*some)


def test_halving_where_networks_are_trained_one_by_one(some):
    grid = {"architecture": [double, SmallNet], "lr": [1e-4, 1e-2]}
    search = L2CNNSearchCV(network(), grid, cv=3, halving=2)
    with pytest.warns(EfficiencyWarning, match="2 candidates are trained to the end"):
        search.fit(*some)
    assert search.cv_results_["n_resources"].tolist()[2:] == [3, 3]
    search = L2CNNSearchCV(LogisticRegression(), {"C": [1, 2]}, halving=2)
    with pytest.raises(ValueError, match="LogisticRegression is no L2CNNClassifier"):
        search.fit(*some)


def test_halving_in_threads_and_after_an_error(some, monkeypatch):
    """Several stacks wait for each other; what raises in a comparison ends them all."""
    monkeypatch.setattr(plan, "_STACK_BYTES", 1)
    clf, before = network(threads=2), threading.active_count()
    search = L2CNNSearchCV(clf, HALVED, cv=3, halving=3, error_score="raise").fit(*some)
    monkeypatch.undo()
    alone = L2CNNSearchCV(network(), HALVED, cv=3, halving=3).fit(*some)
    for name in ("iter", "n_resources"):
        assert np.array_equal(search.cv_results_[name], alone.cv_results_[name])

    def fails(estimator, X, y):
        raise RuntimeError("no score")

    monkeypatch.setattr(plan, "_STACK_BYTES", 1)
    with pytest.raises(RuntimeError, match="no score"):
        search.set_params(scoring=fails).fit(*some)
    assert threading.active_count() <= before + 2
