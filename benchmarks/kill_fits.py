"""Does a fit that is killed at a random moment, and begun again, end at the same bits?

python -m benchmarks.kill_fits [--kills N]

Of a fit, a search of ours and a GridSearchCV, each N times: a process is killed, and
another one begins the same again, which is killed as well every second time. The last
one is left alone, and must end with what a fit without a checkpoint ends with.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV

ALPHAS = [1e-3, 1e-2, 1e-1]
SHARED = {
    "max_epochs": 6,
    "early_stopping": True,
    "dropout": 0.3,
    "augment": ["flip", "shift"],
    "random_state": 0,
}


def fit(checkpoint):
    """A classifier."""
    return L2CNNClassifier(**SHARED, checkpoint=checkpoint)


def search(checkpoint):
    """A search whose networks are stacked."""
    return L2CNNClassifierCV(ALPHAS, cv=2, **SHARED, checkpoint=checkpoint)


def grid_search(checkpoint):
    """The search of scikit-learn."""
    return GridSearchCV(fit(checkpoint), {"alpha": ALPHAS}, cv=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    kills = parser.parse_args().kills
    lost = 0
    warnings.simplefilter("ignore", ConvergenceWarning)  # of the best alpha
    for make in (fit, search, grid_search):
        same, caught, gained = killed(make, kills)
        lost += kills - same
        print(
            f"{make.__name__}: {same} of {kills} ended at the same bits; {caught} were "
            f"killed before their end, and {gained} left files to go on from",
            flush=True,
        )
    return int(lost > 0)


def killed(make, kills):
    """Return how many ended alike, were killed in time, and had something to gain."""
    draw, same, caught, gained = random.Random(0), 0, 0, 0
    # what a process imports and tries out once, its children have from their parent
    make(None).fit(*data())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result")
        start = time.perf_counter()
        run(make, None, path)
        seconds = time.perf_counter() - start
        expected = content(path)
        for k in range(kills):
            with tempfile.TemporaryDirectory() as checkpoint:
                for _ in range(1 + k % 2):
                    caught += run(make, checkpoint, path, draw.uniform(0, seconds))
                    gained += bool(os.listdir(checkpoint))
                run(make, checkpoint, path)
            same += content(path) == expected
    return same, caught, gained


def run(make, checkpoint, path, seconds=None):
    """Fit in a process of its own, and kill it after a time; say whether it was."""
    if os.path.exists(path):
        os.remove(path)
    child = os.fork()
    if child == 0:
        try:
            fitted = make(checkpoint).fit(*data())
            with open(path, "wb") as file:
                np.savez(file, **results(fitted))
        finally:
            os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def data():
    digits = load_digits()
    return digits.images[:200], digits.target[:200]


def results(fitted):
    """Return what a fit ends with, by name, but for times."""
    best = getattr(fitted, "best_estimator_", fitted)
    scores = getattr(fitted, "cv_results_", {})
    return {
        **{k: v.numpy() for k, v in best.module_.state_dict().items()},
        **{k: v for k, v in scores.items() if k.startswith(("mean_test", "split"))},
        "loss_curve": best.loss_curve_,
        "validation_loss_curve": best.validation_loss_curve_,
        "probabilities": best.predict_proba(data()[0]),
    }


def content(path):
    """Return the bytes of all arrays in a file; None where there is none."""
    if not os.path.exists(path):
        return None
    with np.load(path) as file:
        return {name: file[name].tobytes() for name in file.files}


if __name__ == "__main__":
    sys.exit(main())
