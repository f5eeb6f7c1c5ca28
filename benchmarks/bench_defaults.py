"""How good are the defaults? Accuracy on digits (5 folds) and on MNIST (60,000 images).

python -m benchmarks.bench_defaults                      digits, three seeds
python -m benchmarks.bench_defaults --data DIR           MNIST as torchvision stores it
                                                         (DIR/MNIST/raw), one seed
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score

from benchmarks._tasks import read_mnist
from sklearn_l2cnn import L2CNNClassifier


def digits(seeds, device):
    X, y = load_digits(return_X_y=True)
    splits = {
        "folds as they come": StratifiedKFold(5),
        "shuffled folds": StratifiedKFold(5, shuffle=True, random_state=0),
    }
    for name, cv in splits.items():
        for seed in seeds:
            clf = L2CNNClassifier(random_state=seed, device=device)
            start = time.perf_counter()
            scores = cross_val_score(clf, X, y, cv=cv)
            print(
                f"digits, {name}, random_state={seed}: {scores.mean():.4f} "
                f"{np.round(scores, 3)}, {time.perf_counter() - start:.0f} s",
                flush=True,
            )


def mnist(data, seeds, device):
    X, y, X_test, y_test = read_mnist(data)
    for seed in seeds:
        clf = L2CNNClassifier(random_state=seed, device=device)
        start = time.perf_counter()
        clf.fit(X, y)
        seconds = time.perf_counter() - start
        print(
            f"MNIST, random_state={seed}: test accuracy "
            f"{clf.score(X_test, y_test):.4f} after {clf.n_epochs_} epochs, "
            f"{seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of MNIST; digits are used without it")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.data:
        mnist(options.data, options.seeds or [0], options.device)
    else:
        digits(options.seeds or [0, 1, 2], options.device)
