"""The commands that end processes, and those that run long, find what they look for."""

import os
import re
from argparse import Namespace

import numpy as np
import pytest

from benchmarks import _tasks, bench_checkpoint, endure, kill_fits
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training.checkpoint import Checkpoint
from tests.conftest import linux

pytestmark = pytest.mark.long

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork")


@forks
@pytest.mark.parametrize("make", [kill_fits.fit, kill_fits.grid_search])
def test_killed_fits_end_alike(make, monkeypatch):
    monkeypatch.setitem(kill_fits.SHARED, "max_epochs", 2)
    same, caught, gained = kill_fits.killed(make, 1)
    assert same == 1 and 0 <= gained <= 1 and 0 <= caught <= 1


@forks
def test_a_fit_that_ends_otherwise_is_found(monkeypatch):
    monkeypatch.setitem(kill_fits.SHARED, "max_epochs", 2)

    def make(checkpoint):
        return kill_fits.fit(None).set_params(random_state=int(checkpoint is None))

    same, _, gained = kill_fits.killed(make, 1)
    assert same == 0 and gained == 0


@linux
def test_many_fits_are_counted(capsys, monkeypatch):
    monkeypatch.setattr(endure, "FEW", 2)
    assert endure.many_fits(2) == 0
    said = capsys.readouterr().out
    assert re.search(r"after 2 fits: [\d.]+ MB, \d+ threads, \d+ files", said)
    sizes = iter([1.0, 1.02])
    monkeypatch.setattr(endure, "memory", lambda of: next(sizes))
    assert endure.many_fits(4) == 1


def test_wrong_answers_are_counted(capsys, monkeypatch):
    assert endure.wrong_answers(2, 0.5) == 0
    predict = L2CNNClassifier.predict_proba
    found = []

    def wrong_later(self, X):
        found.append(1)
        return predict(self, X) + (len(found) > 60)

    monkeypatch.setattr(L2CNNClassifier, "predict_proba", wrong_later)
    assert endure.wrong_answers(1, 0.2) == len(found) - 60 > 0
    assert "were wrong, beside" in capsys.readouterr().out


def test_the_cost_of_a_checkpoint_is_told(capsys):
    write = Checkpoint.write
    options = Namespace(repeats=1, device="cpu")
    figures = bench_checkpoint.cost("plain", _tasks.synthetic(40, 8, n_test=1), options)
    assert [figure.what.split("checkpoint")[1] for figure in figures] == [
        ", control pair",
        ", over one without",
        ": waits for it",
        ": the writer computes",
    ]
    assert all(np.isfinite(getattr(f.value, "median", f.value)) for f in figures)
    assert Checkpoint.write is write
