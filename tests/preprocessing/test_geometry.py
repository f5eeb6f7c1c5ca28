"""Tests of size and layout against Pillow, torchvision, numpy and plain loops."""

import pickle
import random

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from torchvision.transforms import v2

from sklearn_l2cnn._data.framing import central_box, inner_place, two_sides
from sklearn_l2cnn.preprocessing import (
    CenterCropper,
    ChannelsFirst,
    ChannelsLast,
    ImagePadder,
    ImageResizer,
    ImagesToRows,
    RowsToImages,
    TorchvisionTransformer,
)


def photographs(n=3, side=(21, 34), depth=3):
    """Return smooth images, similar to photographs."""
    rng = np.random.RandomState(0)
    small = rng.randint(0, 256, size=(n, 6, 8, depth)).astype(np.uint8)
    size = (side[1], side[0])
    return np.stack(
        [
            np.dstack(
                [
                    np.asarray(Image.fromarray(c).resize(size, Image.BICUBIC))
                    for c in np.moveaxis(image, 2, 0)
                ]
            )
            for image in small
        ]
    )


# -- frames ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (50, 3), (32, 32), (480, 640)])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (32, 32), (10, 300)])
def test_central_box_is_the_largest_and_inner_place_is_inside(shape, size):
    top, left, height, width = central_box(shape, size)
    assert top >= 0 and top + height <= shape[0] and height >= 1
    assert left >= 0 and left + width <= shape[1] and width >= 1
    assert height == shape[0] or width == shape[1]
    assert abs(2 * top + height - shape[0]) <= 1
    assert abs(2 * left + width - shape[1]) <= 1
    # the aspect ratio of the frame, up to whole pixels
    assert abs(height * size[1] - width * size[0]) <= max(size)
    top, left, height, width = inner_place(shape, size)
    assert top >= 0 and top + height <= size[0] and height >= 1
    assert left >= 0 and left + width <= size[1] and width >= 1
    assert height == size[0] or width == size[1]
    assert abs(height * shape[1] - width * shape[0]) <= max(shape)


@pytest.mark.parametrize("size", [5, (5, 5), [5, 5], np.int64(5)])
def test_two_sides_of_an_int(size):
    assert two_sides(size) == (5, 5)


@pytest.mark.parametrize("wrong", [(3,), (3, 4, 5), (0, 3), (3, "a"), (2.5, 3)])
@pytest.mark.parametrize("cls", [CenterCropper, ImagePadder, ImageResizer])
def test_invalid_size_raises(cls, wrong):
    with pytest.raises(ValueError, match=r"size=.*\(height, width\)"):
        cls(size=wrong).fit(photographs())


# -- resizing -------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(8, 8), (10, 40), (50, 60), 20])
def test_resizing_matches_pillow(interpolation, size):
    X = photographs()
    found = ImageResizer(size, interpolation=interpolation).fit_transform(X)
    height, width = two_sides(size)
    resample = Image.Resampling[interpolation.upper()]
    for image, result in zip(X, found, strict=True):
        expected = Image.fromarray(image).resize((width, height), resample)
        far = abs(result.astype(int) - np.asarray(expected)).max()
        assert far <= {"nearest": 0, "bilinear": 2, "bicubic": 4}[interpolation]


def test_downsampling_averages_pixels():
    X = np.random.RandomState(0).randint(0, 256, size=(4, 32, 32)).astype(float)
    found = ImageResizer(1).fit_transform(X)
    # weighted by a triangle twice as wide: close to the mean, unlike a single pixel
    assert abs(found[:, 0, 0] - X.mean(axis=(1, 2))).max() < 15
    assert np.ptp(X[:, 16, 16]) > 30


@pytest.mark.parametrize("size", [(8, 8), (5, 20), (40, 10)])
def test_aspect_crop_crops_before_resizing(size):
    X = photographs()
    found = ImageResizer(size, aspect="crop").fit_transform(X)
    top, left, height, width = central_box((21, 34), size)
    part = X[:, top : top + height, left : left + width]
    assert np.array_equal(found, ImageResizer(size).fit_transform(part))


