"""
Search for alpha on a Dask cluster
==================================

Two processes of this machine are the cluster. With `dask_jobqueue` or `dask_kubernetes`
it is one of many machines, and the rest stays as it is: `docs/clusters.md`.
"""

# %%
# The digits of scikit-learn, and a classifier that keeps what its fits have learnt: a
# search that loses its images with a worker, and is begun again, goes on.
import argparse
import tempfile
import time

import joblib
from distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sklearn_l2cnn import L2CNNClassifier


def main(rows, epochs):
    X, y = load_digits(return_X_y=True)
    X, y = X[:rows].reshape(-1, 8, 8), y[:rows]
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as two,
        Client(two),
    ):
        clf = L2CNNClassifier(max_epochs=epochs, random_state=0, checkpoint=folder)
        search = GridSearchCV(clf, {"alpha": [1e-4, 1e-3, 1e-2, 1e-1]}, cv=3)
        start = time.perf_counter()
        with joblib.parallel_config("dask"):
            search.fit(X, y)
        print(f"12 fits in two processes: {time.perf_counter() - start:.0f} s")
    scores = search.cv_results_["mean_test_score"]
    for alpha, score in zip(search.cv_results_["param_alpha"], scores, strict=True):
        print(f"alpha={alpha:g}: accuracy {score:.3f}")
    print(f"best: alpha={search.best_params_['alpha']:g}")


# workers are new processes, which read this file
if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rows", type=int, default=900)
    parser.add_argument("--epochs", type=int, default=10)
    main(**vars(parser.parse_args()))
