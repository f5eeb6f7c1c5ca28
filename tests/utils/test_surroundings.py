"""What a caller has set of torch has no effect, and stays as it was."""

import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from sklearn_l2cnn import L2CNNClassifierCV
from sklearn_l2cnn._utils.surroundings import (
    allowed_threads,
    torch_threads,
    undisturbed,
    usual_defaults,
)
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import FilterSelector, PixelSelector, prune
from sklearn_l2cnn.inspection import ActivationDisplay, FilterDisplay, saliency
from tests.conftest import quick, tiny


@contextmanager
def default_device():
    """Let a caller have set a device that computes nothing."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


WORLDS = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "default device": default_device,
    "device as a context": lambda: torch.device("meta"),
    "default dtype": default_dtype,
    "deterministic": deterministic,
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
}


def classify(X, y):
    clf = quick(max_epochs=2).fit(X, y)
    return clf.predict_proba(X), clf.decision_function(X), clf.predict(X)


def go_on(X, y):
    clf = quick().partial_fit(X, y, classes=range(10)).partial_fit(X, y)
    return clf.predict_log_proba(X), clf.score(X, y)


def augmented(X, y):
    clf = quick(max_epochs=1, augment=["flip", "rotate"], tta=["flip", "shift"])
    return [clf.fit(X, y).predict_proba(X)]


def search(X, y):
    shared = {"architecture": tiny, "max_epochs": 1, "random_state": 0}
    cv = L2CNNClassifierCV(alphas=[0, 1e-3], cv=2, **shared).fit(X, y)
    return cv.cv_results_["mean_test_score"], cv.predict_proba(X)


def search_one_by_one(X, y):
    shared = {"architecture": tiny, "max_epochs": 1, "random_state": 0}
    cv = L2CNNClassifierCV(alphas=3, cv=2, optimizer=torch.optim.NAdam, **shared)
    return cv.fit(X, y).cv_results_["mean_test_score"], cv.predict_proba(X)


def features(X, y):
    return [CNNFeatures(quick(max_epochs=1)).fit(X, y).transform(X)]


def select_pixels(X, y):
    selector = PixelSelector(quick(max_epochs=1), n_steps=2).fit(X, y)
    rows = selector.transform(X)
    return selector.pixel_importances_, rows, selector.inverse_transform(rows)


def select_filters(X, y):
    selector = FilterSelector(quick(max_epochs=1, penalty="group"), fraction=0.5)
    return [selector.fit(X, y).predict_proba(X)]


def inspect(X, y):
    clf = quick(max_epochs=1).fit(X, y)
    shown = ActivationDisplay.from_estimator(clf, X, layer=0).activations
    kernels = FilterDisplay.from_estimator(clf).kernels
    pruned = prune(clf, fraction=0.5).predict_proba(X)
    return saliency(clf, X[:3], method="gradient"), shown, kernels, pruned


WORKS = [classify, go_on, augmented, search, search_one_by_one, features]
WORKS += [select_pixels, select_filters, inspect]


def settings():
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "device": torch.empty(0).device,
        "autocast": [torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")],
        "autocast to": torch.get_autocast_dtype("cpu"),
        "cache of autocast": torch.is_autocast_cache_enabled(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def data(digits):
    X, y = digits
    return X[:60].astype(np.float32), y[:60]


@pytest.fixture(scope="module")
def expected(digits):
    """What comes out where nothing is set, by the name of the work."""
    known = {}

    def of(work):
        if work not in known:
            known[work] = work(*data(digits))
        return known[work]

    return of


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
@pytest.mark.parametrize("world", WORLDS)
def test_settings_of_the_caller_have_no_effect(world, work, digits, expected, plt):
    X, y = data(digits)
    wanted = expected(work)
    with WORLDS[world]():
        before = settings()
        found = work(X, y)
        after = settings()
    assert after == before
    for one, other in zip(found, wanted, strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype
        assert np.array_equal(one, other)


def test_all_is_restored_where_something_fails_too():
    before, inside = settings(), {"threads": 1, "dtype": torch.float32}
    with default_dtype(), torch.inference_mode():
        around = settings()
        with pytest.raises(RuntimeError, match="of a user"), undisturbed() as threads:
            assert threads == before["threads"] == allowed_threads()
            assert settings() == before | inside
            with undisturbed() as again:
                assert again == threads and settings() == before | inside
            assert settings() == before | inside and allowed_threads() == threads
            raise RuntimeError("of a user")
        assert settings() == around
    assert settings() == before


def test_weights_of_earlier_steps_are_not_kept_by_the_autocast_of_a_caller(digits):
    X, y = data(digits)
    wanted = quick(precision="bfloat16", lr=0.1).fit(X, y).predict_proba(X)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        clf = quick(precision="bfloat16", lr=0.1).fit(X, y)
        clf.predict_proba(X)
        assert np.array_equal(clf.predict_proba(X), wanted)


# A kernel that waits for threads which a child does not have waits for ever.
FORKING = """
import os, sys, time
import numpy as np, torch
from sklearn_l2cnn import L2CNNClassifier
from tests.conftest import SmallNet, quick, tiny

torch.set_num_threads(2)
rng = np.random.RandomState(0)
X, y = rng.rand(2000, 10, 10).astype(np.float32), np.arange(2000) % 100
clf = quick(max_epochs=1, architecture={architecture}).fit(X[:200], y[:200])
torch.ones(1 << 22).sum()  # torch has its threads now
expected = clf.predict_proba(X)
child = os.fork()
if not child:
    same = np.array_equal(clf.predict_proba(X), expected)
    clf.score(X, y), clf.set_params(tta="flip").predict(X), clf.partial_fit(X, y)
    os._exit(0 if same else 3)
end = time.monotonic() + 60
while time.monotonic() < end:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.05)
os.kill(child, 9)
os.waitpid(child, 0)
sys.exit("the child hangs")
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("architecture", ["tiny", "SmallNet"])
def test_a_child_of_a_fork_predicts_and_learns(architecture):
    script = FORKING.format(architecture=architecture)
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert done.returncode == 0, done.stderr


def test_threads_are_as_many_as_asked_for():
    before = torch.get_num_threads()
    with torch_threads(3):
        assert torch.get_num_threads() == allowed_threads() == 3
    assert torch.get_num_threads() == before


def world():
    return (
        torch.empty(0).device,
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
    )


USUAL = torch.device("cpu"), torch.float32, False


@pytest.mark.parametrize("raises", [False, True])
def test_all_defaults_are_left_aside_and_come_back(raises):
    other = torch.device("meta"), torch.float64, True
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.autocast("cpu"):
            assert world() == other
            try:
                with usual_defaults():
                    assert world() == USUAL
                    if raises:
                        raise KeyError
            except KeyError:
                assert raises
            assert world() == other
    finally:
        torch.set_default_dtype(torch.float32)
    assert world() == USUAL
    with usual_defaults():
        assert world() == USUAL
