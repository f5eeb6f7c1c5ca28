"""Weights that are none are refused, by name."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from sklearn_l2cnn import L2CNNClassifierCV
from sklearn_l2cnn.feature_selection import PixelSelector
from tests.conftest import quick, tiny

N = 12
X, Y = np.random.RandomState(0).rand(N, 4, 4), np.arange(N) % 2


@pytest.mark.parametrize(
    "weight, found",
    [
        (["1"] * N, "'1', of the type str"),
        (np.array(["1"] * N), "'1', of the type str"),
        (np.full(N, "2020-01-01", dtype="M8[D]"), "date"),
        (np.full(N, 3, dtype="m8[D]"), "timedelta"),
        ([1] * (N - 1) + [1 + 1j], "complex"),
        ([1] * (N - 1) + [None], "None"),
        ("all", "'all'"),
        (object(), "object"),
        (pd.Series(["a"] * N), "'a', of the type str"),
    ],
)
@pytest.mark.parametrize("suffix", ["", "_val"])
def test_weights_that_are_no_numbers(weight, found, suffix):
    given = {f"sample_weight{suffix}": weight}
    given |= {"X_val": X, "y_val": Y} if suffix else {}
    message = f"sample_weight{suffix} holds .*{found}.*a number >= 0 was expected"
    with pytest.raises(ValueError, match=message):
        quick().fit(X, Y, **given)


@pytest.mark.parametrize(
    "weight",
    [
        [2] * N,
        [True] * N,
        np.full(N, 2, dtype=np.uint8),
        np.full(N, 2, dtype=object),
        [Fraction(1, 3)] * N,
        pd.Series([3] * N, dtype="Int64"),
        torch.full((N,), 2.0, requires_grad=True),
        3,
        5e-324,
    ],
)
def test_weights_that_are_numbers_of_any_kind(weight):
    expected = quick().fit(X, Y).predict_proba(X)
    found = quick().fit(X, Y, sample_weight=weight).predict_proba(X)
    assert np.array_equal(found, expected)


def test_one_weight_for_all_images():
    search = L2CNNClassifierCV([0, 1e-3], cv=2, architecture=tiny, max_epochs=1)
    assert search.fit(X, Y, sample_weight=2.0).predict(X).shape == (N,)
    quick().partial_fit(X, Y, classes=[0, 1], sample_weight=2)
    PixelSelector(quick(max_epochs=1)).fit(X, Y, sample_weight=2)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_weights_whose_sum_overflows(class_weight):
    clf = quick(class_weight=class_weight)
    for method in (clf.fit, lambda X, y, w: clf.partial_fit(X, y, [0, 1], w)):
        with pytest.raises(ValueError, match="sum of sample_weight overflows.*1e.308"):
            method(X, Y, [1e308] * N)


@pytest.mark.parametrize(
    "factor", [-1, np.inf, np.nan, "2", "a", None, [1], 1 + 1j, -np.inf]
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_class_weights_that_are_none(factor, method):
    clf = quick(class_weight={1: factor})
    more = {"classes": [0, 1]} if method == "partial_fit" else {}
    message = "class_weight gives the class 1 the weight .*; finite numbers >= 0"
    with pytest.raises(ValueError, match=message):
        getattr(clf, method)(X, Y, **more)
    assert not hasattr(clf, "net_")


def test_class_weights_that_overflow():
    with pytest.raises(ValueError, match="Sample weights times class_weight overflow"):
        quick(class_weight={0: 1e308, 1: 1}).fit(X, Y, sample_weight=[1e10] * N)
