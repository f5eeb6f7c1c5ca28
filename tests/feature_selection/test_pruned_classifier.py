"""The classifier that prune returns, and the errors that it raises."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.feature_selection import prune
from tests.conftest import SmallNet, quick
from tests.feature_selection.networks import (
    N_CLASSES,
    assert_same_logits,
    classifier_with,
    images,
    layers_of,
    randomized,
    two_convolutions,
)

# -- the pruned classifier ----------------------------------------------------------


@pytest.fixture(scope="module")
def sparse(digits):
    """A classifier in float32 whose penalty made filters zero."""
    X, y = digits
    clf = L2CNNClassifier(
        alpha=3e-4,
        penalty="group",
        architecture="conv_pool",
        lr=3e-3,
        max_epochs=12,
        random_state=0,
    )
    return clf.fit(X, y)


def n_parameters(clf):
    return sum(parameter.numel() for parameter in clf.module_.parameters())


def test_a_penalised_network_is_smaller_and_predicts_the_same(sparse, digits):
    X, y = digits
    before = copy.deepcopy(sparse.module_.state_dict())
    pruned, support = prune(sparse, return_support=True)
    alive = sparse.module_.dense1.weight.any(dim=1)
    assert 0 < alive.sum() < len(alive)
    # filters that are not zero are removed only if the reader ignores them
    assert not (support["dense1"] & ~alive.numpy()).any()
    assert n_parameters(pruned) < 0.8 * n_parameters(sparse)
    np.testing.assert_allclose(
        pruned.decision_function(X), sparse.decision_function(X), rtol=0, atol=2e-5
    )
    assert np.array_equal(pruned.predict(X), sparse.predict(X))
    assert pruned.score(X, y) > 0.8
    # the classifier passed to prune does not change
    after = sparse.module_.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sparse.net_.optimizer_ is not pruned.net_.optimizer_


def test_parameters_and_attributes_are_those_of_the_original(sparse):
    pruned = prune(sparse)
    assert pruned.get_params() == sparse.get_params()
    assert vars(pruned).keys() == vars(sparse).keys()
    for name in ("classes_", "channel_mean_", "channel_scale_"):
        assert np.array_equal(getattr(pruned, name), getattr(sparse, name))
    for name in ("n_epochs_", "loss_curve_", "image_shape_", "device_", "precision_"):
        assert getattr(pruned, name) == getattr(sparse, name)
    assert list(pruned.net_.history) == list(sparse.net_.history)


def test_without_filters_to_remove_no_bit_changes(digits):
    X, y = digits
    clf = quick(max_epochs=1).fit(X, y)
    pruned, support = prune(clf, return_support=True)
    assert list(support) == ["0"] and support["0"].all()
    found, expected = pruned.decision_function(X), clf.decision_function(X)
    assert np.array_equal(found, expected)


def test_partial_fit_and_warm_start_train_the_smaller_network(sparse, digits):
    X, y = digits
    size = n_parameters(prune(sparse))
    pruned = pickle.loads(pickle.dumps(prune(sparse)))
    before = copy.deepcopy(pruned.module_.state_dict())
    pruned.partial_fit(X, y)
    assert n_parameters(pruned) == size and pruned.n_epochs_ == sparse.n_epochs_ + 1
    after = pruned.module_.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert pruned.loss_curve_[-1] < sparse.loss_curve_[0]
    pruned.set_params(warm_start=True, max_epochs=1).fit(X, y)
    assert n_parameters(pruned) == size
    assert pruned.score(X, y) > 0.8


def test_a_new_fit_and_a_clone_have_the_full_network(sparse, digits):
    X, y = digits
    pruned = prune(sparse).set_params(max_epochs=1)
    fresh = clone(pruned).fit(X, y)
    assert n_parameters(fresh) == n_parameters(sparse)
    assert n_parameters(pruned.fit(X, y)) == n_parameters(sparse)


def test_the_smaller_network_can_be_the_architecture_of_another(sparse, digits):
    X, y = digits
    pruned = prune(sparse)
    other = L2CNNClassifier(architecture=pruned.module_, max_epochs=1, random_state=0)
    assert n_parameters(other.fit(X, y)) == n_parameters(pruned)
    assert other.score(X, y) > 0.8


@pytest.mark.parametrize("optimizer", ["adam", "sgd", torch.optim.RMSprop])
def test_a_new_bias_is_trained(optimizer):
    network = two_convolutions([1.0, 2.0], bias=False)
    clf = classifier_with(network, (6, 5, 1), optimizer=optimizer)
    pruned = prune(clf)
    assert_same_logits(pruned, clf, (6, 5, 1))
    before = pruned.module_[1].bias.detach().clone()
    pruned.partial_fit(images((6, 5, 1)), np.arange(24) % N_CLASSES)
    assert not torch.equal(pruned.module_[1].bias, before)


def test_frozen_layers_stay_frozen():
    network = two_convolutions([1.0, 2.0], bias=False)
    clf = classifier_with(network, (6, 5, 1), freeze=["0", "1"])
    pruned = prune(clf)
    before = copy.deepcopy(pruned.module_.state_dict())
    X, y = images((6, 5, 1)), np.arange(24) % N_CLASSES
    pruned.partial_fit(X, y)
    after = pruned.module_.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"4.weight", "4.bias"}
    before = after["1.bias"].clone()
    pruned.set_params(freeze=None).partial_fit(X, y)
    assert not torch.equal(pruned.module_[1].bias, before)


def test_a_batch_norm_trained_on_images(digits):
    X, y = digits
    network = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(192, 10),
    )
    clf = L2CNNClassifier(
        alpha=1e-2, penalty="group", architecture=network, max_epochs=4, random_state=0
    ).fit(X, y)
    clf.module_[0].weight.data[:5] = 0
    clf.module_[4].weight.data[3:8] = 0
    pruned = prune(clf)
    np.testing.assert_allclose(
        pruned.decision_function(X), clf.decision_function(X), rtol=0, atol=1e-4
    )
    assert pruned.module_[1].num_features <= 8 and pruned.module_[5].num_features <= 7
    score = pruned.score(X, y)
    assert pruned.partial_fit(X, y).score(X, y) > score - 0.1


def test_pruning_on_every_device(device, digits):
    X, y = digits
    clf = quick(device=device, penalty="group", alpha=0.1).fit(X, y)
    clf.predict(X)  # moves the network to the device
    clf.module_[0].weight.data[1] = 0
    pruned = prune(clf)
    assert pruned.module_[0].out_channels < 4 and pruned.device_ == clf.device_
    found, expected = pruned.predict_proba(X), clf.predict_proba(X)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    pruned.partial_fit(X, y)


def test_classifiers_that_cannot_be_pickled_can_be_pruned():
    class OnTheSpot(torch.optim.SGD):
        pass

    class Shift(nn.Module):
        def forward(self, X):
            return X + 1

    network = nn.Sequential(Shift(), *two_convolutions([0.0, 0.0], padding=1), Shift())
    clf = classifier_with(network, (6, 5, 1), optimizer=OnTheSpot)
    pruned = prune(clf)
    assert_same_logits(pruned, clf, (6, 5, 1))
    assert pruned.module_[1].out_channels == 1
    groups = pruned.net_.optimizer_.param_groups
    trained = {p for group in groups for p in group["params"]}
    assert trained == set(pruned.module_.parameters())
    assert not trained & set(clf.module_.parameters())


def test_generators_and_modes_are_left_alone(sparse):
    state, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    training = sparse.module_.training
    prune(sparse, fraction=0.3)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpys)
    assert sparse.module_.training is training


# -- errors --------------------------------------------------------------------------


def test_layers_by_name(sparse):
    whole = sparse.module_
    for layers, left in [
        ("conv*", (24, 48, 128)),
        (["conv2", "dense1"], (32, 48, 96)),
        ("dense?", (32, 64, 96)),
    ]:
        clf = copy.deepcopy(sparse)
        clf.module_.load_state_dict(randomized(copy.deepcopy(whole), 0, 0).state_dict())
        clf.module_.conv1.bias.data.abs_().neg_()  # so that removed ones output 0
        pruned, support = prune(clf, fraction=0.25, layers=layers, return_support=True)
        assert set(support) <= {"conv1", "conv2", "dense1"}
        found = pruned.module_
        sizes = found.conv1.out_channels, found.conv2.out_channels
        assert (*sizes, found.dense1.out_features) == left
    for layers in ("logits", "pool1", "conv3"):
        with pytest.raises(ValueError, match="means no layer. The layers are 'conv1',"):
            prune(sparse, layers=layers)


def after_a_convolution(*layers, groups=1):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        *layers,
        nn.Conv2d(4, 4, 3, padding=1, groups=groups),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 5),
        nn.Linear(5, N_CLASSES),
    )


def hooked():
    network = after_a_convolution()
    network[1].register_forward_hook(lambda *_: None)
    return network


def tied():
    network = after_a_convolution(nn.Conv2d(4, 4, 3, padding=1))
    network[2].weight = network[1].weight
    return network


class Mine(nn.Linear):
    pass


@pytest.mark.parametrize(
    "network, message",
    [
        (after_a_convolution(nn.GroupNorm(2, 4)), "'1', a GroupNorm behind it, may"),
        (after_a_convolution(nn.LayerNorm(4)), "'1', a LayerNorm behind it, may"),
        (after_a_convolution(nn.Softmax2d()), "'1', a Softmax2d behind it, may"),
        (after_a_convolution(groups=2), "'1' is a convolution of 2 groups"),
        (hooked(), "'1' has hooks"),
        (tied(), "'1' shares its weights"),
        (
            after_a_convolution(nn.BatchNorm2d(4, track_running_stats=False)),
            "'1' has no running statistics",
        ),
        (
            nn.Sequential(
                nn.Conv2d(1, 2, 1), nn.Linear(4, 2), nn.Flatten(), Mine(16, 3)
            ),
            "the values between '0' and '1' have shape",
        ),
        (
            after_a_convolution(nn.Flatten(2), nn.Unflatten(2, (4, 4))),
            "'1' does not flatten images to rows",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layers_that_cannot_be_pruned_are_named(network, message):
    clf = classifier_with(randomized(copy.deepcopy(network), seed=0), (4, 4, 1))
    with pytest.raises(ValueError, match=message) as error:
        prune(clf)
    others = str(error.value).partition("layers=")[2]
    good = [name for name in layers_of(network) if f"'{name}'" in others]
    if not good:
        assert str(error.value).endswith("Nor can any other.")
        return
    pruned, support = prune(clf, layers=good, return_support=True)
    assert list(support) == good
    assert_same_logits(pruned, clf, (4, 4, 1))


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["unet", "resnet18", "vgg11", SmallNet])
def test_networks_that_are_no_sequence_are_errors(architecture, colours):
    X, y = colours
    clf = L2CNNClassifier(architecture=architecture, max_epochs=1).fit(X, y)
    with pytest.raises(TypeError, match=r"a torch.nn.Sequential .* was expected"):
        prune(clf)


def test_a_network_of_a_single_layer(digits):
    X, y = digits
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    clf = L2CNNClassifier(architecture=network, max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="no layer that could lose filters"):
        prune(clf)


def test_other_estimators_cannot_be_pruned(sparse):
    with pytest.raises(TypeError, match="A LogisticRegression cannot be pruned"):
        prune(LogisticRegression())
    with pytest.raises(NotFittedError):
        prune(L2CNNClassifier())
    assert n_parameters(prune(FrozenEstimator(sparse))) < n_parameters(sparse)


@pytest.mark.parametrize(
    "parameters",
    [{"threshold": -1}, {"fraction": 1.0}, {"fraction": -0.1}, {"layers": 3}],
)
def test_parameters_out_of_range(sparse, parameters):
    [name] = parameters
    with pytest.raises(ValueError, match=f"The '{name}' parameter of prune must be"):
        prune(sparse, **parameters)
