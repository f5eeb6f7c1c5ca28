"""Which layers are penalised and frozen, by their names."""

import pytest
import torch
from torch import nn

from sklearn_l2cnn._training.regularization import strengths
from sklearn_l2cnn._utils.layer_names import by_pattern, is_meant, layer_of
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.architectures._plain import plain
from tests.conftest import SmallNet

NAMES = ["conv1", "conv2", "dense1", "layer1.0.conv1", "layer1.1.conv1", "logits"]


def names_of(module, groups):
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return {
        group.alpha: [names[id(weight)] for weight in group.weights] for group in groups
    }


@pytest.mark.parametrize(
    "pattern, meant",
    [
        ("conv1", ["conv1"]),
        ("conv*", ["conv1", "conv2"]),
        ("conv[2-9]", ["conv2"]),
        ("layer1", ["layer1.0.conv1", "layer1.1.conv1"]),
        ("layer1.0", ["layer1.0.conv1"]),
        ("*.conv1", ["layer1.0.conv1", "layer1.1.conv1"]),
        ("*conv1", ["conv1", "layer1.0.conv1", "layer1.1.conv1"]),
        ("*", NAMES),
        ("Conv1", []),
    ],
)
def test_a_pattern_means_layers_and_what_lies_in_them(pattern, meant):
    assert [name for name in NAMES if is_meant(pattern, name)] == meant


def test_the_first_pattern_decides():
    found = by_pattern(["conv2", "conv*", "l*"], NAMES, "alpha")
    assert found["conv2"] == "conv2" and found["conv1"] == "conv*"
    assert found["logits"] == "l*" and "dense1" not in found


def test_a_pattern_that_decides_nothing_is_an_error_that_lists_the_layers():
    with pytest.raises(
        ValueError, match=r"alpha: 'conv9' means no layer.*'conv1', 'co"
    ):
        by_pattern(["conv1", "conv9"], NAMES, "alpha")
    with pytest.raises(
        ValueError, match="'conv1' means only layers that a pattern befo"
    ):
        by_pattern(["conv*", "conv1"], NAMES, "alpha")
    many = [f"layer{k}" for k in range(1000)]
    with pytest.raises(ValueError, match="'layer39' and 960 more"):
        by_pattern(["conv"], many, "freeze")


def test_a_parameter_without_a_layer_goes_by_its_own_name():
    assert layer_of("conv1.weight") == "conv1"
    assert layer_of("layer1.0.conv1.weight") == "layer1.0.conv1"
    assert layer_of("scale") == "scale"


def test_one_strength_for_all_weights():
    net = plain((1, 8, 8), 3)
    expected = ["conv1.weight", "conv2.weight", "dense1.weight", "logits.weight"]
    assert names_of(net, strengths(net, 0.1)) == {0.1: expected}
    assert strengths(net, 0.0) == []


def test_strengths_by_layer():
    net = plain((1, 8, 8), 3)
    alpha = {"conv2": 0.3, "conv*": 0.1, "logits": 0}
    assert names_of(net, strengths(net, alpha)) == {
        0.3: ["conv2.weight"],
        0.1: ["conv1.weight"],
    }
    with pytest.raises(
        ValueError, match=r"'dense2' means no layer.*'dense1', 'logits'"
    ):
        strengths(net, {"dense2": 0.1})


def test_a_shared_weight_counts_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    [group] = strengths(nn.Sequential(first, second), 0.1)
    assert len(group.weights) == 1


@pytest.mark.parametrize(
    "penalize, expected",
    [
        ("weights", ["conv.weight", "head.weight"]),
        (
            "all",
            ["conv.weight", "conv.bias", "norm.weight", "norm.bias"]
            + ["head.weight", "head.bias"],
        ),
        (lambda name, parameter: "bias" in name and parameter.numel() > 3, None),
    ],
)
def test_which_parameters(penalize, expected):
    net = SmallNet((1, 4, 4), 3)
    expected = expected or ["conv.bias", "norm.bias"]
    assert names_of(net, strengths(net, 0.1, penalize)) == {0.1: expected}


def test_a_choice_of_nothing_is_an_error():
    with pytest.raises(
        ValueError, match="chooses no parameter of 'conv.weight', 'conv"
    ):
        strengths(SmallNet((1, 4, 4), 3), 0.1, lambda name, parameter: "kernel" in name)


def test_what_is_frozen_is_not_penalised():
    net = SmallNet((1, 4, 4), 3)
    net.conv.weight.requires_grad_(False)
    assert names_of(net, strengths(net, 0.1)) == {0.1: ["head.weight"]}


def test_layers_of_a_network_of_torchvision():
    net = build_network("resnet18", (3, 16, 16), 3)
    groups = strengths(net, {"fc": 0.1, "layer4.*.conv2": 0.2})
    assert names_of(net, groups) == {
        0.1: ["fc.dense.weight", "fc.logits.weight"],
        0.2: ["layer4.0.conv2.weight", "layer4.1.conv2.weight"],
    }


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.ones(2, 2))

    def forward(self, images):
        return images.flatten(1)[:, :2] @ self.table


def test_a_parameter_of_the_network_itself_can_be_named():
    net = Scaled()
    assert names_of(net, strengths(net, {"table": 0.5})) == {0.5: ["table"]}
