"""What does it cost to keep the state of a training after every epoch?

python -m benchmarks.bench_checkpoint [--data FOLDER] [--repeats N]

Twenty epochs of 5,000 images of MNIST, or of synthetic ones where there is no folder,
with a checkpoint and without; every fit with a checkpoint has a folder of its own. The
time of a whole fit says little on a noisy machine; so what the fit waits for is told as
well, and what the thread that writes computes meanwhile, as parts of the time of a fit.
"""

import itertools
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from sklearn.base import clone

from benchmarks import _options, _tasks
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training.checkpoint import Checkpoint

MOST = 1.03


def run(options):
    """Return the figures, and print them as they come."""
    if options.data:
        task = _tasks.mnist(options.data, 5000)
    else:
        task = _tasks.synthetic(5000, 28, n_test=1)
    figures = []
    for name in ("plain", "two_conv"):
        if options.task in name:
            figures += cost(name, task, options)
    return figures


def cost(name, task, options):
    """Compare fits of a network with checkpoints and without."""
    numbers = itertools.count()
    clf = L2CNNClassifier(
        architecture=name, max_epochs=20, random_state=0, device=options.device
    )
    with tempfile.TemporaryDirectory() as folder, clocks() as spent:

        def kept():
            own = Path(folder) / str(next(numbers))
            clone(clf).set_params(checkpoint=own).fit(task.X, task.y)

        ways = {"without": lambda: clf.fit(task.X, task.y), "with": kept}
        seconds, _ = interleaved(ways, options.repeats, control="without")
    apart, quiet = control_pair(seconds, "without")
    value, whole = ratio(seconds, "with", "without"), sum(seconds["with"])
    what = f"{name}: a fit of 20 epochs with a checkpoint"
    figures = [
        Figure(f"{what}, control pair", apart),
        Figure(f"{what}, over one without", value, MOST, at_least=False, quiet=quiet),
        *(
            Figure(f"{what}: {part}", number / whole, MOST - 1, at_least=False)
            for part, number in spent.items()
        ),
    ]
    _options.show(figures)
    return figures


@contextmanager
def clocks():
    """Yield the seconds that fits wait for checkpoints, and the writer computes."""
    spent = {"waits for it": 0.0, "the writer computes": 0.0}
    begins, ends, writes = Checkpoint.write, Checkpoint.close, Checkpoint._write

    def clocked(method, name, clock):
        def call(*arguments):
            start = clock()
            try:
                return method(*arguments)
            finally:
                spent[name] += clock() - start

        return call

    Checkpoint.write = clocked(begins, "waits for it", time.perf_counter)
    Checkpoint.close = clocked(ends, "waits for it", time.perf_counter)
    Checkpoint._write = clocked(writes, "the writer computes", time.thread_time)
    try:
        yield spent
    finally:
        Checkpoint.write, Checkpoint.close, Checkpoint._write = begins, ends, writes


if __name__ == "__main__":
    run(_options.parse(__doc__))
