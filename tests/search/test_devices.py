"""A search on CUDA, real or pretended: the same numbers, in few waits, nothing left."""

import functools
import gc

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV, L2CNNSearchCV
from sklearn_l2cnn._data.validation import check_labelled_images
from tests.conftest import SmallNet, tiny
from tests.pretended import is_pretended
from tests.training.stacked.both_ways import fit_together

pytestmark = pytest.mark.gpu

CONFIGURATIONS = {
    "plain": {},
    "sgd": {"optimizer": "sgd"},
    "early stopping": {"early_stopping": True, "max_epochs": 4},
    "onecycle and clipped": {"lr_schedule": "onecycle", "gradient_clip": 0.5},
    "norm and dropout": {"architecture": SmallNet},
    "not stacked": {"penalty": "l1"},
    "warm": {"path": "warm"},
}


def fitted(digits, device, **parameters):
    X, y = digits
    defaults = {
        "alphas": [1e-4, 1e-2],
        "cv": 3,
        "architecture": tiny,
        "max_epochs": 2,
        "random_state": 0,
        "refit": False,
        "device": device,
    }
    return L2CNNClassifierCV(**(defaults | parameters)).fit(X, y)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_search_is_that_of_the_cpu(digits, cuda, name):
    here = fitted(digits, "cuda", **CONFIGURATIONS[name])
    there = fitted(digits, "cpu", **CONFIGURATIONS[name])
    # dropout draws other numbers
    tolerance = 0.1 if name == "norm and dropout" else 2e-3
    np.testing.assert_allclose(here.losses_path_, there.losses_path_, rtol=tolerance)
    scores = here.cv_results_["mean_test_score"], there.cv_results_["mean_test_score"]
    np.testing.assert_allclose(*scores, atol=0.1)


def test_a_search_leaves_no_memory_behind(digits, cuda):
    fitted(digits, "cuda")
    gc.collect()
    before = torch.cuda.memory_allocated(cuda)
    search = fitted(digits, "cuda")
    assert torch.cuda.memory_allocated(cuda) <= before
    assert search.losses_path_.size


def test_memory_is_given_back_once(digits, cuda, monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(1))
    fitted(digits, "cuda")
    assert len(calls) == 1


def waits_of_an_epoch(search):
    """Return how often an epoch more of a search waits for the device."""
    if not is_pretended():
        pytest.skip("a real device does not count the waits")
    from tests.pretended import driver

    search(max_epochs=1)  # the first in a process looks at the sizes of chunks
    counts = []
    for max_epochs in (2, 4):
        driver.waits.clear()
        search(max_epochs=max_epochs)
        counts.append(driver.waits.total())
    return (counts[1] - counts[0]) / 2


def test_an_epoch_of_a_stack_waits_once(digits, cuda):
    assert waits_of_an_epoch(functools.partial(fitted, digits, "cuda")) == 1


SETTINGS = [
    {"alpha": 1e-4, "lr": 1e-3},
    {"alpha": 1e-2, "lr": 1e-2, "max_norm": 0.5},
    {"alpha": 0.0, "gradient_clip": 0.5, "label_smoothing": 0.1},
]


def losses_of(digits, device, **parameters):
    X, y = digits
    defaults = {"architecture": tiny, "max_epochs": 2, "random_state": 0}
    template = L2CNNClassifier(device=device, **(defaults | parameters))
    folds = list(StratifiedKFold(3).split(X, y))
    labelled = check_labelled_images(template, X, y, None)
    fits = fit_together(template, SETTINGS, labelled, folds)
    return [[clf.loss_curve_ for clf in row] for row in fits]


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "plateau"])
def test_networks_that_differ_are_those_of_the_cpu(digits, cuda, schedule):
    here, there = (
        losses_of(digits, device, lr_schedule=schedule) for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(here, there, rtol=2e-3)


GRID = {"momentum": [0.0, 0.5, 0.9], "l1_ratio": [0.0, 0.7], "random_state": [0, 1]}


def searched(digits, device, **parameters):
    X, y = digits
    clf = L2CNNClassifier(
        architecture=tiny, optimizer="sgd", penalty="elasticnet", device=device
    )
    clf.set_params(alpha=1e-3, lr=0.01, max_epochs=4)
    search = {"cv": 3, "scoring": "neg_log_loss", "refit": False, **parameters}
    return L2CNNSearchCV(clf, GRID, **search).fit(X[:200], y[:200]).cv_results_


@pytest.mark.parametrize("halving", [None, 2])
def test_a_search_over_anything_is_that_of_the_cpu(digits, cuda, halving):
    here, there = (searched(digits, name, halving=halving) for name in ("cuda", "cpu"))
    scores = here["mean_test_score"], there["mean_test_score"]
    np.testing.assert_allclose(*scores, rtol=2e-3)
    if halving:
        assert np.array_equal(here["n_resources"], there["n_resources"])


def test_momenta_wait_for_nothing(digits, cuda):
    X, y = digits

    def search(max_epochs):
        clf = L2CNNClassifier(architecture=tiny, optimizer="sgd", device="cuda")
        clf.set_params(max_epochs=max_epochs, random_state=0)
        L2CNNSearchCV(clf, {"momentum": [0.0, 0.9]}, cv=3, refit=False).fit(X, y)

    assert waits_of_an_epoch(search) == 1


def test_an_epoch_of_networks_that_differ_waits_once(digits, cuda):
    search = functools.partial(losses_of, digits, "cuda", lr_schedule="onecycle")
    assert waits_of_an_epoch(search) == 1
