"""The penalty against autograd, finite differences and torch's own weight decay."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn.penalties import L2, penalized_weights
from tests.conftest import SmallNet


@pytest.fixture
def weights():
    torch.manual_seed(0)
    shapes = [(4, 2, 3, 3), (5, 7), (3, 1)]
    return [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]


def definition(weights, alpha):
    return 0.5 * alpha * sum((weight**2).sum() for weight in weights)


@pytest.mark.parametrize("alpha", [0.0, 1e-4, 3.0])
def test_value_is_the_definition(weights, alpha):
    value = L2(alpha).value(weights)
    assert float(value) == pytest.approx(definition(weights, alpha).item(), rel=1e-14)
    assert not value.requires_grad


@pytest.mark.parametrize("alpha", [1e-4, 3.0])
def test_gradient_is_that_of_autograd(weights, alpha):
    expected = torch.autograd.grad(definition(weights, alpha), weights)
    L2(alpha).add_gradient(weights)
    for weight, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-15, atol=0)
        assert torch.equal(weight.grad, alpha * weight.detach())


def test_gradient_matches_finite_differences_of_the_value(weights):
    penalty, step = L2(0.7), 1e-5
    penalty.add_gradient(weights)
    for weight in weights:
        flat, gradient = weight.detach().view(-1), weight.grad.view(-1)
        for k in range(0, len(flat), 5):
            saved = float(flat[k])
            flat[k] = saved + step
            above = float(penalty.value(weights))
            flat[k] = saved - step
            below = float(penalty.value(weights))
            flat[k] = saved
            slope = (above - below) / (2 * step)
            assert float(gradient[k]) == pytest.approx(slope, abs=1e-8)


def test_gradient_is_added_to_what_is_there(weights):
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    L2(2.0).add_gradient(weights)
    for weight in weights:
        assert torch.equal(weight.grad, torch.ones_like(weight).add(weight, alpha=2.0))


def test_zero_alpha_touches_nothing(weights):
    L2(0.0).add_gradient(weights)
    assert all(weight.grad is None for weight in weights)
    assert float(L2(0.0).value(weights)) == 0.0


def test_no_weights_no_penalty():
    assert float(L2(1.0).value([])) == 0.0
    L2(1.0).add_gradient([])


def test_weights_are_kernels_and_matrices_and_neither_biases_nor_scales():
    net = SmallNet((1, 4, 4), 3)
    assert [id(w) for w in penalized_weights(net)] == [
        id(net.conv.weight),
        id(net.head.weight),
    ]
    net.conv.weight.requires_grad_(False)
    assert [id(w) for w in penalized_weights(net)] == [id(net.head.weight)]


def test_a_shared_weight_counts_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert len(penalized_weights(nn.Sequential(first, second))) == 1


@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_steps_of_sgd_are_those_of_weight_decay(weights, alpha):
    rng = np.random.RandomState(0)
    theirs = [nn.Parameter(weight.detach().clone()) for weight in weights]
    mine = torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    reference = torch.optim.SGD(theirs, lr=0.1, momentum=0.9, weight_decay=alpha)
    for _ in range(5):
        for weight, other in zip(weights, theirs, strict=True):
            gradient = torch.from_numpy(rng.normal(size=weight.shape))
            weight.grad, other.grad = gradient.clone(), gradient.clone()
        L2(alpha).add_gradient(weights)
        mine.step()
        reference.step()
    for weight, other in zip(weights, theirs, strict=True):
        assert torch.equal(weight, other)
