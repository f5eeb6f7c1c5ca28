"""The network in a fitted estimator: found inside of wrappers, or an error why not."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_l2cnn._utils.trace import blank_image, trace
from sklearn_l2cnn.inspection._inside import look_inside
from sklearn_l2cnn.preprocessing import ImageResizer
from tests.conftest import quick


def test_a_network_is_found_inside_of_wrappers(digits):
    X, y = digits
    search = GridSearchCV(
        make_pipeline(ImageResizer((4, 4)), quick(max_epochs=1)),
        {"l2cnnclassifier__alpha": [1e-3]},
        cv=2,
    ).fit(X, y)
    whole = make_pipeline("passthrough", FrozenEstimator(search)).fit(X, y)
    inside = look_inside(whole)
    assert inside.classifier is search.best_estimator_[-1]
    assert inside.module is inside.classifier.module_
    [step] = inside.steps
    assert isinstance(step, ImageResizer)
    assert np.array_equal(inside.images(X)[..., 0], step.transform(X))
    assert inside.layers() == trace(
        inside.module, blank_image(inside.module, (4, 4, 1))
    )
    pixels = inside.network_input(inside.images(X[:7]))
    with torch.no_grad():
        probabilities = torch.softmax(inside.module(pixels), dim=1)
    np.testing.assert_allclose(probabilities, whole.predict_proba(X[:7]), atol=1e-6)


@pytest.mark.parametrize(
    "estimator, words",
    [
        (quick(), "not fitted"),
        (make_pipeline(quick()), "not fitted"),
        (quick, "is not a fitted estimator"),
        ("clf", "'clf' is not a fitted estimator"),
        (GridSearchCV(quick(max_epochs=1), {"alpha": [1]}, refit=False, cv=2), "refit"),
        (
            GaussianNB(),
            "GaussianNB has no network to inspect",
        ),
        (
            make_pipeline(FunctionTransformer(), GaussianNB()),
            "GaussianNB, inside of Pipeline, has no network",
        ),
    ],
)
def test_an_estimator_without_a_network_is_an_error(digits, estimator, words):
    X, y = digits
    if "network" in words or words == "refit":
        estimator.fit(X.reshape(300, -1)[:40], y[:40])
    error = NotFittedError if words == "not fitted" else TypeError
    with pytest.raises(error, match=words):
        look_inside(estimator)
