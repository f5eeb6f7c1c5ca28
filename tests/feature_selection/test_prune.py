"""prune: the smaller network equals the larger one with its filters masked."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.feature_selection import prune
from tests.feature_selection.networks import (
    FILTERED,
    N_CLASSES,
    assert_same_logits,
    classifier_with,
    layers_of,
    randomized,
    two_convolutions,
)

BUILT_IN = ["plain", "two_conv", "conv_pool", "four_conv", "conv_dropout"]
SHAPES = [(8, 8, 1), (9, 7, 3), (1, 5, 2), (1, 1, 1)]


# -- exact zeros ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_networks_lose_zero_filters(name, shape):
    depth_first = shape[2], *shape[:2]
    network = randomized(build_network(name, depth_first, N_CLASSES), seed=len(name))
    clf = classifier_with(network, shape)
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, shape)
    layers = layers_of(network)
    assert list(support) == list(layers)
    for (layer_name, layer), reader in zip(
        layers.items(), [*layers.values(), network.logits][1:], strict=True
    ):
        alive = layer.weight.flatten(1).any(dim=1)
        # where the next layer pads, one filter may stay for all constants but 0
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
    maps = torch.zeros(2, depth, *shape[:2])
    for _ in range(rng.choice([1, 2, 3])):
        side, filters = min(maps.shape[2:]), int(rng.choice([1, 4, 7]))
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
        maps = conv(maps)
        for layer in random_between(rng, filters, maps.shape[2:]):
            maps = layer(maps)
            part.append(layer)
        # sequences within the sequence change nothing
        layers += [nn.Sequential(*part)] if rng.rand() < 0.3 else part
        depth = filters
    layers.append(nn.Flatten())
    width = int(np.prod(maps.shape[1:]))
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


@pytest.mark.parametrize("seed", range(48))
def test_any_sequence_loses_zero_filters(seed):
    network, shape = random_sequence(seed)
    network = randomized(network, seed, share=(0, 0.3, 0.7, 1)[seed % 4])
    clf = classifier_with(network, shape)
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, shape)
    if seed % 4 == 3:  # where all filters are zero, some go that are not the last
        sizes = [(left.sum(), len(left)) for left in support.values()]
        assert any(few < many for few, many in sizes) or {(1, 1)} == set(sizes)
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


@pytest.mark.parametrize("seed", range(32))
def test_weak_filters_go_as_if_they_were_masked(seed):
    network, shape = random_sequence(seed)
    network = randomized(network, seed, share=0.2)
    threshold, fraction = [(1.5, 0), (0, 0.5), (0.7, 0.29), (1e9, 0)][seed % 4]
    clf = classifier_with(network, shape)
    pruned, support = prune(
        clf, threshold=threshold, fraction=fraction, return_support=True
    )
    oracle = copy.deepcopy(clf)
    oracle.module_.load_state_dict(masked(network, threshold, fraction).state_dict())
    assert_same_logits(pruned, oracle, shape)
    for name, left in support.items():
        assert left.any()
        # a dense layer can do without any constant filter
        if isinstance(network.get_submodule(name), nn.Linear):
            gone = int(fraction * len(left) + 1e-9)
            assert left.sum() <= max(1, len(left) - gone)


def test_the_share_of_a_layer_is_rounded_down():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 100), nn.Linear(100, N_CLASSES))
    clf = classifier_with(network, (2, 2, 1))
    for fraction, left in [(0, 100), (0.29, 71), (0.999, 1), (0.5, 50), (0.004, 100)]:
        assert prune(clf, fraction=fraction).module_[1].out_features == left


def test_thresholds_are_norms_and_equal_norms_are_removed():
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.Linear(3, N_CLASSES))
    network[1].weight.data = torch.tensor([[3.0, 4.0], [0.0, 6.0], [0.0, 0.0]])
    clf = classifier_with(network, (1, 2, 1))
    for threshold, left in [
        (0, [1, 1, 0]),
        (4.999, [1, 1, 0]),
        (5, [0, 1, 0]),
        (6, [1, 0, 0]),  # one stays
    ]:
        _, support = prune(clf, threshold=threshold, return_support=True)
        assert support["1"].tolist() == list(map(bool, left))


# -- constant filters -----------------------------------------------------------------


@pytest.mark.parametrize(
    "constants, options, left",
    [
        ([1.0, -2.0, 3.0], {}, 1),
        ([0.0, 0.0, 0.0], {"padding": 1}, 1),
        ([0.0, 0.0, 3.0], {"padding": 1}, 2),
        ([1.0, -2.0, 3.0], {"padding": 1}, 2),  # merged into one filter
        ([1.0, -2.0, 3.0], {"padding": "same"}, 2),
        ([1.0, -2.0, 3.0], {"padding": 1, "padding_mode": "reflect"}, 1),
        ([1.0, -2.0, 3.0], {"padding": 1, "padding_mode": "circular"}, 1),
        ([1.0, -2.0], {"between": [nn.ReLU()], "padding": 1}, 2),
        ([-1.0, -2.0], {"between": [nn.ReLU()], "padding": 1}, 1),
        ([1.0, 2.0], {"between": [nn.ZeroPad2d(1)]}, 2),
        ([1.0, 2.0], {"between": [nn.MaxPool2d(3, 1, 1)]}, 1),
        ([1.0, 2.0], {"between": [nn.AvgPool2d(3, 1, 1)]}, 2),
        ([1.0, 2.0], {"between": [nn.AvgPool2d(3, 1, 1, count_include_pad=False)]}, 1),
        # these maps are not proportional: both filters stay
        ([1.0, 2.0], {"between": [nn.AvgPool2d(3, 1, 1), nn.Tanh()]}, 3),
    ],
)
def test_constants_go_into_the_bias_or_into_one_filter(constants, options, left):
    clf = classifier_with(two_convolutions(constants, **options), (6, 5, 1))
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, (6, 5, 1))
    assert support["0"].sum() == left


def test_an_activation_in_several_places():
    relu = nn.ReLU()
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        relu,
        nn.Conv2d(3, 4, 3),
        relu,
        nn.Flatten(),
        nn.Linear(8, N_CLASSES),
    )
    with torch.no_grad():
        network[2].weight[1] = 0
        network[2].bias[1] = -3.0  # which the ReLU turns into 0
    clf = classifier_with(network, (6, 5, 1))
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, (6, 5, 1))
    assert support["2"].tolist() == [True, False, True, True]


def test_of_zero_filters_one_is_kept():
    network = two_convolutions([1.0, 2.0], padding=1)
    network[0].weight.data[:] = 0
    clf = classifier_with(network, (6, 5, 1))
    assert prune(clf).module_[0].out_channels == 1
    assert_same_logits(prune(clf), clf, (6, 5, 1))
    for part in network:
        if type(part) in FILTERED:
            part.weight.data[:] = 0
    clf = classifier_with(network, (6, 5, 1))
    pruned = prune(clf)
    assert_same_logits(pruned, clf, (6, 5, 1))
    weights = [part.weight for part in pruned.module_ if type(part) in FILTERED]
    assert [tuple(w.shape) for w in weights] == [(1, 1, 3, 3), (1, 1, 3, 3), (3, 4)]


def test_unread_filters_are_removed_and_then_those_they_read():
    sizes = [2, 4, 4, 4, N_CLASSES]
    dense = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    network = randomized(nn.Sequential(nn.Flatten(), *dense), seed=0, share=0)
    dense[3].weight.data[:, 0] = 0  # unit 0 of the third is not read
    dense[2].weight.data[1:, 1] = 0  # and was the only one to read unit 1 of the second
    dense[1].weight.data[2:, 2] = 0  # unit 2 of the first is read by 0 and 1 of these
    dense[1].weight.data[0, 2] = 0
    clf = classifier_with(network, (1, 2, 1))
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, (1, 2, 1))
    gone = [np.flatnonzero(~left).tolist() for left in support.values()]
    assert gone == [[2], [1], [0]]


def test_filters_that_read_only_zero_filters_are_removed():
    sizes = [2, 4, 4, N_CLASSES]
    dense = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    network = randomized(nn.Sequential(nn.Flatten(), *dense), seed=0, share=0)
    dense[0].weight.data[0] = 0
    dense[1].weight.data[3, 1:] = 0
    clf = classifier_with(network, (1, 2, 1))
    pruned, support = prune(clf, return_support=True)
    assert_same_logits(pruned, clf, (1, 2, 1))
    gone = [np.flatnonzero(~left).tolist() for left in support.values()]
    assert gone == [[0], [3]]


def test_filters_with_a_scale_of_zero_in_a_batch_norm_are_removed():
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    )
    network = randomized(network, seed=0, share=0)
    network[1].weight.data[:4] = 0
    clf = classifier_with(network, (6, 6, 1))
    pruned = prune(clf)
    assert_same_logits(pruned, clf, (6, 6, 1))
    assert pruned.module_[0].out_channels == pruned.module_[1].num_features == 2
