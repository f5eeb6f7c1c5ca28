"""Warnings: of trainings that ended too early, of patience that is too long."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from sklearn_l2cnn import L2CNNClassifierCV
from tests.conftest import quick

SLOW = {"lr": 1e-4, "max_epochs": 12}
FALLING = r"still falling when max_epochs=12 was reached.*Raise max_epochs or lr"
IDLE = "n_iter_no_change=5 epochs without.*do not fit into max_epochs=3"


def search(**parameters):
    network = quick(**parameters).get_params()
    del network["alpha"], network["warm_start"]
    return L2CNNClassifierCV([1e-4, 1e-3], cv=2, **network)


def warnings_of(clf, X, y, **validation):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        clf.fit(X, y, **validation)
    return [str(one.message) for one in found]


@pytest.mark.parametrize("make", [quick, search])
@pytest.mark.parametrize("constant", [{"optimizer": "sgd"}, {"lr_schedule": None}])
def test_a_loss_that_still_falls_at_the_end(some, make, constant):
    with pytest.warns(ConvergenceWarning, match=FALLING) as found:
        make(**SLOW, **constant).fit(*some)
    assert len(found) == 1


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_epochs": 12, "lr": 1e-4},  # the rate falls to nothing
        {"max_epochs": 12, "lr": 1e-3, "lr_schedule": "onecycle"},
        {"max_epochs": 5, "lr": 1e-4, "lr_schedule": None},  # a trial
        {"max_epochs": 40, "lr": 0.01, "lr_schedule": None},
        {"max_epochs": 40, "lr": 0.05, "optimizer": "sgd"},
        {"max_epochs": 12, "lr": 1e-9, "lr_schedule": None, "augment": "shift"},
    ],
)
def test_trainings_that_came_to_their_end(some, parameters):
    found = warnings_of(quick(**parameters), *some)
    # at a rate of 1e-9 that end is where it began
    assert all("learnt nothing" in message for message in found)
    assert len(found) == (parameters["lr"] == 1e-9)


@pytest.mark.parametrize(
    "parameters",
    [
        {"lr": 0.3, "architecture": "plain"},
        {"alpha": 1e4},
        {"class_weight": "balanced"},
    ],
)
def test_a_network_that_has_learnt_nothing(some, parameters):
    X, y = some
    y = y % 3  # of other frequencies
    learns = "class_weight" in parameters
    found = warnings_of(quick(**{"max_epochs": 12, **parameters}), X, y)
    assert len(found) == (not learns)
    assert learns or "learnt nothing" in found[0]


def test_noise_is_no_fall(some):
    class Noise(nn.Module):
        def __init__(self, input_shape, n_classes):
            super().__init__()
            self.dense = nn.Linear(1, n_classes)

        def forward(self, X):
            return self.dense(X.new_ones(len(X), 1)) + 0.3 * X.new_empty(1).normal_()

    for seed in range(5):
        clf = quick(architecture=Noise, lr=0.5, max_epochs=15, lr_schedule=None)
        found = warnings_of(clf.set_params(random_state=seed), *some)
        assert not any("falling" in message for message in found)


def test_going_on_with_a_trained_network_is_no_complaint(some):
    clf = quick(lr=0.01, max_epochs=30).fit(*some)
    clf.set_params(warm_start=True, lr=1e-4, lr_schedule=None, max_epochs=12)
    assert warnings_of(clf, *some) == []
    assert np.diff(clf.data_loss_curve_[30:]).mean() < 0


@pytest.mark.parametrize("make", [quick, search])
def test_early_stopping_that_could_never_stop(some, make):
    with pytest.warns(UserWarning, match=IDLE) as found:
        make(early_stopping=True, n_iter_no_change=5).fit(*some)
    assert len(found) == 1
    assert warnings_of(make(early_stopping=True), *some) == []
    # with as many as there are epochs it is the best of all that is wanted
    for others in ({"n_iter_no_change": 3}, {"max_epochs": 6}):
        assert warnings_of(make(early_stopping=True, **others), *some) == []
    assert warnings_of(make(early_stopping=False), *some) == []
