"""Saliency against its definitions, and on images where the answer is known."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import make_shapes
from sklearn_l2cnn.inspection import _saliency, saliency
from sklearn_l2cnn.inspection._saliency import windows
from sklearn_l2cnn.preprocessing import ChannelsLast, RowsToImages
from tests.conftest import SmallNet, quick

METHODS = ["gradient", "integrated_gradients", "grad_cam", "occlusion"]


def smooth(input_shape, n_classes):
    """A network in float64 without kinks, which finite differences can follow."""
    depth, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(depth, 4, 3, padding=1),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 3, 2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(3 * (height // 2 - 1) * (width // 2 - 1), n_classes),
    ).double()


def linear(input_shape, n_classes):
    values = int(np.prod(input_shape))
    return nn.Sequential(nn.Flatten(), nn.Linear(values, n_classes)).double()


@pytest.fixture(scope="module")
def fitted(colours):
    X, y = colours
    return quick(architecture=smooth, max_epochs=8).fit(X, y)


def logit(clf, X, targets):
    return clf.decision_function(X)[np.arange(len(X)), targets]


# -- the four definitions -------------------------------------------------------------


@pytest.mark.parametrize("target", [None, 2])
def test_gradients_are_finite_differences(fitted, colours, target):
    X = colours[0][:3]
    maps = saliency(fitted, X, target, method="gradient")
    targets = fitted.predict(X) if target is None else [target] * 3
    slow, step = np.zeros(X.shape), 1e-5
    for pixel in np.ndindex(*X.shape[1:]):
        more, less = X.copy(), X.copy()
        more[(slice(None), *pixel)] += step
        less[(slice(None), *pixel)] -= step
        rise = logit(fitted, more, targets) - logit(fitted, less, targets)
        slow[(slice(None), *pixel)] = rise / (2 * step)
    assert slow.any(axis=(1, 2, 3)).all() and maps.dtype == np.float64
    np.testing.assert_allclose(maps, np.abs(slow).max(axis=3), atol=1e-8)


@pytest.mark.parametrize("kind", ["black", "mean", 0.3, "image"])
def test_integrated_gradients_are_complete(fitted, colours, kind):
    X = colours[0][:5]
    images = {"black": 0.0, "mean": fitted.channel_mean_, 0.3: 0.3, "image": X[2]}
    given = images[kind] if kind == "image" else kind
    maps = saliency(fitted, X, baseline=given, n_steps=200)
    targets = fitted.predict(X)
    blank = np.broadcast_to(images[kind], X.shape)
    total = logit(fitted, X, targets) - logit(fitted, blank, targets)
    assert abs(total).max() > 0.1
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), total, atol=2e-5)
    # the rule is one of midpoints: four times the steps, a sixteenth of the error
    coarse = saliency(fitted, X, baseline=given, n_steps=50).sum(axis=(1, 2)) - total
    fine = maps.sum(axis=(1, 2)) - total
    assert abs(coarse).max() > 10 * abs(fine).max()


def test_maps_of_a_linear_network_are_weights_and_contributions(colours):
    X, y = colours
    clf = quick(architecture=linear).fit(X, y)
    weight = clf.module_[1].weight.detach().numpy().reshape(3, 3, 6, 5)
    targets = clf.predict(X)
    slopes = weight[targets].transpose(0, 2, 3, 1) / clf.channel_scale_
    maps = saliency(clf, X, method="gradient")
    np.testing.assert_allclose(maps, np.abs(slopes).max(axis=3), rtol=1e-10)
    parts = (slopes * (X - clf.channel_mean_)).sum(axis=3)
    for method, options in [
        ("integrated_gradients", {"n_steps": 1}),
        ("occlusion", {"patch": 1}),
    ]:
        maps = saliency(clf, X, method=method, baseline="mean", **options)
        np.testing.assert_allclose(maps, parts, atol=1e-10)


def enlarged(image, size):
    """Enlarge an image, first down, then to the right; pixels are areas."""
    for length in size:
        places = (np.arange(length) + 0.5) * len(image) / length - 0.5
        lines = [np.interp(places, range(len(image)), line) for line in image.T]
        image = np.array(lines)  # transposed, so that the other side is next
    return image


@pytest.mark.parametrize("layer, place", [(None, 4), ("1", 2), (-7, 1)])
def test_grad_cam_is_a_weighted_sum_of_maps(fitted, colours, layer, place):
    X = colours[0][:4]
    maps = saliency(fitted, X, 1, method="grad_cam", layer=layer)
    head, tail = fitted.module_[:place], fitted.module_[place:]
    for image, found in zip(X, maps, strict=True):
        pixels = (image - fitted.channel_mean_) / fitted.channel_scale_
        output = head(torch.tensor(pixels.transpose(2, 0, 1)[None])).detach()
        output.requires_grad_()
        tail(output)[0, 1].backward()
        slow = 0.0
        for channel, slope in zip(output[0], output.grad[0], strict=True):
            slow = slow + float(slope.mean()) * channel.detach().numpy()
        slow = np.maximum(slow, 0)
        np.testing.assert_allclose(found, enlarged(slow, (6, 5)), atol=1e-12)
    assert (maps >= 0).all() and maps.any()


@pytest.mark.parametrize("patch, stride", [(None, None), (2, 1), ((3, 4), (2, 3))])
def test_occlusion_is_the_decrease_of_the_logit(fitted, colours, patch, stride):
    X = colours[0][:3]
    maps = saliency(fitted, X, method="occlusion", patch=patch, stride=stride)
    down, right = (1, 1) if patch is None else (2, 2) if patch == 2 else patch
    steps = (1, 1) if not isinstance(stride, tuple) else stride
    targets = fitted.predict(X)
    lost, count = np.zeros(X.shape[:3]), np.zeros((6, 5))
    for top in sorted({*range(0, 6 - down, steps[0]), 6 - down}):
        for left in sorted({*range(0, 5 - right, steps[1]), 5 - right}):
            hidden = X.copy()
            hidden[:, top : top + down, left : left + right] = 0
            drop = logit(fitted, X, targets) - logit(fitted, hidden, targets)
            lost[:, top : top + down, left : left + right] += drop[:, None, None]
            count[top : top + down, left : left + right] += 1
    assert count.all()
    np.testing.assert_allclose(maps, lost / count, atol=1e-10)


def test_windows_of_every_size_cover_all_pixels():
    for length in range(1, 9):
        for side in range(1, length + 1):
            for step in range(1, 5):
                hidden = windows((1, length), (1, side), (1, step))
                assert (hidden.sum(dim=(1, 2)) == side).all()
                if step <= side:
                    assert hidden.any(dim=0).all()


# -- where the answer is known --------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))],
)
def shapes(request):
    """A network trained on shapes, and shapes that it was not trained on."""
    seed = request.param
    train = make_shapes(600, random_state=seed)
    clf = L2CNNClassifier(alpha=1e-3, max_epochs=12, random_state=seed)
    return clf.fit(train.images, train.target), make_shapes(
        100, random_state=100 + seed
    )


@pytest.mark.long
@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_the_peak_lies_on_the_object(shapes, method):
    clf, test = shapes
    maps = saliency(clf, test.images, method=method).reshape(100, -1)
    on_it = test.masks.reshape(100, -1)[np.arange(100), maps.argmax(axis=1)]
    assert clf.score(test.images, test.target) > 0.85
    assert on_it.mean() >= 0.95
    assert test.masks.mean() < 0.25  # the share expected by chance


# -- effects --------------------------------------------------------------------------


class Own(SmallNet):
    """With batch norm and dropout, frozen in part, and a ReLU in place."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.act = nn.ReLU(inplace=True)
        self.conv.requires_grad_(False)

    def forward(self, X):
        X = self.act(self.norm(self.conv(X)))
        return self.head(self.drop(X.flatten(1)))


