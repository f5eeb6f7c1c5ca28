"""What does the first fit of a process cost more than the second?

python -m benchmarks.bench_first [--quick | --full] [--device DEVICE]
"""

import statistics

from benchmarks import _options
from benchmarks._measure import Figure, in_new_process

CODE = """
import time
import torch, skorch, sklearn_l2cnn
from benchmarks import _peers, _tasks
task = _tasks.digits(width=8, epochs=2, device={device!r})
for _ in range(2):
    start = time.perf_counter()
    _peers.PEERS[{peer!r}](task)
    print(time.perf_counter() - start)
"""


def run(options):
    """Return what the first fit costs more, and print it."""
    figures = []
    rounds = {"ours": [], "tuned loop": []}
    for _ in range(5 if options.full else 1):
        for peer, values in rounds.items():
            code = CODE.format(peer=peer, device=options.device)
            values.append(in_new_process(code))
    for peer, values in rounds.items():
        more = [first - second for first, second in values]
        note = f"{min(more):.3f} to {max(more):.3f}"
        what = f"first fit of a process over the second, {peer}, seconds"
        figures.append(Figure(what, statistics.median(more), note=note))
    _options.show(figures)
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
