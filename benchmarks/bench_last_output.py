"""Is L2 on the last hidden output of a pretrained network worth anything?

python -m benchmarks.bench_last_output --images FILE.npz --weights FILE.pth
    [--rows N] [--seeds N] [--side PIXELS] [--epochs N] [--tests N]

The published EfficientNet-Lite0 of `bench_transfer`, which says what the files are,
with a dense layer of 128 in front of its logits, with and without a batch norm. The
penalty is 0.001 times the squared norm of what the dense layer gives; it is compared
with L1 on the weights of the new layers, and with dropout in front of the logits. The
norms and the first blocks of the published network stay as they were.
"""

import tempfile
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score
from torch import nn

from benchmarks import _options
from benchmarks._measure import Figure
from benchmarks._seeds import half_interval
from benchmarks.bench_transfer import (
    MOVES,
    NETWORK,
    drawn,
    write_with_names_of_timm,
)
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.preprocessing import ImageResizer

FROZEN = ["*bn*", "*conv_stem", "*blocks.0", "*blocks.1", "*blocks.2"]
NEW = "*classifier*"


class Standardized(nn.Module):
    """A network for pixels of [-1, 1] that is given those of [0, 1]."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, X):
        return self.network(2 * X - 1)


def with_dense_layer(input_shape, n_classes, state, norm=True, dropout=0.0):
    """Build the published network with a dense layer of 128 in front of its logits."""
    network = build_network(NETWORK, input_shape, n_classes, pretrained=state)
    last = network.classifier
    layers = OrderedDict(
        dense=nn.Linear(last.in_features, 128),
        norm=nn.BatchNorm1d(128) if norm else nn.Identity(),
        relu=nn.ReLU(),
        drop=nn.Dropout(dropout),
        logits=nn.Linear(128, n_classes),
    )
    network.classifier = nn.Sequential(layers)
    return Standardized(network)


VARIANTS = {
    "nothing": {},
    "L2 on the last output, 0.001": {"activity_alpha": 1e-3},
    "L1 on the new layers, 0.0001": {"penalty": "l1", "alpha": {NEW: 1e-4}},
    "dropout 0.5": {"dropout": 0.5},
    "nothing, no norm": {"norm": False},
    "L2 on the last output, 0.001, no norm": {"norm": False, "activity_alpha": 1e-3},
}


def fitted(X, y, seed, options, norm=True, dropout=0.0, **parameters):
    """Train a variant."""
    network = partial(with_dense_layer, state=options.state, norm=norm, dropout=dropout)
    defaults = {"alpha": 0.0, "lr": 3e-4, "batch_size": 32, "augment": MOVES}
    clf = L2CNNClassifier(
        architecture=network,
        freeze=FROZEN,
        standardize=False,
        max_epochs=options.epochs,
        random_state=seed,
        **(defaults | parameters),
    )
    return clf.fit(X, y)


def run(options):
    """Fit every variant with every seed, and return the figures."""
    enlarge = ImageResizer((options.side, options.side))
    with np.load(options.images) as arrays:
        rows = drawn(arrays["y_train"], options.rows // 10, 0)
        X = enlarge.fit_transform(arrays["X_train"][rows])
        y = arrays["y_train"][rows]
        X_test = enlarge.transform(arrays["X_test"][: options.tests])
        y_test = arrays["y_test"][: options.tests]
    found = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        options.state = Path(folder) / "lite0.pth"
        write_with_names_of_timm(options.weights, options.state)
        for seed in range(options.seeds):
            for name, parameters in VARIANTS.items():
                said = fitted(X, y, seed, options, **parameters).predict(X_test)
                score = float((said == y_test).mean())
                found[name].append((score, f1_score(y_test, said, average="macro")))
                print(f"seed {seed}, {name}: {score:.4f}", flush=True)
    figures = list(_figures({name: np.array(own) for name, own in found.items()}))
    _options.show(figures)
    return figures


def _figures(found):
    for name, scores in found.items():
        accuracy, f1 = scores.mean(axis=0)
        note = f"deviation {scores[:, 0].std(ddof=1):.4f}, macro F1 {f1:.4f}"
        base = found["nothing, no norm" if "no norm" in name else "nothing"]
        gains = 100 * (scores - base)[:, 0]
        if gains.any():
            width = half_interval(gains)
            note += f", {gains.mean():+.2f} +- {width:.2f} points over nothing"
        yield Figure(name, float(accuracy), note=note)


def parse():
    """Read the options."""
    parser = _options.parser(__doc__)
    parser.add_argument("--images", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--tests", type=int, default=2000)
    return _options.completed(parser.parse_args())


if __name__ == "__main__":
    run(parse())
