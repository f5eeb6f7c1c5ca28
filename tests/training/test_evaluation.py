"""The program of a network in predictions: it says what the network says."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_l2cnn._training.evaluation import evaluation_program, folded_norm
from sklearn_l2cnn._utils.operations import on_meta
from sklearn_l2cnn.architectures import build_network
from tests.training.networks import BY_IMAGE, SHAPE, WHOLE, made
from tests.training.test_chunks import RANDOM


def program_for(network):
    network.eval()
    return evaluation_program(network, on_meta(network))


def learnt(network, images):
    """Give the norms of a network statistics and scales that are not 0 and 1."""
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(images)
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def compare(network, images, **tolerance):
    program = program_for(network)
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        expected = network(images)
        found = program.bound(network)(images)
    torch.testing.assert_close(found, expected, **tolerance)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    return program


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_a_folded_norm_is_a_convolution_and_a_norm(bias, affine):
    conv = nn.Conv2d(3, 5, 3, bias=bias).double()
    norm = nn.BatchNorm2d(5, affine=affine).double()
    images = torch.randn(4, 3, 6, 6, dtype=torch.float64)
    learnt(nn.Sequential(conv, norm), images)
    own = norm.running_mean, norm.running_var, norm.weight, norm.bias
    weight, shift = folded_norm(conv.weight, conv.bias, *own, norm.eps)
    expected = norm(conv(images))
    torch.testing.assert_close(
        F.conv2d(images, weight, shift), expected, rtol=1e-12, atol=1e-12
    )


# Their forward functions ask for sizes or values, or keep what they are given.
UNTRACED = {
    "asserting",
    *("BranchOnSize", "BranchOnLastBatch", "SizeInNumbers"),
    *("BranchOnValues", "ThroughNumpy"),
    *("Diary", "OfTheModule", "OwnStatistics"),
}


@pytest.mark.parametrize("name", [n for n in (*BY_IMAGE, *WHOLE) if "hook" not in n])
def test_programs_say_what_networks_say(name):
    network = made((BY_IMAGE | WHOLE)[name]).eval()
    images = torch.randn(6, *SHAPE)
    assert (program_for(network) is None) == (name in UNTRACED)
    if name not in UNTRACED and name not in RANDOM:
        compare(network, images, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "vgg11_bn", "unet"]
)
def test_published_networks(name):
    torch.manual_seed(0)
    network = build_network(name, (3, 32, 32), 4)
    images = torch.randn(8, 32, 32, 3).permute(0, 3, 1, 2)
    program = compare(learnt(network, images), images, rtol=1e-3, atol=1e-4)
    folded = sum(own.eps is not None for own in program.convolutions)
    norms = sum(isinstance(part, nn.BatchNorm2d) for part in network.modules())
    assert name == "unet" or folded == norms > 0


class Norms(nn.Module):
    """A norm that is a function, one in front of its convolution, one used twice."""

    def __init__(self):
        super().__init__()
        self.before = nn.BatchNorm2d(1)
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(64, 3)

    def forward(self, X):
        own = self.norm
        X = self.conv1(self.before(X))
        X = F.relu(own(X) + X)  # what is in front of the norm is used again
        X = F.batch_norm(
            self.conv2(X), own.running_mean, own.running_var, own.weight, own.bias
        )
        return self.head(torch.flatten(F.relu(X), 1))


def test_which_norms_are_folded():
    network = learnt(Norms(), torch.randn(9, 1, 8, 8))
    program = compare(network, torch.randn(5, 1, 8, 8), rtol=1e-4, atol=1e-5)
    assert [own.eps is not None for own in program.convolutions] == [False, True]


def edits():
    """Return ways in which weights change, seen by torch or not."""

    def in_place(conv):
        with torch.no_grad():
            conv.weight.mul_(2)

    def through_data(conv):
        conv.weight.data.zero_()

    def other_data(conv):
        conv.weight.data = torch.ones_like(conv.weight)

    def other_parameter(conv):
        conv.weight = nn.Parameter(torch.ones_like(conv.weight))

    def through_numpy(conv):
        conv.weight.detach().numpy()[:] = 0.5

    def loaded(conv):
        conv.load_state_dict({k: v + 1 for k, v in conv.state_dict().items()})

    return in_place, through_data, other_data, other_parameter, through_numpy, loaded


@pytest.mark.parametrize("edit", edits())
def test_weights_that_changed_are_prepared_again(edit):
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(288, 3),
    )
    images = torch.randn(4, 1, 8, 8)
    program = program_for(learnt(network, images))
    with torch.no_grad():
        before = program.bound(network)(images)
        edit(network[0])
        after = program.bound(network)(images)
        torch.testing.assert_close(after, network(images), rtol=1e-4, atol=1e-5)
    assert not torch.equal(before, after)


def test_the_same_program_serves_networks_that_are_alike():
    one, other = (made(BY_IMAGE["functional"]) for _ in range(2))
    with torch.no_grad():
        other.conv1.weight.mul_(3)
    program, images = program_for(one), torch.randn(4, *SHAPE)
    with torch.no_grad():
        for network in (one, other, one):
            found = program.bound(network)(images)
            torch.testing.assert_close(found, network(images), rtol=1e-4, atol=1e-5)
