"""The best alpha of a search at the edge of those that were tried."""

import warnings

import pytest
from sklearn.exceptions import ConvergenceWarning

from sklearn_l2cnn import L2CNNClassifierCV
from tests.conftest import tiny


def edge_warnings(some, alphas, scores, **search):
    """Return the warnings of a search whose alphas have these scores in two folds."""
    folds = [iter(own) for own in scores]
    clf = L2CNNClassifierCV(
        alphas,
        cv=2,
        scoring=lambda clf, X, y: next(folds[alphas.index(clf.alpha)]),
        architecture=tiny,
        max_epochs=1,
        random_state=0,
        **search,
    )
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        clf.fit(*some)
    assert all(one.category is ConvergenceWarning for one in found)
    return [str(one.message) for one in found]


@pytest.mark.parametrize("search", [{}, {"refit": False}, {"path": "warm"}])
def test_a_best_alpha_at_the_edge_is_warned_of(some, search):
    rising = [(0.5, 0.51), (0.6, 0.61), (0.7, 0.71)]
    [told] = edge_warnings(some, [0.1, 1.0, 10.0], rising, **search)
    assert "best alpha, 10, is the largest of the 3" in told
    assert "alphas=np.geomspace(10, 1e+03, 5)" in told
    # in whatever order they are given
    [told] = edge_warnings(some, [10.0, 1.0, 0.1], rising, **search)
    assert "best alpha, 0.1, is the smallest of the 3" in told
    assert "alphas=np.geomspace(0.001, 0.1, 5), and 0, which" in told


@pytest.mark.parametrize(
    "alphas, scores",
    [
        ([0.1, 1.0, 10.0], [(0.5, 0.5), (0.7, 0.7), (0.6, 0.6)]),  # inside
        ([0.0, 1.0, 10.0], [(0.7, 0.7), (0.6, 0.6), (0.5, 0.5)]),  # no penalty
        ([1.0, 10.0], [(0.7, 0.7), (0.5, 0.5)]),  # nothing is inside
        ([1.0], [(0.7, 0.7)]),
        ([0.1, 1.0, 10.0], [(0.5, 0.7), (0.6, 0.61), (0.6, 0.55)]),  # all alike
        # alike near the edge, in whose half of them nothing is worse
        ([0.1, 1.0, 10.0, 100.0], [(0.6, 0.7), (0.6, 0.69), (0.2, 0.2), (0.1, 0.1)]),
        ([0.1, 1.0, {"0": 1.0}], [(0.7, 0.7), (0.6, 0.6), (0.5, 0.5)]),
    ],
)
def test_no_warning_where_an_edge_says_nothing(some, alphas, scores):
    assert edge_warnings(some, alphas, scores) == []


def test_whoever_chooses_himself_is_not_warned(some):
    rising = [(0.5, 0.51), (0.6, 0.61), (0.7, 0.71)]
    alphas = [0.1, 1.0, 10.0]
    assert edge_warnings(some, alphas, rising, refit=lambda results: 2) == []