@pytest.mark.parametrize("method", METHODS)
def test_network_and_generators_are_not_changed(digits, method):
    X, y = digits
    clf = quick(architecture=Own).fit(X, y)
    clf.module_.train()
    clf.module_.norm.eval()
    module = clf.module_

    def state():
        return (
            [value.clone() for value in module.state_dict().values()],
            [part.training for part in module.modules()],
            [(p.requires_grad, p.grad) for p in module.parameters()],
            sum(len(part._forward_hooks) for part in module.modules()),
            torch.get_rng_state().tolist(),
        )

    before = state()
    one = saliency(clf, X[:20], method=method)
    after = state()
    assert after[1:] == before[1:]
    assert all(map(torch.equal, after[0], before[0]))
    for quiet in (torch.no_grad(), torch.inference_mode()):
        with quiet:
            assert np.array_equal(saliency(clf, X[:20], method=method), one)
    assert one.dtype == np.float32 and one.any(axis=(1, 2)).mean() > 0.5


@pytest.mark.parametrize("method", METHODS)
def test_maps_on_every_device(digits, device, method):
    X, y = digits
    clf = quick(architecture="two_conv", max_epochs=1, device=device).fit(X, y)
    one, other = (saliency(clf, X[:9], method=method) for _ in range(2))
    assert np.array_equal(one, other)
    assert torch.device(clf.device_).type == device
    clf.module_.cpu()
    host = quick(device="cpu", max_epochs=1).fit(X, y)
    host.net_.module_ = clf.module_
    for name in ("channel_mean_", "channel_scale_"):
        setattr(host, name, getattr(clf, name))
    slow = saliency(host, X[:9], method=method)
    np.testing.assert_allclose(one, slow, atol=0.02 * abs(slow).max())


