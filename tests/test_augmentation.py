"""Tests of augmentation in training and of test-time augmentation."""

import inspect
import math

import numpy as np
import pytest
import torch
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
    plan_for,
    varied,
    views_for,
)
from tests.conftest import SmallNet, double, quick
from tests.loops import parameters_of
from tests.training.networks import functional


@pytest.fixture
def images():
    rng = np.random.RandomState(0)
    return torch.tensor(rng.normal(size=(40, 3, 6, 9)))


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


# -- plans ----------------------------------------------------------------------------


def test_names_are_the_parameters_and_change_images(images):
    assert list(NAMES) == list(inspect.signature(Augmentation).parameters)
    assert not any(Augmentation().get_params().values())
    for name in NAMES:
        plan = plan_for(name)
        assert [k for k, v in plan.strengths.items() if v] == [name]
        if name not in ("flip", "mixup"):
            assert not torch.equal(varied(images, plan), images)


def test_plan_of_a_list():
    blur = v2.GaussianBlur(3)
    plan = plan_for(["flip", Augmentation(rotate=30, flip=False), blur])
    assert plan.strengths["flip"] and plan.strengths["rotate"] == 30
    assert plan.functions == (blur,)
    assert plan_for(["flip", "crop"]).functions == ()
    for nothing in (None, [], Augmentation(), Augmentation(rotate=0.0)):
        assert plan_for(nothing) is None


@pytest.mark.parametrize("wrong", ["flop", 3, ["flip", None], Augmentation, nn.ReLU])
def test_invalid_augment_raises(digits, wrong):
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


