"""Sequences of layers: for which networks more is known, and that it is true."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training.forward import (
    _PER_VALUE,
    cheaper_order,
    forward_of,
    work,
)
from sklearn_l2cnn._utils.layers import layers_by_image
from sklearn_l2cnn.architectures._plain import plain
from tests.conftest import SmallNet


def test_who_treats_every_image_by_itself():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nested = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.ReLU(), flat))
    found = [type(layer).__name__ for layer in layers_by_image(nested)]
    assert found == ["Conv2d", "ReLU", "Flatten", "Linear"]
    assert layers_by_image(plain((3, 16, 16), 4)) is not None

    class Mine(nn.Linear):
        def forward(self, X):
            return super().forward(X - X.mean(0))

    hooked = nn.Sequential(nn.Linear(2, 2))
    hooked[0].register_forward_hook(lambda *_: None)
    hooked = nn.Sequential(nn.Linear(2, 2))
    hooked[0].weight.register_hook(lambda gradient: None)
    others = [
        nn.Sequential(nn.BatchNorm2d(1)),
        nn.Sequential(nn.RReLU()),
        nn.Sequential(nn.Flatten(start_dim=0)),
        nn.Sequential(Mine(2, 2)),
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
        SmallNet((1, 4, 4), 2),
        hooked,
        hooked,
    ]
    assert [layers_by_image(other) for other in others] == [None] * len(others)


def test_work_counts_multiplications():
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 7)
    )
    values = 3 * 4 * 4 + 3 * 4 * 4 + 48 + 7
    products = 3 * 4 * 4 * 2 * 9 + 48 * 7
    found = work(layers_by_image(network), torch.zeros(1, 2, 6, 6))
    assert found == products + _PER_VALUE * values


def textbook(input_shape, n_classes):
    """Build a network in the order that everybody writes: ReLU, then pooling."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(input_shape[0], 4, 3, padding=1), nn.ReLU()),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Flatten(),
        nn.Linear(4 * (input_shape[1] // 2) * (input_shape[2] // 2), n_classes),
    )


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_relu_and_pooling_change_places_without_a_trace(layout):
    network = textbook((2, 8, 8), 3).to(memory_format=layout)
    names = [type(layer).__name__ for layer in cheaper_order(layers_by_image(network))]
    assert names == [
        *("Conv2d", "MaxPool2d", "ReLU"),
        *("Conv2d", "MaxPool2d", "ReLU"),
        *("Flatten", "Linear"),
    ]
    images = torch.randn(16, 2, 8, 8).round(decimals=1)  # so that some are equal
    results = []
    for forward in (network, forward_of(network, layers_by_image(network))):
        network.zero_grad()
        logits = forward(images.contiguous(memory_format=layout))
        logits.square().sum().backward()
        results.append([logits, *(p.grad.clone() for p in network.parameters())])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_a_network_that_is_no_sequence_runs_as_it_is():
    network, images = SmallNet((1, 8, 8), 2).eval(), torch.randn(4, 1, 8, 8)
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    forward = forward_of(network, layers_by_image(network))
    assert torch.equal(forward(images), network(images))
    assert len(calls) == 2


def test_a_fit_leaves_the_order_of_a_network_as_it_was(digits):
    X, y = digits
    clf = L2CNNClassifier(architecture=textbook, max_epochs=2, random_state=0)
    clf.fit(X, y)
    kinds = [type(layer) for layer in clf.module_]
    assert kinds == [type(layer) for layer in textbook((1, 8, 8), 10)]
    # the network itself says what the estimator says
    images = torch.from_numpy((X / 255 - clf.channel_mean_) / clf.channel_scale_)
    with torch.no_grad():
        logits = clf.module_(images[:, None].float())
    expected = torch.softmax(logits, dim=1).numpy()
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-4, atol=1e-7)
