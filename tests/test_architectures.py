"""The default network at every size, and what counts as an architecture."""

import pytest
import torch
from torch import nn

from sklearn_l2cnn.architectures import build_network, compute_dtype, plain
from tests.conftest import SmallNet, double, tiny


@pytest.mark.parametrize("n_classes", [1, 2, 10, 1000])
@pytest.mark.parametrize("depth", [1, 3, 16])
@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 2), (1, 30), (2, 2), (3, 3), (5, 7), (8, 8), (9, 9), (17, 3), (28, 28)]
    + [(32, 32), (64, 100), (256, 256), (1, 4096)],
)
def test_plain_takes_every_size(size, depth, n_classes):
    net = build_network("plain", (depth, *size), n_classes)
    first_dense = next(layer for layer in net if isinstance(layer, nn.Linear))
    assert first_dense.weight.numel() <= 4 * 4 * 128 * 128
    assert not any("BatchNorm" in type(layer).__name__ for layer in net)
    with torch.no_grad():
        assert net(torch.randn(2, depth, *size)).shape == (2, n_classes)


@pytest.mark.parametrize("side", [1, 8, 28, 64, 256])
def test_plain_keeps_the_scale_of_its_input(side):
    # neither vanishing nor exploding through the depth that this size needs
    torch.manual_seed(0)
    net = plain((3, side, side), 10)
    with torch.no_grad():
        logits = net(torch.randn(8, 3, side, side))
    assert 0.05 < float(logits.std()) < 20


def test_plain_has_a_gradient_in_every_parameter():
    torch.manual_seed(0)
    net = plain((1, 100, 100), 5)
    net(torch.randn(4, 1, 100, 100)).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in net.parameters())


def test_a_module_is_copied_and_its_weights_are_the_start():
    mine = tiny((1, 8, 8), 3)
    net = build_network(mine, (1, 8, 8), 3)
    assert net is not mine
    assert net[0].weight is not mine[0].weight
    assert torch.equal(net[0].weight, mine[0].weight)


@pytest.mark.parametrize("architecture", [tiny, SmallNet])
def test_functions_and_classes_are_called_with_shape_and_classes(architecture):
    net = build_network(architecture, (3, 5, 4), 7)
    assert net.eval()(torch.zeros(2, 3, 5, 4)).shape == (2, 7)


def test_lazy_layers_get_their_shapes():
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3))
    net = build_network(lazy, (2, 8, 8), 3)
    assert net[2].in_features == 4 * 6 * 6


def test_trying_a_network_leaves_its_statistics_and_its_mode():
    net = build_network(SmallNet, (1, 4, 4), 2)
    assert int(net.norm.num_batches_tracked) == 0 and net.training


def test_compute_dtype_is_that_of_the_parameters():
    assert compute_dtype(tiny((1, 2, 2), 2)) == torch.float32
    assert compute_dtype(double((1, 2, 2), 2)) == torch.float64
    assert compute_dtype(nn.Flatten()) == torch.float32


@pytest.mark.parametrize(
    "architecture, error, message",
    [
        (tiny((1, 8, 8), 4), ValueError, r"shape \(2, 4\) .* \(2, 3\) were expected"),
        (tiny((3, 8, 8), 3), ValueError, r"does not take images of input_shape=\(1, 8"),
        (lambda input_shape, n_classes: None, TypeError, "returned NoneType"),
        (nn.Identity(), ValueError, r"output of shape \(2, 1, 8, 8\)"),
    ],
)
def test_what_does_not_fit_is_named(architecture, error, message):
    with pytest.raises(error, match=message):
        build_network(architecture, (1, 8, 8), 3)


def test_the_default_device_and_dtype_of_torch_do_not_show():
    torch.manual_seed(0)
    expected = build_network("plain", (1, 8, 8), 3)[0].weight
    torch.manual_seed(0)
    torch.set_default_device("meta")
    try:
        found = build_network("plain", (1, 8, 8), 3)[0].weight
    finally:
        torch.set_default_device(None)
    assert torch.equal(found, expected)
