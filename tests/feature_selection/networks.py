"""Networks with given weights in classifiers, for the tests of pruning."""

import copy

import numpy as np
import torch
from torch import nn

from sklearn_l2cnn import L2CNNClassifier

N_CLASSES = 3
FILTERED = (nn.Conv2d, nn.Linear)


def images(shape, n=24, seed=0):
    return np.random.RandomState(seed).normal(size=(n, *shape))


def classifier_with(network, shape, **parameters):
    """Return a fitted classifier with the weights of a network."""
    X, y = images(shape), np.arange(24) % N_CLASSES
    options = {"max_epochs": 1, "random_state": 0, "architecture": network}
    clf = L2CNNClassifier(**(options | parameters)).fit(X, y)
    clf.module_.load_state_dict(network.state_dict())
    return clf


def layers_of(network):
    """Return the layers with weights, except the last, by name."""
    found = [(n, part) for n, part in network.named_modules() if type(part) in FILTERED]
    return dict(found[:-1])


def randomized(network, seed, share=0.5):
    """Draw all values of a network in float64; make a share of the filters zero."""
    generator = torch.Generator().manual_seed(seed)
    network = network.double()
    with torch.no_grad():
        for part in network.modules():
            for tensor in (*part.parameters(False), *part.buffers(False)):
                if tensor.is_floating_point():
                    tensor.normal_(generator=generator)
            if getattr(part, "running_var", None) is not None:
                part.running_var.abs_().add_(0.1)
        for layer in layers_of(network).values():
            zero = torch.rand(len(layer.weight), generator=generator) < share
            zero[0] = share == 1
            layer.weight[zero] = 0
    return network


def logits(clf, X):
    """Run the network of a classifier in float64."""
    pixels = (X - clf.channel_mean_) / clf.channel_scale_
    pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    with torch.no_grad():
        return copy.deepcopy(clf.module_).double().eval()(pixels).numpy()


def assert_same_logits(pruned, clf, shape, rtol=1e-12):
    X = images(shape, n=7, seed=1)
    expected = logits(clf, X)
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(logits(pruned, X), expected, rtol=0, atol=rtol * scale)
    found = pruned.predict_proba(X)
    np.testing.assert_allclose(found, clf.predict_proba(X), rtol=1e-4, atol=1e-5)


def two_convolutions(constants, between=(), **options):
    """Return a network whose first layer has constant filters, except for one."""
    n_filters = 1 + len(constants)
    network = nn.Sequential(
        nn.Conv2d(1, n_filters, 3, padding=1),
        *between,
        nn.Conv2d(n_filters, 2, 3, **options),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8, N_CLASSES),
    )
    network = randomized(network, seed=0, share=0)
    network[0].weight.data[1:] = 0
    network[0].bias.data[1:] = torch.tensor(constants)
    return network
