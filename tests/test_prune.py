"""prune: the smaller network does what the larger one does with its filters masked."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.feature_selection import prune
from tests.conftest import SmallNet, quick

BUILT_IN = ["plain", "two_conv", "conv_pool", "four_conv", "conv_dropout"]
SHAPES = [(8, 8, 1), (9, 7, 3), (1, 5, 2), (1, 1, 1)]
N_CLASSES = 3
FILTERED = (nn.Conv2d, nn.Linear)


def images(shape, n=24, seed=0):
    return np.random.RandomState(seed).normal(size=(n, *shape))


def holding(network, shape, **parameters):
    """Return a fitted classifier with the very weights of a network."""
    X, y = images(shape), np.arange(24) % N_CLASSES
    options = {"max_epochs": 1, "random_state": 0, "architecture": network}
    clf = L2CNNClassifier(**(options | parameters)).fit(X, y)
    clf.module_.load_state_dict(network.state_dict())
    return clf


def layers_of(network):
    """Return the layers with weights but for the last, by name."""
    found = [(n, part) for n, part in network.named_modules() if type(part) in FILTERED]
    return dict(found[:-1])


def stirred(network, seed, share=0.5):
    """Draw everything in a network anew in float64, and a share of all filters zero."""
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
            dead = torch.rand(len(layer.weight), generator=generator) < share
            dead[0] = share == 1
            layer.weight[dead] = 0
    return network


def logits(clf, X):
    """Run the network of a classifier as it is, in float64."""
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


# -- exact zeros ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_networks_lose_what_is_zero(name, shape):
    depth_first = shape[2], *shape[:2]
    network = stirred(build_network(name, depth_first, N_CLASSES), seed=len(name))
    clf = holding(network, shape)
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, shape)
    layers = layers_of(network)
    assert list(support) == list(layers)
    for (layer_name, layer), reader in zip(
        layers.items(), [*layers.values(), network.logits][1:], strict=True
    ):
        alive = layer.weight.flatten(1).any(dim=1)
        # where the next layer pads, one filter may stay for all that are not nothing
        pads = getattr(reader, "padding", (0, 0)) != (0, 0)
        standing = pads and bool((layer.bias[~alive] > 0).any())
        left = support[layer_name]
        assert left.sum() == max(1, int(alive.sum()) + standing)
        assert len(pruned.module_.get_submodule(layer_name).weight) == left.sum()
        assert left[alive.numpy()].all()


ACTIVATIONS = [
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.PReLU,
    nn.GELU,
    nn.LeakyReLU,
    nn.Softplus,
    nn.Identity,
]


def random_between(rng, depth, side):
    """Return layers that treat channels by themselves, in any order."""
    found = []
    for kind in rng.permutation(["norm", "act", "pool", "pad", "drop"])[
        : rng.choice(5)
    ]:
        if kind == "norm":
            found.append(nn.BatchNorm2d(depth, affine=rng.rand() < 0.8))
        elif kind == "act":
            found.append(ACTIVATIONS[rng.choice(len(ACTIVATIONS))]())
            if isinstance(found[-1], nn.PReLU) and rng.rand() < 0.5:
                found[-1] = nn.PReLU(depth)
        elif kind == "pool" and min(side) > 2:
            found.append(
                [
                    nn.MaxPool2d(2),
                    nn.MaxPool2d(3, stride=1, padding=1),
                    nn.AvgPool2d(3, stride=2, padding=1),
                    nn.AvgPool2d(2, padding=1, count_include_pad=False),
                    nn.AdaptiveAvgPool2d((3, 2)),
                    nn.AdaptiveMaxPool2d(2),
                    nn.LPPool2d(2, 2),
                ][rng.choice(7)]
            )
        elif kind == "pad":
            pads = [nn.ZeroPad2d(1), nn.ReplicationPad2d(1), nn.ConstantPad2d(1, 0.7)]
            found.append(pads[rng.choice(3)])
        elif kind == "drop":
            found.append([nn.Dropout(0.3), nn.Dropout2d(0.3)][rng.choice(2)])
    return found


def random_sequence(seed):
    """Return a network of convolutions and dense layers of all kinds, and its shape."""
    rng = np.random.RandomState(seed)
    shape = (*rng.choice([1, 2, 5, 6, 9], size=2), rng.choice([1, 3]))
    depth, layers = int(shape[2]), []
    seen = torch.zeros(2, depth, *shape[:2])
    for _ in range(rng.choice([1, 2, 3])):
        side, filters = min(seen.shape[2:]), int(rng.choice([1, 4, 7]))
        taps = int(rng.choice([1, 2, 3]))
        most = ["zeros", "reflect", "replicate", "circular"] if side > 2 else ["zeros"]
        conv = nn.Conv2d(
            depth,
            filters,
            taps,
            stride=int(rng.choice([1, 1, 2])),
            padding=1 if side < taps else int(rng.choice([0, 1])),
            bias=rng.rand() < 0.7,
            padding_mode=most[rng.choice(len(most))],
        )
        part = [conv]
        seen = conv(seen)
        for layer in random_between(rng, filters, seen.shape[2:]):
            seen = layer(seen)
            part.append(layer)
        # sequences within the sequence change nothing
        layers += [nn.Sequential(*part)] if rng.rand() < 0.3 else part
        depth = filters
    layers.append(nn.Flatten())
    width = int(np.prod(seen.shape[1:]))
    if rng.rand() < 0.3:
        layers += [nn.BatchNorm1d(width), nn.Sigmoid()]
    for _ in range(rng.choice([0, 1, 2])):
        units = int(rng.choice([1, 5, 8]))
        layers.append(nn.Linear(width, units, bias=rng.rand() < 0.7))
        layers += [nn.BatchNorm1d(units)] if rng.rand() < 0.4 else []
        layers.append(ACTIVATIONS[rng.choice(len(ACTIVATIONS))]())
        width = units
    layers.append(nn.Linear(width, N_CLASSES, bias=rng.rand() < 0.5))
    return nn.Sequential(*layers), tuple(map(int, shape))


@pytest.mark.parametrize("seed", range(60))
def test_any_sequence_loses_what_is_zero(seed):
    network, shape = random_sequence(seed)
    network = stirred(network, seed, share=(0, 0.3, 0.7, 1)[seed % 4])
    clf = holding(network, shape)
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, shape)
    before = sum(len(left) for left in support.values())
    assert (
        seed % 4 != 3
        or sum(left.sum() for left in support.values()) < before
        or (before == len(support))
    )
    # what is left has nothing more to lose
    again, support = prune(pruned, return_support=True)
    assert all(left.all() for left in support.values())
    assert_same_logits(again, clf, shape)


# -- filters that are not zero --------------------------------------------------------


def masked(network, threshold, fraction):
    """Return a network whose weak filters are masked: the slow, obvious pruning."""
    network = copy.deepcopy(network)
    parts = [part for part in network.modules() if type(part) is not nn.Sequential]
    names = layers_of(network)
    for layer, behind in pairwise(parts):
        if layer not in names.values():
            continue
        norms = [float(filter_.detach().norm()) for filter_ in layer.weight]
        norm = behind if isinstance(behind, nn.BatchNorm1d | nn.BatchNorm2d) else None
        if norm is not None:
            for k in range(len(norms)):
                norms[k] /= float(norm.running_var[k] + norm.eps) ** 0.5
                norms[k] *= (
                    1 if norm.weight is None else abs(float(norm.weight.detach()[k]))
                )
        order = sorted(range(len(norms)), key=lambda k: norms[k])
        weak = set(order[: int(fraction * len(norms) + 1e-9)])
        weak |= {k for k in order if norms[k] <= threshold}
        for k in weak:
            if not layer.weight[k].any():
                continue
            layer.weight.data[k] = 0
            if norm is not None:  # gives its mean
                if layer.bias is not None:
                    layer.bias.data[k] = 0
                norm.running_mean[k] = 0
    return network


@pytest.mark.parametrize("seed", range(40))
def test_weak_filters_go_as_if_they_were_masked(seed):
    network, shape = random_sequence(seed)
    network = stirred(network, seed, share=0.2)
    threshold, fraction = [(1.5, 0), (0, 0.5), (0.7, 0.29), (1e9, 0)][seed % 4]
    clf = holding(network, shape)
    pruned, support = prune(
        clf, threshold=threshold, fraction=fraction, return_support=True
    )
    oracle = copy.deepcopy(clf)
    oracle.module_.load_state_dict(masked(network, threshold, fraction).state_dict())
    assert_same_logits(pruned, oracle, shape)
    for name, left in support.items():
        assert left.any()
        # where maps go to a dense layer nothing stands in the way
        if isinstance(network.get_submodule(name), nn.Linear):
            gone = int(fraction * len(left) + 1e-9)
            assert left.sum() <= max(1, len(left) - gone)


def test_the_share_of_a_layer_is_rounded_down():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 100), nn.Linear(100, N_CLASSES))
    clf = holding(network, (2, 2, 1))
    for fraction, left in [(0, 100), (0.29, 71), (0.999, 1), (0.5, 50), (0.004, 100)]:
        assert prune(clf, fraction=fraction).module_[1].out_features == left


def test_thresholds_are_norms_and_equal_norms_go():
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.Linear(3, N_CLASSES))
    network[1].weight.data = torch.tensor([[3.0, 4.0], [0.0, 6.0], [0.0, 0.0]])
    clf = holding(network, (1, 2, 1))
    for threshold, left in [
        (0, [1, 1, 0]),
        (4.999, [1, 1, 0]),
        (5, [0, 1, 0]),
        (6, [1, 0, 0]),  # one stays
    ]:
        _, support = prune(clf, threshold=threshold, return_support=True)
        assert support["1"].tolist() == list(map(bool, left))


# -- what a constant filter leaves behind ---------------------------------------------


def two_convolutions(constants, between=(), **options):
    """Return a network of which all first filters but one give their biases alone."""
    n_filters = 1 + len(constants)
    network = nn.Sequential(
        nn.Conv2d(1, n_filters, 3, padding=1),
        *between,
        nn.Conv2d(n_filters, 2, 3, **options),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8, N_CLASSES),
    )
    network = stirred(network, seed=0, share=0)
    network[0].weight.data[1:] = 0
    network[0].bias.data[1:] = torch.tensor(constants)
    return network


@pytest.mark.parametrize(
    "constants, options, left",
    [
        ([1.0, -2.0, 3.0], {}, 1),
        ([0.0, 0.0, 0.0], {"padding": 1}, 1),
        ([0.0, 0.0, 3.0], {"padding": 1}, 2),
        ([1.0, -2.0, 3.0], {"padding": 1}, 2),  # one filter for all
        ([1.0, -2.0, 3.0], {"padding": "same"}, 2),
        ([1.0, -2.0, 3.0], {"padding": 1, "padding_mode": "reflect"}, 1),
        ([1.0, -2.0, 3.0], {"padding": 1, "padding_mode": "circular"}, 1),
        ([1.0, -2.0], {"between": [nn.ReLU()], "padding": 1}, 2),
        ([-1.0, -2.0], {"between": [nn.ReLU()], "padding": 1}, 1),
        ([1.0, 2.0], {"between": [nn.ZeroPad2d(1)]}, 2),
        ([1.0, 2.0], {"between": [nn.MaxPool2d(3, 1, 1)]}, 1),
        ([1.0, 2.0], {"between": [nn.AvgPool2d(3, 1, 1)]}, 2),
        ([1.0, 2.0], {"between": [nn.AvgPool2d(3, 1, 1, count_include_pad=False)]}, 1),
        # edges and middle of these are no multiples of each other: both stay
        ([1.0, 2.0], {"between": [nn.AvgPool2d(3, 1, 1), nn.Tanh()]}, 3),
    ],
)
def test_constants_go_into_the_bias_or_into_one_filter(constants, options, left):
    clf = holding(two_convolutions(constants, **options), (6, 5, 1))
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, (6, 5, 1))
    assert support["0"].sum() == left


def test_all_filters_dead():
    network = two_convolutions([1.0, 2.0], padding=1)
    network[0].weight.data[:] = 0
    clf = holding(network, (6, 5, 1))
    assert prune(clf).module_[0].out_channels == 1
    assert_same_logits(prune(clf), clf, (6, 5, 1))
    for part in network:
        if type(part) in FILTERED:
            part.weight.data[:] = 0
    clf = holding(network, (6, 5, 1))
    pruned = prune(clf)
    assert_same_logits(pruned, clf, (6, 5, 1))
    weights = [part.weight for part in pruned.module_ if type(part) in FILTERED]
    assert [tuple(w.shape) for w in weights] == [(1, 1, 3, 3), (1, 1, 3, 3), (3, 4)]


def test_what_nobody_reads_goes_and_what_that_read_too():
    sizes = [2, 4, 4, 4, N_CLASSES]
    dense = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    network = stirred(nn.Sequential(nn.Flatten(), *dense), seed=0, share=0)
    dense[3].weight.data[:, 0] = 0  # unit 0 of the third is not read
    dense[2].weight.data[1:, 1] = 0  # and was the only one to read unit 1 of the second
    dense[1].weight.data[2:, 2] = 0  # unit 2 of the first is read by 0 and 1 of these
    dense[1].weight.data[0, 2] = 0
    clf = holding(network, (1, 2, 1))
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, (1, 2, 1))
    gone = [np.flatnonzero(~left).tolist() for left in support.values()]
    assert gone == [[2], [1], [0]]


def test_who_reads_the_dead_alone_is_dead():
    sizes = [2, 4, 4, N_CLASSES]
    dense = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    network = stirred(nn.Sequential(nn.Flatten(), *dense), seed=0, share=0)
    dense[0].weight.data[0] = 0
    dense[1].weight.data[3, 1:] = 0
    clf = holding(network, (1, 2, 1))
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, (1, 2, 1))
    gone = [np.flatnonzero(~left).tolist() for left in support.values()]
    assert gone == [[0], [3]]


def test_a_scale_of_zero_in_a_batch_norm_is_a_dead_filter():
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    )
    network = stirred(network, seed=0, share=0)
    network[1].weight.data[:4] = 0
    clf = holding(network, (6, 6, 1))
    pruned = prune(clf)
    assert_same_logits(pruned, clf, (6, 6, 1))
    assert pruned.module_[0].out_channels == pruned.module_[1].num_features == 2


# -- the classifier that comes out ----------------------------------------------------


@pytest.fixture(scope="module")
def sparse(digits):
    """A classifier whose penalty left filters at zero, float32 as they come."""
    X, y = digits
    clf = L2CNNClassifier(
        alpha=3e-4,
        penalty="group",
        architecture="conv_pool",
        lr=3e-3,
        max_epochs=12,
        random_state=0,
    )
    return clf.fit(X, y)


def n_parameters(clf):
    return sum(parameter.numel() for parameter in clf.module_.parameters())


def test_a_penalised_network_is_smaller_and_says_the_same(sparse, digits):
    X, y = digits
    before = copy.deepcopy(sparse.module_.state_dict())
    pruned, support = prune(sparse, return_support=True)
    alive = sparse.module_.dense1.weight.any(dim=1)
    assert 0 < alive.sum() < len(alive)
    # none that is alive goes unless nobody reads it
    assert not (support["dense1"] & ~alive.numpy()).any()
    assert n_parameters(pruned) < 0.8 * n_parameters(sparse)
    np.testing.assert_allclose(
        pruned.decision_function(X), sparse.decision_function(X), rtol=0, atol=2e-5
    )
    assert np.array_equal(pruned.predict(X), sparse.predict(X))
    assert pruned.score(X, y) > 0.8
    # and the one that was given is what it was
    after = sparse.module_.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sparse.net_.optimizer_.state


def test_parameters_and_attributes_are_those_of_the_original(sparse):
    pruned = prune(sparse)
    assert pruned.get_params() == sparse.get_params()
    assert vars(pruned).keys() == vars(sparse).keys()
    for name in ("classes_", "channel_mean_", "channel_scale_"):
        assert np.array_equal(getattr(pruned, name), getattr(sparse, name))
    for name in ("n_epochs_", "loss_curve_", "image_shape_", "device_", "precision_"):
        assert getattr(pruned, name) == getattr(sparse, name)
    assert list(pruned.net_.history) == list(sparse.net_.history)


def test_nothing_to_drop_changes_no_bit(digits):
    X, y = digits
    clf = quick(max_epochs=1).fit(X, y)
    pruned, support = prune(clf, return_support=True)
    assert list(support) == ["0"] and support["0"].all()
    found, expected = pruned.decision_function(X), clf.decision_function(X)
    assert np.array_equal(found, expected)


def test_partial_fit_and_warm_start_train_the_smaller_network(sparse, digits):
    X, y = digits
    size = n_parameters(prune(sparse))
    pruned = pickle.loads(pickle.dumps(prune(sparse)))
    before = copy.deepcopy(pruned.module_.state_dict())
    pruned.partial_fit(X, y)
    assert n_parameters(pruned) == size and pruned.n_epochs_ == sparse.n_epochs_ + 1
    after = pruned.module_.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert pruned.loss_curve_[-1] < sparse.loss_curve_[0]
    pruned.set_params(warm_start=True, max_epochs=1).fit(X, y)
    assert n_parameters(pruned) == size
    assert pruned.score(X, y) > 0.8


def test_a_fit_anew_and_a_clone_have_the_full_network(sparse, digits):
    X, y = digits
    pruned = prune(sparse).set_params(max_epochs=1)
    fresh = clone(pruned).fit(X, y)
    assert n_parameters(fresh) == n_parameters(sparse)
    assert n_parameters(pruned.fit(X, y)) == n_parameters(sparse)


def test_the_smaller_network_can_be_the_architecture_of_another(sparse, digits):
    X, y = digits
    pruned = prune(sparse)
    other = L2CNNClassifier(architecture=pruned.module_, max_epochs=1, random_state=0)
    assert n_parameters(other.fit(X, y)) == n_parameters(pruned)
    assert other.score(X, y) > 0.8


@pytest.mark.parametrize("optimizer", ["adam", "sgd", torch.optim.RMSprop])
def test_a_bias_that_was_not_there_is_trained(optimizer):
    network = two_convolutions([1.0, 2.0], bias=False)
    clf = holding(network, (6, 5, 1), optimizer=optimizer)
    pruned = prune(clf)
    assert_same_logits(pruned, clf, (6, 5, 1))
    before = pruned.module_[1].bias.detach().clone()
    pruned.partial_fit(images((6, 5, 1)), np.arange(24) % N_CLASSES)
    assert not torch.equal(pruned.module_[1].bias, before)


def test_what_is_frozen_stays_frozen():
    network = two_convolutions([1.0, 2.0], bias=False)
    clf = holding(network, (6, 5, 1), freeze=["0", "1"])
    pruned = prune(clf)
    before = copy.deepcopy(pruned.module_.state_dict())
    X, y = images((6, 5, 1)), np.arange(24) % N_CLASSES
    pruned.partial_fit(X, y)
    after = pruned.module_.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"4.weight", "4.bias"}
    before = after["1.bias"].clone()
    pruned.set_params(freeze=None).partial_fit(X, y)
    assert not torch.equal(pruned.module_[1].bias, before)


def test_a_batch_norm_trained_on_images(digits):
    X, y = digits
    network = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(192, 10),
    )
    clf = L2CNNClassifier(
        alpha=1e-2, penalty="group", architecture=network, max_epochs=4, random_state=0
    ).fit(X, y)
    clf.module_[0].weight.data[:5] = 0
    clf.module_[4].weight.data[3:8] = 0
    pruned = prune(clf)
    np.testing.assert_allclose(
        pruned.decision_function(X), clf.decision_function(X), rtol=0, atol=1e-4
    )
    assert pruned.module_[1].num_features <= 8 and pruned.module_[5].num_features <= 7
    score = pruned.score(X, y)
    assert pruned.partial_fit(X, y).score(X, y) > score - 0.1


def test_on_every_device(device, digits):
    X, y = digits
    clf = quick(device=device, penalty="group", alpha=0.1).fit(X, y)
    clf.predict(X)  # and the network lies on the device
    clf.module_[0].weight.data[1] = 0
    pruned = prune(clf)
    assert pruned.module_[0].out_channels < 4 and pruned.device_ == clf.device_
    found, expected = pruned.predict_proba(X), clf.predict_proba(X)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    pruned.partial_fit(X, y)


def test_what_cannot_be_pickled_can_be_pruned():
    class OnTheSpot(torch.optim.SGD):
        pass

    class Shift(nn.Module):
        def forward(self, X):
            return X + 1

    network = nn.Sequential(Shift(), *two_convolutions([0.0, 0.0], padding=1), Shift())
    clf = holding(network, (6, 5, 1), optimizer=OnTheSpot)
    pruned = prune(clf)
    assert_same_logits(pruned, clf, (6, 5, 1))
    assert pruned.module_[1].out_channels == 1
    held = {p for group in pruned.net_.optimizer_.param_groups for p in group["params"]}
    assert held == set(pruned.module_.parameters())
    assert not held & set(clf.module_.parameters())


def test_generators_and_modes_are_left_alone(sparse):
    state, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    training = sparse.module_.training
    prune(sparse, fraction=0.3)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpys)
    assert sparse.module_.training is training


# -- who and what cannot be pruned ----------------------------------------------------


def test_layers_by_name(sparse):
    whole = sparse.module_
    for layers, left in [
        ("conv*", (24, 48, 128)),
        (["conv2", "dense1"], (32, 48, 96)),
        ("dense?", (32, 64, 96)),
    ]:
        clf = copy.deepcopy(sparse)
        clf.module_.load_state_dict(stirred(copy.deepcopy(whole), 0, 0).state_dict())
        clf.module_.conv1.bias.data.abs_().neg_()  # so that all that go give nothing
        pruned, support = prune(clf, fraction=0.25, layers=layers, return_support=True)
        assert set(support) <= {"conv1", "conv2", "dense1"}
        found = pruned.module_
        sizes = found.conv1.out_channels, found.conv2.out_channels
        assert (*sizes, found.dense1.out_features) == left
    for layers in ("logits", "pool1", "conv3"):
        with pytest.raises(ValueError, match="means no layer. The layers are 'conv1',"):
            prune(sparse, layers=layers)


def after_a_convolution(*layers, groups=1):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        *layers,
        nn.Conv2d(4, 4, 3, padding=1, groups=groups),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 5),
        nn.Linear(5, N_CLASSES),
    )


def hooked():
    network = after_a_convolution()
    network[1].register_forward_hook(lambda *_: None)
    return network


def tied():
    network = after_a_convolution(nn.Conv2d(4, 4, 3, padding=1))
    network[2].weight = network[1].weight
    return network


class Mine(nn.Linear):
    pass


@pytest.mark.parametrize(
    "network, message",
    [
        (after_a_convolution(nn.GroupNorm(2, 4)), "'1', a GroupNorm behind it, may"),
        (after_a_convolution(nn.LayerNorm(4)), "'1', a LayerNorm behind it, may"),
        (after_a_convolution(nn.Softmax2d()), "'1', a Softmax2d behind it, may"),
        (after_a_convolution(groups=2), "'1' is a convolution of 2 groups"),
        (hooked(), "'1' has hooks"),
        (tied(), "'1' shares its weights"),
        (
            after_a_convolution(nn.BatchNorm2d(4, track_running_stats=False)),
            "'1' has no running statistics",
        ),
        (
            nn.Sequential(
                nn.Conv2d(1, 2, 1), nn.Linear(4, 2), nn.Flatten(), Mine(16, 3)
            ),
            "what goes from '0' to '1' is of shape",
        ),
        (
            after_a_convolution(nn.Flatten(2), nn.Unflatten(2, (4, 4))),
            "'1' makes no row",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layers_that_cannot_be_pruned_are_named(network, message):
    clf = holding(stirred(copy.deepcopy(network), seed=0), (4, 4, 1))
    with pytest.raises(ValueError, match=message) as error:
        prune(clf)
    others = str(error.value).partition("layers=")[2]
    good = [name for name in layers_of(network) if f"'{name}'" in others]
    if not good:
        assert str(error.value).endswith("None is left.")
        return
    pruned, support = prune(clf, layers=good, return_support=True)
    assert list(support) == good
    assert_same_logits(pruned, clf, (4, 4, 1))


@pytest.mark.parametrize("architecture", ["unet", "resnet18", "vgg11", SmallNet])
def test_networks_that_are_no_sequence(architecture, colours):
    X, y = colours
    clf = L2CNNClassifier(architecture=architecture, max_epochs=1).fit(X, y)
    with pytest.raises(TypeError, match=r"a torch.nn.Sequential .* was expected"):
        prune(clf)


def test_a_network_of_a_single_layer(digits):
    X, y = digits
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    clf = L2CNNClassifier(architecture=network, max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="no layer that could lose filters"):
        prune(clf)


def test_who_cannot_be_pruned(sparse):
    with pytest.raises(TypeError, match="A LogisticRegression cannot be pruned"):
        prune(LogisticRegression())
    with pytest.raises(NotFittedError):
        prune(L2CNNClassifier())
    assert n_parameters(prune(FrozenEstimator(sparse))) < n_parameters(sparse)


@pytest.mark.parametrize(
    "parameters",
    [{"threshold": -1}, {"fraction": 1.0}, {"fraction": -0.1}, {"layers": 3}],
)
def test_parameters_out_of_range(sparse, parameters):
    [name] = parameters
    with pytest.raises(ValueError, match=f"The '{name}' parameter of prune must be"):
        prune(sparse, **parameters)
