"""Size and layout against Pillow, torchvision, numpy and plain loops."""

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
    """Smooth images, as photographs are."""
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
def test_a_box_is_the_largest_in_the_middle_and_a_place_is_inside(shape, size):
    top, left, height, width = central_box(shape, size)
    assert top >= 0 and top + height <= shape[0] and height >= 1
    assert left >= 0 and left + width <= shape[1] and width >= 1
    assert height == shape[0] or width == shape[1]
    assert abs(2 * top + height - shape[0]) <= 1
    assert abs(2 * left + width - shape[1]) <= 1
    # the proportions of the frame, as near as whole pixels come
    assert abs(height * size[1] - width * size[0]) <= max(size)
    top, left, height, width = inner_place(shape, size)
    assert top >= 0 and top + height <= size[0] and height >= 1
    assert left >= 0 and left + width <= size[1] and width >= 1
    assert height == size[0] or width == size[1]
    assert abs(height * shape[1] - width * shape[0]) <= max(shape)


@pytest.mark.parametrize("size", [5, (5, 5), [5, 5], np.int64(5)])
def test_a_side_is_both(size):
    assert two_sides(size) == (5, 5)


@pytest.mark.parametrize("wrong", [(3,), (3, 4, 5), (0, 3), (3, "a"), (2.5, 3)])
@pytest.mark.parametrize("cls", [CenterCropper, ImagePadder, ImageResizer])
def test_what_is_no_size_is_named(cls, wrong):
    with pytest.raises(ValueError, match=r"size=.*\(height, width\)"):
        cls(size=wrong).fit(photographs())


# -- resizing -------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(8, 8), (10, 40), (50, 60), 20])
def test_a_batch_is_resized_as_pillow_resizes_each(interpolation, size):
    X = photographs()
    found = ImageResizer(size, interpolation=interpolation).fit_transform(X)
    height, width = two_sides(size)
    resample = Image.Resampling[interpolation.upper()]
    for image, result in zip(X, found, strict=True):
        expected = Image.fromarray(image).resize((width, height), resample)
        far = abs(result.astype(int) - np.asarray(expected)).max()
        assert far <= {"nearest": 0, "bilinear": 2, "bicubic": 4}[interpolation]


def test_smaller_images_are_averages():
    X = np.random.RandomState(0).randint(0, 256, size=(4, 32, 32)).astype(float)
    found = ImageResizer(1).fit_transform(X)
    # of a triangle as wide as two images: near the mean, where one pixel would be far
    assert abs(found[:, 0, 0] - X.mean(axis=(1, 2))).max() < 15
    assert np.ptp(X[:, 16, 16]) > 30


@pytest.mark.parametrize("size", [(8, 8), (5, 20), (40, 10)])
def test_crop_is_a_box_and_then_a_resize(size):
    X = photographs()
    found = ImageResizer(size, aspect="crop").fit_transform(X)
    top, left, height, width = central_box((21, 34), size)
    part = X[:, top : top + height, left : left + width]
    assert np.array_equal(found, ImageResizer(size).fit_transform(part))


@pytest.mark.parametrize(("size", "fill"), [((8, 8), 0.0), ((30, 10), 1.0)])
def test_pad_is_a_whole_image_in_a_frame(size, fill):
    X = photographs()
    found = ImageResizer(size, aspect="pad", fill=fill).fit_transform(X)
    top, left, height, width = inner_place((21, 34), size)
    inner = (slice(None), slice(top, top + height), slice(left, left + width))
    expected = np.full_like(found, 255 * fill)
    expected[inner] = ImageResizer((height, width)).fit_transform(X)
    assert np.array_equal(found, expected)
    assert height < size[0] or width < size[1]


@pytest.mark.parametrize("cls", [ImageResizer, ImagePadder])
def test_bytes_are_not_filled_with_more_than_white(cls):
    options = {"aspect": "pad"} if cls is ImageResizer else {}
    step = cls(50, fill=2.0, **options)
    with pytest.raises(ValueError, match=r"fill=2 is no value of uint8"):
        step.fit(photographs())
    assert step.fit_transform(photographs() / 255).max() == 2


def test_the_same_size_is_the_same_image():
    X = photographs()
    assert np.array_equal(ImageResizer((21, 34)).fit_transform(X), X)


