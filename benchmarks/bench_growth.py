"""How does the cost of `fit` grow with images, epochs, size, batch, width, candidates?

python -m benchmarks.bench_growth [--quick | --full] [--device DEVICE]
"""

import statistics

import numpy as np
from sklearn.model_selection import GridSearchCV

from benchmarks import _options, _peers, _tasks
from benchmarks._measure import Figure, interleaved
from sklearn_l2cnn import L2CNNClassifier


def fits(options):
    """Yield what grows, its values, and what to run for a value."""
    top = 12000 if options.full else 1600
    base = {"width": 8, "batch_size": 64, "epochs": 1, "device": options.device}

    def synthetic(n=600, side=16, **recipe):
        task = _tasks.synthetic(n, side, **(base | recipe))
        return lambda: _peers.ours(task)

    sizes = [top // 8, top // 4, top // 2, top]
    yield "images", sizes, lambda n: synthetic(n=n)
    yield "epochs", [1, 2, 4, 8], lambda epochs: synthetic(epochs=epochs)
    yield "pixels of a side", [8, 16, 32], lambda side: synthetic(side=side)
    yield "width", [8, 16, 32], lambda width: synthetic(width=width)
    yield "batch", [16, 64, 256], lambda rows: synthetic(batch_size=rows)
    yield "alphas", [1, 2, 4], lambda n_alphas: search(options, n_alphas, 2)
    yield (
        "folds",
        [2, 4, 8] if options.full else [2, 4],
        lambda n_folds: search(options, 1, n_folds),
    )


def search(options, n_alphas, n_folds):
    task = _tasks.synthetic(400, 8, width=8, batch_size=64, epochs=2)
    model = L2CNNClassifier(
        architecture=task.network(), max_epochs=2, random_state=0, device=options.device
    )
    alphas = list(np.logspace(-5, -2, n_alphas))
    grid = GridSearchCV(model, {"alpha": alphas}, cv=n_folds, refit=False)
    return lambda: grid.fit(task.X, task.y)


def exponent(values, seconds):
    """Return the slope of the least-squares line through the logarithms."""
    return float(np.polyfit(np.log(values), np.log(seconds), 1)[0])


def run(options):
    """Return the exponents, and print them."""
    figures = []
    for what, values, make in fits(options):
        ways = {value: make(value) for value in values}
        next(iter(ways.values()))()
        rounds = 7 if options.full else 2
        seconds, _ = interleaved(ways, rounds)
        times = [statistics.median(seconds[value]) for value in values]
        wanted = 1.05 if what in ("images", "epochs") else None
        steps = ", ".join(
            f"{value}: x{time / times[0]:.2f}"
            for value, time in zip(values, times, strict=True)
        )
        figures.append(
            Figure(
                f"growth of fit with the {what}, exponent",
                exponent(values, times),
                wanted,
                False,
                note=steps,
            )
        )
        _options.show(figures[-1:])
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
