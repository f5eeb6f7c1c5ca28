"""A model that is fitted gives numbers, or there is none."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback
from torch import nn

from sklearn_l2cnn import L2CNNClassifierCV
from sklearn_l2cnn._training.divergence import Diverged, without_probabilities
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import PixelSelector
from sklearn_l2cnn.inspection import saliency
from tests.conftest import quick, tiny

KEPT = r"diverged in epoch \d+: the network that it ends with gives \d+ of \d+ images"


@pytest.fixture
def images():
    return np.random.RandomState(0).rand(24, 6, 6), np.arange(24) % 3


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 1e9},
        {"lr": 1e3, "optimizer": "sgd", "max_epochs": 2},
        {"lr": 1e9, "architecture": "resnet18"},
        {"lr": 1e9, "early_stopping": True, "validation_fraction": 0.25},
    ],
)
def test_a_last_step_too_far_is_an_error(images, options):
    clf = quick(**{"max_epochs": 1, "architecture": "plain"} | options)
    with pytest.raises(Diverged, match=KEPT + ".*Lower lr"):
        clf.fit(*images)
    assert not hasattr(clf, "net_")


def test_it_is_one_in_partial_fit_too_which_goes_back(images):
    clf = quick(lr=1e9, architecture="plain")
    with pytest.raises(Diverged, match=KEPT):
        clf.partial_fit(*images, classes=[0, 1, 2])
    assert not hasattr(clf, "net_")
    clf.set_params(lr=1e-3).partial_fit(*images, classes=[0, 1, 2])
    expected = clf.predict_proba(images[0])
    with pytest.raises(Diverged, match=KEPT):
        clf.set_params(lr=1e9).partial_fit(*images)
    assert np.array_equal(clf.predict_proba(images[0]), expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_networks_of_a_search_are_looked_at(images, precision):
    """Stacked, and one by one, as in bfloat16."""
    options = {"max_epochs": 1, "random_state": 0, "lr": 1e9, "precision": precision}
    cv = L2CNNClassifierCV([0, 1e-3], cv=2, **options)
    with pytest.raises(ValueError, match="All 4 trainings of the search failed") as one:
        cv.fit(*images)
    assert "the network that it ends with" in str(one.value)
    assert not hasattr(cv, "best_score_")


class LastStepTooFar(Callback):
    """Takes an enormous step in the third epoch."""

    def on_epoch_begin(self, net, **kwargs):
        for group in net.optimizer_.param_groups:
            group["lr"] = 1e12 if len(net.history) == 3 else 1e-3


def test_what_is_kept_is_looked_at(images):
    X, y = images
    X = X + y[:, None, None]
    options = {"callbacks": [LastStepTooFar()], "max_epochs": 3, "lr_schedule": None}
    options["architecture"] = "plain"
    with pytest.raises(Diverged, match="in epoch 3"):
        quick(**options).fit(X, y)
    early = {"early_stopping": True, "n_iter_no_change": 3}
    clf = quick(**options, **early).fit(X, y)
    assert not np.isfinite(clf.validation_loss_curve_[2]) and clf.best_epoch_ < 3
    assert np.isfinite(clf.predict_proba(X)).all()


def test_a_norm_that_is_not_finite_is_named(images):
    with pytest.raises(Diverged, match=r"norm of '0\.weight'.*loss was 1\.\d+ before"):
        quick(optimizer="sgd", lr=1e25, max_epochs=1, alpha=0).fit(*images)


class RulesOut(nn.Module):
    """A network that gives the last class no chance."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.net = tiny(input_shape, n_classes)

    def forward(self, X):
        ruled_out = torch.zeros(3, dtype=torch.bool)
        ruled_out[2] = True
        return self.net(X).masked_fill(ruled_out, -torch.inf)


def test_a_class_may_be_ruled_out(images):
    X, y = images
    clf = quick(architecture=RulesOut).partial_fit(X, y % 2, classes=[0, 1, 2])
    assert (clf.predict_proba(X)[:, 2] == 0).all()
    logits = torch.tensor([[0, -np.inf], [-np.inf, -np.inf], [np.inf, 0], [np.nan, 0]])
    assert without_probabilities(logits).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function"]
)
def test_images_beyond_all_numbers_are_named(images, method):
    X, y = images
    clf = quick(architecture="plain").fit(X, y)
    X = X.copy()
    X[[2, 5]] *= 9e37
    message = "2 of 24 images logits that are not finite, row 2, 5: .* large as .*e.37"
    with pytest.raises(ValueError, match=message):
        getattr(clf, method)(X)
    assert np.isfinite(clf.predict_proba(np.delete(X, [2, 5], axis=0))).all()


def test_numbers_out_of_a_network_beyond_all_numbers_are_errors(images):
    """Its logits are finite, but not their derivatives."""
    X, y = np.zeros((24, 6, 6)), images[1]
    clf = quick().fit(X, y)
    with torch.no_grad():
        for layer, bias in ((0, 1e-30), (3, 0)):
            clf.module_[layer].weight.mul_(1e27)
            clf.module_[layer].bias.fill_(bias)
    frozen = FrozenEstimator(clf)
    assert np.isfinite(clf.decision_function(X)).all()
    with pytest.raises(ValueError, match="importances of the pixels are not finite"):
        PixelSelector(frozen).fit(X, y)
    with pytest.raises(ValueError, match="The maps are not finite"):
        saliency(clf, X, method="gradient")
    with pytest.raises(ValueError, match="The features are not finite"):
        CNNFeatures(frozen).fit(X).transform(X + 1e20)
