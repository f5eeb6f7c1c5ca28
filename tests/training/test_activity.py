"""The penalty on hidden layers, against its definition and torch's autograd."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skorch.callbacks import GradientNormClipping
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training.runtime import torch_threads
from tests.conftest import SmallNet, quick


def hidden(input_shape, n_classes):
    """Two hidden layers, in float64; more work than one thread is given."""
    depth, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(depth, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * (height // 2) * (width // 2), 12),
        nn.Tanh(),
        nn.Linear(12, n_classes),
    ).double()


def outputs(module, images):
    """What every layer gives out, in order."""
    found = []
    for layer in module:
        images = layer(images)
        found.append(images)
    return found


def squared(values):
    return values.flatten(1).square().sum(1)


# From the outputs of the layers to the penalty of every image.
CHOICES = {
    "last": ({"activity_alpha": 0.01}, lambda u: 0.01 * squared(u[5])),
    "all": (
        {"activity_alpha": {"[15]": 0.01}},
        lambda u: 0.01 * (squared(u[1]) + squared(u[5])),
    ),
    "by name": (
        {"activity_alpha": {"0": 0.001, "[45]": 0.02}},
        lambda u: 0.001 * squared(u[0]) + 0.02 * (squared(u[4]) + squared(u[5])),
    ),
}


@pytest.mark.parametrize("has_callback", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("batch_size", [20, 60])
def test_activity_is_part_of_the_loss_as_defined(
    colours, choice, weighted, has_callback, batch_size, monkeypatch
):
    monkeypatch.setattr("sklearn_l2cnn._training.shards._STEP", 1e3)  # several shards
    X, y = colours
    parameters, definition = CHOICES[choice]
    weight = np.random.RandomState(1).uniform(0.2, 1, 60) if weighted else np.ones(60)
    module = hidden((3, 6, 5), 3)
    clf = L2CNNClassifier(
        0.01,
        architecture=module,
        optimizer="sgd",
        lr=0.05,
        batch_size=batch_size,
        max_epochs=3,
        callbacks=[GradientNormClipping(1e9)] if has_callback else None,
        random_state=0,
        **parameters,
    ).fit(X, y, sample_weight=weight)

    # the same batches: the canonical order, then the orders of the estimator
    rows = canonical_rows(X, y, weight)
    images = torch.tensor((X - clf.channel_mean_) / clf.channel_scale_)[rows]
    images, labels = images.permute(0, 3, 1, 2), torch.tensor(y)[rows]
    weight = torch.tensor(weight / weight.mean())[rows]
    orders = np.random.RandomState(
        np.random.RandomState(0).randint(2**31 - 1, size=3)[2]
    )
    orders.randint(2**31 - 1, size=1)  # the seed of what a network draws
    sgd = torch.optim.SGD(
        [
            {
                "params": [p for p in module.parameters() if p.ndim > 1],
                "weight_decay": 0.01,
            },
            {"params": [p for p in module.parameters() if p.ndim == 1]},
        ],
        lr=0.05,
        momentum=0.9,
    )
    for epoch in range(3):
        order = orders.permutation(60)
        data = activity = 0.0
        for start in range(0, 60, batch_size):
            batch = order[start : start + batch_size]
            found = outputs(module, images[batch])
            losses = F.cross_entropy(found[-1], labels[batch], reduction="none")
            penalties = definition(found)
            sgd.zero_grad()
            (weight[batch] * (losses + penalties)).mean().backward()
            sgd.step()
            data += float((weight[batch] * losses).sum().detach())
            activity += float((weight[batch] * penalties).sum().detach())
        ridge = sum(
            float(p.detach().square().sum()) for p in sgd.param_groups[0]["params"]
        )
        assert clf.data_loss_curve_[epoch] == pytest.approx(data / 60, rel=1e-5)
        expected = activity / 60 + 0.005 * ridge
        assert clf.penalty_curve_[epoch] == pytest.approx(expected, rel=1e-5)
        expected += data / 60
        assert clf.loss_curve_[epoch] == pytest.approx(expected, rel=1e-5)
    for mine, theirs in zip(clf.module_.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def canonical_rows(X, y, weight):
    from sklearn_l2cnn._data.arrays import as_tensor
    from sklearn_l2cnn._data.canonical import canonical_set, survey

    return canonical_set(survey(as_tensor(X)), y, weight).rows


@pytest.mark.long
def test_a_penalty_on_activity_makes_activity_small(digits):
    X, y = digits

    def norm(activity_alpha):
        clf = L2CNNClassifier(
            0, activity_alpha=activity_alpha, max_epochs=15, random_state=0
        ).fit(X, y)
        seen = []
        clf.module_.logits.register_forward_pre_hook(
            lambda layer, inputs: seen.append(inputs[0].square().sum(1).mean())
        )
        score = clf.score(X, y)
        return float(torch.stack(seen).mean()), score

    norms, scores = zip(*(norm(alpha) for alpha in (0, 1e-3, 1e-1)), strict=True)
    assert norms[0] > 2 * norms[1] > 4 * norms[2]
    assert min(scores[:2]) > 0.9


@pytest.mark.parametrize("alpha", [1e-3, {"relu*": 1e-3}])
def test_nothing_is_left_behind(digits, alpha):
    X, y = digits
    clf = L2CNNClassifier(activity_alpha=alpha, max_epochs=1, random_state=0)
    clf.fit(X[:60], y[:60])
    for part in clf.module_.modules():
        assert not part._forward_hooks and not part._forward_pre_hooks
    assert all(parameter.grad is None for parameter in clf.module_.parameters())


def test_zero_is_nothing_bit_for_bit(digits):
    X, y = digits
    clf = quick().fit(X, y)
    other = quick(activity_alpha={"0": 0.0}).fit(X, y)
    assert clf.loss_curve_ == other.loss_curve_


def test_the_last_hidden_layer_of_any_network(colours):
    # of one that is no sequence it is what reaches the layer that runs last
    X, y = colours
    clf = quick(architecture=SmallNet, activity_alpha=0.05, alpha=0).fit(X, y)
    assert clf.penalty_curve_[0] > 0
    free = quick(architecture=SmallNet, alpha=0).fit(X, y)
    assert free.penalty_curve_ == [0.0] * 3
    assert clf.data_loss_curve_[0] != free.data_loss_curve_[0]


def test_a_part_made_of_layers_has_one_output(colours):
    X, y = colours

    def nested(input_shape, n_classes):
        net = hidden(input_shape, n_classes)
        return nn.Sequential(net[:4], net[4:])

    options = {"alpha": 0, "max_epochs": 2}
    whole = quick(architecture=nested, activity_alpha={"0": 0.01}, **options).fit(X, y)
    last = quick(architecture=hidden, activity_alpha={"3": 0.01}, **options).fit(X, y)
    np.testing.assert_allclose(whole.loss_curve_, last.loss_curve_, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.01, {"*": 0.01}])
def test_the_number_of_threads_does_not_show_in_a_bit(digits, alpha, monkeypatch):
    monkeypatch.setattr("sklearn_l2cnn._training.shards._STEP", 1e3)
    X, y = digits
    fits = []
    for threads in (1, 2, 5):
        with torch_threads(threads):
            clf = quick(activity_alpha=alpha).fit(X, y)
        fits.append(clf)
    for other in fits[1:]:
        assert other.loss_curve_ == fits[0].loss_curve_
        assert other.penalty_curve_ == fits[0].penalty_curve_


def test_layers_that_are_not_reached_add_nothing(colours):
    X, y = colours

    class Idle(SmallNet):
        def __init__(self, input_shape, n_classes):
            super().__init__(input_shape, n_classes)
            self.idle = nn.Linear(2, 2)

    for alpha in ({"idle": 0.1}, {"conv": 0.0}):
        clf = quick(architecture=Idle, activity_alpha=alpha, alpha=0).fit(X, y)
        assert clf.penalty_curve_ == [0.0] * 3


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"architecture": nn.Sequential(nn.Flatten(), nn.Linear(90, 3))}, "1 layer.s"),
        ({"activity_alpha": {"relu9": 0.1}}, "activity_alpha: 'relu9' means no layer"),
        ({"activity_alpha": {"relu1": -1}}, "activity_alpha has 'relu1': -1"),
    ],
)
def test_what_has_no_activity_is_named(colours, parameters, message):
    parameters = {"activity_alpha": 0.1, "max_epochs": 1, **parameters}
    with pytest.raises(ValueError, match=message):
        L2CNNClassifier(**parameters).fit(*colours)
