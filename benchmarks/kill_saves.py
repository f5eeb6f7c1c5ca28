"""Is there a whole file, whenever a process that saves is killed?

python -m benchmarks.kill_saves [--kills N]

A child saves two classifiers over the same file in turn, and is killed at a random
moment; the file must then be the one or the other, and load.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time

import numpy as np

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.persistence import load, save


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    kills = parser.parse_args().kills
    whole, left = killed(kills)
    print(f"{whole} of {kills} files were whole; {left} unfinished files were left")
    return int(whole < kills)


def killed(kills):
    """Return how many files were whole, and how many others were left beside them."""
    X, y = np.random.RandomState(0).uniform(size=(12, 8, 8)), np.arange(12) % 2
    models = [
        L2CNNClassifier(max_epochs=1, random_state=seed, threads=1).fit(X, y)
        for seed in (0, 1)
    ]
    expected, whole, draw = [m.predict_proba(X) for m in models], 0, random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        save(models[0], path)
        for _ in range(kills):
            child = os.fork()
            if child == 0:
                while True:
                    for model in models:
                        save(model, path)
            time.sleep(draw.uniform(0, 0.1))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            found = load(path).predict_proba(X)
            whole += any(np.array_equal(found, one) for one in expected)
        return whole, len(os.listdir(folder)) - 1


if __name__ == "__main__":
    sys.exit(main())
