"""Folds of a splitter that a search cannot have."""

import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning

from sklearn_l2cnn import L2CNNClassifierCV
from tests.conftest import tiny

N = 8
X, Y = np.random.RandomState(0).rand(N, 4, 4), np.arange(N) % 2


def search(cv):
    shared = {"architecture": tiny, "max_epochs": 1, "random_state": 0}
    return L2CNNClassifierCV([0, 1e-3], cv=cv, **shared)


@pytest.mark.parametrize(
    "split, message",
    [
        (([0, 1], [2, 100]), "fold 1 rows that there are not.*100.*from 0 to 7"),
        (([0, 1, -100], [2]), "fold 1 rows that there are not"),
        (([0.5, 1], [2]), "fold 1 rows that there are not"),
        (([True, False], [2]), "fold 1 rows that there are not"),
        (([], [1]), r"fold 1 parts of the shapes \[\(0,\), \(1,\)\]; two were expec"),
        (([0, 1], []), "neither of them empty"),
        (([0, 1], [[2, 3]]), r"shapes \[\(2,\), \(1, 2\)\]"),
    ],
)
def test_folds_that_cannot_be_are_named(split, message):
    cv = search([([0, 1, 2, 3], [4, 5, 6, 7]), split])
    with pytest.raises(ValueError, match=message):
        cv.fit(X, Y)
    assert not hasattr(cv, "cv_results_")


def test_folds_may_be_masks_and_count_from_the_end():
    mask = np.arange(N) < 4
    expected = search([([0, 1, 2, 3], [4, 5, 6, 7])]).fit(X, Y)
    for split in ((mask, ~mask), ([3, 0, 2, 1], range(-4, 0))):
        found = search([split]).fit(X, Y).cv_results_["mean_test_score"]
        assert np.array_equal(found, expected.cv_results_["mean_test_score"])


def test_a_fold_in_which_no_image_weighs_anything_fails():
    halves = np.arange(4), np.arange(4, 8)
    never_best = pytest.raises(ValueError, match="No alpha has a score in every fold")
    weights = "All 4 images .* sample_weight of 0"
    with pytest.warns(FitFailedWarning, match=weights), never_best:
        search([halves, halves[::-1]]).fit(X, Y, sample_weight=[0] * 4 + [1] * 4)
