"""Does a process stay as it is over many fits, and predict right while another fits?

python -m benchmarks.endure [--fits N] [--seconds S] [--threads N]

Fits and predictions of several kinds in turn: the memory of the process after each
fifty, and the threads, files and shared memory at the end. Then so many threads predict
with one classifier, while another thread fits one network after the other; every answer
is compared with that of a single thread.
"""

import argparse
import gc
import os
import sys
import tempfile
import threading
import time

import numpy as np
from sklearn.datasets import load_digits

from benchmarks._measure import memory
from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV

FEW = 50  # fits until a process has all that it keeps
MOST = 0.01  # of the memory after these


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=16)
    options = parser.parse_args()
    failed = many_fits(options.fits) if options.fits else 0
    return int(failed + wrong_answers(options.threads, options.seconds) > 0)


def many_fits(number):
    """Fit so many times, and tell what the process has more than after a few."""
    digits = load_digits()
    X, y = digits.images[:200], digits.target[:200]
    with tempfile.TemporaryDirectory() as folder:
        kinds = [
            L2CNNClassifier(max_epochs=2),
            L2CNNClassifier(dropout=0.2, early_stopping=True),
            L2CNNClassifier(architecture="conv_dropout", augment=["flip", "shift"]),
            L2CNNClassifier(checkpoint=folder, checkpoint_keep=True),
            L2CNNClassifierCV([1e-3, 1e-1], cv=2),
        ]
        sizes = []
        for k in range(number):
            clf = kinds[k % len(kinds)].set_params(max_epochs=2, random_state=k)
            clf.fit(X, y).predict(X)
            if not isinstance(clf, L2CNNClassifierCV):
                clf.partial_fit(X, y)
            if (k + 1) % FEW == 0:
                gc.collect()
                sizes.append(memory("VmRSS"))
                print(
                    f"after {k + 1} fits: {sizes[-1] / 1e6:.1f} MB, {things()}",
                    flush=True,
                )
    grown = sizes[-1] / sizes[0] - 1
    print(f"memory has grown by {100 * grown:.2f}% since fit {FEW}", flush=True)
    return int(grown > MOST)


def things():
    """Say how many threads, open files and pieces of shared memory there are."""
    shared = len(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else 0
    files = len(os.listdir("/proc/self/fd"))
    return f"{threading.active_count()} threads, {files} files, {shared} in /dev/shm"


def wrong_answers(n_threads, seconds):
    """Predict in threads while another one fits; return how many answers are wrong."""
    digits = load_digits()
    X, y = digits.images, digits.target
    clf = L2CNNClassifier(max_epochs=2, random_state=0).fit(X[:400], y[:400])
    parts = [X[k * 20 : k * 20 + 1 + 37 * k % 90] for k in range(60)]
    expected = [clf.predict_proba(part) for part in parts]
    end, wrong, done, fits = time.monotonic() + seconds, [], [], []

    def predicts(seed):
        draw = np.random.RandomState(seed)
        while time.monotonic() < end:
            k = draw.randint(len(parts))
            if not np.array_equal(clf.predict_proba(parts[k]), expected[k]):
                wrong.append(k)
            done.append(k)

    def trains():
        while time.monotonic() < end:
            L2CNNClassifier(max_epochs=2, random_state=1).fit(X[:400], y[:400])
            fits.append(1)

    threads = [threading.Thread(target=trains)]
    threads += [threading.Thread(target=predicts, args=[k]) for k in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(
        f"{len(wrong)} of {len(done)} answers of {n_threads} threads were wrong, "
        f"beside {len(fits)} fits of another"
    )
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
