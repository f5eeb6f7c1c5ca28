"""The estimator as a member of scikit-learn's pipelines, searches and ensembles."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_l2cnn import L2CNNClassifier
from tests.conftest import tiny

pytestmark = pytest.mark.long


@pytest.fixture
def rows(digits):
    X, y = digits
    return X.reshape(len(X), -1).astype(float), y


@pytest.fixture
def clf():
    return L2CNNClassifier(architecture=tiny, lr=0.01, max_epochs=8, random_state=0)


def test_pipeline(rows, clf):
    X, y = rows
    pipe = make_pipeline(StandardScaler(), clf).fit(X, y)
    assert pipe.score(X, y) > 0.9
    assert pipe[:-1].transform(X).shape == X.shape


def test_grid_search_over_images(digits, clf):
    X, y = digits
    search = GridSearchCV(clf, {"alpha": [1e-4, 1e2]}, cv=3).fit(X, y)
    assert search.best_params_ == {"alpha": 1e-4}
    assert search.best_score_ > 0.85
    assert search.predict(X).shape == y.shape
    assert search.cv_results_["mean_test_score"][1] < 0.5


def test_grid_search_with_two_jobs(digits, clf):
    X, y = digits
    grid = {"alpha": [1e-4, 1.0], "architecture": ["plain", tiny]}
    search = GridSearchCV(clf.set_params(max_epochs=2), grid, cv=2)
    one, two = (clone(search).set_params(n_jobs=n).fit(X, y) for n in (1, 2))
    for key in ("split0_test_score", "split1_test_score", "rank_test_score"):
        assert np.array_equal(one.cv_results_[key], two.cv_results_[key])
    assert len(set(one.cv_results_["mean_test_score"])) > 1
    assert one.best_params_ == two.best_params_
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))


def test_halving_search(rows, clf):
    X, y = rows
    search = HalvingGridSearchCV(
        clf, {"alpha": [1e-4, 1e-2, 10.0]}, resource="max_epochs", max_resources=9, cv=2
    ).fit(X, y)
    assert search.best_params_["alpha"] < 1


def test_cross_validation(digits, clf):
    X, y = digits
    assert cross_val_score(clf, X, y, cv=3, n_jobs=2).mean() > 0.85
    probabilities = cross_val_predict(clf, X, y, cv=3, method="predict_proba")
    assert probabilities.shape == (300, 10)


def test_learning_curve(digits, clf):
    X, y = digits
    scores = learning_curve(clf, X, y, train_sizes=[0.2, 1.0], cv=3)[2]
    assert scores.mean(axis=1)[0] < scores.mean(axis=1)[1]


def test_bagging(rows, clf):
    X, y = rows
    bag = BaggingClassifier(clf, n_estimators=3, random_state=0).fit(X, y)
    assert bag.score(X, y) > 0.9
    weighted = bag.fit(X, y, sample_weight=(y < 5).astype(float))
    assert set(weighted.predict(X)) <= set(range(5))


def test_bagging_of_images_as_rows(digits, clf):
    X, y = digits
    X = np.repeat(X[:100, ..., np.newaxis], 3, axis=3)
    bag = BaggingClassifier(
        clf.set_params(image_shape=X.shape[1:]), n_estimators=2, random_state=0
    )
    with pytest.raises(ValueError, match="Found array with dim 4"):
        bag.fit(X, y[:100])  # refuses images itself
    rows = X.reshape(len(X), -1)  # as docs/coming_from.md says
    assert bag.fit(rows, y[:100]).score(rows, y[:100]) > 0.9
    assert bag.estimators_[0].image_shape_ == (8, 8, 3)


def test_adaboost(rows, clf):
    X, y = rows
    boost = AdaBoostClassifier(
        clf.set_params(max_epochs=2), n_estimators=4, random_state=0
    )
    assert boost.fit(X, y).score(X, y) > 0.9
    # every member but the first was taught the images that the others got wrong
    first, second = boost.estimators_[:2]
    assert not np.array_equal(first.predict_proba(X), second.predict_proba(X))


@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_voting(rows, clf, voting):
    X, y = rows
    members = [("cnn", clf), ("linear", LogisticRegression(max_iter=200))]
    assert (
        VotingClassifier(members, voting=voting).fit(X / 255, y).score(X / 255, y) > 0.9
    )


def test_stacking(rows, clf):
    X, y = rows
    members = [("cnn", clf), ("linear", LogisticRegression(max_iter=200))]
    assert StackingClassifier(members, cv=2).fit(X / 255, y).score(X / 255, y) > 0.9


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration(rows, clf, method):
    X, y = rows
    calibrated = CalibratedClassifierCV(clf, method=method, cv=2).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    assert calibrated.score(X, y) > 0.85


def test_one_versus_rest(rows, clf):
    X, y = rows
    assert OneVsRestClassifier(clf).fit(X, y).score(X, y) > 0.9


def test_multi_output(rows, clf):
    X, y = rows
    two = np.column_stack([y % 2, y // 5])
    assert MultiOutputClassifier(clf).fit(X, two).predict(X).shape == (300, 2)


def test_thresholds(rows, clf):
    X, y = rows
    y = (y == 3).astype(int)
    fitted = clf.fit(X, y)
    low, high = (
        FixedThresholdClassifier(fitted, threshold=t).fit(X, y).predict(X).mean()
        for t in (1e-6, 0.999999)
    )
    assert low > high
    tuned = TunedThresholdClassifierCV(clf, cv=2, thresholds=20).fit(X, y)
    assert tuned.score(X, y) > 0.9


def test_permutation_importance(rows, clf):
    X, y = rows
    result = permutation_importance(clf.fit(X, y), X, y, n_repeats=2, random_state=0)
    assert result.importances_mean.max() > 0
    constant = np.ptp(X, axis=0) == 0
    assert (result.importances_mean[constant] == 0).all()


# -- metadata -------------------------------------------------------------------------


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_sample_weight_is_routed_through_a_search(rows, clf, routing):
    X, y = rows
    weight = (y < 5).astype(float)
    clf = clf.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(clf, {"alpha": [1e-4, 1e-2]}, cv=2)
    search.fit(X, y, sample_weight=weight)
    assert search.best_estimator_.classes_.tolist() == [0, 1, 2, 3, 4]
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("early_stopping", [False, True])
def test_validation_data_are_transformed_by_the_pipeline(
    rows, clf, routing, early_stopping
):
    X, y = rows
    shift = FunctionTransformer(lambda X: X / 255 - 7)
    clf = clf.set_params(early_stopping=early_stopping)
    clf.set_fit_request(X_val=True, y_val=True, sample_weight=True)
    pipe = make_pipeline(shift, clf, transform_input=["X_val"])
    weight = np.ones(200)
    pipe.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:], sample_weight=weight)
    inner = pipe[-1]
    scores = inner.validation_scores_
    expected = scores[inner.best_epoch_ - 1] if early_stopping else scores[-1]
    assert pipe.score(X[200:], y[200:]) == pytest.approx(expected, abs=1e-6)
    assert max(scores) > 0.8, "the validation images were not shifted with the others"


def test_weights_that_nobody_asked_for_are_an_error(rows, clf, routing):
    X, y = rows
    search = GridSearchCV(clf, {"alpha": [1e-4]}, cv=2)
    with pytest.raises(Exception, match="sample_weight"):
        search.fit(X, y, sample_weight=np.ones(300))
