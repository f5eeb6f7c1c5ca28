"""Each penalty against its definition: values, gradients, and steps that minimise."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_l2cnn._training.regularization import (
    Penalized,
    add_gradients,
    decays,
    project,
    shrink,
    strengths,
    total_value,
)
from sklearn_l2cnn.penalties import L1, L2, L2SP, ElasticNet, Group, list_penalties
from sklearn_l2cnn.penalties._registry import PENALTIES
from tests.conftest import SmallNet

SHAPES = [(4, 2, 3, 3), (5, 7), (3, 1), (6,), ()]


def lasso_on_rows(weight):
    rows = weight.flatten(1) if weight.ndim > 1 else weight.reshape(-1, 1)
    return sum(math.sqrt(len(row)) * row.square().sum().sqrt() for row in rows)


# What each penalty is, in one line, and its smooth part. All tests follow from these.
DEFINITIONS = {
    L2(): (lambda W: (W**2).sum() / 2, lambda W: (W**2).sum() / 2),
    L2SP(): (lambda W: (W**2).sum() / 2, lambda W: (W**2).sum() / 2),
    L1(): (lambda W: W.abs().sum(), lambda W: 0 * W.sum()),
    ElasticNet(0.3): (
        lambda W: 0.3 * W.abs().sum() + 0.35 * (W**2).sum(),
        lambda W: 0.35 * (W**2).sum(),
    ),
    Group(): (lasso_on_rows, lambda W: 0 * W.sum()),
}


def having(method):
    """Run a test over the penalties that have a method."""
    found = [penalty for penalty in DEFINITIONS if hasattr(penalty, method)]
    return pytest.mark.parametrize("penalty", found, ids=repr)


def corner(penalty, weight):
    """Return the part of a penalty that is not smooth."""
    value, smooth = DEFINITIONS[penalty]
    return value(weight) - smooth(weight)


def draw(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def weights():
    return [nn.Parameter(draw(shape)) for shape in SHAPES]


# -- value and gradient ---------------------------------------------------------------


@having("value")
@pytest.mark.parametrize("shape", SHAPES)
def test_value_is_the_definition(penalty, shape):
    weight = draw(shape)
    value = penalty.value(weight)
    assert value.shape == ()
    expected = DEFINITIONS[penalty][0](weight)
    assert float(value) == pytest.approx(float(expected), rel=1e-14)


@having("gradient")
@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_is_that_of_autograd_and_of_finite_differences(penalty, shape):
    weight, smooth = draw(shape).requires_grad_(), DEFINITIONS[penalty][1]
    [expected] = torch.autograd.grad(smooth(weight), weight)
    with torch.no_grad():
        gradient = penalty.gradient(weight)
        torch.testing.assert_close(gradient, expected, rtol=1e-14, atol=0)
        step = 1e-5
        for k in range(weight.numel()):
            move = torch.zeros_like(weight)
            move.view(-1)[k] = step
            slope = (smooth(weight + move) - smooth(weight - move)) / (2 * step)
            assert float(gradient.reshape(-1)[k]) == pytest.approx(
                float(slope), abs=1e-8
            )


def test_gradients_of_groups_are_added_to_what_is_there(weights):
    weights[0].grad = torch.ones_like(weights[0])
    add_gradients(L2(), [Penalized(2.0, weights[:2]), Penalized(0.5, weights[2:])])
    first, others = weights[0], weights[2:]
    assert torch.equal(first.grad, torch.ones_like(first).add(first, alpha=2.0))
    assert torch.equal(weights[1].grad, 2.0 * weights[1].detach())
    for weight in others:
        assert torch.equal(weight.grad, 0.5 * weight.detach())


@having("value")
def test_total_value_weighs_the_groups(penalty, weights):
    total = total_value(
        penalty, [Penalized(2.0, weights[:2]), Penalized(0.5, weights[2:])]
    )
    value = [DEFINITIONS[penalty][0](weight).item() for weight in weights]
    assert float(total) == pytest.approx(2 * sum(value[:2]) + 0.5 * sum(value[2:]))
    assert not total.requires_grad
    assert float(total_value(penalty, [])) == 0.0


@having("value")
@pytest.mark.parametrize("shape", SHAPES[:-1])
def test_by_filter_is_true_where_every_filter_is_treated_by_itself(penalty, shape):
    # the weights of two networks, one after the other, as they are stacked
    parts = draw(shape), draw(shape, seed=1)
    step = torch.tensor(0.3, dtype=torch.float64)
    both = torch.cat(parts)
    pairs = [(penalty.value(both), sum(map(penalty.value, parts)))]
    if hasattr(penalty, "gradient"):
        pairs.append(
            (penalty.gradient(both), torch.cat([*map(penalty.gradient, parts)]))
        )
    if hasattr(penalty, "prox"):
        expected = torch.cat([penalty.prox(part, step) for part in parts])
        pairs.append((penalty.prox(both, step), expected))
    is_so = all(torch.allclose(found, expected) for found, expected in pairs)
    assert penalty.by_filter == is_so


# -- proximal steps -------------------------------------------------------------------


def proximal_objective(penalty, weight, step):
    return lambda U: ((U - weight) ** 2 / (2 * step)).sum() + corner(penalty, U)


@having("prox")
@pytest.mark.parametrize("step", [0.01, 0.2, 0.7, "each its own"])
def test_prox_minimises_its_objective_on_a_grid(penalty, step):
    # every point of a fine grid over two numbers, one filter of two pixels
    axis = torch.linspace(-3, 3, 601, dtype=torch.float64)
    if step == "each its own":
        step = torch.tensor([[0.1, 0.6]], dtype=torch.float64)
    else:
        step = torch.tensor(step, dtype=torch.float64)
    for weight in draw((8, 1, 2)):
        objective = proximal_objective(penalty, weight, step)
        found = penalty.prox(weight, step)
        grid = torch.cartesian_prod(axis, axis)
        on_grid = torch.vmap(objective)(grid.unsqueeze(1))
        assert objective(found) <= on_grid.min() + 1e-12
        nearest = grid[on_grid.argmin()]
        assert (found - nearest).abs().max() <= 0.02


@having("prox")
@pytest.mark.parametrize("shape", SHAPES)
def test_prox_is_no_worse_than_what_lies_around_it(penalty, shape):
    weight = draw(shape)
    for step in (
        torch.tensor(0.3, dtype=torch.float64),
        draw(shape, seed=1).abs() + 1e-3,
    ):
        objective = proximal_objective(penalty, weight, step)
        found = penalty.prox(weight, step)
        assert found.shape == weight.shape
        least = objective(found)
        for seed in range(30):
            for size in (1e-1, 1e-3, 1e-5):
                assert least <= objective(found + size * draw(shape, seed)) + 1e-13


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_norm_of_a_group_solves_its_equation(scale, dtype):
    # filters of 800 numbers, each number with a step of its own over four decades
    weight = draw((40, 32, 5, 5)).to(dtype)
    step = (scale / 30 * 10 ** draw((40, 32, 5, 5), seed=1)).to(dtype)
    found = Group().prox(weight, step).flatten(1)
    alive = found.norm(dim=1) > 0
    steps = math.sqrt(800) * step.flatten(1)
    norms = found.norm(dim=1, keepdim=True)
    total = (weight.flatten(1) / (norms + steps)).square().sum(1)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    assert (total[alive] - 1).abs().max() < tolerance if alive.any() else True
    assert (total[~alive] <= 1 + tolerance).all()
    assert alive.all() if scale == 1e-6 else True
    assert not alive.any() if scale == 1e6 else True


def test_zeros_are_exact_and_groups_vanish_as_a_whole():
    weight = torch.tensor([[3.0, 4.0], [0.1, -0.2]])
    step = torch.tensor(0.5)
    assert torch.equal(L1().prox(weight, step), torch.tensor([[2.5, 3.5], [0, 0]]))
    assert torch.equal(Group().prox(weight, step)[1], torch.zeros(2))
    own = torch.full((2, 2), 0.5)
    torch.testing.assert_close(Group().prox(weight, own), Group().prox(weight, step))
    assert torch.equal(Group().prox(weight, own)[1], torch.zeros(2))
    for penalty in (L1(), Group()):
        zeros = torch.zeros(2, 3)
        for none in (torch.tensor(0.0), torch.zeros(2, 3), torch.tensor(0.1)):
            assert torch.equal(penalty.prox(zeros, none), zeros)
        there = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
        for none in (torch.tensor(0.0), torch.zeros(2, 3)):
            torch.testing.assert_close(penalty.prox(there, none), there)


@having("prox")
def test_what_is_not_a_number_stays_seen(penalty):
    weight = torch.tensor([[1.0, float("nan")]])
    for step in (torch.tensor(0.1), torch.full((1, 2), 0.1)):
        assert penalty.prox(weight, step).isnan().any()


def test_the_two_ends_of_an_elastic_net():
    weight, step = draw((4, 5)), torch.tensor(0.3, dtype=torch.float64)
    ridge, lasso = ElasticNet(l1_ratio=0), ElasticNet(l1_ratio=1)
    torch.testing.assert_close(ridge.value(weight), L2().value(weight))
    torch.testing.assert_close(ridge.gradient(weight), L2().gradient(weight))
    torch.testing.assert_close(ridge.prox(weight, step), weight)
    torch.testing.assert_close(lasso.value(weight), L1().value(weight))
    assert not lasso.gradient(weight).any()
    torch.testing.assert_close(lasso.prox(weight, step), L1().prox(weight, step))


@pytest.mark.parametrize("shape", [(6, 1), (5, 1, 1, 1), (4,)])
def test_groups_of_one_number_are_a_lasso(shape):
    weight = draw(shape)
    torch.testing.assert_close(Group().value(weight), L1().value(weight))
    for step in (torch.tensor(0.3, dtype=torch.float64), draw(shape, 1).abs() + 0.01):
        one, other = Group().prox(weight, step), L1().prox(weight, step)
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
        assert torch.equal(one == 0, other == 0)


def test_shrink_takes_the_step_of_every_weight_times_its_strength(weights):
    before = copy.deepcopy(weights)
    steps = {weight: torch.tensor(0.1 * k) for k, weight in enumerate(weights)}
    shrink(L1(), [Penalized(2.0, weights[:2]), Penalized(0.5, weights[2:])], steps.get)
    for k, (weight, old) in enumerate(zip(weights, before, strict=True)):
        strength = 2.0 if k < 2 else 0.5
        expected = old.sign() * (old.abs() - strength * 0.1 * k).clamp_min(0)
        torch.testing.assert_close(weight, expected, check_dtype=False)


def penalised(net):
    return [weight for group in strengths(net, 1.0) for weight in group.weights]


# -- decay and projection -------------------------------------------------------------


def test_decay_takes_rate_times_strength_times_weight(weights):
    for weight, loss in decays(L2(), [Penalized(0.5, weights)], lambda weight: 0.1):
        torch.testing.assert_close(loss, 0.05 * weight.detach())
    assert decays(L1(), [Penalized(0.5, weights)], lambda weight: 0.1) == []


@pytest.mark.parametrize("max_norm", [0.5, 2.0])
def test_projection_is_the_nearest_point_of_the_ball(max_norm):
    weights = [
        nn.Parameter(draw(shape, seed).float() * 2)
        for seed, shape in enumerate(SHAPES[:3])
    ]
    before = copy.deepcopy(weights)
    project(weights, max_norm)
    for weight, old in zip(weights, before, strict=True):
        rows, old = weight.detach().flatten(1), old.detach().flatten(1)
        assert float(rows.norm(dim=1).max()) <= max_norm * (1 + 1e-6)
        torch.testing.assert_close(rows, torch.renorm(old, 2, 0, max_norm))
        inside = old.norm(dim=1) <= max_norm
        assert torch.equal(rows[inside], old[inside])


def test_projection_leaves_zeros_alone():
    weight = nn.Parameter(torch.zeros(2, 3))
    project([weight], 1.0)
    assert not weight.any()


# -- who, and manners -----------------------------------------------------------------


def test_filters_are_kernels_and_matrices_and_neither_biases_nor_scales():
    net = SmallNet((1, 4, 4), 3)
    assert [id(w) for w in penalised(net)] == [
        id(net.conv.weight),
        id(net.head.weight),
    ]
    net.conv.weight.requires_grad_(False)
    assert [id(w) for w in penalised(net)] == [id(net.head.weight)]


@having("value")
def test_penalties_show_their_parameters(penalty):
    kinds = {kind.__name__: kind for kind in PENALTIES.values()}
    assert eval(repr(penalty), kinds) == penalty


def test_penalties_compare_their_parameters():
    assert repr(ElasticNet(0.3)) == "ElasticNet(l1_ratio=0.3)"
    assert ElasticNet(0.3) == ElasticNet(0.3) != ElasticNet(0.4)
    assert L1() == L1() != L2() and hash(L1()) == hash(L1())


@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_steps_of_sgd_are_those_of_weight_decay(weights, alpha):
    rng = np.random.RandomState(0)
    theirs = [nn.Parameter(weight.detach().clone()) for weight in weights]
    mine = torch.optim.SGD(weights, lr=0.1, momentum=0.9)
    reference = torch.optim.SGD(theirs, lr=0.1, momentum=0.9, weight_decay=alpha)
    for _ in range(5):
        for weight, other in zip(weights, theirs, strict=True):
            gradient = torch.as_tensor(rng.normal(size=weight.shape))
            weight.grad, other.grad = gradient.clone(), gradient.clone()
        add_gradients(L2(), [Penalized(alpha, weights)])
        mine.step()
        reference.step()
    for weight, other in zip(weights, theirs, strict=True):
        assert torch.equal(weight, other)


def test_every_named_penalty_has_a_definition():
    assert {type(penalty) for penalty in DEFINITIONS} == set(PENALTIES.values())
    assert list_penalties() == [*PENALTIES]
