"""Augmentation: each operation against a slow one, none of it where it is not due."""

import inspect
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from torch import nn
from torchvision.transforms import v2

from sklearn_l2cnn import L2CNNClassifier, augmentation
from sklearn_l2cnn.augmentation import (
    NAMES,
    Augmentation,
    mixed,
    moved,
    plan_for,
    squares,
    turned,
    varied,
    views_for,
)
from tests._loops import parameters_of
from tests.conftest import SmallNet, double, quick


@pytest.fixture
def images():
    rng = np.random.RandomState(0)
    return torch.tensor(rng.normal(size=(40, 3, 6, 9)))


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# -- the operations -------------------------------------------------------------------


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
def test_every_image_is_moved_by_a_whole_number_of_pixels(images, mode, flips):
    mirrored = torch.arange(len(images)) % 2 == 0 if flips else None
    amounts = {"mirror": (0, 0.34), "mean": (0.34, 0)}[mode]
    found = moved(images, mirrored, *amounts)
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
        assert len(matches) == 1, "one step, and no other, makes this of it"
        steps.add(matches[0])
    assert {down for down, _ in steps} == set(range(-2, 3))
    assert {right for _, right in steps} == set(range(-3, 4))


def test_shift_and_crop_at_once_are_one_after_the_other(images):
    found = moved(images, None, 0.2, 0.2)
    zeros = (found == 0).all(dim=1)
    assert zeros.any() and not zeros.all()
    for image in found:
        values = set(image[:, ~(image == 0).all(dim=0)].flatten().tolist())
        assert values <= set(images.flatten().tolist())


