"""The estimator inside of pipelines, searches and other meta-estimators."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_l2cnn._utils.unwrapping import FITTED, FROZEN, SEARCHES, unwrap

X, y = np.arange(24.0).reshape(12, 2), np.arange(12) % 2


def never(estimator):
    return False


def has_coefficients(estimator):
    return hasattr(estimator, "coef_")


def test_fitted_wrappers_are_entered_in_any_order():
    pipeline = make_pipeline("passthrough", StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0]}, cv=2)
    outer = make_pipeline(StandardScaler(), FrozenEstimator(search.fit(X, y)))
    whole = FixedThresholdClassifier(outer.fit(X, y)).fit(X, y)
    for is_wanted in (has_coefficients, never):
        steps, inner = unwrap(whole, is_wanted, FITTED)
        best = whole.estimator_[-1].estimator.best_estimator_
        assert inner is best[-1]
        assert steps == (whole.estimator_[0], best[1])
    with pytest.raises(NotFittedError):
        unwrap(pipeline, has_coefficients, FITTED)


def test_a_frozen_estimator_is_not_taken_for_the_one_inside():
    fitted = LogisticRegression().fit(X, y)
    frozen = FrozenEstimator(FrozenEstimator(fitted))
    for wrappers in (FITTED, SEARCHES, FROZEN):
        assert unwrap(frozen, has_coefficients, wrappers) == ((), fitted)


def test_searches_are_entered_before_fitting_and_pipelines_are_not():
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0]}, cv=2)
    assert unwrap(search, never, SEARCHES) == ((), pipeline)
    assert unwrap(search, never, FROZEN) == unwrap(search, never, FITTED)
    _, inner = unwrap(search.fit(X, y), never, SEARCHES)
    assert inner is search.best_estimator_
