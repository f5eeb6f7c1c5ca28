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
from functools import partial

from benchmarks import _options
from benchmarks._agreement import agreement
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from benchmarks._searches import FUSED, GRID, SKORCH, WAYS, digits, problems

# Times as fast as the best stock search of skorch, and as GridSearchCV of our own
# estimator, that are wanted.
WANTED = {"digits": (4.0, 1.5), "MNIST": (2.5, None)}


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

    from sklearn_l2cnn.inspection._drawing import line_style

    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), layout="constrained")
    for ax, field in zip(axes, ("n_alphas", "n_folds"), strict=True):
        for k, name in enumerate(WAYS):
            values, times = curves[field, name]
            ax.plot(values, times, label=name, **line_style(k))
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