def test_a_shift_goes_before_a_crop():
    strip = torch.arange(1.0, 9).expand(200, 1, 1, 8)

    def shift(line, by):
        return [line[k + by] if 0 <= k + by < 8 else 0.0 for k in range(8)]

    def crop(line, by):
        there_and_back = [*range(8), *range(6, 0, -1)]
        return [line[there_and_back[(k + by) % 14]] for k in range(8)]

    line, steps = strip[0, 0, 0].tolist(), range(-2, 3)
    one = {tuple(crop(shift(line, a), b)) for a in steps for b in steps}
    found = {tuple(row) for row in moved(strip, None, 0.25, 0.25)[:, 0, 0].tolist()}
    assert found <= one and len(found) > 15


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_quarter_turns_are_exact(degrees):
    images = torch.rand(2, 3, 7, 7, dtype=torch.float64)
    angle = torch.full((2,), math.radians(degrees), dtype=torch.float64)
    found = turned(images, angle, torch.ones(2, dtype=torch.float64))
    # an angle in images counts towards the row axis, which points down
    expected = torch.rot90(images, degrees // 90, dims=(2, 3))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("degrees", "factor"), [(20, 1.0), (0, 1.3), (-35, 0.8)])
def test_a_turn_is_what_scipy_makes_of_it(degrees, factor):
    rng = np.random.RandomState(0)
    image = ndimage.gaussian_filter(rng.normal(size=(12, 17)), 1)
    angle = math.radians(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = matrix / factor
    middle = (np.array(image.shape) - 1) / 2
    expected = ndimage.affine_transform(
        image, matrix, middle - matrix @ middle, order=1, mode="grid-constant"
    )
    found = turned(
        torch.tensor(image)[None, None],
        torch.tensor([angle], dtype=torch.float64),
        torch.tensor([factor], dtype=torch.float64),
    )
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-12)


def test_cut_squares_have_the_side_and_stay_inside():
    found = squares((500, 3, 8, 10), 3, "cpu")
    assert found.shape == (500, 1, 8, 10)
    counts = found.sum(dim=(1, 2, 3))
    assert set(counts.tolist()) == {4, 6, 9}, "less only where an edge cuts it"
    assert found.any(dim=0).all(), "anywhere"


def test_contrast_keeps_the_mean_and_brightness_moves_it_alone(images):
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
def test_a_mixture_has_the_loss_of_both_its_labels(images, weighted):
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
        # x = (1 - s) x_i + s x_j for one j: found by looking for it
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


# -- plans ----------------------------------------------------------------------------


def test_names_are_the_parameters_and_each_changes_images(images):
    assert list(NAMES) == list(inspect.signature(Augmentation).parameters)
    assert not any(Augmentation().get_params().values())
    for name in NAMES:
        plan = plan_for(name)
        assert [k for k, v in plan.strengths.items() if v] == [name]
        if name not in ("flip", "mixup"):
            assert not torch.equal(varied(images, plan), images)


def test_lists_add_up():
    blur = v2.GaussianBlur(3)
    plan = plan_for(["flip", Augmentation(rotate=30, flip=False), blur])
    assert plan.strengths["flip"] and plan.strengths["rotate"] == 30
    assert plan.functions == (blur,) and not plan.is_recordable
    assert plan_for(["flip", "crop"]).is_recordable
    for nothing in (None, [], Augmentation(), Augmentation(rotate=0.0)):
        assert plan_for(nothing) is None


@pytest.mark.parametrize("wrong", ["flop", 3, ["flip", None], Augmentation, nn.ReLU])
def test_what_is_no_augmentation_is_named(digits, wrong):
    X, y = digits
    with pytest.raises(ValueError, match=r"augment|Augmentation"):
        quick(augment=wrong).fit(X, y)


@pytest.mark.parametrize("wrong", [{"rotate": -1}, {"cutout": 2}, {"flip": "yes"}])
def test_strengths_are_validated(digits, wrong):
    X, y = digits
    clf = quick(augment=Augmentation(**wrong))
    with pytest.raises(ValueError, match="Augmentation"):
        clf.fit(X, y)
    assert not hasattr(clf, "classes_")


# -- in training ----------------------------------------------------------------------


class Watch(nn.Module):
    """Keep what a network sees, in training and in prediction."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.head = nn.Linear(math.prod(input_shape), n_classes)
        self.seen = []

    def forward(self, X):
        self.seen.append((self.training, X.detach().clone()))
        return self.head(X.flatten(1))


def watched(X, y, **parameters):
    clf = L2CNNClassifier(
        architecture=Watch, random_state=0, batch_size=len(X), **parameters
    ).fit(X, y)
    # the first two are blank images, which the network is tried with
    return clf, [X for training, X in clf.module_.seen if training]


def test_training_sees_varied_images_and_prediction_does_not(digits):
    X, y = digits[0][:50], digits[1][:50]
    clf, epochs = watched(X, y, augment="rotate", max_epochs=3)
    plain = standardized(clf, X)
    assert len(epochs) == 3
    for k, seen in enumerate(epochs):
        far = (seen.flatten(1)[:, None] - plain[None]).abs().amax(dim=2)
        assert far.min() > 1e-3, "no image is as it was"
        assert all(not torch.equal(seen, other) for other in epochs[:k])
    clf.module_.seen.clear()
    clf.predict(X)
    [(training, seen)] = clf.module_.seen
    assert not training
    torch.testing.assert_close(seen[: len(X)].flatten(1), plain)


def standardized(clf, X):
    mean, scale = clf.channel_mean_, clf.channel_scale_
    images = (X.reshape(len(X), -1) / 255 - mean) / scale
    return torch.tensor(images, dtype=torch.float32)


def test_images_are_mirrored_in_every_other_epoch(digits):
    X, y = digits[0][:50], digits[1][:50]
    clf, epochs = watched(X, y, augment="flip", max_epochs=4)
    images = torch.tensor(X / 255, dtype=torch.float32)
    sides = []
    for seen in epochs:
        pixels = (seen * clf.channel_scale_[0] + clf.channel_mean_[0])[:, 0]
        far = (pixels[:, None] - images[None]).abs().amax(dim=(2, 3))
        mirror = (pixels[:, None] - images.flip(2)[None]).abs().amax(dim=(2, 3))
        assert (torch.minimum(far, mirror).amin(dim=1) < 1e-5).all()
        # of every image of the data, in its own order: from which side it was seen
        sides.append(mirror.amin(dim=0) < far.amin(dim=0))
    assert 10 < int(sides[0].sum()) < 40
    assert torch.equal(sides[1], ~sides[0])
    assert torch.equal(sides[2], sides[0]) and torch.equal(sides[3], sides[1])


def test_functions_see_pixels_as_they_are_given_and_go_first(digits):
    X, y = digits[0][:50], digits[1][:50]
    batches = []

    def watch(images):
        batches.append(images.clone())
        return images

    L2CNNClassifier(augment=watch, architecture=SmallNet, max_epochs=1).fit(X, y)
    assert len(batches) == 2
    seen = torch.cat(batches)
    assert seen.shape == (50, 1, 8, 8) and seen.dtype == torch.float32
    expected = sorted((X / 255).reshape(50, -1).tolist())
    np.testing.assert_allclose(
        sorted(seen.flatten(1).tolist()), expected, rtol=1e-5, atol=1e-5
    )
    batches.clear()
    floats = 100.0 * X + 7
    L2CNNClassifier(augment=watch, architecture=double, max_epochs=1).fit(floats, y)
    seen = torch.cat(batches)
    assert seen.dtype == torch.float64
    np.testing.assert_allclose(
        sorted(seen.flatten(1).tolist()),
        sorted(floats.reshape(50, -1).tolist()),
        rtol=1e-9,
    )


def test_a_function_that_returns_something_else_is_named(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"augment: .* a tensor of the same shape"):
        quick(augment=lambda images: images[:, :, 1:]).fit(X, y)


@pytest.mark.parametrize(
    "augment",
    [
        "flip",
        "mixup",
        list(NAMES),
        Augmentation(rotate=5, mixup=1.0),
        v2.RandomErasing(),
        ["crop", v2.ColorJitter(brightness=0.1)],
    ],
)
@pytest.mark.parametrize("architecture", ["plain", SmallNet])
def test_the_same_seed_gives_the_same_bits_with_any_number_of_threads(
    digits, augment, architecture
):
    X, y = digits
    parameters = {"architecture": architecture, "max_epochs": 2, "augment": augment}
    before = torch.get_num_threads(), torch.get_rng_state()
    fits = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        clf = L2CNNClassifier(random_state=0, **parameters).fit(X, y)
        fits.append(parameters_of(clf))
    torch.set_num_threads(before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    for mine, theirs in zip(*fits, strict=True):
        assert np.array_equal(mine, theirs)
    plain = L2CNNClassifier(random_state=0, **{**parameters, "augment": None})
    plain = parameters_of(plain.fit(X, y))
    assert not all(map(np.array_equal, fits[0], plain))


def test_nothing_to_do_is_no_augmentation_bit_for_bit(digits):
    X, y = digits
    fits = [quick(augment=a).fit(X, y) for a in (None, [], Augmentation())]
    for fit in fits[1:]:
        assert all(map(np.array_equal, parameters_of(fits[0]), parameters_of(fit)))


def test_weights_are_repeats_with_augmentation(digits):
    X, y = digits
    clf = quick(augment=list(NAMES))
    weight = np.arange(len(X)) % 3
    one = clone(clf).fit(X, y, sample_weight=weight)
    rows = np.random.RandomState(0).permutation(np.repeat(np.arange(len(X)), weight))
    other = clone(clf).fit(X[rows], y[rows])
    assert all(map(np.array_equal, parameters_of(one), parameters_of(other)))
    assert one.loss_curve_ == other.loss_curve_


def test_augmentation_helps_where_there_are_few_images():
    X, y = load_digits(return_X_y=True)

    def score(augment, seed):
        clf = L2CNNClassifier(augment=augment, max_epochs=60, random_state=seed)
        return clf.fit(X[:200], y[:200]).score(X[200:], y[200:])

    gains = [score("shift", seed) - score(None, seed) for seed in range(3)]
    assert np.mean(gains) > 0.01


def test_strengths_in_a_search_and_in_copies(digits):
    X, y = digits
    clf = quick(augment=Augmentation(flip=True), max_epochs=1)
    search = GridSearchCV(clf, {"augment__rotate": [0, 10], "augment__mixup": [0.0, 1]})
    search.fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    copy = clone(clf.set_params(augment__cutout=0.5))
    assert copy.augment.cutout == 0.5 and copy.augment is not clf.augment
    assert "augment=Augmentation(cutout=0.5, flip=True)" in repr(clf)


def test_transforms_with_get_params_of_their_own_are_parameters(digits):
    # which scikit-learn's clone would take for that of an estimator
    X, y = digits
    clf = quick(augment=[v2.RandomRotation(5), "flip"], max_epochs=1)
    copy = clone(clf).fit(X, y)
    assert copy.augment[0] is not clf.augment[0]
    turn = v2.RandomRotation(10)
    grid = {"augment": [None, v2.Compose([turn])], "lr": [0.01]}
    search = GridSearchCV(quick(augment=turn, max_epochs=1), grid, cv=2)
    assert len(search.fit(X, y).cv_results_["params"]) == 2
    assert "augment__degrees" not in clf.set_params(augment=turn).get_params()
    assert "RandomRotation" in repr(clf)


def test_partial_fit_and_warm_start_vary_too(digits):
    X, y = digits
    one, other = (
        quick(augment=a).partial_fit(X, y, np.unique(y)) for a in ("crop", None)
    )
    assert not all(map(np.array_equal, parameters_of(one), parameters_of(other)))
    one.set_params(augment=None).partial_fit(X, y)
    assert one.net_.augment is None


@pytest.mark.gpu
def test_on_cuda_no_step_is_a_repetition(digits, cuda):
    X, y = digits
    clf = quick(augment="rotate", device="cuda", batch_size=32, max_epochs=6, lr=0.0001)
    losses = clf.fit(X, y).loss_curve_
    assert len(set(losses)) == 6


# -- test-time augmentation -----------------------------------------------------------


def test_views():
    images = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert views_for(None) == [()]
    assert len(views_for("flip")) == 2 and len(views_for("shift")) == 5
    assert len(views_for(["flip", "shift"])) == 10
    (mirror,) = views_for("flip")[1]
    assert torch.equal(mirror(images), images.flip(3))
    steps = [view[0](images)[0, 0] for view in views_for("shift")[1:]]
    assert torch.equal(steps[0], images[0, 0][[1, 0, 1]])
    assert torch.equal(steps[3], images[0, 0][:, [1, 2, 3, 2]])


@pytest.mark.parametrize("tta", ["flip", "shift", ["flip", "shift"]])
def test_probabilities_are_averaged_over_the_views(digits, tta):
    X, y = digits
    clf = quick().fit(X, y)
    images = torch.tensor(X)[:, None]
    expected = 0
    for view in views_for(tta):
        seen = images
        for change in view:
            seen = change(seen)
        expected = expected + clf.predict_proba(seen[:, 0].numpy())
    expected = expected / len(views_for(tta))
    clf.set_params(tta=tta)
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-5, atol=1e-7)
    assert np.array_equal(clf.predict(X), clf.classes_[expected.argmax(axis=1)])
    np.testing.assert_allclose(
        np.exp(clf.predict_log_proba(X)), expected, rtol=1e-5, atol=1e-7
    )


def test_an_unknown_view_is_named(digits):
    X, y = digits
    for wrong in ("turn", ["flip", "turn"]):
        with pytest.raises(ValueError, match=r"tta.*'flip'|tta.*'shift'"):
            quick(tta=wrong).fit(X, y)


def test_what_is_public():
    assert augmentation.__all__ == ["Augmentation"]


def test_images_of_no_weight_are_mixed_with_each_other(digits):
    X, y = digits
    none = dict.fromkeys(range(6), 0.0)
    clf = quick(augment="mixup", class_weight=none, random_state=0).fit(X, y)
    assert np.isfinite(clf.loss_curve_).all()
    images, labels = torch.rand(8, 1, 2, 2), torch.arange(8)
    _, targets, weight = mixed(images, labels, torch.zeros(8), 8, 0.2)
    assert not targets.any() and not weight.any()


@pytest.mark.parametrize("augment", [None, "rotate", ["flip", Augmentation()]])
def test_what_has_no_strengths_is_named(augment):
    with pytest.raises(ValueError, match="'augment__rotate' cannot be set: augment is"):
        quick(augment=augment).set_params(augment__rotate=3)
    clf = quick(augment=augment)
    clf.set_params(augment=Augmentation(), augment__rotate=3)
    assert clf.augment.rotate == 3


def test_a_strip_is_not_shifted_away():
    strip = torch.arange(1.0, 9).expand(50, 1, 1, 8)
    assert (moved(strip, None, 0.25, 0)[:, 0, 0] > 0).sum(dim=1).min() >= 6
