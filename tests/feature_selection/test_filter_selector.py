"""FilterSelector: conformance, training and pruning, errors."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.feature_selection import FilterSelector, prune
from tests.conformance.test_classifiers import ABSENT
from tests.conftest import SmallNet, quick

pytestmark = pytest.mark.usefixtures("a_build_for_cuda_is_no_device")


def names_of_checks(estimator):
    checks = [check for _, check in parametrize_with_checks([estimator]).args[1]]
    return [getattr(check, "func", check).__name__ for check in checks]


# -- conformance ----------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "selector",
    [
        FilterSelector(quick(lr=0.01)),
        pytest.param(FilterSelector(), marks=pytest.mark.slow),
        pytest.param(
            FilterSelector(L2CNNClassifier(architecture="conv_pool"), fraction=0.3),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["quick", "default", "fraction"],
)
def test_check_estimator(selector):
    results = check_estimator(selector, on_skip=None, on_fail=None)
    skipped = 0
    for result in results:
        name, reason = result["check_name"], str(result["exception"])
        assert not result["expected_to_fail"]
        if result["status"] != "passed":
            skipped += 1
            assert result["status"] == "skipped", (name, reason)
            assert name.startswith("check_array_api"), (name, reason)
            assert any(word in reason for word in ABSENT), reason
    # all checks of the classifier, except for class weights, which it has not
    ran = sorted(result["check_name"] for result in results)
    expected = names_of_checks(L2CNNClassifier())
    expected.remove("check_class_weight_classifiers")
    assert ran == sorted(expected)
    assert len(results) - skipped >= 65


@pytest.mark.parametrize(
    "check",
    [
        "check_param_validation",
        "check_dataframe_column_names_consistency",
        "check_inplace_ensure_writeable",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_checks_outside_check_estimator(check):
    selector = FilterSelector(L2CNNClassifier(max_epochs=2))
    getattr(estimator_checks, check)("FilterSelector", selector)


def test_no_tag_relaxes_a_check():
    tags = FilterSelector().__sklearn_tags__()
    assert tags.estimator_type == "classifier" and tags.requires_fit
    assert tags.input_tags.two_d_array and tags.input_tags.three_d_array
    assert not tags.no_validation and not tags.non_deterministic
    assert not tags.input_tags.allow_nan and not tags._skip_test
    assert not tags.classifier_tags.poor_score and tags.array_api_support


# -- training and pruning -------------------------------------------------------------


def test_it_trains_and_prunes(digits):
    X, y = digits
    clf = quick(penalty="group", alpha=0.01, architecture="plain", lr=3e-3)
    selector = FilterSelector(clf, fraction=0.3).fit(X, y)
    expected, support = prune(clone(clf).fit(X, y), fraction=0.3, return_support=True)
    assert not hasattr(clf, "net_")
    for method in (
        "predict",
        "predict_proba",
        "predict_log_proba",
        "decision_function",
    ):
        found = getattr(selector, method)(X)
        assert np.array_equal(found, getattr(expected, method)(X))
        assert np.array_equal(found, getattr(selector.estimator_, method)(X))
    assert selector.support_.keys() == support.keys() == selector.n_filters_.keys()
    for name, left in support.items():
        assert np.array_equal(selector.support_[name], left)
        layer = selector.estimator_.module_.get_submodule(name)
        assert selector.n_filters_[name] == left.sum() == len(layer.weight)
        assert 0 < left.sum() < len(left)
    assert np.array_equal(selector.classes_, np.arange(10))
    assert selector.n_features_in_ == 64
    assert selector.score(X, y) == expected.score(X, y)


@pytest.mark.long
def test_by_default_zero_units_are_removed_and_predictions_stay(digits):
    X, y = digits
    selector = FilterSelector(random_state=0).fit(X, y)
    whole = L2CNNClassifier(alpha=3e-4, penalty="group", random_state=0).fit(X, y)
    np.testing.assert_allclose(
        selector.decision_function(X), whole.decision_function(X), atol=1e-4
    )
    assert selector.n_filters_["dense1"] < 128


def test_random_state_is_that_of_the_estimator(digits):
    X, y = digits
    clf = quick(random_state=None, max_epochs=1)
    one, same, other = (
        FilterSelector(clf, random_state=seed).fit(X, y).predict_proba(X)
        for seed in (0, 0, 1)
    )
    own = FilterSelector(quick(random_state=0, max_epochs=1)).fit(X, y)
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert np.array_equal(one, own.predict_proba(X))


def test_a_frozen_estimator_is_not_trained(digits):
    X, y = digits
    clf = quick().fit(X, y)
    selector = FilterSelector(FrozenEstimator(clf), fraction=0.25, random_state=3)
    selector.fit(X[:2], y[:2])
    assert np.array_equal(selector.classes_, np.arange(10))
    expected = prune(clf, fraction=0.25).predict_proba(X)
    assert np.array_equal(selector.predict_proba(X), expected)
    with pytest.raises(NotFittedError):
        FilterSelector(FrozenEstimator(quick())).fit(X, y)


def test_weights_and_validation_data_reach_the_training(digits):
    X, y = digits
    clf = quick(early_stopping=True)
    rows = np.arange(len(y)) % 3 > 0
    found = FilterSelector(clf).fit(
        X, y, rows, X_val=X[:50], y_val=y[:50], sample_weight_val=np.ones(50)
    )
    expected = clone(clf).fit(X[rows], y[rows], X_val=X[:50], y_val=y[:50])
    np.testing.assert_allclose(
        found.predict_proba(X), expected.predict_proba(X), atol=1e-5
    )
    assert found.estimator_.validation_scores_ == expected.validation_scores_


def test_in_a_search(digits):
    X, y = digits
    search = GridSearchCV(
        FilterSelector(quick(penalty="group"), random_state=0),
        {"estimator__alpha": [1e-4, 0.3], "fraction": [0.0, 0.5]},
        cv=2,
    ).fit(X, y.astype(str))
    assert search.best_params_["estimator__alpha"] == 1e-4
    assert search.predict(X[:3]).dtype.kind == "U"


def test_feature_names_are_those_of_the_last_fit(digits):
    pandas = pytest.importorskip("pandas")
    X, y = digits
    frame = pandas.DataFrame(X.reshape(len(X), -1)).add_prefix("p")
    selector = FilterSelector(quick(max_epochs=1)).fit(frame, y)
    assert list(selector.feature_names_in_) == list(frame.columns)
    assert not hasattr(selector.fit(X, y), "feature_names_in_")


def test_a_failed_fit_keeps_the_fitted_attributes(digits):
    X, y = digits
    selector = FilterSelector(quick(max_epochs=1), random_state=0).fit(X, y)
    before = selector.predict_proba(X)
    selector.set_params(layers="conv9")
    with pytest.raises(ValueError, match="'conv9' means no layer"):
        selector.fit(X, y)
    assert np.array_equal(selector.predict_proba(X), before)


@pytest.mark.parametrize(
    "estimator, message",
    [
        (LogisticRegression(), "A LogisticRegression cannot be pruned"),
        (quick(architecture=SmallNet), "The network is a SmallNet"),
    ],
    ids=["type", "network"],
)
def test_estimators_that_cannot_be_pruned(digits, estimator, message):
    X, y = digits
    selector = FilterSelector(estimator)
    with pytest.raises(TypeError, match=message):
        selector.fit(X, y)
    assert not [name for name in vars(selector) if name.endswith("_")]
