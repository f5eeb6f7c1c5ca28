"""The range test of the learning rate: its rates, its losses, and what it leaves."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.inspection import LearningRateDisplay
from sklearn_l2cnn.inspection._learning_rate import smoothed, steepest
from sklearn_l2cnn.preprocessing import PixelScaler
from tests.conftest import quick

pytestmark = pytest.mark.usefixtures("plt")


def test_rates_grow_by_one_factor(digits):
    display = LearningRateDisplay.from_estimator(
        quick(batch_size=50), *digits, low=1e-5, high=1e-2, n_steps=31
    )
    np.testing.assert_allclose(display.rates, np.geomspace(1e-5, 1e-2, 31))
    assert len(display.losses) == 31
    x, y = display.line_.get_data()
    assert np.array_equal(x, display.rates) and np.array_equal(y, display.smoothed_)
    assert display.ax_.get_xscale() == "log"


def test_losses_are_those_of_a_loop_by_hand(digits):
    """Plain SGD whose rate is set before each step."""
    seen = []
    clf = quick(optimizer="sgd", momentum=0.0, alpha=0.0, batch_size=50, max_epochs=1)
    display = LearningRateDisplay.from_estimator(
        clf, *digits, low=1e-3, high=1e-1, n_steps=6
    )

    from skorch.callbacks import Callback

    class ByHand(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            for group in net.optimizer_.param_groups:
                group["lr"] = 1e-3 * 100 ** (len(seen) / 5)

        def on_batch_end(self, net, training=False, **kwargs):
            seen.append(float(kwargs["data_loss"]))

    clf.set_params(callbacks=[ByHand()], lr_schedule=None).fit(*digits)
    np.testing.assert_allclose(display.losses, seen, rtol=1e-6)


def test_it_stops_where_all_is_lost(digits):
    display = LearningRateDisplay.from_estimator(
        quick(optimizer="sgd", batch_size=50), *digits, high=1e6, n_steps=200
    )
    assert len(display.rates) == len(display.losses) < 200
    last = display.losses[-1]
    assert not last <= 4 * display.losses.min()
    assert display.steepest_ < display.rates[-1]


def test_rates_of_layers_grow_alike(digits):
    lr = {"0": 1e-4, "*": 1e-3}
    display = LearningRateDisplay.from_estimator(
        quick(lr=lr, batch_size=50), *digits, low=1e-6, high=1e-2, n_steps=10
    )
    assert display.rates[0] == pytest.approx(1e-6)
    assert display.rates[-1] == pytest.approx(1e-2)


def test_nothing_is_changed(digits, tmp_path):
    X, y = digits
    random_state = np.random.RandomState(3)
    clf = quick(checkpoint=tmp_path, early_stopping=True, verbose=1).fit(X, y)
    before = copy.deepcopy(clf.module_.state_dict())
    clf.set_params(random_state=random_state, warm_start=True)
    parameters = clf.get_params()
    kept = sorted(tmp_path.iterdir())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    LearningRateDisplay.from_estimator(clf, X, y, n_steps=10)
    assert torch.equal(torch.get_rng_state(), state)
    assert clf.get_params() == parameters
    assert random_state.randint(1000) == np.random.RandomState(3).randint(1000)
    for name, values in clf.module_.state_dict().items():
        assert torch.equal(values, before[name])
    assert sorted(tmp_path.iterdir()) == kept


def test_a_pipeline_goes_first(digits):
    X, y = digits
    pipeline = make_pipeline(PixelScaler(), quick(batch_size=50))
    display = LearningRateDisplay.from_estimator(pipeline, X, y, n_steps=20)
    alone = LearningRateDisplay.from_estimator(
        quick(batch_size=50), PixelScaler().fit_transform(X), y, n_steps=20
    )
    np.testing.assert_allclose(display.losses, alone.losses)


def test_where_losses_fall_fastest():
    rates = np.geomspace(1e-6, 1, 121)
    losses = 1 / (1 + np.exp(3 * (np.log10(rates) + 3))) + (rates > 0.1) * rates
    assert 5e-4 < steepest(rates, losses, 4) < 2e-3
    assert steepest(rates[:3], losses[:3], 4) in rates[:3]
    values = np.array([3.0, 1.0, 2.0, 6.0])
    np.testing.assert_allclose(smoothed(values, 1), [2, 2, 3, 4])
    assert math.isfinite(steepest(np.array([1e-3, 1e-2]), np.array([1.0, 0.5]), 1))


@pytest.mark.parametrize(
    "wrong", [{"low": 0.0}, {"low": 1.0, "high": 0.1}, {"n_steps": 1}]
)
def test_wrong_ranges_raise(digits, wrong):
    with pytest.raises(ValueError, match="rates from low to high, both positive"):
        LearningRateDisplay.from_estimator(L2CNNClassifier(), *digits, **wrong)
