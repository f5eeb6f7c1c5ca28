"""Is what is learnt in bfloat16 as accurate as what is learnt in float32?

python -m benchmarks.bench_precision --full [--data DIR] [--device DEVICE]
"""

import statistics
from functools import partial

from benchmarks import _options, _tasks
from benchmarks._measure import Figure
from benchmarks._peers import ours
from benchmarks.bench_accuracy import model

SEEDS = range(5)


def run(options):
    """Return the accuracies in both, and print them; where it is emulated, slowly."""
    if not options.full:
        figures = [Figure("bfloat16 and float32", "not run: --full was not given")]
        _options.show(figures)
        return figures
    figures = compared("digits, 20 epochs", digits, options)
    if options.data:
        task = _tasks.mnist(options.data)
        figures += compared("MNIST, 3 epochs", partial(mnist, task), options)
    return figures


def digits(seed, precision, options):
    """Return the test accuracy of two convolutions on digits."""
    recipe = {"width": 8, "epochs": 20, "device": options.device}
    task = _tasks.digits(seed=seed, precision=precision, **recipe)
    return float((ours(task).predict(task.X_test) == task.y_test).mean())


def mnist(task, seed, precision, options):
    """Return the test accuracy of the network that reads MNIST soon."""
    clf = model(seed, options.device).set_params(precision=precision)
    return clf.fit(task.X, task.y).score(task.X_test, task.y_test)


def compared(name, learn, options):
    """Return the accuracies over the seeds, in float32 and in bfloat16."""
    figures = []
    for precision in ("float32", "bfloat16"):
        scores = [learn(seed, precision, options) for seed in SEEDS]
        spread = statistics.stdev(scores)
        note = f"{', '.join(f'{score:.4f}' for score in scores)}; spread {spread:.4f}"
        what = f"{name}, mean test accuracy of {len(scores)} seeds, {precision}"
        figures.append(Figure(what, statistics.mean(scores), note=note))
        _options.show(figures[-1:])
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
