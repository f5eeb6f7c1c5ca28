"""A search of ours, the one that it must equal, and what must be the same."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn._search import fitting
from tests.conftest import double

ALPHAS = [1.0, 1e-3]
MORE = [1e-3, 10.0, 0.1]
NETWORK = {"architecture": double, "max_epochs": 3, "lr": 0.01, "random_state": 0}
TIMES = {f"{m}_{w}_time" for m in ("mean", "std") for w in ("fit", "score")}


def searches(search=(), network=(), alphas=ALPHAS):
    """A search of ours and the one that it must equal."""
    search, network = {"cv": 3} | dict(search), NETWORK | dict(network)
    return (
        L2CNNClassifierCV(alphas, **search, **network),
        GridSearchCV(L2CNNClassifier(**network), {"alpha": alphas}, **search),
    )


def refuse_stacks(monkeypatch):
    """Let all networks be trained one by one."""
    monkeypatch.setattr(
        fitting, "fit_stacked", lambda _, sources, *__: ({}, sources, ["."])
    )


def assert_same_results(mine, theirs, exact=False):
    assert list(mine) == list(theirs)
    for key in set(theirs) - TIMES:
        if exact or np.asarray(mine[key]).dtype.kind != "f":
            np.testing.assert_array_equal(mine[key], theirs[key], err_msg=key)
        else:
            np.testing.assert_allclose(mine[key], theirs[key], rtol=1e-9, err_msg=key)
        assert np.asarray(mine[key]).dtype == np.asarray(theirs[key]).dtype, key
    for key in TIMES:
        assert mine[key].shape == theirs[key].shape and (mine[key] >= 0).all()


def assert_same_search(mine, theirs, X, exact=False):
    assert_same_results(mine.cv_results_, theirs.cv_results_, exact)
    assert mine.best_index_ == theirs.best_index_
    assert mine.best_params_ == theirs.best_params_ == {"alpha": mine.alpha_}
    assert mine.n_splits_ == theirs.n_splits_
    assert mine.multimetric_ == theirs.multimetric_
    if hasattr(theirs, "best_score_"):
        assert mine.best_score_ == pytest.approx(theirs.best_score_, rel=1e-9)
    else:
        assert not hasattr(mine, "best_score_")
    for name in ("predict", "predict_proba", "decision_function", "predict_log_proba"):
        ours, expected = getattr(mine, name)(X), getattr(theirs, name)(X)
        assert np.array_equal(ours, expected) and ours.dtype == expected.dtype
