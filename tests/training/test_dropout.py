"""Dropout: its rate by parameter, and the same draws in any number of threads."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import shards as _shards
from sklearn_l2cnn._training.forward import forward_of
from sklearn_l2cnn._training.program import program_of
from sklearn_l2cnn._training.runtime import torch_threads
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.architectures._plain import plain
from tests.conftest import SmallNet, quick


def dropouts(network):
    return [part.p for part in network.modules() if isinstance(part, nn.Dropout)]


def test_a_named_network_gets_one_in_front_of_its_last_layer():
    network = build_network("plain", (1, 8, 8), 3, dropout=0.3)
    names = [name for name, _ in network.named_children()]
    assert names[-3:] == ["relu3", "dropout", "logits"] and dropouts(network) == [0.3]
    network = build_network("unet", (1, 8, 8), 3, dropout=0.3)
    assert dropouts(network) == [0.3] and isinstance(network.logits[0], nn.Dropout)
    network = build_network("resnet18", (1, 8, 8), 3, dropout=0.3)
    assert list(dict(network.fc.named_children())) == [
        "dense",
        "norm",
        "relu",
        "dropout",
        "logits",
    ]


@pytest.mark.parametrize("name, number", [("conv_dropout", 1), ("vgg11", 1)])
def test_networks_with_dropout_keep_their_layers(name, number):
    assert dropouts(build_network(name, (1, 8, 8), 3)) == [0.5] * number
    for rate in (0.0, 0.2):
        network = build_network(name, (1, 8, 8), 3, dropout=rate)
        assert dropouts(network) == [rate] * number


def test_no_dropout_draws_the_same_weights():
    networks = []
    for rate in (None, 0.0, 0.4):
        torch.manual_seed(0)
        networks.append(build_network("plain", (1, 8, 8), 3, dropout=rate))
    assert dropouts(networks[1]) == []
    for other in networks[1:]:
        assert torch.equal(other.logits.weight, networks[0].logits.weight)


def test_a_network_of_ones_own_has_its_rates_set_or_is_refused():
    mine = SmallNet((1, 4, 4), 2)
    assert dropouts(build_network(mine, (1, 4, 4), 2, dropout=0.7)) == [0.7]
    assert dropouts(mine) == [0.1]
    with pytest.raises(
        ValueError, match=r"dropout=0.7 has no place.*no torch.nn.Dropo"
    ):
        build_network(nn.Flatten(), (1, 1, 2), 2, dropout=0.7)


def wide(input_shape, n_classes):
    network = plain(input_shape, n_classes)
    return nn.Sequential(*network[:4], nn.Dropout(0.4), *network[4:])


@pytest.mark.long
@pytest.mark.parametrize("architecture", [wide, "conv_dropout"])
def test_fits_agree_in_every_bit_for_any_number_of_threads(
    digits, architecture, monkeypatch
):
    monkeypatch.setattr(_shards, "_STEP", 1e3)
    X, y = digits
    fits = []
    for threads in (1, 2, 5):
        with torch_threads(threads):
            clf = L2CNNClassifier(
                architecture=architecture, max_epochs=3, random_state=0
            )
            fits.append(clf.fit(X, y))
    for other in fits[1:]:
        assert other.loss_curve_ == fits[0].loss_curve_
        for mine, theirs in zip(
            other.module_.parameters(), fits[0].module_.parameters(), strict=True
        ):
            assert torch.equal(mine, theirs)
    other = L2CNNClassifier(architecture=architecture, max_epochs=3, random_state=1)
    assert other.fit(X, y).loss_curve_ != fits[0].loss_curve_


def test_dropout_in_shards_is_dropout():
    network = nn.Sequential(nn.Dropout(0.3))
    forward = forward_of(network, program_of(network, copy.deepcopy(network)))
    ones = torch.ones(1000, 50)
    one, other, again = (
        forward(ones, torch.Generator().manual_seed(seed)) for seed in (0, 1, 0)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert set(one.unique().tolist()) == {0.0, float(torch.tensor(1) / 0.7)}
    assert abs(float((one == 0).float().mean()) - 0.3) < 0.01
    # rows and columns fall out independently of each other
    assert abs(float((one == 0).float().mean(0).std()) - (0.21 / 1000) ** 0.5) < 3e-3
    network.eval()
    assert torch.equal(forward(ones, torch.Generator()), ones)


def test_shards_of_a_batch_draw_apart(digits, monkeypatch):
    # were the masks of two shards the same, twins in them would get the same logits
    monkeypatch.setattr(_shards, "_STEP", 1e2)
    seen = []
    gradient = _shards.Shards.__call__

    def spied(self, *arguments):
        result = gradient(self, *arguments)
        count = _shards.shard_count(len(result[1]), self.work)
        seen.append((count, result[1]))
        return result

    monkeypatch.setattr(_shards.Shards, "__call__", spied)
    X = np.random.RandomState(0).uniform(size=(64, 8, 8))
    X[32:] = (
        X[:32] + 1e-9 * np.arange(1, 33)[:, None, None]
    )  # distinct, hardly different
    y = np.arange(64) % 2
    quick(architecture=wide, batch_size=64, max_epochs=1).fit(X, y)
    [(count, logits)] = seen
    assert count > 1
    distances = torch.cdist(logits, logits) + 10 * torch.eye(64)
    assert float(distances.min()) > 1e-4


def test_a_rate_in_a_search(digits):
    from sklearn.model_selection import GridSearchCV

    X, y = digits
    search = GridSearchCV(
        L2CNNClassifier(max_epochs=1, random_state=0), {"dropout": [None, 0.5]}, cv=2
    ).fit(X, y)
    assert search.cv_results_["mean_test_score"].min() > 0