@pytest.mark.parametrize(("size", "fill"), [((8, 8), 0.0), ((30, 10), 1.0)])
def test_aspect_pad_keeps_the_whole_image(size, fill):
    X = photographs()
    found = ImageResizer(size, aspect="pad", fill=fill).fit_transform(X)
    top, left, height, width = inner_place((21, 34), size)
    inner = (slice(None), slice(top, top + height), slice(left, left + width))
    expected = np.full_like(found, 255 * fill)
    expected[inner] = ImageResizer((height, width)).fit_transform(X)
    assert np.array_equal(found, expected)
    assert height < size[0] or width < size[1]


@pytest.mark.parametrize("cls", [ImageResizer, ImagePadder])
def test_invalid_fill_for_uint8_raises(cls):
    options = {"aspect": "pad"} if cls is ImageResizer else {}
    step = cls(50, fill=2.0, **options)
    with pytest.raises(ValueError, match=r"fill=2 is not a valid value for uint8"):
        step.fit(photographs())
    assert step.fit_transform(photographs() / 255).max() == 2


def test_same_size_returns_the_same_images():
    X = photographs()
    assert np.array_equal(ImageResizer((21, 34)).fit_transform(X), X)


# -- cropping and padding -------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (7, 33), 34, (100, 1)])
def test_center_crop_matches_torchvision(size):
    X = photographs()
    found = CenterCropper(size).fit_transform(X)
    sides = [min(pair) for pair in zip(two_sides(size), (21, 34), strict=True)]
    expected = v2.functional.center_crop(torch.tensor(X).permute(0, 3, 1, 2), sides)
    far = found.astype(int) - expected.permute(0, 2, 3, 1).numpy()
    if all((a - b) % 2 == 0 for a, b in zip(sides, (21, 34), strict=True)):
        assert not far.any(), "a unique middle is that of torchvision"
    assert found.shape[1:3] == tuple(sides)
    # the margins are equal, or the second is one pixel wider
    where = [(np.array(X.shape[1:3]) - sides) // 2, sides]
    top, left = where[0]
    inner = X[:, top : top + sides[0], left : left + sides[1]]
    assert np.array_equal(found, inner)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
@pytest.mark.parametrize("size", [(21, 34), (24, 50), 40, (5, 90)])
def test_padding_matches_numpy(mode, size):
    X = photographs()
    sides = [max(pair) for pair in zip(two_sides(size), (21, 34), strict=True)]
    before = [(a - b) // 2 for a, b in zip(sides, (21, 34), strict=True)]
    around = [
        (first, whole - first - own)
        for first, whole, own in zip(before, sides, (21, 34), strict=True)
    ]
    options = {"constant_values": 51} if mode == "constant" else {}
    expected = np.pad(X, [(0, 0), *around, (0, 0)], mode=mode, **options)
    found = ImagePadder(size, mode=mode, fill=0.2).fit_transform(X)
    assert np.array_equal(found, expected)


def test_reflection_continues_beyond_the_mirror_image():
    X = np.arange(3.0).reshape(1, 1, 3)
    found = ImagePadder((1, 13), mode="reflect").fit_transform(X)
    assert found[0, 0].tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]


# -- layout ---------------------------------------------------------------------------


def test_channels_first_and_last_move_channels():
    X = photographs()
    first = ChannelsFirst().fit_transform(X)
    assert np.array_equal(first, X.transpose(0, 3, 1, 2))
    assert np.array_equal(ChannelsLast().fit_transform(first), X)
    rows = ChannelsFirst(image_shape=X.shape[1:]).fit_transform(X.reshape(3, -1))
    assert np.array_equal(rows, first.reshape(3, -1))
    back = ChannelsLast(image_shape=X.shape[1:]).fit_transform(rows)
    assert np.array_equal(back, X.reshape(3, -1))


@pytest.mark.parametrize("channels", ["last", "first"])
def test_rows_to_images_and_back(channels):
    X = photographs()
    images = X if channels == "last" else X.transpose(0, 3, 1, 2)
    rows = images.reshape(3, -1)
    found = RowsToImages((21, 34, 3), channels=channels).fit_transform(rows)
    assert np.array_equal(found, images)
    assert np.array_equal(ImagesToRows(channels=channels).fit_transform(images), rows)
    assert RowsToImages().fit_transform(np.zeros((2, 49))).shape == (2, 7, 7)
    assert RowsToImages((7, 7, 1)).fit_transform(np.zeros((2, 49))).shape == (
        2,
        7,
        7,
        1,
    )
    assert RowsToImages().fit_transform(np.zeros((2, 10))).shape == (2, 1, 10)


# -- transforms of torchvision --------------------------------------------------------


def test_torchvision_transform():
    X = photographs()
    found = TorchvisionTransformer(v2.GaussianBlur(3, sigma=1.0)).fit_transform(X)
    expected = v2.functional.gaussian_blur(
        torch.tensor(X).permute(0, 3, 1, 2), [3, 3], [1.0, 1.0]
    )
    assert np.array_equal(found, expected.permute(0, 2, 3, 1))


@pytest.mark.parametrize("one_by_one", [False, True])
def test_random_transform_is_seeded_and_restores_the_generator(one_by_one):
    X = np.repeat(photographs(1), 8, axis=0)
    before = torch.get_rng_state()
    step = TorchvisionTransformer(
        v2.RandomRotation(45), one_by_one=one_by_one, random_state=0
    ).fit(X)
    found = step.transform(X)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(step.transform(X), found)
    alike = all(np.array_equal(image, found[0]) for image in found)
    assert alike != one_by_one, "one random angle for all images, or one for each"
    other = step.set_params(random_state=1).fit_transform(X)
    assert not np.array_equal(other, found)


def test_random_transform_can_be_cloned_and_pickled():
    # its get_params is not that of scikit-learn
    step = TorchvisionTransformer(v2.RandomRotation(45), random_state=0)
    X = photographs()
    expected = clone(step).fit_transform(X)
    again = pickle.loads(pickle.dumps(step.fit(X)))
    assert np.array_equal(again.transform(X), expected)
    pipeline = make_pipeline(step, ImagesToRows())
    pipeline.set_params(torchvisiontransformer__random_state=1)
    assert "func=RandomRotation" in repr(pipeline)
    assert not np.array_equal(clone(pipeline)[0].fit_transform(X), expected)


@pytest.mark.parametrize(
    ("func", "message"),
    [
        (lambda images: images.numpy(), "returned ndarray for a tensor of shape"),
        (lambda images: images[0], "returned a tensor of shape"),
        (lambda images: images[:1], "returned a tensor of shape"),
    ],
)
def test_invalid_output_of_func_raises(func, message):
    with pytest.raises(ValueError, match=message):
        TorchvisionTransformer(func).fit(photographs()).transform(photographs())


def test_func_with_outputs_of_several_shapes_raises():
    sides = iter(range(5, 100))
    shrink = TorchvisionTransformer(
        lambda image: image[:, :, : next(sides)], one_by_one=True
    )
    with pytest.raises(ValueError, match="images of several shapes"):
        shrink.fit(photographs()).transform(photographs())


def test_in_place_transform_does_not_change_its_input():
    X = np.random.RandomState(0).uniform(size=(5, 8, 8)).astype(np.float32)
    for channels, shape in (("last", (5, 8, 8)), ("first", (5, 1, 8, 8))):
        given = X.reshape(shape).copy()
        double = TorchvisionTransformer(lambda b: b.mul_(2), channels=channels)
        assert np.array_equal(double.fit_transform(given), 2 * X.reshape(shape))
        assert np.array_equal(given, X.reshape(shape))


def test_transform_can_use_any_global_generator():
    X = np.zeros((3, 4, 4))
    for draw in (np.random.normal, random.random, lambda: float(torch.rand(()))):
        noise = TorchvisionTransformer(lambda b, d=draw: b + d(), random_state=0).fit(X)
        of_numpy, of_random = np.random.get_state()[1].copy(), random.getstate()
        of_torch = torch.get_rng_state()
        assert np.array_equal(noise.transform(X), noise.transform(X))
        assert noise.transform(X).any()
        assert np.array_equal(np.random.get_state()[1], of_numpy)
        assert random.getstate() == of_random
        assert torch.equal(torch.get_rng_state(), of_torch)


def test_other_devices_are_not_seeded(monkeypatch):
    called = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", called.append)
    TorchvisionTransformer(random_state=0).fit_transform(np.zeros((3, 4, 4)))
    assert not called
