"""Calls of estimators, drawn at random: good ones, and all that may come instead.

Everything follows from one generator of numpy, so that a case is its seed.
"""

import tempfile
from fractions import Fraction
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import KFold
from torch import nn

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn.augmentation import Augmentation
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import FilterSelector, PixelSelector

# Of all cases of a process: what one has left there, the next may find.
CHECKPOINTS = tempfile.TemporaryDirectory(prefix="checkpoints-")


def tiny(input_shape, n_classes):
    depth, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(depth, 3, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * height * width, n_classes),
    )


def deep(input_shape, n_classes):
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 8),
        nn.ReLU(),
        nn.Linear(8, n_classes),
    )


def normed(input_shape, n_classes):
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Flatten(),
        nn.Linear(4 * input_shape[1] * input_shape[2], n_classes),
    )


def double(input_shape, n_classes):
    return tiny(input_shape, n_classes).double()


def too_few(input_shape, n_classes):
    """Build a network of the wrong number of classes."""
    return tiny(input_shape, n_classes + 1)


def nothing(*anything, **named):
    """Return None where something else is expected."""


class Draw:
    """What is drawn for a case.

    Parameters
    ----------
    seed : sequence of int
    """

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def chance(self, p):
        return self.rng.random() < p

    def one_of(self, values):
        return values[self.rng.integers(len(values))]

    def some_of(self, values, most):
        number = min(self.rng.integers(most + 1), len(values))
        chosen = self.rng.choice(len(values), number, replace=False)
        return [values[k] for k in chosen]

    def number(self):
        """Return a number of any size, of which few are sensible."""
        return self.one_of(
            [0, 1, -1, 2, 0.5, 1e-300, 5e-324, 1e-9, 1e3, 1e9, 1e25, 3e38, 1e39, 1e300]
            + [1e308, np.inf, -np.inf, np.nan, True, False, np.float32(0.5), "1", None]
            + [
                np.int64(3),
                10**30,
                Fraction(1, 3),
                1j,
                [1],
                (),
                {},
                np.array(1.0),
                "auto",
            ]
        )


# -- parameters -----------------------------------------------------------------------

GOOD = {
    "alpha": [0, 1e-4, 1.0, {"*": 1e-3}, {"0": 0.1}],
    "penalty": ["l2", "l1", "elasticnet", "group", None],
    "l1_ratio": [0, 0.3, 1],
    "penalize": ["weights", "all"],
    "activity_alpha": [0, 1e-3],
    "max_norm": [None, 1.0, 1e-3],
    "dropout": [None, 0.5],
    "architecture": [tiny, deep, normed, double, tiny((1, 4, 4), 3)],
    "freeze": [None, "0", ["0", "3"]],
    "standardize": [True, False],
    "optimizer": ["adam", "adamw", "sgd", "sgdw", torch.optim.NAdam, torch.optim.Rprop],
    "lr": [1e-3, 1e-2, 1.0, 1e3, 1e6, 1e9, 1e12, 1e20, {"*": 1e-2}],
    "momentum": [0, 0.9, 0.999],
    "lr_schedule": ["auto", "cosine", "onecycle", "plateau", None],
    "batch_size": ["auto", 1, 2, 5, 100, 10**9],
    "max_epochs": [1, 2, 3],
    "label_smoothing": [0, 0.1, 0.99],
    "gradient_clip": [None, 1.0, 1e-9],
    "early_stopping": [True, False],
    "validation_fraction": [0.1, 0.5, 0.99],
    "n_iter_no_change": ["auto", 1, np.inf],
    "tol": [0, 1e-4, 10],
    "class_weight": [None, "balanced", {0: 2.0}, {0: 0, 1: 1}, {}],
    "augment": [None, "flip", ["shift", "rotate"], "mixup", Augmentation(cutout=0.5)],
    "tta": [None, "flip", "shift", ["flip", "shift"]],
    "warm_start": [True, False],
    "device": ["auto", "cpu", torch.device("cpu")],
    "precision": ["float32", "auto"],
    "threads": [None, 1, 2],
    "cuda_graph": [True, False],
    "checkpoint": [None, None, CHECKPOINTS.name],
    "checkpoint_keep": [True, False],
    "callbacks": [None, []],
    "random_state": [0, 1, None, np.random.RandomState(0)],
    "channels": ["last", "first"],
    "image_shape": [None, (4, 4), (4, 4, 1), [4, 4]],
}
BAD = {
    "penalty": ["l3", object(), nothing],
    "penalize": [nothing, "biases"],
    "architecture": ["no_such", nothing, too_few, nn.Identity(), 7, nn.Linear(2, 2)],
    "pretrained": [True, "/dev/null", "/no/such/file", "", "/", b"x"],
    "freeze": ["no_such", [1], "*"],
    "optimizer": [
        torch.optim.SparseAdam,
        nothing,
        int,
        "adagradient",
        torch.optim.LBFGS,
    ]
    + [partial(torch.optim.SGD, lr=1), torch.optim.Optimizer, lambda: None],
    "class_weight": ["unbalanced", {0: -1}, {0: np.inf}, {0: "a"}, {7: 1}, {0: None}]
    + [{0: 1e308, 1: 1e308}, {"a": 1}, [1, 2]],
    "augment": ["fly", [7], nothing, object()],
    "tta": ["rotate", ["flip", "flop"], [1], 3],
    "device": ["gpu", "cuda", "cpu:7", "meta", "", "xla"],
    "precision": ["float16", torch.float32],
    "checkpoint": ["/dev/null", "/dev/null/folder", 3, b"x", "\0"],
    "callbacks": [[7], ["print"], "all", [nothing], [("a", nothing, 3)]],
    "random_state": [-1, "seed", 2**40, np.random.default_rng(0)],
    "channels": ["middle", None],
    "image_shape": [(0, 4), (4,), (4, 4, 1, 1), (1e3, 1e3), (10**6, 10**6), "4x4"],
    "lr_schedule": ["step", nothing],
    "n_iter_no_change": [0, -1, 1.5],
    "max_epochs": [0, -1, True, 1.5, "many", np.nan, None, np.int8(1)],
}
# Of these a number of epochs or images would take for ever.
NO_LARGE = {"max_epochs"}

