"""Networks as users bring them: sequences, classes, batch norms, other libraries'."""

import importlib.util
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from benchmarks._tasks import two_convolutions


class Functional(nn.Module):
    """Two convolutions and a dense layer in a forward function, as tutorials have it.

    ``relu_first`` is the order of the tutorials; the other one is the cheap one.
    """

    def __init__(self, image_shape, width, relu_first):
        super().__init__()
        height, width_of_image, depth = image_shape
        self.relu_first = relu_first
        self.conv1 = nn.Conv2d(depth, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        pixels = (height // 4) * (width_of_image // 4)
        self.dense = nn.Linear(2 * width * pixels, 10)

    def forward(self, X):
        for conv in (self.conv1, self.conv2):
            if self.relu_first:
                X = functional.max_pool2d(functional.relu(conv(X)), 2)
            else:
                X = functional.relu(functional.max_pool2d(conv(X), 2))
        return self.dense(torch.flatten(X, 1))


class Wrapped(nn.Module):
    """A sequence in a class of the user's."""

    def __init__(self, image_shape, width, relu_first):
        super().__init__()
        self.net = two_convolutions(image_shape, width, relu_first)

    def forward(self, X):
        return self.net(X)


def with_batch_norm(image_shape, width, relu_first):
    """Put a batch norm behind every convolution."""
    layers = []
    for layer in two_convolutions(image_shape, width, relu_first):
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.BatchNorm2d(layer.out_channels))
    return nn.Sequential(*layers)


def resnet18(image_shape, width, relu_first, small_stem=True):
    """Build torchvision's resnet18, with the stem of small images unless said."""
    from torchvision.models import resnet18

    network = resnet18(num_classes=10)
    stem = (3, 1, 1) if small_stem else (7, 2, 3)
    network.conv1 = nn.Conv2d(image_shape[2], 64, *stem, bias=False)
    if small_stem:
        network.maxpool = nn.Identity()
    return network


def mobilenet(image_shape, width, relu_first):
    """Build torchvision's mobilenet_v3_small: depthwise convolutions."""
    from torchvision.models import mobilenet_v3_small

    network = mobilenet_v3_small(num_classes=10)
    first = network.features[0][0]
    network.features[0][0] = nn.Conv2d(
        image_shape[2], first.out_channels, 3, stride=2, padding=1, bias=False
    )
    return network


def vit(image_shape, width, relu_first):
    """Build a small vision transformer of torchvision."""
    from torchvision.models import VisionTransformer

    side, depth = image_shape[0], image_shape[2]
    patch = side // 4
    network = VisionTransformer(side, patch, 4, 4, 96, 192, num_classes=10)
    network.conv_proj = nn.Conv2d(depth, 96, patch, patch)
    nn.init.normal_(network.heads.head.weight, std=0.02)
    return network


def timm_resnet18(image_shape, width, relu_first):
    """Build timm's resnet18."""
    import timm

    return timm.create_model("resnet18", num_classes=10, in_chans=image_shape[2])


NETWORKS = {
    "sequence": two_convolutions,
    "functional forward": Functional,
    "wrapped sequence": Wrapped,
    "batch norm": with_batch_norm,
    "resnet18, small stem": resnet18,
    "mobilenet_v3_small": mobilenet,
    "ViT": vit,
    "resnet18 64x64": partial(resnet18, small_stem=False),
}
if importlib.util.find_spec("timm") is not None:
    NETWORKS["timm resnet18"] = timm_resnet18
