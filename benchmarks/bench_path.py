"""What does the search over alpha cost in one fit, and is the answer the same?

python -m benchmarks.bench_path [--task speed | growth | agreement] [--quick | --full]
    [--data DIR] [--out DIR]

All ways search the same alphas by the same folds and refit the best, for the same
epochs in batches of the same size, on a network with the same initial weights: two
convolutions of width 8 and 16, each pooled, a dense layer of 64, Adam at a constant
rate. With ``--full`` they do so on all digits and, with ``--data``, on 5,000 images of
MNIST; else on what takes a minute. Every part runs in one process, all ways in turn.
"""

import statistics
import zlib
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from torch import nn

from benchmarks import _options
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn.datasets import load_mnist

FUSED, GRID, SKORCH = "L2CNNClassifierCV", "GridSearchCV", "GridSearchCV of skorch"
# Times as fast as the best stock search of skorch, and as GridSearchCV of our own
# estimator, that are wanted.
WANTED = {"digits": (4.0, 1.5), "MNIST": (2.5, None)}
MOST_POINTS = 0.5  # that the mean score of an alpha may differ from GridSearchCV's
MOST_TIMES = 1.5  # the control, that predictions may differ from those one by one


class Problem(NamedTuple):
    """Images ``(n, height, width)`` as uint8, and what is searched on them."""

    name: str
    X: np.ndarray
    y: np.ndarray
    epochs: int
    n_alphas: int = 8
    n_folds: int = 5
    batch_size: int = 32
    lr: float = 1e-3
    seed: int = 0
    device: str = "cpu"

    @property
    def alphas(self):
        return np.logspace(-5, -2, self.n_alphas).tolist()

    @property
    def folds(self):
        return StratifiedKFold(self.n_folds, shuffle=True, random_state=0)

    def network(self):
        """Build the network with the weights that everybody starts from."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            height, width = self.X.shape[1:]
            return nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(16 * (height // 4) * (width // 4), 64),
                nn.ReLU(),
                nn.Linear(64, 10),
            )

    def parameters(self):
        """Return the parameters of our estimators."""
        return {
            "architecture": self.network(),
            "lr": self.lr,
            "lr_schedule": None,
            "batch_size": self.batch_size,
            "max_epochs": self.epochs,
            "device": self.device,
            "random_state": self.seed,
        }


def digits(options, **recipe):
    """All digits of scikit-learn, or 300 of them."""
    X, y = load_digits(return_X_y=True)
    X = (X.reshape(-1, 8, 8) * 15).astype(np.uint8)
    small = {"n_alphas": 2, "n_folds": 2, "epochs": 1}
    recipe = ({"epochs": 20} if options.full else small) | recipe
    n = len(X) if options.full else 300
    return Problem("digits", X[:n], y[:n], device=options.device, **recipe)


def mnist(options, **recipe):
    """5,000 images of MNIST, or 300 of them."""
    n = 5000 if options.full else 300
    X, y = load_mnist(options.data, return_X_y=True)
    small = {"n_alphas": 2, "n_folds": 2, "epochs": 1}
    recipe = ({"epochs": 5} if options.full else small) | recipe
    X = np.ascontiguousarray(X[:n].reshape(n, 28, 28))
    return Problem("MNIST", X, y[:n].astype(np.int64), device=options.device, **recipe)


def problems(options, **recipe):
    """Yield the problems there are images for."""
    yield digits(options, **recipe)
    if options.data:
        yield mnist(options, **recipe)


def fused(problem, n_jobs=1, **more):
    """Search with the estimator that does it by itself."""
    return L2CNNClassifierCV(
        problem.alphas,
        cv=problem.folds,
        n_jobs=n_jobs,
        **(problem.parameters() | more),
    ).fit(problem.X, problem.y)


def grid(problem, n_jobs=1, scoring=None, **more):
    """Search with GridSearchCV over our classifier."""
    return GridSearchCV(
        L2CNNClassifier(**(problem.parameters() | more)),
        {"alpha": problem.alphas},
        cv=problem.folds,
        scoring=scoring,
        n_jobs=n_jobs,
    ).fit(problem.X, problem.y)


def skorch(problem, n_jobs=1):
    """Search with GridSearchCV over stock skorch, as its documentation shows.

    The images are float32, standardised beforehand. Adam's weight decay, which is what
    is searched, is one on all parameters, biases too: that is its default. Batches come
    in an order of its own.
    """
    from skorch import NeuralNetClassifier

    pixels = problem.X[:, None].astype(np.float32)
    pixels = (pixels - pixels.mean()) / pixels.std()
    net = NeuralNetClassifier(
        problem.network(),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=problem.lr,
        max_epochs=problem.epochs,
        batch_size=problem.batch_size,
        train_split=None,
        iterator_train__shuffle=True,
        device=problem.device,
        verbose=0,
    )
    return GridSearchCV(
        net,
        {"optimizer__weight_decay": problem.alphas},
        cv=problem.folds,
        n_jobs=n_jobs,
    ).fit(pixels, problem.y)


WAYS = {FUSED: fused, GRID: grid, SKORCH: skorch}


# --- speed


def speed(options):
    """Return how many times as fast the search in one fit is as the others."""
    figures = []
    for problem in problems(options):
        figures += one_speed(problem, options)
        _options.show(figures[-4:])
    return figures


def one_speed(problem, options):
    chosen, first = faster_jobs(problem)
    ways = {
        name: partial(way, problem, n_jobs=chosen[name]) for name, way in WAYS.items()
    }
    seconds, found = interleaved(ways, options.repeats, control=FUSED)
    apart, quiet = control_pair(seconds, FUSED)
    size = f"{problem.n_alphas} alphas x {problem.n_folds} folds"
    name = f"{problem.name}, {size}"
    medians = {way: statistics.median(seconds[way]) for way in WAYS}
    jobs = ", ".join(f"{way}: {first[way]}" for way in WAYS)
    wanted = WANTED[problem.name] if options.full else (None, None)
    accuracy = ", ".join(f"{way} {found[way].best_score_:.4f}" for way in WAYS)
    figures = [
        Figure(f"{name}: search, control pair", apart),
        Figure(
            f"{name}: seconds of {FUSED}",
            medians[FUSED],
            note=f"{GRID} {medians[GRID]:.1f}, {SKORCH} {medians[SKORCH]:.1f}; "
            f"first round, seconds with n_jobs 1 and 2: {jobs}",
        ),
    ]
    for way, least in zip((SKORCH, GRID), wanted, strict=True):
        what = (
            f"{name}: {way}, n_jobs={chosen[way]} / {FUSED}, "
            f"n_jobs={chosen[FUSED]} (time)"
        )
        note = f"best mean accuracies: {accuracy}"
        found_ratio = ratio(seconds, way, FUSED)
        figures.append(Figure(what, found_ratio, least, True, quiet, note))
    return figures


def faster_jobs(problem):
    """Return for every way which n_jobs wins a round, and the seconds of both.

    Workers are started before, so that nobody pays for their imports.
    """
    few = problem._replace(n_alphas=2, n_folds=2, epochs=1)
    for way in WAYS.values():
        way(few, n_jobs=2)
    ways = {
        (name, n_jobs): partial(way, problem, n_jobs=n_jobs)
        for name, way in WAYS.items()
        for n_jobs in (1, 2)
    }
    seconds, _ = interleaved(ways, 1)
    chosen, first = {}, {}
    for name in WAYS:
        one, two = seconds[name, 1][0], seconds[name, 2][0]
        chosen[name] = 1 if one <= two else 2
        first[name] = f"{one:.1f} and {two:.1f}"
    return chosen, first


# --- growth


def growth(options):
    """Return what more alphas and folds cost, one process each, and draw it."""
    recipe = {"epochs": 5 if options.full else 1}
    base = digits(options, **recipe)
    sizes = {
        "n_alphas": [2, 4, 8, 16] if options.full else [2, 4],
        "n_folds": [2, 5, 10] if options.full else [2, 4],
    }
    rounds = max(1, options.repeats // 5)
    figures, curves = [], {}
    for field, values in sizes.items():
        for way in WAYS.values():
            way(base._replace(**{field: values[0]}))
        ways = {
            (name, value): partial(way, base._replace(**{field: value}))
            for value in values
            for name, way in WAYS.items()
        }
        seconds, _ = interleaved(ways, rounds)
        for name in WAYS:
            times = [statistics.median(seconds[name, value]) for value in values]
            curves[field, name] = values, times
            steps = [
                f"{value}: {time:.2f} s"
                for value, time in zip(values, times, strict=True)
            ]
            what = (
                f"{name}: seconds with {values[-1]} {field[2:]} / with {values[0]}, "
                f"{_others(field, base)}"
            )
            figures.append(Figure(what, times[-1] / times[0], note=", ".join(steps)))
    draw_growth(curves, base, options.out)
    _options.show(figures)
    return figures


def _others(field, base):
    if field == "n_alphas":
        return f"{base.n_folds} folds"
    return f"{base.n_alphas} alphas"


def draw_growth(curves, base, folder):
    """Draw seconds against the number of alphas and of folds, as alpha_path.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from sklearn_l2cnn.inspection._drawing import line_styles

    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), layout="constrained")
    for ax, field in zip(axes, ("n_alphas", "n_folds"), strict=True):
        for name, style in zip(WAYS, line_styles(len(WAYS)), strict=True):
            values, times = curves[field, name]
            ax.plot(values, times, label=name, **style)
        ax.set_xticks(values)
        ax.set_ylim(bottom=0)
        ax.set_xlabel(f"{field[2:]}, with {_others(field, base)}")
    axes[0].set_ylabel("seconds")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(WAYS), frameon=False
    )
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "alpha_path.png", dpi=110)
    plt.close(figure)
    print(f"picture: {folder / 'alpha_path.png'}", flush=True)


