"""scikit-learn's conformance checks with estimators and arrays on a CUDA device."""

import pytest
import torch
from sklearn.utils.estimator_checks import check_estimator

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import FilterSelector, PixelSelector
from tests.conformance.test_classifiers import SEARCH, expect_all
from tests.conftest import quick, tiny
from tests.preprocessing.test_transformers import ALL, CONFIGURED

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="torch sees no CUDA device"
    ),
]

ON_CUDA = {"device": "cuda", "max_epochs": 5}
CLASSIFIERS = [
    L2CNNClassifier(**ON_CUDA),
    pytest.param(
        L2CNNClassifierCV(
            **(SEARCH | {"architecture": tiny, "lr": 0.05, "device": "cuda"})
        ),
        marks=pytest.mark.slow,
    ),
]
OTHERS = [
    FilterSelector(quick(device="cuda", lr=0.01)),
    CNNFeatures(quick(device="cuda")),
    PixelSelector(quick(device="cuda")),
    *(cls() for cls in ALL),
    *CONFIGURED,
]


def name_of(estimator):
    return repr(estimator)[:60]


def passed(estimator):
    """Run all checks, of which none may fail; return the names of those that passed."""
    results = check_estimator(estimator, on_skip=None, on_fail=None)
    for result in results:
        assert result["status"] in ("passed", "skipped"), (
            result["check_name"],
            result["exception"],
        )
    return results, [r["check_name"] for r in results if r["status"] == "passed"]


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=name_of)
def test_classifiers(classifier):
    results, names = passed(classifier)
    expect_all(len(results), len(names))


@pytest.mark.parametrize("estimator", OTHERS, ids=name_of)
def test_others(estimator):
    """Arrays on the CPU and on the device, of numpy and torch, are checked as such."""
    _, names = passed(estimator)
    assert names.count("check_array_api_input") >= 3
