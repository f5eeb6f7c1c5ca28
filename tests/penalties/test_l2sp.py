"""L2 towards the weights that a training starts from, against loops by hand."""

import copy
import functools
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn import L2CNNClassifierCV
from sklearn_l2cnn.feature_selection import prune
from sklearn_l2cnn.penalties import L1
from tests.conftest import double, quick, tiny
from tests.loops import assert_close, one_batch, parameters_of, reference

OPTIMIZERS = {
    "sgd": (functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9), 1e-9),
    "adam": (functools.partial(torch.optim.Adam, lr=0.02), 1e-7),
}
ALPHA = 0.3


def weights_of(module):
    return [p for p in module.parameters() if p.ndim >= 2]


def by_hand(module, starts, clf, X, y, make, decoupled=False):
    """Add alpha * (W - W_start) to gradients, or take its share off the weights."""
    weights = weights_of(module)

    def ways():
        with torch.no_grad():
            return [w - s for w, s in zip(weights, starts, strict=True)]

    def before():
        if decoupled:
            taken[:] = ways()
            return
        for weight, way in zip(weights, ways(), strict=True):
            weight.grad += ALPHA * way

    def after():
        with torch.no_grad():
            for weight, way in zip(weights, taken, strict=False):
                weight -= 0.02 * ALPHA * way

    taken = []
    optimizer = make(module.parameters())
    return reference(module, clf, X, y, optimizer, after, before=before)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decoupled", [False, True])
def test_weights_of_a_module_are_the_start(colours, name, decoupled):
    X, y = colours
    module = double((3, 6, 5), 3)
    clf = one_batch(
        X,
        alpha=ALPHA,
        penalty="l2-sp",
        architecture=module,
        optimizer=name + "w" * decoupled,
        lr=0.02,
    ).fit(X, y)
    starts = [w.detach().clone() for w in weights_of(module)]
    make, rtol = OPTIMIZERS[name]
    theirs = by_hand(module, starts, clf, X, y, make, decoupled)
    assert_close(parameters_of(clf), theirs, rtol)
    if not decoupled:
        ways = zip(weights_of(clf.module_), starts, strict=True)
        value = sum(((w - s) ** 2).sum() for w, s in ways).item() * ALPHA / 2
        assert clf.penalty_curve_[-1] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_layers_that_were_not_loaded_have_plain_l2(colours, tmp_path, name):
    X, y = colours
    path = tmp_path / "weights.pt"
    trained = double((3, 6, 5), 7)  # of other classes: the last layer is new
    torch.save(trained.state_dict(), path)
    parameters = {
        "alpha": ALPHA,
        "pretrained": path,
        "optimizer": name,
        "lr": 0.02,
        "penalty": "l2-sp",
    }
    before = one_batch(X, **parameters).set_params(alpha=0.0, lr=1e-30).fit(X, y)
    clf = one_batch(X, **parameters).fit(X, y)
    module = copy.deepcopy(before.module_)
    starts = [trained[0].weight.detach().clone(), torch.zeros(3, 120).double()]
    assert torch.equal(weights_of(module)[0], starts[0])
    make, rtol = OPTIMIZERS[name]
    assert_close(parameters_of(clf), by_hand(module, starts, clf, X, y, make), rtol)


def test_a_network_that_was_drawn_has_plain_l2_bit_for_bit(some):
    one, other = (quick(alpha=0.1, penalty=p).fit(*some) for p in ("l2", "l2-sp"))
    assert one.penalty_curve_ == other.penalty_curve_
    for mine, theirs in zip(parameters_of(one), parameters_of(other), strict=True):
        assert np.array_equal(mine, theirs)


