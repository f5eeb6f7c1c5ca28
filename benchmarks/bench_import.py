"""What does the import cost beyond torch and skorch? One process a sample, in turn.

python -m benchmarks.bench_import [--quick | --full]
"""

import statistics

from benchmarks import _options
from benchmarks._measure import Figure, in_new_process

CODE = """
import time
import torch, skorch
start = time.perf_counter()
import {package}
print(time.perf_counter() - start)
"""


def run(options):
    """Return the median, and print it."""
    times = {"sklearn_l2cnn": [], "skorch": []}  # skorch again: nothing, the control
    for k in range(11 if options.full else 2):
        for package in list(times)[:: 1 if k % 2 else -1]:
            times[package] += in_new_process(CODE.format(package=package))
    figures = []
    for package, values in times.items():
        wanted = 0.1 if package == "sklearn_l2cnn" else None
        figures.append(
            Figure(
                f"import {package} after torch and skorch, seconds",
                statistics.median(values),
                wanted,
                False,
                note=f"{min(values):.4f} to {max(values):.4f}",
            )
        )
    _options.show(figures)
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
