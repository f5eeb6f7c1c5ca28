"""What works on an accelerator of which nothing is known, and which has no float64."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import PixelSelector
from sklearn_l2cnn.preprocessing import (
    ContrastNormalizer,
    PatchWhitener,
    PixelScaler,
    PixelStandardizer,
)
from tests.conformance.test_classifiers import expect_all
from tests.conftest import SmallNet, quick, tiny


def is_there():
    return "tests.pretended.other" in sys.modules


@pytest.fixture
def other():
    if not is_there():
        pytest.skip("it is run in a process of its own")
    from tests.pretended.other import WHY_NOT

    if WHY_NOT:
        pytest.skip(WHY_NOT)


@pytest.mark.long
@pytest.mark.skipif(is_there(), reason="this is that process")
def test_in_a_process_of_its_own():
    command = "-m", "pytest", "-q", "-p", "tests.pretended.other", "-p", "no:xdist"
    process = subprocess.run(
        [sys.executable, *command, __file__], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-1000:]


CONFIGURATIONS = {
    "plain": {},
    "norm and dropout": {"architecture": SmallNet},
    "early stopping": {"architecture": tiny, "early_stopping": True},
    "varied": {"architecture": tiny, "augment": ["mixup", "rotate", "flip"]},
    "weights": {"architecture": tiny, "class_weight": "balanced"},
    "l1": {"architecture": tiny, "penalty": "l1", "optimizer": "sgd"},
    "lower precision": {"architecture": tiny, "precision": "auto"},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_fit_there_is_one_on_the_cpu(some, other, name):
    parameters = {"max_epochs": 3, "random_state": 0, **CONFIGURATIONS[name]}
    here = L2CNNClassifier(**parameters).fit(*some)
    there = L2CNNClassifier(device="cpu", **parameters).fit(*some)
    assert here.device_ == "other:0"
    # dropout and augmentation draw other numbers
    draws = name in ("norm and dropout", "varied")
    np.testing.assert_allclose(
        here.loss_curve_, there.loss_curve_, rtol=0.2 if draws else 1e-3
    )
    back = here.predict_proba(some[0])
    assert back.shape == (150, 10) and not np.isnan(back).any()


def test_searches(some, other):
    search = GridSearchCV(
        L2CNNClassifier(architecture=tiny, max_epochs=1), {"alpha": [1e-3, 1]}, cv=2
    ).fit(*some)
    assert search.best_estimator_.device_ == "other:0"
    clf = L2CNNClassifierCV(
        alphas=[1e-3, 1], cv=2, architecture=tiny, max_epochs=2, random_state=0
    )
    here = clf.fit(*some).losses_path_
    there = clf.set_params(device="cpu").fit(*some).losses_path_
    np.testing.assert_allclose(here, there, rtol=1e-3)


def test_features(some, other):
    features = CNNFeatures(L2CNNClassifier(architecture=tiny, max_epochs=1))
    assert features.fit(*some).transform(some[0]).shape[0] == 150


def test_generators_are_left_alone(some, other):
    [*before] = [g.get_state() for g in torch.other.default_generators]
    L2CNNClassifier(architecture=SmallNet, max_epochs=1).fit(*some)
    after = [g.get_state() for g in torch.other.default_generators]
    assert all(map(torch.equal, before, after))


def test_what_computes_something_else_is_not_taken(some, other, monkeypatch):
    from sklearn_l2cnn._utils import devices

    devices._computes.cache_clear()
    monkeypatch.setattr(
        devices,
        "_weight_after_a_step",
        lambda images, device: (
            torch.zeros(3) if device.type == "cpu" else torch.ones(3)
        ),
    )
    assert devices.resolve_device("auto") == torch.device("cpu")
    devices._computes.cache_clear()
    assert devices.resolve_device("other:1") == torch.device("other:1")
    with pytest.raises(ValueError, match="2 OTHER device"):
        devices.resolve_device("other:2")


@pytest.mark.parametrize(
    "estimator",
    [
        ContrastNormalizer(window=3),
        PatchWhitener(),
        PixelScaler(),
        PixelStandardizer(),
        CNNFeatures(quick()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_images_that_are_there(other, some, estimator):
    X, y = some
    X = (X / 255).astype(np.float32)
    expected = clone(estimator).fit(X, y).transform(X)
    there = torch.from_numpy(X).to("other:1")
    with config_context(array_api_dispatch=True):
        found = clone(estimator).fit(there, y).transform(there)
    assert found.device == there.device and found.dtype == torch.float32
    np.testing.assert_allclose(found.cpu(), expected, rtol=1e-3, atol=1e-5)


def test_importances(other, some):
    there, here = (
        PixelSelector(quick(device=device)).fit(*some).pixel_importances_
        for device in ("auto", "cpu")
    )
    np.testing.assert_allclose(there, here, rtol=1e-2, atol=1e-5)


@pytest.mark.slow
def test_conformance(other, a_build_for_cuda_is_no_device):
    results = check_estimator(L2CNNClassifier(max_epochs=5), on_skip=None, on_fail=None)
    counts = Counter(result["status"] for result in results)
    failed = [r["check_name"] for r in results if r["status"] == "failed"]
    assert not failed and set(counts) == {"passed", "skipped"}
    expect_all(len(results), counts["passed"])
