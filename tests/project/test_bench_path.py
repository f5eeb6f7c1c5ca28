"""The benchmark of the search over alpha: everybody searches the same."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from benchmarks import bench_path
from benchmarks._agreement import (
    Agreement,
    Contiguous,
    Recorder,
    of_seeds,
    one_agreement,
)
from benchmarks._measure import interleaved
from benchmarks._searches import FUSED, GRID, WAYS, Problem, fused, grid

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def problem():
    X, y = load_digits(return_X_y=True)
    X = (X[:120].reshape(-1, 8, 8) * 15).astype(np.uint8)
    return Problem("digits", X, y[:120], epochs=2, n_alphas=2, n_folds=2)


@pytest.fixture(scope="module")
def searches(problem):
    return {name: way(problem) for name, way in WAYS.items()}


def test_all_ways_search_the_same_grid_and_refit_the_best(problem, searches):
    for search in searches.values():
        alphas = [next(iter(one.values())) for one in search.cv_results_["params"]]
        assert alphas == problem.alphas
        assert {"split0_test_score", "split1_test_score"} < set(search.cv_results_)
        assert "split2_test_score" not in search.cv_results_
        assert search.best_score_ == search.cv_results_["mean_test_score"].max()
        assert len(search.predict(_like(search))) == 2
    np.testing.assert_allclose(
        searches[FUSED].cv_results_["mean_test_score"],
        searches[GRID].cv_results_["mean_test_score"],
        atol=0.02,
    )


def _like(search):
    """Return blank images of the form that a search was fitted to."""
    ours = hasattr(search.best_estimator_, "image_shape_")
    return np.zeros((2, 8, 8), np.uint8) if ours else np.zeros((2, 1, 8, 8), "float32")


def test_everybody_starts_from_the_same_weights(problem):
    state = torch.get_rng_state()
    one, two = problem.network(), problem.network()
    assert torch.equal(torch.get_rng_state(), state)
    for here, there in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(here, there)
    other = problem._replace(seed=1).network()
    assert not torch.equal(one[0].weight, other[0].weight)


def test_the_control_computes_channels_first(problem):
    network = problem.network()
    control = Contiguous(*problem.network()).to(memory_format=torch.channels_last)
    images = torch.rand(4, 1, 8, 8).to(memory_format=torch.channels_last)
    seen = {}
    for name, one in (("ours", network), ("control", control)):
        one[3].register_forward_hook(lambda *args, name=name: seen.update({name: args}))
    network = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(images), control(images))
    for name, is_first in (("ours", False), ("control", True)):
        layer, [given], found = seen[name]
        for tensor in (layer.weight, given, found):
            assert tensor.is_contiguous() is is_first


def test_a_recorder_knows_the_predictions_of_every_network(problem):
    one, two = Recorder(), Recorder()
    found = grid(problem, scoring=one)
    assert len(one.seen) == 4 and {alpha for alpha, _ in one.seen} == {*problem.alphas}
    plain = grid(problem)
    assert found.best_score_ == plain.best_score_
    fused(problem, scoring=two)
    assert two.seen.keys() == one.seen.keys()
    key = next(iter(one.seen))
    two.seen = {**one.seen, key: one.seen[key] + 1}
    assert one.apart(two) == len(one.seen[key]) / 240  # of 2 alphas x 120 rows
    two.seen.pop(key)
    with pytest.raises(ValueError, match="did not score the same"):
        one.apart(two)


def test_agreement_is_judged_by_the_control(problem):
    seeds = [
        Agreement(0.2, (0.1, 0.1), True, 0.002, 0.001),
        Agreement(0.4, (0.1, 1.0), False, 0.001, 0.002),
    ]
    points, same, apart = of_seeds(problem, seeds, judged=True)
    assert (points.value, points.verdict) == (0.4, "reached")
    assert (same.value, same.wanted, same.verdict) == (1, 2, "NOT reached")
    assert apart.value == pytest.approx(0.0015)
    assert apart.wanted == pytest.approx(1.5 * 0.0015)
    assert apart.verdict == "reached"
    found = one_agreement(problem)
    assert found.tied and found.points <= 100 / 60
    assert found.alphas[0] in problem.alphas


def test_the_number_of_jobs_is_the_one_that_won(problem, monkeypatch):
    seconds = {(name, jobs): [jobs] for name in WAYS for jobs in (1, 2)}
    seconds[GRID, 2] = [0.5]
    monkeypatch.setattr(bench_path, "WAYS", dict.fromkeys(WAYS, lambda *a, **k: None))
    monkeypatch.setattr(bench_path, "interleaved", lambda ways, n: (seconds, {}))
    chosen, first = bench_path.faster_jobs(problem)
    assert chosen == {**dict.fromkeys(WAYS, 1), GRID: 2}
    assert first[GRID] == "1.0 and 0.5"


@pytest.mark.slow
def test_growth_is_measured_and_drawn(problem, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_path, "digits", lambda options, **recipe: problem)
    monkeypatch.setattr(
        bench_path, "WAYS", dict.fromkeys(WAYS, lambda problem: problem)
    )
    called = []
    monkeypatch.setattr(
        bench_path,
        "interleaved",
        lambda ways, n: (
            called.append([way() for way in ways.values()]) or interleaved(ways, n)
        ),
    )
    options = Namespace(full=True, repeats=2, out=tmp_path / "new")
    figures = bench_path.growth(options)
    assert [(p.n_alphas, p.n_folds) for p in called[0][::3]] == [
        *((n, 2) for n in (2, 4, 8, 16))
    ]
    assert [(p.n_alphas, p.n_folds) for p in called[1][::3]] == [
        *((2, n) for n in (2, 5, 10))
    ]
    assert len(figures) == 6
    assert (tmp_path / "new" / "alpha_path.png").read_bytes()[1:4] == b"PNG"
    assert "alpha_path.png" in capsys.readouterr().out


def test_parts_are_chosen_by_name(monkeypatch):
    parts = {name: lambda options, name=name: [name] for name in bench_path.PARTS}
    monkeypatch.setattr(bench_path, "PARTS", parts)
    assert bench_path.run(Namespace(task="")) == ["speed", "growth", "agreement"]
    assert bench_path.run(Namespace(task="agree")) == ["agreement"]
