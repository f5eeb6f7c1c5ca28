"""A search in two processes of a Dask cluster, and in two of joblib's own.

python -m benchmarks.bench_cluster [--full] [--data DIR] [--task NAME] [--repeats N]

The cluster is one of this machine, and has begun: both kinds of processes have searched
once. Its workers do not sample what they do, as docs/clusters.md says. `GridSearchCV`
sends what it has to each task; `L2CNNClassifierCV` trains its networks one by one here,
as a callback follows each.
"""

import importlib.util
from contextlib import contextmanager
from functools import partial

import joblib
import numpy as np
from skorch.callbacks import GradientNormClipping

from benchmarks import _options, _searches
from benchmarks._measure import Figure, control_pair, interleaved, ratio

MOST = 1.1
DASK, LOKY = "dask", "loky"  # as joblib calls them


@contextmanager
def cluster():
    """Start two workers of one thread each, and end them."""
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
        ) as workers,
        Client(workers),
    ):
        yield


def on(backend, search):
    """Search in the processes of a backend."""
    with joblib.parallel_config(backend, n_jobs=2):
        return search()


def compare(name, search, repeats):
    """Return the ratio of the times of a search, and how far the scores are apart."""
    ways = {backend: partial(on, backend, search) for backend in (DASK, LOKY)}
    for way in ways.values():
        way()
    seconds, found = interleaved(ways, repeats, LOKY)
    apart, quiet = control_pair(seconds, LOKY)
    there, here = (found[way].cv_results_["mean_test_score"] for way in (DASK, LOKY))
    return [
        Figure(
            f"{name}: seconds, Dask / loky",
            ratio(seconds, DASK, LOKY),
            MOST,
            at_least=False,
            quiet=quiet,
            note=f"loky {np.median(seconds[LOKY]):.1f} s, again / loky {apart}",
        ),
        Figure(
            f"{name}: scores, apart", float(abs(here - there).max()), 0, at_least=False
        ),
    ]


def run(options):
    """Return the figures, and print them."""
    if importlib.util.find_spec("distributed") is None:
        figures = [Figure("Dask", "not run: distributed is not installed")]
        _options.show(figures)
        return figures
    figures = []
    recipe = {"n_alphas": 6, "n_folds": 3, "epochs": 5} if options.full else {}
    with cluster():
        for problem in _searches.problems(options, **recipe):
            searches = {
                _searches.GRID: partial(_searches.grid, problem, None),
                _searches.FUSED: partial(
                    _searches.fused,
                    problem,
                    None,
                    callbacks=[GradientNormClipping],
                ),
            }
            for name, search in searches.items():
                what = f"{problem.name}, {name}"
                if options.task in what:
                    own = compare(what, search, options.repeats)
                    _options.show(own)
                    figures += own
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