class RecordInputs(nn.Module):
    """Network that records its inputs, in training and in prediction."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.head = nn.Linear(math.prod(input_shape), n_classes)
        self.inputs = []

    def forward(self, X):
        self.inputs.append((self.training, X.detach().clone()))
        return self.head(X.flatten(1))


def fit_and_record(X, y, **parameters):
    clf = L2CNNClassifier(
        architecture=RecordInputs, random_state=0, batch_size=len(X), **parameters
    ).fit(X, y)
    # inputs in evaluation are the blank images that the network is checked with
    return clf, [X for training, X in clf.module_.inputs if training]


def test_only_training_images_are_augmented(digits):
    X, y = digits[0][:50], digits[1][:50]
    clf, epochs = fit_and_record(X, y, augment="rotate", max_epochs=3)
    plain = standardized(clf, X)
    assert len(epochs) == 3
    for k, seen in enumerate(epochs):
        far = (seen.flatten(1)[:, None] - plain[None]).abs().amax(dim=2)
        assert far.min() > 1e-3, "all images are changed"
        assert all(not torch.equal(seen, other) for other in epochs[:k])
    clf.module_.inputs.clear()
    clf.predict(X)
    assert not any(training for training, _ in clf.module_.inputs)
    seen = torch.cat([seen for _, seen in clf.module_.inputs])
    torch.testing.assert_close(seen[: len(X)].flatten(1), plain)


def standardized(clf, X):
    mean, scale = clf.channel_mean_, clf.channel_scale_
    images = (X.reshape(len(X), -1) / 255 - mean) / scale
    return torch.tensor(images, dtype=torch.float32)


def test_images_are_mirrored_in_every_other_epoch(digits):
    X, y = digits[0][:50], digits[1][:50]
    clf, epochs = fit_and_record(X, y, augment="flip", max_epochs=4)
    images = torch.tensor(X / 255, dtype=torch.float32)
    sides = []
    for seen in epochs:
        pixels = (seen * clf.channel_scale_[0] + clf.channel_mean_[0])[:, 0]
        far = (pixels[:, None] - images[None]).abs().amax(dim=(2, 3))
        mirror = (pixels[:, None] - images.flip(2)[None]).abs().amax(dim=(2, 3))
        assert (torch.minimum(far, mirror).amin(dim=1) < 1e-5).all()
        # for each image of the data, in order: whether it was mirrored
        sides.append(mirror.amin(dim=0) < far.amin(dim=0))
    assert 10 < int(sides[0].sum()) < 40
    assert torch.equal(sides[1], ~sides[0])
    assert torch.equal(sides[2], sides[0]) and torch.equal(sides[3], sides[1])


def test_functions_get_unstandardised_pixels_first(digits):
    X, y = digits[0][:50], digits[1][:50]
    batches = []

    def record(images):
        batches.append(images.clone())
        return images

    L2CNNClassifier(augment=record, architecture=SmallNet, max_epochs=1).fit(X, y)
    assert len(batches) == 2
    seen = torch.cat(batches)
    assert seen.shape == (50, 1, 8, 8) and seen.dtype == torch.float32
    expected = sorted((X / 255).reshape(50, -1).tolist())
    np.testing.assert_allclose(
        sorted(seen.flatten(1).tolist()), expected, rtol=1e-5, atol=1e-5
    )
    batches.clear()
    floats = 100.0 * X + 7
    L2CNNClassifier(augment=record, architecture=double, max_epochs=1).fit(floats, y)
    seen = torch.cat(batches)
    assert seen.dtype == torch.float64
    np.testing.assert_allclose(
        sorted(seen.flatten(1).tolist()),
        sorted(floats.reshape(50, -1).tolist()),
        rtol=1e-9,
    )


def test_invalid_output_of_a_function_raises(digits):
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
@pytest.mark.parametrize("architecture", ["plain", functional])
def test_same_seed_gives_the_same_bits_for_any_number_of_threads(
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


def test_empty_augmentation_has_no_effect(digits):
    X, y = digits
    fits = [quick(augment=a).fit(X, y) for a in (None, [], Augmentation())]
    for fit in fits[1:]:
        assert all(map(np.array_equal, parameters_of(fits[0]), parameters_of(fit)))


def test_sample_weight_matches_repetition_with_augmentation(digits):
    X, y = digits
    clf = quick(augment=list(NAMES))
    weight = np.arange(len(X)) % 3
    one = clone(clf).fit(X, y, sample_weight=weight)
    rows = np.random.RandomState(0).permutation(np.repeat(np.arange(len(X)), weight))
    other = clone(clf).fit(X[rows], y[rows])
    assert all(map(np.array_equal, parameters_of(one), parameters_of(other)))
    assert one.loss_curve_ == other.loss_curve_


@pytest.mark.slow
def test_augmentation_improves_the_score_on_few_images():
    X, y = load_digits(return_X_y=True)

    def score(augment, seed):
        clf = L2CNNClassifier(augment=augment, max_epochs=60, random_state=seed)
        return clf.fit(X[:200], y[:200]).score(X[200:], y[200:])

    gains = [score("shift", seed) - score(None, seed) for seed in range(3)]
    assert np.mean(gains) > 0.01


def test_strengths_in_a_search_and_in_clones(digits):
    X, y = digits
    clf = quick(augment=Augmentation(flip=True), max_epochs=1)
    search = GridSearchCV(clf, {"augment__rotate": [0, 10], "augment__mixup": [0.0, 1]})
    search.fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    copy = clone(clf.set_params(augment__cutout=0.5))
    assert copy.augment.cutout == 0.5 and copy.augment is not clf.augment
    assert "augment=Augmentation(cutout=0.5, flip=True)" in repr(clf)


def test_transforms_with_another_get_params(digits):
    # scikit-learn's clone would treat it as that of an estimator
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


def test_partial_fit_augments(digits):
    X, y = digits
    one, other = (
        quick(augment=a).partial_fit(X, y, np.unique(y)) for a in ("crop", None)
    )
    assert not all(map(np.array_equal, parameters_of(one), parameters_of(other)))
    one.set_params(augment=None).partial_fit(X, y)
    assert one.net_.augment is None


@pytest.mark.gpu
def test_cuda_steps_differ(digits, cuda):
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
def test_probabilities_are_averaged_over_views(digits, tta):
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


def test_unknown_view_raises(digits):
    X, y = digits
    for wrong in ("turn", ["flip", "turn"]):
        with pytest.raises(ValueError, match=r"tta.*'flip'|tta.*'shift'"):
            quick(tta=wrong).fit(X, y)
    clf = quick(max_epochs=1).fit(X, y).set_params(tta=np.float32(0.5))
    with pytest.raises(TypeError, match=r"tta is .*0\.5.*; None, 'flip', 'shift'"):
        clf.score(X, y)


def test_public_names():
    assert augmentation.__all__ == ["Augmentation"]


def test_mixup_of_images_of_weight_zero(digits):
    X, y = digits
    none = dict.fromkeys(range(6), 0.0)
    clf = quick(augment="mixup", class_weight=none, random_state=0).fit(X, y)
    assert np.isfinite(clf.loss_curve_).all()
    images, labels = torch.rand(8, 1, 2, 2), torch.arange(8)
    _, targets, weight = mixed(images, labels, torch.zeros(8), 8, 0.2)
    assert not targets.any() and not weight.any()


@pytest.mark.parametrize("augment", [None, "rotate", ["flip", Augmentation()]])
def test_setting_strengths_without_an_augmentation_raises(augment):
    with pytest.raises(ValueError, match="'augment__rotate' cannot be set: augment is"):
        quick(augment=augment).set_params(augment__rotate=3)
    clf = quick(augment=augment)
    clf.set_params(augment=Augmentation(), augment__rotate=3)
    assert clf.augment.rotate == 3
