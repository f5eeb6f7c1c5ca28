"""What a strength of L2 means: timescales, and norms that undo it."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn._training.freezing import Frozen
from sklearn_l2cnn._utils.scale import scale_has_no_effect
from sklearn_l2cnn.architectures import build_network
from tests.conftest import SmallNet, quick, tiny


@pytest.mark.parametrize("optimizer", ["adamw", "sgdw"])
def test_weights_forget_over_the_timescale(digits, optimizer):
    """Without gradients they fall to 1 / e in so many epochs."""
    X, y = digits
    parameters = {"alpha": 0.5, "lr": 0.01, "batch_size": 50, "lr_schedule": None}
    clf = quick(optimizer=optimizer, **parameters).fit(X, y)
    assert clf.timescale_ == pytest.approx(1 / (0.01 * 0.5 * 6))
    start = tiny((1, 8, 8), 10)
    idle = nn.Sequential(start, Ignored())
    epochs = round(clf.timescale_)
    clf.set_params(architecture=idle, max_epochs=epochs).fit(X, y)
    ratio = clf.module_[0][0].weight.norm() / start[0].weight.norm()
    assert float(ratio.detach()) == pytest.approx(np.exp(-1), rel=0.03)


class Ignored(nn.Module):
    """Give logits that do not depend on what comes in."""

    def forward(self, logits):
        return 0 * logits


def test_layers_have_timescales_of_their_own(some, capsys):
    lr, alpha = {"0": 1e-3, "*": 1e-2}, {"0": 0.5, "3": 0.1}
    parameters = {"optimizer": "adamw", "batch_size": 30, "verbose": 1}
    clf = quick(alpha=alpha, lr=lr, **parameters).fit(*some)
    expected = {"0": 1 / (1e-3 * 0.5 * 5), "3": 1 / (1e-2 * 0.1 * 5)}
    assert clf.timescale_ == pytest.approx(expected)
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith("5 steps an epoch")
    assert told[1] == "weights forget over 400 for '0', 200 for '3' epochs"


@pytest.mark.parametrize(
    "parameters",
    [{}, {"optimizer": "sgdw", "penalty": "l1"}, {"optimizer": "adamw", "alpha": 0.0}],
)
def test_others_have_no_timescale(some, parameters, capsys):
    assert quick(verbose=1, **parameters).fit(*some).timescale_ is None
    assert "forget" not in capsys.readouterr().out


def test_a_search_has_that_of_its_refit(some):
    search = L2CNNClassifierCV(
        [0.1, 0.2], cv=2, optimizer="adamw", architecture=tiny, max_epochs=2
    ).fit(*some)
    n_steps = search.net_.history[-1]["train_batch_count"]
    assert search.timescale_ == pytest.approx(1 / (1e-3 * search.alpha_ * n_steps))


# -- norms ----------------------------------------------------------------------------


class AllNormed(nn.Module):
    """A functional network whose every layer feeds a norm."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.conv = nn.Conv2d(input_shape[0], 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, n_classes)
        self.last = nn.BatchNorm1d(n_classes)

    def forward(self, X):
        X = self.norm(self.conv(X)).relu().mean((2, 3))
        return self.last(self.head(self.drop(X)))


class ZeroHead(SmallNet):
    """A network whose last layer begins at zero, as that of loaded weights does."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        nn.init.zeros_(self.head.weight)


def caught(clf, some):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        clf.fit(*some)
    return [str(w.message) for w in found if "feeds a norm" in str(w.message)]


def test_it_warns_where_all_that_is_penalised_feeds_norms(some):
    [message] = caught(quick(architecture=AllNormed), some)
    assert "effective learning rate" in message and "penalize='all'" in message
    assert caught(quick(architecture=SmallNet, alpha={"conv": 0.1}), some)


@pytest.mark.parametrize(
    "parameters",
    [
        {"architecture": "plain"},
        {"architecture": SmallNet},
        {"architecture": AllNormed, "penalize": "all"},
        {"architecture": AllNormed, "penalty": None},
        {"architecture": AllNormed, "alpha": 0.0},
        {"architecture": AllNormed, "freeze": "norm"},
        {"architecture": ZeroHead},
        {"architecture": SmallNet, "alpha": {"head": 0.1}},
    ],
)
def test_it_does_not_warn_elsewhere(some, parameters):
    assert not caught(quick(**parameters), some)


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "vit_b_16", "plain"]
)
def test_named_networks_have_a_last_layer_without_a_norm(name):
    network = build_network(name, (3, 32, 32), 5)
    names = [n for n, weight in network.named_parameters() if weight.ndim > 1]
    image = torch.zeros(1, 3, 32, 32)
    assert not scale_has_no_effect(network, names, image, Frozen())
    state = {key: value.clone() for key, value in network.state_dict().items()}
    scale_has_no_effect(network, names[:1], image, Frozen())
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key])


def test_convolutions_of_a_residual_network_feed_norms():
    network = build_network("resnet18", (3, 32, 32), 5)
    names = [f"layer{k}.0.conv1.weight" for k in range(1, 5)]
    assert scale_has_no_effect(network, names, torch.zeros(1, 3, 32, 32), Frozen())


def test_looking_at_norms_is_not_noticed(some):
    class Counting(AllNormed):
        calls = 0

        def forward(self, X):
            self.calls += 1
            return super().forward(X)

    network = Counting((1, 8, 8), 10).eval()
    names = ["conv.weight", "head.weight"]
    assert scale_has_no_effect(network, names, torch.zeros(1, 1, 8, 8), Frozen())
    assert network.calls == 0 and not network.norm.training
    assert network.norm.num_batches_tracked == 0


def test_looking_at_norms_leaves_generators_alone(some):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    clf = L2CNNClassifier(architecture=AllNormed, max_epochs=1, random_state=0)
    with pytest.warns(UserWarning, match="feeds a norm"):
        clf.fit(*some)
    assert torch.equal(torch.get_rng_state(), before)