# --- agreement


class Recorder:
    """Accuracy, as a scorer that keeps the predictions it is taken of."""

    def __init__(self):
        self.seen = {}

    def __call__(self, estimator, X, y):
        found = estimator.predict(X)
        fold = zlib.crc32(np.ascontiguousarray(X))
        self.seen[float(estimator.alpha), fold] = found
        return float((found == y).mean())

    def apart(self, other):
        """Return the share of predictions that are not the same."""
        if self.seen.keys() != other.seen.keys():
            raise ValueError("The two searches did not score the same networks.")
        different = [self.seen[key] != other.seen[key] for key in self.seen]
        return float(np.concatenate(different).mean())


class Contiguous(nn.Sequential):
    """A network whose images and weights lie channels first, whatever it is told."""

    def to(self, *args, memory_format=None, **kwargs):
        return super().to(*args, **kwargs) if args or kwargs else self

    def forward(self, X):
        # a clone: of one channel a tensor counts as contiguous in both layouts
        return super().forward(X.clone(memory_format=torch.contiguous_format))


def agreement(options):
    """Return how far the search in one fit is from the same networks one by one."""
    figures = []
    for problem in problems(options):
        seeds = [
            one_agreement(problem._replace(seed=seed))
            for seed in range(5 if options.full else 1)
        ]
        figures += of_seeds(problem, seeds, judged=options.full)
        _options.show(figures[-3:])
    return figures


