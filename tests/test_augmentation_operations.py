"""Tests of each operation of augmentation against a slow reference."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from sklearn_l2cnn.augmentation import (
    Augmentation,
    _move,
    _random_squares,
    _rotate_and_scale,
    mixed,
    plan_for,
    varied,
)


@pytest.fixture
def images():
    rng = np.random.RandomState(0)
    return torch.tensor(rng.normal(size=(40, 3, 6, 9)))


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def moved_by_hand(image, down, right, mirrored, mode):
    """Move an image (channels, height, width) pixel by pixel."""
    found = torch.zeros_like(image)
    _, height, width = image.shape
    for r in range(height):
        for c in range(width):
            r0, c0 = r + down, (width - 1 - c if mirrored else c) + right
            if mode == "mirror":
                r0 = -r0 if r0 < 0 else 2 * height - 2 - r0 if r0 >= height else r0
                c0 = -c0 if c0 < 0 else 2 * width - 2 - c0 if c0 >= width else c0
            if 0 <= r0 < height and 0 <= c0 < width:
                found[:, r, c] = image[:, r0, c0]
    return found


@pytest.mark.parametrize("mode", ["mirror", "mean"])
@pytest.mark.parametrize("flips", [False, True])
def test_images_are_moved_by_whole_pixels(images, mode, flips):
    mirrored = torch.arange(len(images)) % 2 == 0 if flips else None
    amounts = {"mirror": (0, 0.34), "mean": (0.34, 0)}[mode]
    found = _move(images, mirrored, *amounts)
    steps = set()
    for k, (before, after) in enumerate(zip(images, found, strict=True)):
        matches = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-3, 4)
            if torch.equal(
                moved_by_hand(before, down, right, flips and k % 2 == 0, mode), after
            )
        ]
        assert len(matches) == 1, "exactly one move gives this image"
        steps.add(matches[0])
    assert {down for down, _ in steps} == set(range(-2, 3))
    assert {right for _, right in steps} == set(range(-3, 4))


def test_shift_and_crop_together(images):
    found = _move(images, None, 0.2, 0.2)
    zeros = (found == 0).all(dim=1)
    assert zeros.any() and not zeros.all()
    for image in found:
        values = set(image[:, ~(image == 0).all(dim=0)].flatten().tolist())
        assert values <= set(images.flatten().tolist())


def test_shift_is_applied_before_crop():
    strip = torch.arange(1.0, 9).expand(200, 1, 1, 8)

    def shift(line, by):
        return [line[k + by] if 0 <= k + by < 8 else 0.0 for k in range(8)]

    def crop(line, by):
        there_and_back = [*range(8), *range(6, 0, -1)]
        return [line[there_and_back[(k + by) % 14]] for k in range(8)]

    line, steps = strip[0, 0, 0].tolist(), range(-2, 3)
    one = {tuple(crop(shift(line, a), b)) for a in steps for b in steps}
    found = {tuple(row) for row in _move(strip, None, 0.25, 0.25)[:, 0, 0].tolist()}
    assert found <= one and len(found) > 15


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_quarter_turns_are_exact(degrees):
    images = torch.rand(2, 3, 7, 7, dtype=torch.float64)
    angle = torch.full((2,), math.radians(degrees), dtype=torch.float64)
    found = _rotate_and_scale(images, angle, torch.ones(2, dtype=torch.float64))
    # an angle in images counts towards the row axis, which points down
    expected = torch.rot90(images, degrees // 90, dims=(2, 3))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("degrees", "factor"), [(20, 1.0), (0, 1.3), (-35, 0.8)])
def test_rotation_matches_scipy(degrees, factor):
    rng = np.random.RandomState(0)
    image = ndimage.gaussian_filter(rng.normal(size=(12, 17)), 1)
    angle = math.radians(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = matrix / factor
    middle = (np.array(image.shape) - 1) / 2
    expected = ndimage.affine_transform(
        image, matrix, middle - matrix @ middle, order=1, mode="grid-constant"
    )
    found = _rotate_and_scale(
        torch.tensor(image)[None, None],
        torch.tensor([angle], dtype=torch.float64),
        torch.tensor([factor], dtype=torch.float64),
    )
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-12)


def test_side_of_random_squares():
    found = _random_squares((500, 3, 8, 10), 3, "cpu")
    assert found.shape == (500, 1, 8, 10)
    counts = found.sum(dim=(1, 2, 3))
    assert set(counts.tolist()) == {4, 6, 9}, "smaller only at an edge"
    assert found.any(dim=0).all(), "anywhere"


def test_contrast_keeps_the_mean_and_brightness_only_shifts_it(images):
    images = images.repeat(10, 1, 1, 1)
    found = varied(images, plan_for(Augmentation(contrast=0.5)))
    mean = images.mean(dim=(1, 2, 3))
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), mean)
    factors = found.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))
    assert 0.5 <= factors.min() < 0.6 and 1.4 < factors.max() <= 1.5
    found = varied(images, plan_for(Augmentation(brightness=0.3))) - images
    steps = found.mean(dim=(1, 2, 3))
    torch.testing.assert_close(found, steps[:, None, None, None].expand_as(found))
    assert -0.3 <= steps.min() < -0.2 and 0.2 < steps.max() <= 0.3


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_of_mixed_images_is_that_of_both_labels(images, weighted):
    n = len(images)
    labels = torch.arange(n) % 4
    weight = torch.rand(n, dtype=torch.float64) + 0.5 if weighted else None
    found, targets, total = mixed(images, labels, weight, 4, a=1.0)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(n, dtype=torch.float64))
    logits = torch.randn(n, 4, dtype=torch.float64)
    loss = F.cross_entropy(logits, targets, reduction="none").dot(total)
    each = F.cross_entropy(logits, labels, reduction="none")
    own = torch.ones(n, dtype=torch.float64) if weight is None else weight
    expected = 0
    for i in range(n):
        # find the j with x = (1 - s) x_i + s x_j
        step, best = found[i] - images[i], None
        for j in range(n):
            line = images[j] - images[i]
            s = float((step * line).sum() / line.square().sum().clamp_min(1e-30))
            if torch.allclose(step, s * line, atol=1e-12):
                best = (j, s) if best is None or j != i else best
        j, s = best
        assert 0 <= s <= 0.5
        other = F.cross_entropy(logits[i : i + 1], labels[j : j + 1])
        expected += (1 - s) * own[i] * each[i] + s * own[j] * other
    torch.testing.assert_close(loss, expected)


def test_image_one_pixel_high_keeps_pixels():
    strip = torch.arange(1.0, 9).expand(50, 1, 1, 8)
    assert (_move(strip, None, 0.25, 0)[:, 0, 0] > 0).sum(dim=1).min() >= 6
