"""Strengths by the evidence, against dense algebra, a grid, and scikit-learn."""

import functools
import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import BayesianRidge
from torch import nn

from benchmarks._evidence import (
    StrengthsByEvidence,
    effective_numbers,
    preferred,
    row_products,
    update_epochs,
)
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._utils.layer_names import layer_of
from tests.conftest import quick

WIDE = 1e-12, 1e12


class Odd(nn.Module):
    """A functional forward, a layer that is used twice, in-place ReLUs, groups."""

    def __init__(self, input_shape=(2, 5, 4), n_classes=3):
        super().__init__()
        self.first = nn.Conv2d(input_shape[0], 4, 3, stride=2, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.rows = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(9)
        self.drop = nn.Dropout(0.5)
        self.logits = nn.Linear(9, n_classes)

    def forward(self, X):
        X = nn.functional.relu(self.first(X), inplace=True)
        X = nn.functional.gelu(self.twice(self.twice(X)).relu_())
        X = self.rows(X.mean(3).transpose(1, 2))  # a sequence
        return self.logits(self.drop(self.norm(X.flatten(1))))


class Attends(nn.Module):
    """A layer whose weights are those of another module's calls."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.attention = nn.MultiheadAttention(input_shape[2], 2, batch_first=True)
        self.logits = nn.Linear(input_shape[2], n_classes)

    def forward(self, X):
        X = X.mean(1)
        return self.logits(self.attention(X, X, X)[0].mean(1))


def made(network=Odd, seed=0):
    torch.manual_seed(seed)
    network = network().double()
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm1d)):
        norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)
    images = torch.randn(7, 2, 5, 4, dtype=torch.float64)
    weights = {n: w for n, w in network.named_parameters() if w.ndim >= 2}
    return network, images, weights


def jacobian(network, images, weights):
    """The derivatives of all logits: (image, class, weight), layer by layer."""
    network.eval()
    rows = [
        [torch.cat([g.flatten() for g in torch.autograd.grad(
            logit, [*weights.values()], retain_graph=True)]) for logit in logits]
        for logits in network(images)
    ]  # fmt: skip
    return torch.stack([torch.stack(of_image) for of_image in rows])


def hessians(network, images):
    """The second derivatives of the loss by the logits."""
    p = torch.softmax(network.eval()(images).detach(), dim=1)
    return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]


def all_products(network, images, weights, mass=None):
    """The products of all rows, those of images one after the other."""
    n_classes = network.eval()(images).shape[1]
    mass = torch.ones(len(images)) if mass is None else mass
    classes = torch.arange(n_classes).repeat(len(images))
    many = images.repeat_interleave(n_classes, dim=0)
    parts = many.split(4)  # several batches, the last of them smaller
    mass = mass.repeat_interleave(n_classes)
    return row_products(network, parts, classes, mass, weights)


def curvature(network, images, weights, mass=None):
    """The matrix H of all weights, without any trick."""
    J, L = jacobian(network, images, weights), hessians(network, images)
    mass = torch.ones(len(images)) if mass is None else mass
    return torch.einsum("i,icp,icd,idq->pq", mass.double(), J, L, J)


def by_layers(weights, values):
    """A value of each layer for each of its numbers, one after the other."""
    sizes = [(layer_of(name), weight.numel()) for name, weight in weights.items()]
    each = [torch.full((n,), values[layer], dtype=torch.float64) for layer, n in sizes]
    return torch.cat(each)


def test_effective_numbers_and_determinant_are_those_of_the_full_matrix():
    network, images, weights = made()
    mass = torch.tensor([1.0, 2, 1, 0.5, 1, 3, 1])
    H = curvature(network, images, weights, mass)
    precisions = {layer_of(name): 0.01 * 3**k for k, name in enumerate(weights)}
    D = by_layers(weights, precisions)
    covariance = torch.linalg.inv(H + torch.diag(D))
    kernels = all_products(network, images, weights, mass)
    found, log_det = effective_numbers(kernels, precisions, len(kernels["first"]))
    whole = torch.linalg.slogdet(H + torch.diag(D))[1] - D.log().sum()
    assert log_det == pytest.approx(float(whole), rel=1e-9)
    numbers = 1 - D * covariance.diagonal()
    start = 0
    for name, weight in weights.items():
        own = numbers[start : start + weight.numel()].sum()
        assert found[layer_of(name)] == pytest.approx(float(own), rel=1e-7)
        start += weight.numel()


def test_a_network_is_left_as_it_was():
    network, images, weights = made()
    network.train()
    network.drop.eval()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    all_products(network.train(False), images, weights)
    network.train()
    network.drop.eval()
    row_products(network, [images], torch.zeros(7, dtype=int), torch.ones(7), weights)
    assert network.norm.training and not network.drop.training
    assert all((t == before[name]).all() for name, t in network.state_dict().items())
    assert all(weight.grad is None for weight in weights.values())
    assert not network.first._forward_hooks


def test_steps_end_where_the_evidence_is_largest():
    """Given the weights: the derivative by every precision is zero there."""
    network, images, weights = made()
    kernels = all_products(network, images, weights)
    n = len(kernels["first"])
    norms = {layer_of(k): float(w.detach().square().sum()) for k, w in weights.items()}
    found, _ = preferred(kernels, dict.fromkeys(norms, 1.0), norms, n, WIDE, steps=500)

    def log_evidence(precisions):
        penalty = sum(precisions[layer] * norms[layer] for layer in norms)
        return -(penalty + effective_numbers(kernels, precisions, n)[1]) / 2

    best = log_evidence(found)
    for layer, factor in itertools.product(found, (0.8, 1.25)):
        assert log_evidence({**found, layer: factor * found[layer]}) < best


def test_on_a_squared_loss_it_is_bayesian_ridge():
    X, y = load_diabetes(return_X_y=True)
    X, y = X - X.mean(axis=0), y - y.mean()
    priors = dict.fromkeys(["alpha_1", "alpha_2", "lambda_1", "lambda_2"], 0)
    ridge = BayesianRidge(tol=1e-12, max_iter=5000, fit_intercept=False, **priors)
    ridge.fit(X, y)
    kernel = {"dense": ridge.alpha_ * torch.tensor(X @ X.T)}
    norms = {"dense": float(ridge.coef_ @ ridge.coef_)}
    found, _ = preferred(kernel, {"dense": 1.0}, norms, len(X), WIDE, steps=2000)
    assert found["dense"] == pytest.approx(ridge.lambda_, rel=1e-6)


# -- one dense layer: the logistic case -----------------------------------------------


def dense(input_shape, n_classes):
    """Build one dense layer without a bias, in float64."""
    size = int(np.prod(input_shape))
    layer = nn.Linear(size, n_classes, bias=False)
    return nn.Sequential(nn.Flatten(), layer).double()


def few(digits):
    """Coarse images of three classes, every sixth with the label of another."""
    X, y = digits
    kept = y < 3
    X = X[kept][:60].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))[..., None]
    y = y[kept][:60]
    return X, np.where(np.arange(60) % 6 == 0, (y + 1) % 3, y)


def logistic(X, **parameters):
    return L2CNNClassifier(
        architecture=dense,
        optimizer=functools.partial(torch.optim.LBFGS, line_search_fn="strong_wolfe"),
        lr=1,
        batch_size=len(X),
        **parameters,
    )


def log_evidence_of(clf, X, alpha):
    """Laplace's approximation with the exact Hessian, by its definition."""
    network, n = clf.module_, len(X)
    images = torch.tensor((X - clf.channel_mean_) / clf.channel_scale_)
    images = images.permute(0, 3, 1, 2)
    weights = dict(network.named_parameters())
    H = curvature(network, images, weights)  # exact: the logits are linear
    identity = torch.eye(len(H), dtype=torch.float64)
    [W] = weights.values()
    loss = n * clf.data_loss_curve_[-1] + n * alpha / 2 * float(
        W.detach().square().sum()
    )
    log_det = torch.linalg.slogdet(H + n * alpha * identity)[1]
    return -loss + (len(H) * np.log(n * alpha) - float(log_det)) / 2


def test_the_logistic_case_is_what_a_grid_finds(digits):
    X, y = few(digits)
    grid = np.logspace(-3, 0, 31)
    fits = [logistic(X, alpha=alpha, max_epochs=15).fit(X, y) for alpha in grid]
    values = [log_evidence_of(c, X, a) for c, a in zip(fits, grid, strict=True)]
    best = grid[np.argmax(values)]
    assert grid[0] < best < grid[-1]
    # MacKay's steps take the curvature as it is, and come near the best of the grid
    fit = fits[np.argmax(values)]
    images = torch.tensor((X - fit.channel_mean_) / fit.channel_scale_)
    weights = dict(fit.module_.named_parameters())
    kernels = all_products(fit.module_, images.permute(0, 3, 1, 2), weights)
    [W] = weights.values()
    norms, n = {"1": float(W.detach().square().sum())}, len(X)
    start, rows = {"1": n * best}, len(kernels["1"])
    there, _ = preferred(kernels, start, norms, rows, WIDE, steps=1)
    assert there["1"] / n == pytest.approx(best, rel=0.5)
    own = [("evidence", StrengthsByEvidence())]
    clf = logistic(X, alpha=1e-2, max_epochs=24, callbacks=own).fit(X, y)
    alpha = clf.net_.objective.alpha["1"]
    assert alpha == pytest.approx(best, rel=0.5)
    near = np.argmin(np.abs(np.log(grid / alpha)))
    assert values[near] > max(values) - 0.5


# -- where the rows are a part of all --------------------------------------------------


def test_a_part_of_the_rows_says_what_all_would(digits):
    X, y = digits
    X = X / 255.0
    clf = L2CNNClassifier(1e-3, max_epochs=8, random_state=0).fit(X[:150], y[:150])
    images = torch.tensor((X[:100] - clf.channel_mean_) / clf.channel_scale_)
    images = images.float().reshape(100, 1, 8, 8)
    weights = {n: w for n, w in clf.module_.named_parameters() if w.ndim >= 2}
    every = all_products(clf.module_, images, weights)
    n = len(every["logits"])
    some = np.random.RandomState(0).permutation(n)[:250]
    part = {name: kernel[some][:, some] for name, kernel in every.items()}
    precisions = dict.fromkeys(every, 0.1)
    wanted, log_det = effective_numbers(every, precisions, n)
    found, continued = effective_numbers(part, precisions, n)
    cut, _ = effective_numbers(part, precisions, len(some))
    assert continued == pytest.approx(log_det, rel=0.25)
    for name in wanted:
        assert found[name] == pytest.approx(wanted[name], rel=0.4)
        assert cut[name] < 0.75 * wanted[name]  # so much was to be continued


# -- in a fit --------------------------------------------------------------------------


def fitted(X, y, n_images=None, **parameters):
    own = [("evidence", StrengthsByEvidence(n_images))]
    return quick(**({"max_epochs": 6, "callbacks": own} | parameters)).fit(X, y)


def found_by(clf):
    return dict(clf.net_.callbacks_)["evidence"].found_


def test_a_fit_goes_on_with_what_is_found(some):
    X, y = some
    clf = fitted(X, y)
    found = found_by(clf)
    assert len(found) == len(update_epochs(6)) == 3
    alpha, effective = found[-1].alpha, found[-1].effective
    names = [name for name, m in clf.module_.named_modules() if hasattr(m, "weight")]
    assert [*alpha] == [*effective] == names
    assert all(1e-6 < strength < 10 for strength in alpha.values())
    assert 0 < sum(effective.values()) < len(X) * len(clf.classes_)
    norms = {
        name: float(clf.module_.get_submodule(name).weight.detach().square().sum())
        for name in names
    }
    penalty = sum(alpha[name] * norms[name] for name in names) / 2
    assert clf.penalty_curve_[-1] == pytest.approx(penalty, rel=1e-5)
    quick(alpha=alpha).fit(X, y)  # as the parameter takes it


def test_more_images_ask_for_less(some):
    one, several = (found_by(fitted(*some, n))[-1].alpha for n in (None, 16 * 150))
    assert all(several[name] < 0.5 * one[name] for name in one)


def test_layers_that_cannot_be_followed_are_named(some):
    with pytest.raises(ValueError, match="one tensor and give one, and 'attention'"):
        fitted(*some, architecture=Attends)


@pytest.mark.gpu
def test_on_a_device_it_is_what_it_is_on_the_cpu(some, cuda):
    here, there = (found_by(fitted(*some, device=d))[-1] for d in ("cpu", "cuda"))
    for name, alpha in here.alpha.items():
        assert there.alpha[name] == pytest.approx(alpha, rel=0.2)