SEARCH_GOOD = {
    "alphas": [[0, 1e-3], 2, np.array([1e-3, 1.0]), [{"*": 0.1}, 0.5], [1e-4]],
    "cv": [2, 3, KFold(2), [([0, 1, 2, 3], [4, 5])]],
    "scoring": [None, "accuracy", "neg_log_loss", ["accuracy", "balanced_accuracy"]],
    "refit": [True, False, "accuracy"],
    "one_standard_error": [True, False],
    "path": ["independent", "warm"],
    "n_jobs": [None, 1],
}
SEARCH_BAD = {
    "alphas": [[], [-1], [np.nan], [np.inf, 1], [1e39], 1, 0, "auto", [[1, 2]], [1, 1]]
    + [{"*": 1}, [True, False], ["a"], [None], [1j], [{"*": -1}], [{}]],
    "cv": [
        1,
        0,
        100,
        "five",
        [],
        [([], [1])],
        [([0, 1], [99])],
        [([0.5], [1])],
        object(),
    ],
    "scoring": ["no_such", nothing, [], {}, {"a": nothing}, lambda clf, X, y: np.nan],
    "refit": ["f1", nothing, None],
}
FEATURES = {
    "layer": ["last", "0", 0, -1, ["0", "1"], "no_such", 99, None, "*", []],
    "pool": [None, "mean", "max", "median"],
}
PIXELS = {
    "threshold": ["mean", "median", "1.5*mean", None, 0.0, "x*y", np.inf, np.nan],
    "max_features": [None, 0, 1, 5, 99, -1, nothing, lambda X: 3],
    "output": ["rows", "images", "frames"],
    "fill_value": [0, 1, 0.5, np.nan, "black"],
    "n_steps": [1, 2, 0],
}
FILTERS = {
    "threshold": [0, 1e-3, 10.0, -1, np.inf],
    "fraction": [0, 0.5, 0.99, 1, -1],
    "layers": [None, "0", "no_such", [], 7],
}


def parameters(draw, good, bad, strange):
    """Draw some parameters; strange ones are of the wrong kind, or any number."""
    names = sorted(good.keys() | bad.keys())
    chosen = {}
    for name in draw.some_of(names, draw.one_of([2, 4, 8])):
        values = good.get(name, [])
        if (strange and draw.chance(0.5)) or not values:
            values = bad.get(name, [])
            if (draw.chance(0.3) or not values) and name not in NO_LARGE:
                values = [draw.number()]
        if values:
            chosen[name] = draw.one_of(values)
    return chosen


def quick(draw):
    """Draw parameters of a quick training, of which some go too far."""
    base = {"architecture": draw.one_of([tiny, deep]), "random_state": 0}
    base["max_epochs"] = draw.one_of([1, 1, 2])
    if draw.chance(0.15):
        base["lr"] = draw.one_of([1e3, 1e6, 1e9, 1e12, 1e18])
    return base


