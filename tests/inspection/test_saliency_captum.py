"""Saliency against a second library: Captum computes the same maps."""

from functools import partial

import numpy as np
import pytest
import torch
from captum import attr

from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.inspection import saliency
from tests.conftest import quick


def in_float64(input_shape, n_classes, name):
    return build_network(name, input_shape, n_classes).double()


@pytest.fixture(scope="module", params=["conv_pool", "resnet18"])
def inputs(request, colours):
    """A classifier, images, and the input of Captum: module, input, targets, black."""
    X, y = colours
    clf = quick(architecture=partial(in_float64, name=request.param), max_epochs=2)
    clf.fit(X, y)
    mean, scale = clf.channel_mean_, clf.channel_scale_

    def as_input(images):
        return torch.tensor(((images - mean) / scale).transpose(0, 3, 1, 2))

    targets = torch.tensor(clf.predict(X[:5]))
    module = clf.module_.eval()
    return clf, X[:5], module, as_input(X[:5]), targets, as_input(0 * X[:1])


def same(ours, theirs, atol=1e-10):
    theirs = theirs.detach().numpy()
    assert ours.any(axis=(1, 2)).all()
    np.testing.assert_allclose(ours, theirs, atol=atol * np.abs(theirs).max())


@pytest.mark.long
def test_gradients(inputs):
    clf, X, module, images, targets, _ = inputs
    slopes = attr.Saliency(module).attribute(images.requires_grad_(), target=targets)
    slopes = slopes / torch.tensor(clf.channel_scale_)[:, None, None]
    same(saliency(clf, X, method="gradient"), slopes.amax(dim=1))


@pytest.mark.long
def test_integrated_gradients(inputs):
    clf, X, module, images, targets, black = inputs
    parts = attr.IntegratedGradients(module).attribute(
        images, black, target=targets, n_steps=20, method="riemann_middle"
    )
    same(saliency(clf, X, n_steps=20), parts.sum(dim=1))


@pytest.mark.long
@pytest.mark.parametrize("which", [0, -1])
def test_grad_cam(inputs, which):
    clf, X, module, images, targets, _ = inputs
    named = [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Conv2d)
    ]
    name, layer = named[which]
    maps = attr.LayerGradCam(module, layer).attribute(
        images, target=targets, relu_attributions=True
    )
    maps = attr.LayerAttribution.interpolate(maps, X.shape[1:3], "bilinear")
    same(saliency(clf, X, method="grad_cam", layer=name), maps[:, 0])


# where steps do not fit, the last windows of Captum exceed the image, ours do not
@pytest.mark.long
@pytest.mark.parametrize("patch, stride", [((2, 3), (2, 1)), ((4, 1), (1, 1)), (2, 1)])
def test_occlusion(inputs, patch, stride):
    clf, X, module, images, targets, black = inputs
    window = (3, *np.broadcast_to(patch, 2).tolist())
    steps = (3, *np.broadcast_to(stride, 2).tolist())
    lost = attr.Occlusion(module).attribute(
        images, window, steps, black, target=targets
    )
    assert lost.dtype == torch.float32  # hence the tolerance
    ours = saliency(clf, X, method="occlusion", patch=patch, stride=stride)
    same(ours, lost.mean(dim=1), atol=1e-6)
