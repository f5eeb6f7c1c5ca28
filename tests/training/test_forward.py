"""The order of layers: cheaper in the run, the same in the answer."""

import numpy as np
import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training.analysis import analysis_of
from sklearn_l2cnn._training.forward import forward_of
from sklearn_l2cnn._training.program import pool_first
from tests.training.networks import Functional


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


def order(network):
    """Return what a network does, by name, with poolings before ReLUs."""
    graph = fx.Tracer().trace(network)
    layers = dict(network.named_modules())
    moved = pool_first(graph, layers)
    graph.lint()
    names = [
        type(layers[node.target]).__name__.lower()
        if node.op == "call_module"
        else getattr(node.target, "__name__", str(node.target))
        for node in graph.nodes
        if node.op.startswith("call")
    ]
    return names, moved


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_relu_and_pooling_change_places_without_a_trace(layout):
    network = textbook((2, 8, 8), 3).to(memory_format=layout)
    assert order(network)[0] == [
        *("conv2d", "maxpool2d", "relu"),
        *("conv2d", "maxpool2d", "relu"),
        *("flatten", "linear"),
    ]
    images = torch.randn(16, 2, 8, 8).round(decimals=1)  # so that some are equal
    program = analysis_of(network, images[:1], [16]).program
    results = []
    for forward in (network, forward_of(network, program)):
        network.zero_grad()
        logits = forward(images.contiguous(memory_format=layout))
        logits.square().sum().backward()
        results.append([logits, *(p.grad.clone() for p in network.parameters())])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_functions_and_methods_change_places_too():
    assert order(Functional())[0] == [
        *("conv2d", "max_pool2d", "relu"),
        *("conv2d", "max_pool2d", "relu_"),
        *("flatten", "linear"),
    ]


class Stays(nn.Module):
    """A ReLU in front of a pooling, one of which has to stay where it is."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(1, 2, 3)
        self.both = nn.MaxPool2d(2, return_indices=True)

    def forward(self, X):
        X = self.conv(X)
        if self.kind == "used again":
            X = F.relu(X)
            return F.max_pool2d(X, 1) + X
        if self.kind == "in place of what is used again":
            return F.max_pool2d(X.relu_(), 1) + X
        if self.kind == "with indices":
            return self.both(F.relu(X))[0]
        if self.kind == "indices of a function":
            return F.max_pool2d(F.relu(X), 2, return_indices=True)[0]
        if self.kind == "leaky":
            return F.max_pool2d(F.leaky_relu(X), 2)
        return F.avg_pool2d(F.relu(X), 2)


@pytest.mark.parametrize(
    "kind",
    [
        "used again",
        "in place of what is used again",
        "with indices",
        "indices of a function",
        "leaky",
        "mean",
    ],
)
def test_what_stays_in_its_place(kind):
    assert not order(Stays(kind))[1]


def test_a_network_with_hooks_runs_as_it_is():
    network, images = Functional().eval(), torch.randn(4, 1, 8, 8)
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    found = analysis_of(network, images[:1], [4])
    assert found.program is None and found.whole == "it has hooks"
    assert torch.equal(forward_of(network)(images), network(images))
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