def classifier(draw, strange):
    return L2CNNClassifier(**quick(draw) | parameters(draw, GOOD, BAD, strange))


def estimator(draw, strange):
    """Draw an estimator with parameters."""
    kind = draw.rng.random()
    if kind < 0.55:
        return classifier(draw, strange)
    if kind < 0.75:
        base = quick(draw) | {"cv": 2}
        shared = parameters(draw, GOOD, BAD, strange and draw.chance(0.5))
        shared.pop("alpha", None), shared.pop("warm_start", None)
        own = parameters(draw, SEARCH_GOOD, SEARCH_BAD, strange)
        return L2CNNClassifierCV(**{"alphas": [0, 1e-3]} | base | shared | own)
    inner = classifier(draw, strange and draw.chance(0.3))
    if draw.chance(0.1):
        inner = draw.one_of(
            [None, FrozenEstimator(inner), L2CNNClassifier, 7, "resnet99"]
        )
    if kind < 0.85:
        return CNNFeatures(inner, **parameters(draw, FEATURES, {}, strange))
    if kind < 0.93:
        own = {"n_steps": 1} | parameters(draw, PIXELS, {}, strange)
        return PixelSelector(inner, **own)
    return FilterSelector(inner, **parameters(draw, FILTERS, {}, strange))


# -- data -----------------------------------------------------------------------------


def images(draw, n, shape):
    """Draw images as they should be, of a height, width and number of channels."""
    X = draw.rng.random((n, *shape))
    dtype = draw.one_of(["float64", "float32", "uint8", "float16", "int16", "bool"])
    X = (X * 200).astype(dtype) if dtype in ("uint8", "int16") else X.astype(dtype)
    if shape[2] == 1 and draw.chance(0.7):
        X = X[..., 0]
    if draw.chance(0.3):
        X = X.reshape(n, -1)
    how = draw.rng.random()
    if how < 0.1:
        return torch.as_tensor(X.copy())
    if how < 0.2:
        return X.tolist()
    if how < 0.3 and X.ndim == 2:
        return pd.DataFrame(X)
    if how < 0.4:
        X = np.asfortranarray(X)
    return X


def strange_images(draw, X):
    """Make of images what they should not be."""
    values = np.asarray(X)
    floats = values.astype("float64")
    if draw.chance(0.2):
        return floats * draw.one_of([1e5, 1e20, 1e30, 1e36, 1e37, 1e38, 2e38, 1e39])
    some = floats.copy()
    if some.size:
        place = tuple(draw.rng.integers(size) for size in some.shape)
        some[place] = draw.one_of([np.nan, np.inf, -np.inf, 1e308, 1e39, 3e38, 1e-320])
    # of a sparse matrix and a frame two dimensions
    rows = floats.reshape(len(floats), -1) if floats.size else np.zeros((1, 4))
    return draw.one_of(
        [
            lambda: some,
            lambda: (
                floats * draw.one_of([1e38, 3e38, 1e30, 1e308, 1e200, -1e5, 0, 1e-300])
            ),
            lambda: values[:0],
            lambda: values[:1],
            lambda: values[0] if len(values) else values,
            lambda: None,
            lambda: draw.number(),
            lambda: values.astype(str),
            lambda: values.astype(object),
            lambda: values.astype(complex),
            lambda: np.full(values.shape, "2020-01-01", dtype="M8[D]"),
            lambda: scipy.sparse.csr_matrix(rows),
            lambda: torch.as_tensor(rows).to_sparse(),
            lambda: torch.empty(values.shape, device="meta"),
            lambda: torch.nested.nested_tensor(list(torch.as_tensor(rows))),
            lambda: torch.as_tensor(rows).requires_grad_(),
            lambda: torch.as_tensor(rows, dtype=torch.bfloat16),
            lambda: [rows[0], rows[0][:-1]],
            lambda: [None] * len(values),
            lambda: iter(values),
            lambda: dict(enumerate(values)),
            lambda: {1, 2},
            lambda: "image.png",
            lambda: ["image.png"] * len(values),
            lambda: values[..., None, None, None],
            lambda: np.swapaxes(floats, 0, -1),
            lambda: pd.DataFrame(rows).astype(str),
            lambda: pd.DataFrame({"a": [None] * len(rows)}),
            lambda: np.ma.masked_array(floats, mask=floats > 0.5),
            lambda: np.zeros((3, 0, 4)),
            lambda: np.rec.fromarrays([rows[:, 0]], names="a"),
            lambda: rows.view().astype(">f8"),
            lambda: rows[::-1, ::-1],
            lambda: np.broadcast_to(rows[:1], rows.shape),
            lambda: np.longdouble(rows),
            lambda: [torch.as_tensor(row) for row in rows],
            lambda: np.concatenate([floats, floats]),
        ]
    )()