class Agreement(NamedTuple):
    """How a search compares with GridSearchCV, for one seed.

    Attributes
    ----------
    points : float
        Largest difference of the mean score of an alpha, in points.
    alphas : tuple of float
        Chosen by the one, and by the other.
    tied : bool
        Whether the alphas are the same, or their scores within one standard error.
    apart : float
        Share of the held-out predictions that differ.
    control : float
        The same between two memory layouts, both one by one.
    """

    points: float
    alphas: tuple
    tied: bool
    apart: float
    control: float


def one_agreement(problem):
    recorders = [Recorder(), Recorder(), Recorder()]
    ours = fused(problem, scoring=recorders[0])
    one_by_one = grid(problem, scoring=recorders[1])
    grid(
        problem,
        scoring=recorders[2],
        architecture=Contiguous(*problem.network()),
    )
    results = one_by_one.cv_results_
    means = results["mean_test_score"]
    gap = np.abs(ours.cv_results_["mean_test_score"] - means).max()
    here, there = ours.best_index_, one_by_one.best_index_
    # of a population, as cv_results_ has it, to that of a sample
    error = results["std_test_score"][there] / np.sqrt(problem.n_folds - 1)
    return Agreement(
        points=100 * float(gap),
        alphas=(ours.alpha_, one_by_one.best_params_["alpha"]),
        tied=bool(here == there or means[there] - means[here] <= error),
        apart=recorders[0].apart(recorders[1]),
        control=recorders[2].apart(recorders[1]),
    )


def of_seeds(problem, seeds, judged):
    """Return what all seeds come to."""
    name = f"{problem.name}, {len(seeds)} seeds"
    points = [seed.points for seed in seeds]
    chosen = ", ".join("{:.2g} and {:.2g}".format(*seed.alphas) for seed in seeds)
    apart, control = (
        statistics.mean(getattr(seed, field) for seed in seeds)
        for field in ("apart", "control")
    )
    return [
        Figure(
            f"{name}: largest difference of the mean score of an alpha from "
            f"{GRID}'s, points",
            max(points),
            MOST_POINTS if judged else None,
            False,
            note=", ".join(f"{value:.2f}" for value in points),
        ),
        Figure(
            f"{name}: with the same alpha, or one that ties with it",
            sum(seed.tied for seed in seeds),
            len(seeds) if judged else None,
            note=f"chosen: {chosen}",
        ),
        Figure(
            f"{name}: share of the held-out predictions that differ from {GRID}'s",
            apart,
            MOST_TIMES * control if judged else None,
            False,
            note=f"control, two memory layouts one by one: {control:.5f}",
        ),
    ]


PARTS = {"speed": speed, "growth": growth, "agreement": agreement}


def run(options):
    """Return the figures of the parts that are asked for, and print them."""
    figures = []
    for name, part in PARTS.items():
        if options.task in name:
            figures += part(options)
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