def test_a_warm_start_is_towards_the_last_fit(colours):
    X, y = colours
    parameters = {"alpha": ALPHA, "penalty": "l2-sp", "optimizer": "sgd", "lr": 0.02}
    clf = one_batch(X, **parameters, warm_start=True).fit(X, y)
    module = copy.deepcopy(clf.module_)
    starts = [w.detach().clone() for w in weights_of(module)]
    make, rtol = OPTIMIZERS["sgd"]
    theirs = by_hand(module, starts, clf.fit(X, y), X, y, make)
    assert_close(parameters_of(clf), theirs, rtol)


def test_partial_fit_keeps_the_start_in_a_pickle_too(some):
    module = tiny((1, 8, 8), 10)
    clf = quick(alpha=1.0, penalty="l2-sp", architecture=module).fit(*some)
    far = quick(alpha=1.0, architecture=module).fit(*some)
    near, far = (
        sum((w - s).norm().item() for w, s in zip(*map(weights_of, both), strict=True))
        for both in ((clf.module_, module), (far.module_, module))
    )
    assert near < far
    back = pickle.loads(pickle.dumps(clf))
    for each in (clf, back):
        for _ in range(3):
            each.partial_fit(*some)
    for mine, theirs in zip(parameters_of(clf), parameters_of(back), strict=True):
        assert np.array_equal(mine, theirs)
    # a penalty that is set later is on the way from then on
    later = quick(alpha=1.0, architecture=module).fit(*some)
    assert later.net_.starts is None
    before = parameters_of(later)
    later.set_params(penalty="l2-sp").partial_fit(*some)
    for mine, start in zip(before, later.net_.starts.values(), strict=True):
        assert np.array_equal(mine, start)


def test_all_of_a_warm_path_have_one_start(some):
    module = tiny((1, 8, 8), 10)
    search = L2CNNClassifierCV(
        [0.1, 1e5],
        path="warm",
        cv=2,
        penalty="l2-sp",
        architecture=module,
        max_epochs=2,
        random_state=0,
    ).fit(*some)
    assert search.alpha_ == 0.1  # the last of the path
    for start, weight in zip(
        search.net_.starts.values(), module.parameters(), strict=True
    ):
        assert torch.equal(start, weight)


def test_corners_are_where_training_started(some):
    class Sparse(L1):
        from_start = True

    module = tiny((1, 8, 8), 10)
    clf = quick(alpha=10.0, penalty=Sparse(), architecture=module).fit(*some)
    for mine, start in zip(weights_of(clf.module_), weights_of(module), strict=True):
        assert torch.equal(mine, start)
    assert not torch.equal(
        clf.module_[0].bias, module[0].bias
    )  # which is not penalised


def test_a_pruned_network_goes_on(some):
    clf = quick(penalty="l2-sp", alpha=1e-3, architecture="conv_pool").fit(*some)
    pruned = prune(clf, fraction=0.5)
    pruned.partial_fit(*some)
    shapes = [w.shape for w in pruned.module_.parameters()]
    assert [w.shape for w in pruned.net_.starts.values()] == shapes
    before = [w.shape for w in clf.module_.parameters()]
    assert before != shapes


def test_layers_that_share_a_weight_have_one_start(some):
    class Shared(nn.Module):
        def __init__(self, input_shape, n_classes):
            super().__init__()
            self.first = nn.Conv2d(1, 1, 3, padding=1)
            self.second = nn.Conv2d(1, 1, 3, padding=1)
            self.second.weight = self.first.weight
            self.head = nn.Linear(64, n_classes)

        def forward(self, X):
            return self.head(self.second(self.first(X).relu()).flatten(1))

    clf = quick(penalty="l2-sp", alpha=1e4, optimizer="sgdw", lr=1e-4).set_params(
        architecture=Shared((1, 8, 8), 10)
    )
    clf.fit(*some)  # every step goes back to the start, but for that of the data
    ways = [
        (mine - start).abs().max().item()
        for mine, start in zip(
            weights_of(clf.module_), weights_of(clf.architecture), strict=True
        )
    ]
    assert max(ways) < 1e-2
