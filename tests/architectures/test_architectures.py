"""Tests of named networks for all sizes, and of custom architectures."""

import pytest
import torch
import torchvision
from torch import nn

from sklearn_l2cnn._utils.layers import compute_dtype
from sklearn_l2cnn.architectures import build_network, list_architectures
from sklearn_l2cnn.architectures._plain import plain
from sklearn_l2cnn.architectures._registry import ARCHITECTURES
from tests.conftest import SmallNet, double, quick, tiny

SIZES = [(1, 1), (1, 2), (1, 30), (2, 2), (3, 3), (5, 7), (8, 8), (9, 9), (17, 3)]
SIZES += [(28, 28), (32, 32)]


@pytest.mark.parametrize("n_classes", [1, 10, 1000])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("size", [*SIZES, (64, 100), (256, 256), (1, 4096)])
def test_plain_takes_every_size(size, depth, n_classes):
    net = build_network("plain", (depth, *size), n_classes)
    first_dense = next(layer for layer in net if isinstance(layer, nn.Linear))
    assert first_dense.weight.numel() <= 4 * 4 * 128 * 128
    assert not any("BatchNorm" in type(layer).__name__ for layer in net)
    with torch.no_grad():
        assert net(torch.randn(2, depth, *size)).shape == (2, n_classes)


@pytest.mark.parametrize("side", [1, 8, 28, 64, 256])
def test_plain_preserves_the_scale_of_its_input(side):
    # the signal neither vanishes nor explodes at the depth for this size
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


# -- other networks -------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 5])
@pytest.mark.parametrize("size", [*SIZES, (64, 100), (224, 224)])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_own_networks_take_every_size_and_depth(name, size, depth):
    net = build_network(name, (depth, *size), 7)
    assert sum(p.numel() for p in net.parameters()) < 10_000_000
    with torch.no_grad():
        assert net(torch.randn(2, depth, *size)).shape == (2, 7)


@pytest.mark.long
@pytest.mark.parametrize("depth", [1, 5])
@pytest.mark.parametrize("size", [*SIZES, (48, 20), (64, 64), (100, 224)])
@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
def test_torchvision_networks_take_every_size_and_depth(name, size, depth):
    if name == "vgg11" and min(size) >= 64:
        pytest.skip("the dense layers have half a gigabyte")
    net = build_network(name, (depth, *size), 7)
    with torch.no_grad():
        assert net(torch.randn(2, depth, *size)).shape == (2, 7)


def kinds(net, kind):
    return [layer for layer in net.modules() if type(layer) is kind]


def test_layers_of_two_conv():
    net = build_network("two_conv", (1, 28, 28), 10)
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim > 1]
    assert shapes == [(64, 1, 5, 5), (64, 64, 5, 5), (512, 1024), (10, 512)]
    assert len(kinds(net, nn.MaxPool2d)) == 2


def test_layers_of_conv_pool():
    net = build_network("conv_pool", (3, 32, 32), 10)
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim > 1]
    assert shapes == [(32, 3, 3, 3), (64, 32, 3, 3), (128, 64 * 36), (10, 128)]


def test_layers_of_four_conv():
    net = build_network("four_conv", (3, 32, 32), 20)
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim > 1]
    assert shapes[:2] == [(64, 3, 3, 3), (64, 64, 3, 3)]
    assert shapes[2:] == [(64, 64, 3, 3), (10, 64, 3, 3), (512, 10 * 32**2), (20, 512)]
    assert all(layer.padding == (1, 1) for layer in kinds(net, nn.Conv2d))
    assert not kinds(net, nn.MaxPool2d)


def test_layers_of_conv_dropout():
    net = build_network("conv_dropout", (1, 28, 28), 10)
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim > 1]
    assert shapes == [(32, 1, 3, 3), (64, 32, 3, 3), (64, 64 * 121), (10, 64)]
    assert [layer.p for layer in kinds(net, nn.Dropout)] == [0.5]


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_stem_and_head_of_resnets(name):
    small = build_network(name, (1, 28, 28), 10)
    assert small.conv1.kernel_size == (3, 3) and small.conv1.stride == (1, 1)
    assert isinstance(small.maxpool, nn.Identity)
    large = build_network(name, (3, 64, 64), 10)
    assert large.conv1.kernel_size == (7, 7) and isinstance(large.maxpool, nn.MaxPool2d)
    for net in (small, large):
        layers = [type(layer).__name__ for layer in net.fc]
        assert layers == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert net.fc.dense.out_features == 128


def test_vgg11_has_batch_norm():
    small = build_network("vgg11", (1, 28, 28), 10)
    assert len(kinds(small, nn.BatchNorm2d)) == len(kinds(small, nn.Conv2d)) == 8
    assert sum(p.numel() for p in small.parameters()) < 10_000_000


@pytest.mark.long
def test_widths_of_a_small_vgg_match_torchvision():
    small = build_network("vgg13_bn", (3, 32, 32), 10)
    published = torchvision.models.vgg13_bn(weights=None)
    assert [layer.out_channels for layer in kinds(small, nn.Conv2d)] == [
        layer.out_channels for layer in kinds(published, nn.Conv2d)
    ]


