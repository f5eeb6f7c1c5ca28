"""Meta-estimators: training, frozen estimators, searches, errors, metadata."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import PixelSelector
from tests.conftest import quick
from tests.feature_extraction.test_features import Counting, features
from tests.feature_selection.test_pixel_selector import selector

# -- CNNFeatures ----------------------------------------------------------------------


def test_a_clone_is_trained_as_the_estimator_would_be(digits):
    X, y = digits
    inner = quick(alpha=0.01)
    transformer = CNNFeatures(inner).fit(X, y)
    assert not hasattr(inner, "net_") and transformer.estimator_ is not inner
    alone = clone(inner).fit(X, y)
    assert np.array_equal(
        transformer.estimator_.predict_proba(X), alone.predict_proba(X)
    )
    default = CNNFeatures(image_shape=(8, 8)).fit(X[:40].reshape(40, -1), y[:40])
    assert type(default.estimator_) is L2CNNClassifier
    assert default.estimator_.image_shape == (8, 8)


def test_random_state_replaces_that_of_the_estimator(digits):
    X, y = digits[0][:60], digits[1][:60]
    expected = features(random_state=7).fit_transform(X, y)
    for inner in (
        quick(random_state=0),
        GridSearchCV(quick(), {"alpha": [1e-4]}, cv=2),
    ):
        found = CNNFeatures(inner, random_state=7).fit(X, y)
        assert np.array_equal(found.transform(X), expected)
        assert found.estimator.get_params().get("random_state", 0) == 0
    frozen = FrozenEstimator(quick(random_state=0).fit(X, y))
    found = CNNFeatures(frozen, random_state=7).fit_transform(X)
    assert np.array_equal(found, features().fit_transform(X, y))
    one, other = (CNNFeatures(random_state=1).fit_transform(X, y) for _ in range(2))
    assert np.array_equal(one, other)


def test_a_frozen_estimator_is_not_trained(digits):
    X, y = digits
    clf = quick().fit(X, y)
    expected = CNNFeatures(quick()).fit(X, y).transform(X)
    transformer = CNNFeatures(FrozenEstimator(clf)).fit(X[:5])
    assert transformer.module_ is clf.module_
    assert np.array_equal(transformer.transform(X), expected)
    assert np.array_equal(clone(transformer).fit(X[:5], y[:5]).transform(X), expected)
    with pytest.raises(ValueError, match="CNNFeatures is expecting images of 8 x 8"):
        CNNFeatures(FrozenEstimator(clf)).fit(np.zeros((4, 9, 8)))
    with pytest.raises(NotFittedError):
        CNNFeatures(FrozenEstimator(quick())).fit(X)


def test_the_best_estimator_of_a_search_is_used(digits):
    X, y = digits
    search = GridSearchCV(quick(max_epochs=1), {"alpha": [0.0, 10.0]}, cv=2)
    transformer = CNNFeatures(search).fit(X, y)
    best = transformer.estimator_.best_estimator_
    assert transformer.module_ is best.module_
    frozen = CNNFeatures(FrozenEstimator(transformer.estimator_)).fit(X)
    assert np.array_equal(frozen.transform(X), transformer.transform(X))


def test_a_search_over_the_meta_estimator_sets_alpha(digits):
    def accuracy_of_the_network(pipeline, X, y):
        return pipeline[0].estimator_.score(X, y)

    X, y = digits
    pipeline = make_pipeline(features(max_epochs=15), LogisticRegression(max_iter=1000))
    grid = {"cnnfeatures__estimator__alpha": [1e-3, 1e3]}
    search = GridSearchCV(pipeline, grid, cv=2, scoring=accuracy_of_the_network)
    search.fit(X, y)
    low, high = search.cv_results_["mean_test_score"]
    assert low > 0.5 > high
    assert search.best_estimator_[0].estimator_.alpha == 1e-3
    assert search.best_estimator_.score(X, y) > 0.8  # of the regression


@pytest.mark.parametrize("wrap", [lambda p: p, FrozenEstimator, "search"])
def test_pipelines_are_an_error_that_says_what_to_do(digits, wrap):
    pipeline = make_pipeline(FunctionTransformer(), Counting())
    if wrap == "search":
        wrapped = GridSearchCV(pipeline, {"counting__alpha": [1.0]})
    else:
        wrapped = wrap(pipeline)
    Counting.trained = 0
    with pytest.raises(
        ValueError,
        match=r"Put the steps in front of this transformer: "
        r"make_pipeline\(\.\.\., CNNFeatures\(Counting\(\)\)\)",
    ):
        CNNFeatures(wrapped).fit(*digits)
    assert Counting.trained == 0


def test_estimators_without_a_network_are_errors(digits):
    with pytest.raises(TypeError, match="has no network"):
        CNNFeatures(LogisticRegression()).fit(*digits)
    for cls in (L2CNNClassifier, L2CNNClassifierCV):
        with pytest.raises(TypeError, match=rf"is a class.*, {cls.__name__}\(\)"):
            CNNFeatures(cls).fit(*digits)


# -- weights and metadata -------------------------------------------------------------


def test_weights_reach_the_training(digits):
    X, y = digits[0][:60], digits[1][:60]
    weight = np.arange(60) % 3
    weighted = features().fit(X, y, sample_weight=weight)
    repeated = features().fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert np.array_equal(weighted.transform(X), repeated.transform(X))
    assert not np.array_equal(weighted.transform(X), features().fit_transform(X, y))


def test_validation_data_reach_the_training(digits):
    X, y = digits
    transformer = features().fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert len(transformer.estimator_.validation_scores_) == 3


def test_metadata_are_routed(digits):
    X, y = digits[0][:60], digits[1][:60]
    weight = np.arange(60) % 3
    expected = features().fit(X, y, sample_weight=weight).transform(X)
    with config_context(enable_metadata_routing=True):
        requesting = quick().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(CNNFeatures(requesting), LogisticRegression())
        pipeline[1].set_fit_request(sample_weight=False)
        pipeline.fit(X, y, sample_weight=weight)
        assert np.array_equal(pipeline[0].transform(X), expected)
        with pytest.raises(UnsetMetadataPassedError):
            features().fit(X, y, sample_weight=weight)
        # the default estimator requests the weights itself
        default = CNNFeatures(device="cpu")
        assert default.get_metadata_routing().consumes("fit", ["sample_weight"])
        without = CNNFeatures(quick().set_fit_request(sample_weight=False))
        assert not without.get_metadata_routing().consumes("fit", ["sample_weight"])


# -- PixelSelector --------------------------------------------------------------------


def test_a_frozen_estimator_needs_no_labels(digits):
    X, y = digits
    clf = quick(max_epochs=10).fit(X, y)
    frozen = PixelSelector(FrozenEstimator(clf))
    predicted = clone(frozen).fit(X, clf.predict(X)).pixel_importances_
    found = clone(frozen).fit(X)
    assert np.array_equal(found.pixel_importances_, predicted)
    assert found.estimator_.estimator is clf
    with pytest.raises(ValueError, match="y has labels that are not among the classes"):
        clone(frozen).fit(X, y + 1)
    with pytest.raises(ValueError, match="PixelSelector is expecting"):
        clone(frozen).fit(np.zeros((4, 9, 8)))


def test_searches_inside_and_around_the_selector(digits):
    X, y = digits
    search = GridSearchCV(quick(max_epochs=1), {"alpha": [0.0, 10.0]}, cv=2)
    found = PixelSelector(search, max_features=5).fit(X, y)
    assert found.transform(X).shape == (300, 5)
    pipeline = make_pipeline(selector(), LogisticRegression(max_iter=5000))
    grid = {
        "pixelselector__max_features": [2, 30],
        "pixelselector__estimator__alpha": [1e-4],
    }
    outer = GridSearchCV(pipeline, grid, cv=2).fit(X / 255, y)
    assert outer.best_params_["pixelselector__max_features"] == 30


def test_estimators_without_a_network_are_errors_of_the_selector(digits):
    pipeline = make_pipeline(FunctionTransformer(), quick())
    with pytest.raises(ValueError, match="Put the steps in front of this transformer"):
        PixelSelector(pipeline).fit(*digits)
    with pytest.raises(TypeError, match="has no network"):
        PixelSelector(LogisticRegression()).fit(*digits)


def test_metadata_are_routed_to_the_training_and_the_mean(digits):
    X, y = digits[0][:60], digits[1][:60]
    weight = np.arange(60) % 3
    expected = selector().fit(X, y, sample_weight=weight).pixel_importances_
    with config_context(enable_metadata_routing=True):
        requesting = quick().set_fit_request(sample_weight=True)
        inner = PixelSelector(requesting).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(inner, LogisticRegression())
        pipeline[1].set_fit_request(sample_weight=False)
        pipeline.fit(X, y, sample_weight=weight)
        assert np.array_equal(pipeline[0].pixel_importances_, expected)
        with pytest.raises(UnsetMetadataPassedError):
            selector().fit(X, y, sample_weight=weight)
        frozen = PixelSelector(FrozenEstimator(pipeline[0].estimator_))
        frozen.set_fit_request(sample_weight=True).fit(X, y, sample_weight=weight)
        assert np.array_equal(frozen.pixel_importances_, expected)
        PixelSelector().get_metadata_routing()
