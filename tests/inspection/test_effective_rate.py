"""The learning rate that weights in front of a norm have in effect."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.inspection import EffectiveRateDisplay
from sklearn_l2cnn.preprocessing import PixelScaler
from tests.conftest import drawn, quick

pytestmark = pytest.mark.usefixtures("plt")


def normed(input_shape, n_classes):
    """Build two convolutions that feed norms, in float64, and a head that does not."""
    first, second = nn.Conv2d(1, 4, 3, bias=False), nn.Conv2d(4, 6, 3, bias=False)
    layers = first, nn.BatchNorm2d(4, eps=1e-12), nn.ReLU(), second
    norm = nn.BatchNorm2d(6, eps=1e-12)
    return nn.Sequential(*layers, norm, nn.Flatten(), nn.Linear(96, n_classes)).double()


@pytest.mark.parametrize(
    ("optimizer", "lr_schedule"),
    [("sgd", None), ("adam", "cosine"), ("adamw", "onecycle"), ("sgd", "plateau")],
)
def test_rates_are_those_of_trainings_that_end_earlier(digits, optimizer, lr_schedule):
    """Each epoch is the last of a shorter training, where the schedule is none."""
    clf = quick(architecture=normed, optimizer=optimizer, lr=0.01, alpha=0.01)
    clf.set_params(max_epochs=4, lr_schedule=lr_schedule)
    display = EffectiveRateDisplay.from_estimator(clf, *digits)
    assert display.layer_names == ["0", "3"] and display.rates.shape == (4, 2)
    assert display.squared == (optimizer == "sgd")
    last = clf.fit(*digits).module_
    norms = np.array([float(last[place].weight.detach().norm()) for place in (0, 3)])
    rates = display.rates[-1] * norms ** (1 + display.squared)
    assert rates[0] == pytest.approx(rates[1])
    if lr_schedule is None:
        for epochs in (1, 2, 3):
            module = clf.set_params(max_epochs=epochs).fit(*digits).module_
            norms = [float(module[place].weight.detach().norm()) for place in (0, 3)]
            expected = 0.01 / np.array(norms) ** (1 + display.squared)
            np.testing.assert_allclose(display.rates[epochs - 1], expected)
    elif lr_schedule == "cosine":
        assert rates[0] == pytest.approx(0.01 * (1 + np.cos(np.pi * 3 / 4)) / 2)


def test_larger_weights_at_a_rate_that_is_larger_by_the_square_learn_the_same(digits):
    """The theorem that gives the rate its name, and the display shows it."""
    network = drawn(normed, (1, 8, 8), 10)
    with torch.no_grad():
        larger = drawn(normed, (1, 8, 8), 10)
        larger[0].weight.mul_(3.0)
    common = {"optimizer": "sgd", "alpha": 0.0, "max_epochs": 3}
    displays, learnt = [], []
    for module, rate in ((network, 0.01), (larger, 0.09)):
        clf = quick(architecture=module, lr={"0": rate, "*": 0.01}, **common)
        displays.append(EffectiveRateDisplay.from_estimator(clf, *digits).rates)
        learnt.append([*clf.fit(*digits).module_.parameters()])
    np.testing.assert_allclose(*displays, rtol=1e-6)
    learnt[1][0] = learnt[1][0] / 3
    for one, other in zip(*learnt, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_alpha_keeps_the_effective_rate_up(digits):
    rates = [
        EffectiveRateDisplay.from_estimator(
            quick(architecture=normed, alpha=alpha, optimizer="sgd", lr=0.1), *digits
        ).rates[-1]
        for alpha in (0.0, 0.3)
    ]
    assert (rates[1] > rates[0]).all()


def test_behind_steps_with_callbacks_and_what_is_drawn(digits):
    class Counting(Callback):
        n = 0

        def on_epoch_end(self, net, **kwargs):
            Counting.n += 1

    clf = quick(architecture=normed, callbacks=[Counting()], max_epochs=2)
    pipeline = make_pipeline(PixelScaler(), clf)
    display = EffectiveRateDisplay.from_estimator(
        pipeline, *digits, line_kw={"linewidth": 3}
    )
    assert Counting.n == 2 and not hasattr(clf, "net_")
    x, y = display.lines_[1].get_data()
    assert np.array_equal(x, [1, 2]) and np.array_equal(y, display.rates[:, 1])
    assert display.lines_[0].get_linewidth() == 3
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_ylabel() == r"learning rate / $\|W\|$"
    again = display.plot(ax=display.ax_)
    assert again is display


def test_a_network_without_norms(digits):
    with pytest.raises(ValueError, match="No layer of Sequential feeds a norm"):
        EffectiveRateDisplay.from_estimator(L2CNNClassifier(max_epochs=1), *digits)