@pytest.mark.parametrize("method", METHODS)
def test_maps_do_not_depend_on_the_chunks(digits, method, monkeypatch):
    X, y = digits
    clf = quick().fit(X, y)
    whole = saliency(clf, X[:10], method=method)
    monkeypatch.setattr(_saliency, "_CHUNK_ROWS", 3)
    parts = saliency(clf, X[:10], method=method)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    alone = saliency(clf, X[4:5], method=method)
    np.testing.assert_allclose(alone[0], whole[4], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_images_of_any_form_give_the_same_maps(colours, method):
    X, y = colours
    bytes_ = (255 * X).astype(np.uint8)
    clf = quick(architecture=smooth).fit(bytes_, y)
    maps = saliency(clf, bytes_[:6], method=method)
    assert maps.shape == (6, 6, 5)
    for form in (bytes_[:6].reshape(6, -1), bytes_[:6] / 255):
        np.testing.assert_allclose(saliency(clf, form, method=method), maps, atol=1e-9)
    first = quick(architecture=smooth, channels="first")
    first.fit(bytes_.transpose(0, 3, 1, 2), y)
    other = saliency(first, bytes_[:6].transpose(0, 3, 1, 2), method=method)
    np.testing.assert_allclose(other, maps, atol=1e-9)


def test_maps_of_a_pipeline_are_of_the_input_of_the_network(colours):
    X, y = colours
    rows = X.transpose(0, 3, 1, 2).reshape(len(X), -1)
    whole = make_pipeline(
        RowsToImages((6, 5, 3), channels="first"),
        ChannelsLast(),
        quick(architecture=smooth),
    ).fit(rows, y)
    alone = quick(architecture=smooth).fit(X, y)
    assert np.array_equal(saliency(whole, rows[:3]), saliency(alone, X[:3]))


# -- the class explained --------------------------------------------------------------


def test_targets_are_labels(colours):
    X, y = colours
    names = np.array(["red", "green", "blue"])[y]
    clf = quick(architecture=smooth).fit(X, names)
    assert list(clf.classes_) == ["blue", "green", "red"]
    maps = saliency(clf, X[:4], ["red", "green", "red", "blue"])
    assert np.array_equal(maps[[0, 2]], saliency(clf, X[[0, 2]], "red"))
    assert np.array_equal(maps[1], saliency(clf, X[:4], "green")[1])
    predicted = saliency(clf, X[:4], clf.predict(X[:4]))
    assert np.array_equal(saliency(clf, X[:4]), predicted)
    with pytest.raises(ValueError, match="'pink'.*does not know.*'blue', 'green', 're"):
        saliency(clf, X[:2], ["red", "pink"])
    with pytest.raises(ValueError, match=r"y has shape \(3,\), but there are 2 images"):
        saliency(clf, X[:2], ["red"] * 3)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"method": "magic"}, "'method' parameter of saliency must be a str among"),
        ({"n_steps": 0}, "'n_steps' parameter"),
        ({"method": "occlusion", "patch": 9}, r"patch=\(9, 9\) is larger.*6 x 5 pix"),
        ({"method": "occlusion", "stride": (1, 0)}, r"stride=\(1, 0\).*positive int"),
        ({"method": "occlusion", "stride": 2}, r"stride=\(2, 2\) leaves out pixels"),
        ({"method": "grad_cam", "layer": "conv"}, r"'conv' is no layer.*'0' 4 x 6 x 5"),
        ({"method": "grad_cam", "layer": "6"}, r"outputs 3 numbers.*maps are '0'"),
        ({"baseline": np.zeros((5, 6, 3))}, "baseline of shape .* 6 x 5 pixels"),
        ({"baseline": "white"}, "'baseline' parameter"),
    ],
)
def test_wrong_parameters_are_errors(fitted, colours, options, words):
    with pytest.raises(ValueError, match=words):
        saliency(fitted, colours[0][:2], **options)


def test_grad_cam_needs_a_convolution(colours):
    X, y = colours
    clf = quick(architecture=linear).fit(X, y)
    with pytest.raises(ValueError, match="no convolution.*another method"):
        saliency(clf, X[:2], method="grad_cam")