# -- cropping and padding -------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (7, 33), 34, (100, 1)])
def test_the_middle_is_kept(size):
    X = photographs()
    found = CenterCropper(size).fit_transform(X)
    sides = [min(pair) for pair in zip(two_sides(size), (21, 34), strict=True)]
    expected = v2.functional.center_crop(torch.tensor(X).permute(0, 3, 1, 2), sides)
    far = found.astype(int) - expected.permute(0, 2, 3, 1).numpy()
    if all((a - b) % 2 == 0 for a, b in zip(sides, (21, 34), strict=True)):
        assert not far.any(), "where a middle is one, it is torchvision's too"
    assert found.shape[1:3] == tuple(sides)
    # what is left over is as wide on both sides, or one wider at the end
    where = [(np.array(X.shape[1:3]) - sides) // 2, sides]
    top, left = where[0]
    inner = X[:, top : top + sides[0], left : left + sides[1]]
    assert np.array_equal(found, inner)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
@pytest.mark.parametrize("size", [(21, 34), (24, 50), 40, (5, 90)])
def test_padding_is_that_of_numpy(mode, size):
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


def test_a_mirror_goes_on_beyond_the_image():
    X = np.arange(3.0).reshape(1, 1, 3)
    found = ImagePadder((1, 13), mode="reflect").fit_transform(X)
    assert found[0, 0].tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]


# -- layout ---------------------------------------------------------------------------


def test_channels_move():
    X = photographs()
    first = ChannelsFirst().fit_transform(X)
    assert np.array_equal(first, X.transpose(0, 3, 1, 2))
    assert np.array_equal(ChannelsLast().fit_transform(first), X)
    rows = ChannelsFirst(image_shape=X.shape[1:]).fit_transform(X.reshape(3, -1))
    assert np.array_equal(rows, first.reshape(3, -1))
    back = ChannelsLast(image_shape=X.shape[1:]).fit_transform(rows)
    assert np.array_equal(back, X.reshape(3, -1))


@pytest.mark.parametrize("channels", ["last", "first"])
def test_rows_become_images_and_back(channels):
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


def test_a_transform_of_torchvision():
    X = photographs()
    found = TorchvisionTransformer(v2.GaussianBlur(3, sigma=1.0)).fit_transform(X)
    expected = v2.functional.gaussian_blur(
        torch.tensor(X).permute(0, 3, 1, 2), [3, 3], [1.0, 1.0]
    )
    assert np.array_equal(found, expected.permute(0, 2, 3, 1))


@pytest.mark.parametrize("one_by_one", [False, True])
def test_what_is_drawn_is_seeded_and_torch_left_alone(one_by_one):
    X = np.repeat(photographs(1), 8, axis=0)
    before = torch.get_rng_state()
    step = TorchvisionTransformer(
        v2.RandomRotation(45), one_by_one=one_by_one, random_state=0
    ).fit(X)
    found = step.transform(X)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(step.transform(X), found)
    alike = all(np.array_equal(image, found[0]) for image in found)
    assert alike != one_by_one, "one draw for all, or one for each"
    other = step.set_params(random_state=1).fit_transform(X)
    assert not np.array_equal(other, found)


def test_a_random_transform_is_copied_and_pickled():
    # it has a get_params that means something else than scikit-learn's
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
def test_a_function_that_returns_no_images_is_named(func, message):
    with pytest.raises(ValueError, match=message):
        TorchvisionTransformer(func).fit(photographs()).transform(photographs())


def test_images_of_several_shapes_are_named():
    sides = iter(range(5, 100))
    shrink = TorchvisionTransformer(
        lambda image: image[:, :, : next(sides)], one_by_one=True
    )
    with pytest.raises(ValueError, match="images of several shapes"):
        shrink.fit(photographs()).transform(photographs())


def test_a_transform_that_works_in_place_leaves_its_argument():
    X = np.random.RandomState(0).uniform(size=(5, 8, 8)).astype(np.float32)
    for channels, shape in (("last", (5, 8, 8)), ("first", (5, 1, 8, 8))):
        given = X.reshape(shape).copy()
        double = TorchvisionTransformer(lambda b: b.mul_(2), channels=channels)
        assert np.array_equal(double.fit_transform(given), 2 * X.reshape(shape))
        assert np.array_equal(given, X.reshape(shape))


def test_a_transform_may_draw_from_any_generator():
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
