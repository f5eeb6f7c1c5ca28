"""What does a search over alpha and the learning rate cost, and who wins?

python -m benchmarks.bench_search [--task speed | winners] [--quick | --full]
    [--data DIR] [--repeats N]

Six strengths by five learning rates on five shuffled folds, on the network, the batches
and the epochs of ``bench_path``. `L2CNNSearchCV` trains all of them together, with and
without halving; `GridSearchCV` over the same estimator has two processes, which were
started before. With ``--full`` they do so on all digits and, with ``--data``, on 5,000
images of MNIST; else on what takes a minute. Everything runs in one process, in turn.
"""

import warnings
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from benchmarks import _options
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from benchmarks._searches import problems
from benchmarks._seeds import standard_error
from sklearn_l2cnn import L2CNNClassifier, L2CNNSearchCV

TOGETHER, HALVED, GRID = "L2CNNSearchCV", "with halving=3", "GridSearchCV, n_jobs=2"
# Times as fast as GridSearchCV, and with halving as without, that are wanted.
WANTED = {"digits": 5.0, "MNIST": 3.0}
WANTED_OF_HALVING = 1.6


def ways(problem, n_alphas=6, n_rates=5):
    """Return the searches by name, as functions without arguments."""
    clf = L2CNNClassifier(**problem.parameters())
    grid = {
        "alpha": np.logspace(-5, -1, n_alphas).tolist(),
        "lr": np.logspace(-4, -2, n_rates).tolist(),
    }
    searches = {
        TOGETHER: L2CNNSearchCV(clf, grid, cv=problem.folds),
        HALVED: L2CNNSearchCV(clf, grid, cv=problem.folds, halving=3),
        GRID: GridSearchCV(clf, grid, cv=problem.folds, n_jobs=2),
    }
    return {
        name: partial(search.fit, problem.X, problem.y)
        for name, search in searches.items()
    }


def speed(options, folder):
    """Return how many times as fast the candidates are trained together."""
    figures = []
    for problem in problems(options):
        small = {} if options.full else {"n_alphas": 3, "n_rates": 2}
        for way in ways(
            problem._replace(X=problem.X[:200], y=problem.y[:200])
        ).values():
            way()  # processes are started, and imports are done
        seconds, found = interleaved(
            ways(problem, **small), options.repeats, control=HALVED
        )
        apart, quiet = control_pair(seconds, HALVED)
        scores = ", ".join(
            f"{name} {search.best_score_:.4f}" for name, search in found.items()
        )
        wanted = WANTED[problem.name] if options.full else None
        halving = WANTED_OF_HALVING if options.full else None
        figures += [
            Figure(f"{problem.name}: control pair", apart),
            Figure(
                f"{problem.name}: {GRID} / {TOGETHER} (time)",
                ratio(seconds, GRID, TOGETHER),
                wanted,
                quiet=quiet,
                note=f"best mean accuracies: {scores}",
            ),
            Figure(
                f"{problem.name}: {TOGETHER} / {HALVED} (time)",
                ratio(seconds, TOGETHER, HALVED),
                halving,
                quiet=quiet,
            ),
        ]
        _options.show(figures[-3:])
    return figures


def winners(options, folder):
    """Return on how many seeds the searches agree: the same, or a tie.

    A tie is a winner whose mean score, in the other search, is within one standard
    error of that of the other's winner.
    """
    figures = []
    for problem in problems(options):
        if problem.name != "digits":
            continue
        seeds = range(5 if options.full else 1)
        small = {} if options.full else {"n_alphas": 3, "n_rates": 2}
        same = tied = halved = 0
        most = 0.0
        for seed in seeds:
            found = ways(problem._replace(seed=seed), **small)
            mine, half, grid = (found[name]() for name in (TOGETHER, HALVED, GRID))
            scores = grid.cv_results_["mean_test_score"]
            apart = np.abs(mine.cv_results_["mean_test_score"] - scores).max()
            most = max(most, 100 * float(apart))
            splits = [
                grid.cv_results_[f"split{k}_test_score"][grid.best_index_]
                for k in range(grid.n_splits_)
            ]
            error = standard_error(splits)
            same += mine.best_index_ == grid.best_index_
            tied += scores[mine.best_index_] >= grid.best_score_ - error
            halved += scores[half.best_index_] >= grid.best_score_ - error
        n = len(seeds)
        figures += [
            Figure(f"digits: seeds of {n} with the same winner, or a tie", tied, n),
            Figure(f"digits: seeds of {n} with the same winner", same),
            Figure(f"digits: seeds of {n} whose winner of halving ties", halved),
            Figure("digits: largest difference of a mean score, points", most),
        ]
    return figures


TASKS = {"speed": speed, "winners": winners}


def run(options):
    """Run the tasks, and return their figures."""
    with warnings.catch_warnings():
        # a learning rate that is too small is one of the candidates
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _options.run_tasks(TASKS, options)


if __name__ == "__main__":
    run(_options.parse(__doc__))
