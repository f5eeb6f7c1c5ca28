"""Is the answer of the search in one fit that of the same networks one by one?"""

import statistics
import zlib
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks import _options
from benchmarks._measure import Figure
from benchmarks._searches import GRID, fused, grid, problems

MOST_POINTS = 0.5  # that the mean score of an alpha may differ from GridSearchCV's
MOST_TIMES = 1.5  # the control, that predictions may differ from those one by one


class Recorder:
    """Accuracy, as a scorer that keeps the predictions it is taken of."""

    def __init__(self):
        self.seen = {}

    def __call__(self, estimator, X, y):
        found = estimator.predict(X)
        fold = zlib.crc32(np.ascontiguousarray(X))
        self.seen[float(estimator.alpha), fold] = found
        return float((found == y).mean())

    def apart(self, other):
        """Return the share of predictions that are not the same."""
        if self.seen.keys() != other.seen.keys():
            raise ValueError("The two searches did not score the same networks.")
        different = [self.seen[key] != other.seen[key] for key in self.seen]
        return float(np.concatenate(different).mean())


class Contiguous(nn.Sequential):
    """A network whose images and weights lie channels first, whatever it is told."""

    def to(self, *args, memory_format=None, **kwargs):
        return super().to(*args, **kwargs) if args or kwargs else self

    def forward(self, X):
        # a clone: of one channel a tensor counts as contiguous in both layouts
        return super().forward(X.clone(memory_format=torch.contiguous_format))


def agreement(options):
    """Return how far the search in one fit is from the same networks one by one."""
    figures = []
    for problem in problems(options):
        seeds = [
            one_agreement(problem._replace(seed=seed))
            for seed in range(5 if options.full else 1)
        ]
        figures += of_seeds(problem, seeds, judged=options.full)
        _options.show(figures[-3:])
    return figures


class Agreement(NamedTuple):
    """How a search compares with GridSearchCV, for one seed.

    Attributes
    ----------
    points : float
        Largest difference of the mean score of an alpha, in points.
    alphas : tuple of float
        Chosen by the one, and by the other.
    tied : bool
        Whether the alphas are the same, or their scores within one standard error.
    apart : float
        Share of the held-out predictions that differ.
    control : float
        The same between two memory layouts, both one by one.
    """

    points: float
    alphas: tuple
    tied: bool
    apart: float
    control: float


def one_agreement(problem):
    """Search by the one and by the other, and once more in another layout."""
    recorders = [Recorder(), Recorder(), Recorder()]
    ours = fused(problem, scoring=recorders[0])
    one_by_one = grid(problem, scoring=recorders[1])
    grid(
        problem,
        scoring=recorders[2],
        architecture=Contiguous(*problem.network()),
    )
    results = one_by_one.cv_results_
    means = results["mean_test_score"]
    gap = np.abs(ours.cv_results_["mean_test_score"] - means).max()
    here, there = ours.best_index_, one_by_one.best_index_
    # of a population, as cv_results_ has it, to that of a sample
    error = results["std_test_score"][there] / np.sqrt(problem.n_folds - 1)
    return Agreement(
        points=100 * float(gap),
        alphas=(ours.alpha_, one_by_one.best_params_["alpha"]),
        tied=bool(here == there or means[there] - means[here] <= error),
        apart=recorders[0].apart(recorders[1]),
        control=recorders[2].apart(recorders[1]),
    )


def of_seeds(problem, seeds, judged):
    """Return what all seeds come to."""
    name = f"{problem.name}, {len(seeds)} seeds"
    points = [seed.points for seed in seeds]
    chosen = ", ".join("{:.2g} and {:.2g}".format(*seed.alphas) for seed in seeds)
    apart, control = (
        statistics.mean(getattr(seed, field) for seed in seeds)
        for field in ("apart", "control")
    )
    return [
        Figure(
            f"{name}: largest difference of the mean score of an alpha from "
            f"{GRID}'s, points",
            max(points),
            MOST_POINTS if judged else None,
            False,
            note=", ".join(f"{value:.2f}" for value in points),
        ),
        Figure(
            f"{name}: with the same alpha, or one that ties with it",
            sum(seed.tied for seed in seeds),
            len(seeds) if judged else None,
            note=f"chosen: {chosen}",
        ),
        Figure(
            f"{name}: share of the held-out predictions that differ from {GRID}'s",
            apart,
            MOST_TIMES * control if judged else None,
            False,
            note=f"control, two memory layouts one by one: {control:.5f}",
        ),
    ]
