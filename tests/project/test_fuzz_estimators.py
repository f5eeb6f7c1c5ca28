"""The fuzzer of the estimators finds nothing, and what it would find it does find."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from benchmarks import fuzz_estimators
from benchmarks._estimator_cases import Draw, data, deep
from benchmarks._estimator_properties import Finding, check_error
from benchmarks.fuzz_estimators import Case, main, run_case
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import chunks, net

X, Y = np.random.RandomState(0).rand(12, 4, 4), np.arange(12) % 3


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 240, 60))
def test_every_case_is_as_it_must_be(first):
    found = {}
    for number in range(first, first + 60):
        finding, told = run_case(0, number)
        if finding is not None:
            found[number] = finding, told
    assert not found


@pytest.mark.long
def test_the_command_says_whether_something_was_found(capsys, monkeypatch):
    assert main(["--case", "3", "--seed", "0"]) == 0
    assert "1 cases of the seed 0" in capsys.readouterr().out
    dying = "import sys; print(sys.argv[3]); sys.exit(7)"
    monkeypatch.setattr(fuzz_estimators, "COMMAND", ["-c", dying, "--worker"])
    assert main(["--cases", "2", "--jobs", "1", "--seed", "0"]) == 1
    out = capsys.readouterr().out
    assert "--seed 0 --case 1: the process died with the exit code 7" in out
    assert "2 findings" in out


def test_a_case_is_its_seed():
    one, other = (data(Draw([3, 4]), (4, 4, 1), strange=False) for _ in range(2))
    assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
    assert repr(Draw([3, 4]).rng.random(3)) != repr(Draw([3, 5]).rng.random(3))


class Faulty(ClassifierMixin, BaseEstimator):
    """An estimator with a fault of which it knows the name."""

    def __init__(self, fault=None):
        self.fault = fault

    def fit(self, X, y):
        if self.fault == "half":
            self.classes_ = np.unique(y)
            check_array([[np.nan]])
        if self.fault == "all of it":
            self.classes_, self.fitted_ = np.unique(y), True
            check_array([[np.nan]])
        if self.fault == "undocumented":
            raise RuntimeError("of a kind that nobody expects")
        if self.fault == "silent":
            raise ValueError
        if self.fault == "array":
            X[:] = 0
        if self.fault == "parameter":
            self.fault = "other"
        if self.fault == "numpy":
            np.random.random()
        if self.fault == "torch":
            torch.rand(1)
        if self.fault == "threads":
            torch.set_num_threads(torch.get_num_threads() + 1)
        if self.fault == "errors":
            np.seterr(all="raise")
        self.classes_, self.fitted_ = np.unique(y), True
        return None if self.fault == "self" else self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "fitted_")

    def predict(self, X):
        check_is_fitted(self)
        return np.full(len(X), 99) if self.fault == "label" else np.zeros(len(X), int)

    def predict_proba(self, X):
        check_is_fitted(self)
        found = np.full((len(X), 3), 1 / 3)
        if self.fault == "nan":
            found[0] = np.nan
        if self.fault == "sum":
            found *= 2
        return found[1:] if self.fault == "rows" else found


FAULTS = {
    "half": "half fitted: classes_",
    "all of it": "fit that fails leaves the estimator fitted",
    "undocumented": "RuntimeError is no documented error",
    "silent": "ValueError says nothing",
    "array": "fit has changed an array of the caller",
    "parameter": r"fit has changed the parameters \['fault'\]",
    "numpy": "global state has changed: numpy's generator",
    "torch": "global state has changed: torch's generator",
    "threads": "global state has changed: threads",
    "errors": "global state has changed: errors of numpy",
    "self": "fit returns NoneType",
    "nan": r"predict_proba returns \[nan",
    "sum": "probabilities sum to 2.0",
    "rows": "predict_proba returns 11 rows of 12 images",
    "label": r"predict returns \[99 99 99\], none of the classes",
}


def tried(estimator):
    case = Case(0, 0)
    case.estimator, case.good = estimator, (X.copy(), Y, None)
    case.method("fit", X.copy(), Y)
    case.method("predict", X.copy())


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault):
    threads, errors = torch.get_num_threads(), np.geterr()
    try:
        with pytest.raises(Finding, match=FAULTS[fault]):
            tried(Faulty(fault))
    finally:
        torch.set_num_threads(threads)
        np.seterr(**errors)


def test_what_is_as_it_must_be_is_no_finding():
    tried(Faulty())
    tried(L2CNNClassifier(architecture=deep, max_epochs=1, random_state=0))


def test_errors_of_operations_are_told_from_those_that_are_meant():
    for operation in (
        lambda: torch.zeros(2) @ torch.zeros(3),
        lambda: np.zeros(2) + np.zeros(3),
        lambda: chunks.chunks_of("three", [1]),
    ):
        with pytest.raises(Exception) as caught:
            operation()
        with pytest.raises(Finding, match="was not meant|no documented error"):
            check_error(caught.value)
    with pytest.raises(ValueError, match="requires y") as caught:
        L2CNNClassifier().fit(X, None)
    check_error(caught.value)


def test_a_defect_that_was_mended_is_found_where_it_comes_back(monkeypatch):
    clf = L2CNNClassifier(architecture=deep, lr=1e12, max_epochs=1, random_state=0)
    tried(clf)  # it raises what is documented
    monkeypatch.setattr(net, "check_kept", lambda *_: None)
    monkeypatch.setattr(chunks, "check_lost", lambda *_: None)
    with pytest.raises(Finding, match=r"predict_proba returns \[nan"):
        tried(clf)