def labels(draw, n):
    """Draw labels as they should be."""
    n_classes = draw.rng.integers(1, 4)
    y = np.arange(n) % n_classes
    if draw.chance(0.3):
        y = draw.rng.permutation(y)
    how = draw.rng.random()
    if how < 0.1:
        return y.astype(str)
    if how < 0.2:
        return torch.as_tensor(y)
    if how < 0.3:
        return y.tolist()
    if how < 0.35:
        return y.astype(bool)
    if how < 0.4:
        return pd.Series(y)
    if how < 0.45:
        return y.astype(float)
    return y


def strange_labels(draw, y):
    values = np.asarray(y)
    numbers = np.arange(len(values)) % 3
    return draw.one_of(
        [
            lambda: None,
            lambda: draw.number(),
            lambda: values[:-1],
            lambda: np.eye(3)[numbers],
            lambda: numbers[:, None],
            lambda: numbers + 0.5,
            lambda: np.where(numbers, np.nan, 1.0),
            lambda: numbers.astype(complex),
            lambda: numbers.astype(object),
            lambda: [None, *numbers[1:]],
            lambda: ["a", *numbers[1:]],
            lambda: np.full(len(numbers), "2020-01-01", dtype="M8[D]"),
            lambda: numbers.astype("m8[s]"),
            lambda: torch.as_tensor(numbers, dtype=torch.float32).requires_grad_(),
            lambda: torch.empty(len(numbers), device="meta"),
            lambda: torch.as_tensor(numbers).to_sparse(),
            lambda: np.zeros(len(numbers)),
            lambda: [[k] for k in numbers],
            lambda: [[1, 2], *numbers[1:].tolist()],
            lambda: dict(enumerate(numbers)),
            lambda: iter(numbers),
            lambda: "abc",
            lambda: pd.Series(numbers, dtype="category"),
            lambda: pd.Series([pd.NA, *numbers[1:]], dtype="Int64"),
            lambda: numbers.astype(np.uint64) + (1 << 63),
            lambda: np.array([b"a", b"b", b"c"])[numbers],
            lambda: [nothing] * len(numbers),
            lambda: np.arange(len(numbers)),
            lambda: numbers - 10**18,
        ]
    )()


def weights(draw, n):
    if draw.chance(0.6):
        return None
    return draw.one_of(
        [
            lambda: draw.rng.random(n),
            lambda: draw.rng.integers(0, 3, n),
            lambda: np.ones(n, dtype=np.float32) * draw.one_of([1e-30, 1e30, 3]),
            lambda: torch.ones(n),
            lambda: [1] * n,
            lambda: 2.0,
        ]
    )()


def strange_weights(draw, n):
    one = draw.number()
    return draw.one_of(
        [
            lambda: one,
            lambda: [1.0] * (n - 1) + [one],
            lambda: [one] * n,
            lambda: np.ones((n, 1)),
            lambda: np.ones(n + 1),
            lambda: np.zeros(n),
            lambda: np.array(["1"] * n),
            lambda: np.full(n, 3, dtype="m8[s]"),
            lambda: np.ones(n, dtype=complex),
            lambda: dict(enumerate(np.ones(n))),
            lambda: iter([1.0] * n),
            lambda: torch.ones(n, device="meta"),
            lambda: torch.ones(n).to_sparse(),
            lambda: scipy.sparse.csr_matrix(np.ones((1, n))),
            lambda: np.full(n, 1e-320),
            lambda: np.full(n, 1e308),
        ]
    )()


def data(draw, shape, strange):
    """Draw X, y and weights, one of them strange where that is wanted."""
    n = int(draw.rng.integers(1, 13)) if draw.chance(0.2) else 12
    X, y, weight = images(draw, n, shape), labels(draw, n), weights(draw, n)
    if strange:
        which = draw.rng.integers(4)
        if which in (0, 3):
            X = strange_images(draw, X)
        if which == 1:
            y = strange_labels(draw, y)
        if which == 2:
            weight = strange_weights(draw, n)
        if draw.chance(0.2):
            y = strange_labels(draw, labels(draw, n))
    return X, y, weight
