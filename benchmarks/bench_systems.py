"""Five systems from publications on L2, on MNIST and CIFAR-10, with and without it.

python -m benchmarks.bench_systems --data DIR [--only 1 2 ...] [--seeds N] [--jobs N]
    [--rows N] [--epochs N] [--search-rows N]

For each system the strength of the penalty is searched by cross-validation, and the
variants are compared over seeds: accuracy, macro F1, and the gain over no penalty with
its 95% interval. Systems 3 and 4 take 500 and 300 images of each data set: with a CUDA
device add ``--rows 50000 --jobs 1``; two cores take days for that.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV
from torch import nn

from benchmarks._seeds import half_interval
from benchmarks._tasks import Split, read_cifar10, read_mnist
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.architectures import build_network


def at_random_sizes(images, seed, side=32):
    """Resize each image to a random size, and then to side x side x 3."""
    rng = np.random.RandomState(seed)
    found = np.empty((len(images), side, side, 3), dtype=np.float32)
    for place, image in zip(found, images, strict=True):
        pixels = torch.tensor(np.atleast_3d(image), dtype=torch.float32)
        pixels = pixels.permute(2, 0, 1)[None].expand(1, 3, -1, -1)
        for size in (rng.randint(side // 2, 2 * side), side):
            pixels = nn.functional.interpolate(
                pixels, size=(size, size), mode="bilinear", antialias=True
            )
        place[:] = pixels[0].permute(1, 2, 0)
    return found


def twenty_classes(grey, colour):
    """Combine ten classes of digits with ten of colour pictures, at many sizes."""
    (X, X_test), (y, y_test) = (
        [
            np.concatenate([at_random_sizes(p / p.max(), k) for k, p in enumerate(two)])
            for two in ((grey.X, colour.X), (grey.X_test, colour.X_test))
        ],
        [
            np.concatenate([grey.y, 10 + colour.y]),
            np.concatenate([grey.y_test, 10 + colour.y_test]),
        ],
    )
    order = np.random.RandomState(0).permutation(len(y))
    return Split(X[order], y[order], X_test, y_test)


# -- comparisons ----------------------------------------------------------------------


def best_of(clf, name, values, split, options):
    """Find the best value of a parameter by three folds, and print all scores."""
    start = time.perf_counter()
    search = GridSearchCV(clf, {name: values}, cv=3, n_jobs=options.jobs, refit=False)
    rows = slice(options.search_rows)
    search.fit(split.X[rows], split.y[rows])
    found = search.cv_results_
    print(f"{name} by three folds of {len(split.y[rows])} images:")
    for value, mean, spread in zip(
        values, found["mean_test_score"], found["std_test_score"], strict=True
    ):
        print(f"  {value!s:>36}   {mean:.4f} +- {spread:.4f}")
    best = search.best_params_[name]
    print(f"  best: {best}   ({time.perf_counter() - start:.0f} s)")
    return best


def compare(variants, split, options):
    """Fit every variant with every seed, and print accuracy and F1 with their spread.

    The others are compared with the first. Return the estimators of the first seed.
    """
    size = "x".join(map(str, split.X.shape[1:]))
    print(f"{len(split.y)} images of {size}, {len(split.y_test)} for testing:")
    jobs = [(name, seed) for name in variants for seed in range(options.seeds)]
    fits = Parallel(n_jobs=options.jobs)(
        delayed(fitted)(variants[name], seed, split) for name, seed in jobs
    )
    fits = dict(zip(jobs, fits, strict=True))
    first = None
    for name in variants:
        own = [fits[name, seed] for seed in range(options.seeds)]
        accuracy, f1, seconds = (np.array([fit[k] for fit in own]) for k in range(3))
        first = accuracy if first is None else first
        print(
            f"  {name:<28} accuracy {with_spread(accuracy)}   macro F1 "
            f"{with_spread(f1)}   {seconds.mean():.1f} s a fit"
            f"{'' if accuracy is first else gain(accuracy - first)}",
            flush=True,
        )
    return {name: fits[name, 0][3] for name in variants}


def fitted(clf, seed, split):
    """Return accuracy, F1, seconds and the estimator of a fit."""
    start = time.perf_counter()
    clf = clone(clf).set_params(random_state=seed).fit(split.X, split.y)
    seconds = time.perf_counter() - start
    found = clf.predict(split.X_test)
    f1 = f1_score(split.y_test, found, average="macro")
    return accuracy_score(split.y_test, found), f1, seconds, clf


def with_spread(values):
    """Return the mean with the standard deviation over the seeds."""
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.4f} ({spread:.4f})"


def gain(gains):
    """Return the mean gain in points, and its 95% interval over the seeds."""
    mean = f"   {100 * gains.mean():+.2f}"
    return mean if len(gains) < 2 else f"{mean} +- {100 * half_interval(gains):.2f}"


# -- systems --------------------------------------------------------------------------


def two_conv(options):
    """MNIST with two wide convolutions and SGD."""
    split = read_mnist(options.data).first(options.rows)
    system = L2CNNClassifier(
        alpha=1e-4,
        architecture="two_conv",
        optimizer="sgd",
        lr=0.01,
        batch_size=64,
        max_epochs=options.epochs or 10,
        random_state=0,
    )
    best = best_of(system, "alpha", [0.0, 1e-4, 1e-3, 1e-2], split, options)
    alphas = {"no penalty": 0.0, "alpha=0.0001": 1e-4, "by cross-validation": best}
    variants = {n: clone(system).set_params(alpha=a) for n, a in alphas.items()}
    compare(variants, split, options)


def conv_pool(options):
    """CIFAR-10 with L2 on the dense layers, compared with L1."""
    split = read_cifar10(options.data).first(options.rows)
    system = L2CNNClassifier(
        alpha={"dense1": 1e-3, "logits": 1e-3},
        architecture="conv_pool",
        lr_schedule=None,
        batch_size=64,
        max_epochs=options.epochs or 10,
        random_state=0,
    )
    alphas = [{"dense1": a, "logits": a} for a in (0, 1e-4, 1e-3, 1e-2, 1e-1)]
    best = best_of(system, "alpha", alphas, split, options)
    variants = {
        "no penalty": clone(system).set_params(alpha=0),
        "L2 0.001": system,
        "L2 by cross-validation": clone(system).set_params(alpha=best),
        "L1 0.001": clone(system).set_params(penalty="l1"),
    }
    for name, clf in compare(variants, split, options).items():
        zeros = float((clf.module_.dense1.weight == 0).float().mean())
        print(f"  {name}: {zeros:.1%} of the weights of dense1 are exactly zero")


def without_norm(input_shape, n_classes):
    """Build a ResNet-18 without the batch norm of the head."""
    network = build_network("resnet18", input_shape, n_classes)
    network.fc.norm = nn.Identity()
    return network


def resnet18(options):
    """CIFAR-10 with a residual network and L2 on its last activity."""
    split = read_cifar10(options.data).first(options.rows or 500, 2000)
    system = L2CNNClassifier(
        alpha=0,
        activity_alpha=1e-3,
        architecture="resnet18",
        batch_size=128,
        max_epochs=options.epochs or 8,
        random_state=0,
    )
    best = best_of(system, "activity_alpha", [0.0, 1e-3, 1e-2], split, options)
    nothing = clone(system).set_params(activity_alpha=0)
    variants = {
        "no penalty": nothing,
        "L2 on activity, 0.001": system,
        "by cross-validation": clone(system).set_params(activity_alpha=best),
        "L1 on weights, 0.0001": clone(nothing).set_params(penalty="l1", alpha=1e-4),
        "dropout 0.5": clone(nothing).set_params(dropout=0.5),
        "no batch norm in the head": clone(nothing).set_params(
            architecture=without_norm
        ),
    }
    compare(variants, split, options)


def alive(clf):
    """Count filters whose norm is more than a hundredth of the largest of the layer."""
    count = 0
    for name in ("conv1", "conv2", "conv3", "conv4"):
        weight = clf.module_.get_submodule(name).weight.detach()
        norms = weight.flatten(1).norm(dim=1)
        count += int((norms > 0.01 * norms.max()).sum())
    return count


ALPHAS = {
    "l2": [1e-3, 1e-2, 1e-1],
    "l1": [3e-4, 1e-3, 3e-3],
    "group": [5e-4, 1e-3, 2e-3],
}


def four_conv(options):
    """Twenty classes at many sizes, and the number of filters that stay alive."""
    rows = options.rows or 300
    split = twenty_classes(
        read_mnist(options.data).first(rows, 1000),
        read_cifar10(options.data).first(rows, 1000),
    )
    system = L2CNNClassifier(
        alpha=1e-3,
        architecture="four_conv",
        max_epochs=options.epochs or 8,
        random_state=0,
    )
    best = best_of(system, "alpha", [0.0, 1e-4, 1e-3, 1e-2], split, options)
    variants = {
        "no penalty": clone(system).set_params(alpha=0),
        "L2 0.001": system,
        "L2 by cross-validation": clone(system).set_params(alpha=best),
        "dropout 0.5": clone(system).set_params(alpha=0, dropout=0.5),
    }
    compare(variants, split, options)
    print("filters alive of 202, and test accuracy:")
    for penalty, alphas in ALPHAS.items():
        for alpha in alphas:
            clf = clone(system).set_params(penalty=penalty, alpha=alpha)
            accuracy, _, _, clf = fitted(clf, 0, split)
            print(f"  {penalty:<6} {alpha:<8g} {alive(clf):4d}   {accuracy:.3f}")


def conv_dropout(options):
    """MNIST with a strength for each layer, a plateau, and a bound on the norms."""
    split = read_mnist(options.data).first(options.rows)
    epochs = options.epochs or 5
    strengths = [
        {"conv1": 1e-4 * factor, "conv2": 3e-4 * factor}
        for factor in (0, 0.1, 1, 10, 100)
    ]
    system = L2CNNClassifier(
        alpha=strengths[2],
        activity_alpha={"relu1": 1e-5, "relu2": 1e-5, "relu3": 1e-4},
        architecture="conv_dropout",
        lr_schedule="plateau",
        batch_size=128,
        max_epochs=epochs,
        early_stopping=True,
        n_iter_no_change=epochs,
        random_state=0,
    )
    best = best_of(system, "alpha", strengths, split, options)
    nothing = clone(system).set_params(alpha=0, activity_alpha=0)
    variants = {
        "no penalty": nothing,
        "a strength for every layer": system,
        "by cross-validation": clone(system).set_params(alpha=best),
        "max_norm=2": clone(nothing).set_params(max_norm=2.0),
        "max_norm=1": clone(nothing).set_params(max_norm=1.0),
    }
    compare(variants, split, options)


SYSTEMS = {1: two_conv, 2: conv_pool, 3: resnet18, 4: four_conv, 5: conv_dropout}


def main():
    """Run the systems that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of MNIST and CIFAR-10")
    parser.add_argument(
        "--only", type=int, nargs="+", choices=SYSTEMS, default=[*SYSTEMS]
    )
    parser.add_argument("--rows", type=int, help="images to learn from")
    parser.add_argument("--search-rows", type=int, default=6000)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    for number in options.only:
        print(f"\n{number}. {SYSTEMS[number].__doc__}", flush=True)
        SYSTEMS[number](options)


if __name__ == "__main__":
    main()