@pytest.mark.parametrize("name", [*ARCHITECTURES, "resnet18", "vgg11"])
def test_every_network_has_a_gradient_in_every_parameter(name):
    torch.manual_seed(0)
    net = build_network(name, (1, 20, 20), 5)
    net(torch.randn(8, 1, 20, 20)).square().sum().backward()
    for key, parameter in net.named_parameters():
        assert float(parameter.grad.abs().sum()) > 0, key


@pytest.mark.parametrize("name", [*ARCHITECTURES, "resnet18", "vgg11"])
def test_same_seed_gives_the_same_network(name):
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(build_network(name, (1, 12, 12), 5).state_dict())
    for key, value in networks[0].items():
        assert torch.equal(value, networks[1][key]), key


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        *ARCHITECTURES,
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("resnet18", "vgg11")),
    ],
)
def test_every_network_learns_digits(digits, name):
    X, y = digits
    n_epochs = {"resnet18": 2, "vgg11": 4}.get(name, 10)
    clf = quick(architecture=name, max_epochs=n_epochs, lr=1e-3, batch_size=16)
    clf.fit(X, y)
    assert clf.score(X, y) > 0.6


# -- classifiers of torchvision -------------------------------------------------------


def test_all_names_are_listed():
    names = list_architectures()
    assert len(set(names)) == len(names)
    assert set(names) == {
        *ARCHITECTURES,
        *torchvision.models.list_models(module=torchvision.models),
    }


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    ["alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet"]
    + ["mnasnet0_5", "mobilenet_v3_small", "regnet_y_400mf", "shufflenet_v2_x0_5"]
    + ["squeezenet1_1", "swin_t"],
)
def test_torchvision_networks_get_a_head_for_the_classes(name):
    for shape, n_classes in (((1, 64, 64), 3), ((4, 64, 64), 2)):
        net = build_network(name, shape, n_classes)
        with torch.no_grad():
            assert net(torch.randn(2, *shape)).shape == (2, n_classes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        name
        for name in torchvision.models.list_models(module=torchvision.models)
        if not any(word in name for word in ("_h_", "_l_", "128gf", "32gf"))
    ],
)
def test_every_classifier_of_torchvision(name):
    side = 299 if name == "inception_v3" else 224
    net = build_network(name, (1, side, side), 3)
    with torch.no_grad():
        assert net.eval()(torch.randn(1, 1, side, side)).shape == (1, 3)


@pytest.mark.long
def test_vision_transformer_takes_square_images():
    net = build_network("vit_b_32", (3, 64, 64), 5, dropout=0.1)
    with torch.no_grad():
        assert net(torch.randn(2, 3, 64, 64)).shape == (2, 5)
    with pytest.raises(
        ValueError, match="'vit_b_32' does not take images of 40 x 64 pi"
    ):
        build_network("vit_b_32", (3, 40, 64), 5)


def test_invalid_image_size_names_valid_sizes():
    message = (
        r"'alexnet' does not take images of 20 x 20.*sides of 64, 75, 96, .*Resize"
    )
    with pytest.raises(ValueError, match=message):
        build_network("alexnet", (1, 20, 20), 5)


def test_unknown_name_raises(digits):
    with pytest.raises(ValueError, match=r"Did you mean 'resnet18'.*plain, two_conv"):
        quick(architecture="resnet-18").fit(*digits)


def test_unknown_name_says_how_any_network_is_passed(digits):
    with pytest.raises(
        ValueError, match=r"'timm:eva_tiny' .* as a torch.nn.Module, or"
    ):
        quick(architecture="eva_tiny").fit(*digits)


# -- custom architectures -------------------------------------------------------------


def test_module_is_copied_with_its_weights():
    mine = tiny((1, 8, 8), 3)
    net = build_network(mine, (1, 8, 8), 3)
    assert net is not mine
    assert net[0].weight is not mine[0].weight
    assert torch.equal(net[0].weight, mine[0].weight)


@pytest.mark.parametrize("architecture", [tiny, SmallNet])
def test_callables_are_called_with_shape_and_classes(architecture):
    net = build_network(architecture, (3, 5, 4), 7)
    assert net.eval()(torch.zeros(2, 3, 5, 4)).shape == (2, 7)


def test_lazy_layers_are_initialised():
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3))
    net = build_network(lazy, (2, 8, 8), 3)
    assert net[2].in_features == 4 * 6 * 6


def test_check_does_not_change_statistics_and_mode():
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
def test_invalid_architecture_raises(architecture, error, message):
    with pytest.raises(error, match=message):
        build_network(architecture, (1, 8, 8), 3)


def test_network_does_not_depend_on_the_default_device():
    torch.manual_seed(0)
    expected = build_network("plain", (1, 8, 8), 3)[0].weight
    torch.manual_seed(0)
    torch.set_default_device("meta")
    try:
        found = build_network("plain", (1, 8, 8), 3)[0].weight
    finally:
        torch.set_default_device(None)
    assert torch.equal(found, expected)
