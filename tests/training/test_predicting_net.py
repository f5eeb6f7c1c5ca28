"""The net of a classifier as a skorch user types it: NCHW, arrays, tensors, dicts."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_l2cnn import L2CNNClassifier
from tests.conftest import SmallNet

FORMS = {
    "array": np.asarray,
    "tensor": torch.as_tensor,
    "dict": lambda X: {"X": X},
    "dict of a tensor": lambda X: {"images": torch.as_tensor(X)},
}
PIXELS = {
    "uint8": lambda X: X.astype(np.uint8),
    "float32": lambda X: X.astype(np.float32),
    "float64": lambda X: X.astype(np.float64) / 255,
    "int64": lambda X: X.astype(np.int64),
}


def planes(X):
    """Return images as torch has them, the channels first."""
    return X[:, None] if X.ndim == 3 else np.moveaxis(X, 3, 1)


known = {}


@pytest.fixture
def fitted(some):
    """Return images, counted in some way, and a classifier that was fitted to them."""
    X, y = some

    def fit(pixels):
        if pixels not in known:
            images = PIXELS[pixels](X)
            clf = L2CNNClassifier(max_epochs=3, random_state=0)
            known[pixels] = images, clf.fit(images, y)
        return known[pixels]

    return fit


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("form", FORMS)
def test_it_predicts_what_the_classifier_does(some, fitted, pixels, form):
    images, clf = fitted(pixels)
    given = FORMS[form](planes(images))
    expected = clf.predict_proba(images)
    found = clf.net_.predict_proba(given)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    logits = clf.net_.forward(given)
    assert isinstance(logits, torch.Tensor)
    np.testing.assert_allclose(logits, clf.decision_function(images), atol=1e-4)
    assert np.array_equal(clf.net_.predict(given), clf.predict(images))
    y = some[1]
    assert clf.net_.score(given, y) == clf.score(images, y)


@pytest.mark.parametrize("architecture", [SmallNet, "resnet18"])
def test_other_networks_and_colours(architecture):
    rng = np.random.RandomState(0)
    X = rng.randint(0, 256, (40, 12, 10, 3)).astype(np.uint8)
    clf = L2CNNClassifier(architecture=architecture, max_epochs=1, random_state=0)
    clf.fit(X, np.repeat(["no", "yes"], 20))
    found = clf.net_.predict_proba(planes(X))
    np.testing.assert_allclose(found, clf.predict_proba(X), rtol=1e-3, atol=1e-5)
    # a skorch net knows classes by their positions
    labels = clf.classes_[clf.net_.predict(planes(X))]
    assert np.array_equal(labels, clf.predict(X))
    # dropout draws, rows stay where they are
    drawn = clf.net_.forward(planes(X), training=True)
    assert drawn.shape == (40, 2)


def test_the_form_of_training_keeps_the_order(fitted):
    images, clf = fitted("uint8")
    net = clf.net_
    in_training = net.forward(planes(images), training=True)
    assert torch.equal(in_training, net.forward(planes(images)))


@pytest.mark.parametrize(
    "copying", [clone, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_a_copy_predicts_too(fitted, copying):
    images, clf = fitted("float32")
    twin = copying(clf.net_)
    if not twin.initialized_:  # as in skorch, a clone is not
        twin.initialize()
    expected = clf.net_.predict_proba(planes(images))
    assert np.array_equal(twin.predict_proba(planes(images)), expected)
    twin.module_[0].weight.data.zero_()
    assert np.array_equal(clf.net_.predict_proba(planes(images)), expected)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_it_says_why_it_is_not_trained(some, fitted, method):
    images, clf = fitted("uint8")
    before = clf.predict_proba(images)
    for net in (clf.net_, clone(clf.net_)):
        with pytest.raises(TypeError, match="warm_start=True to go on, or its partial"):
            getattr(net, method)(planes(images), some[1])
    assert np.array_equal(clf.predict_proba(images), before)


@pytest.mark.parametrize(
    "form, error, message",
    [
        (lambda X: X[:, :, :, None], ValueError, "look like channels='last'"),
        (lambda X: {"a": X, "b": X}, TypeError, "the only value of a dict; dict of 2"),
        (
            lambda X: torch.utils.data.TensorDataset(torch.as_tensor(X)),
            TypeError,
            "TensorDataset of 150 came. Stack its images",
        ),
        (
            lambda X: X[:, None].astype(complex),
            ValueError,
            "Complex data not supported",
        ),
    ],
)
def test_what_it_cannot_predict(fitted, form, error, message):
    images, clf = fitted("uint8")
    with pytest.raises(error, match=message):
        clf.net_.predict(form(images))


def test_it_warns_of_pixels_that_count_otherwise(fitted):
    images, clf = fitted("uint8")
    with pytest.warns(UserWarning, match="The training images were uint8, these are"):
        clf.net_.predict(planes(images).astype(np.float32))


@pytest.mark.gpu
def test_it_predicts_on_the_device_after_a_fit(some, cuda):
    X, y = some
    clf = L2CNNClassifier(max_epochs=2, device="cuda", random_state=0).fit(X, y)
    found = clf.net_.predict_proba(planes(X))  # its network waits on the CPU
    np.testing.assert_allclose(found, clf.predict_proba(X), atol=2e-3)
