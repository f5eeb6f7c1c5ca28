"""Is the ONNX graph of every named network the classifier that it was made of?

python -m benchmarks.bench_onnx [--full] [--task NAME]

Every network is trained for an epoch on a few images of noise, exported, and asked for
images that it has not seen, alone and together. ``--full`` takes networks of more than
100 million parameters, too: with SGD, since the moments of Adam would take twice their
memory more. It needs the extra `onnx`.
"""

import os
import tempfile
import time
import warnings

import numpy as np

from benchmarks import _options
from benchmarks._measure import Figure
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.architectures import build_network, list_architectures
from sklearn_l2cnn.export import to_onnx

WANTED = 1e-5
LARGE = 100e6
SIDES = 32, 64, 96, 224
TRAIN, TEST, CLASSES = 16, 24, 3


def run(options):
    """Return the largest difference of every network, and print them as they come."""
    figures = []
    print("| network | side | parameters | off by | labels | sure | seconds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in list_architectures():
        if options.task in name:
            figures += one_network(name, options.full)
    return figures


def one_network(name, large_too):
    """Compare a network with its graph; print a row of the table."""
    what = f"{name}: probabilities of onnxruntime and predict_proba, apart"
    side, size = smallest(name)
    row = f"| `{name}` | {side} | {size / 1e6:.1f} M |"
    if size > LARGE and not large_too:
        print(f"{row} not tried | | | |", flush=True)
        return []
    start = time.perf_counter()
    rng = np.random.RandomState(0)
    X = rng.randint(256, size=(TRAIN + TEST, side, side, 3)).astype(np.uint8)
    clf = L2CNNClassifier(
        architecture=name,
        max_epochs=1,
        batch_size=8,
        lr=1e-4,
        optimizer="sgd" if size > LARGE else "adam",
        random_state=0,
    ).fit(X[:TRAIN], np.arange(TRAIN) % CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        try:
            to_onnx(clf, path, tolerance=None)
        except (RuntimeError, ValueError) as error:
            print(f"{row} {str(error)[:200]} | | | |", flush=True)
            return [Figure(what, np.inf, WANTED, at_least=False)]
        apart, same, sure = compare(clf, path, X[TRAIN:])
    seconds = time.perf_counter() - start
    labels = "the same" if same else "OTHERS"
    print(f"{row} {apart:.1e} | {labels} | {sure:.2f} | {seconds:.0f} |", flush=True)
    return [Figure(what, apart if same else np.inf, WANTED, at_least=False)]


def smallest(name):
    """Return the smallest side of images that a network takes, and its parameters."""
    for side in SIDES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network = build_network(name, (3, side, side), CLASSES)
        except ValueError:
            continue
        return side, sum(p.numel() for p in network.parameters())
    raise ValueError(f"{name} takes no images of {SIDES}.")


def compare(clf, path, X):
    """Compare a classifier and its graph on images, alone and together.

    Returns
    -------
    apart : float
        The largest difference of two probabilities.
    same : bool
        Whether all labels are.
    sure : float
        The mean of the largest probabilities: of 1 no difference would be seen.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    proba, labels = clf.predict_proba(X), clf.predict(X)
    apart, same = 0.0, True
    for rows in (slice(1), slice(None)):
        found, probabilities = session.run(None, {"X": X[rows]})
        apart = max(apart, float(np.abs(probabilities - proba[rows]).max()))
        same &= bool((found == labels[rows]).all())
    return apart, same, float(proba.max(axis=1).mean())


if __name__ == "__main__":
    run(_options.parse(__doc__))
