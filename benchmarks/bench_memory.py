"""How much memory does a fit take at its peak, and the tuned loop? A process each.

python -m benchmarks.bench_memory [--quick | --full]
"""

import statistics

from benchmarks import _options
from benchmarks._measure import Figure, Ratio, in_new_process

CODE = """
from benchmarks import _peers, _tasks
from benchmarks._measure import memory
small = _tasks.synthetic(500, 28, width=8, batch_size=128, epochs=1)
task = _tasks.synthetic({n}, 28, width=8, batch_size=128, epochs=1)
_peers.PEERS[{peer!r}](small)  # libraries are loaded, threads are there

before = memory("VmRSS")
_peers.PEERS[{peer!r}](task)
print(before / 2**20, memory() / 2**20)
"""


def run(options):
    """Return the ratios of the peaks, and print them."""
    n = 60_000 if options.full else 6_000
    peaks = {"ours": [], "tuned loop": []}
    for _ in range(3 if options.full else 1):
        for peer, values in peaks.items():
            values.append(in_new_process(CODE.format(peer=peer, n=n)))
    # with torch and all libraries; and what the fit itself took
    whole = {peer: [peak for _, peak in values] for peer, values in peaks.items()}
    added = {peer: [b - a for a, b in values] for peer, values in peaks.items()}
    what = f"peak memory of a fit on {n} images of 28x28, ours / tuned loop"
    figures = [
        _figure(f"{what}, of the process", whole),
        _figure(f"{what}, above what was in use", added),
    ]
    _options.show(figures)
    return figures


def _figure(what, sizes):
    pairs = [a / b for a, b in zip(sizes["ours"], sizes["tuned loop"], strict=True)]
    found = Ratio(statistics.median(pairs), min(pairs), max(pairs))
    seen = {peer: round(statistics.median(values)) for peer, values in sizes.items()}
    return Figure(what, found, 1.2, False, note=f"MiB: {seen}")


if __name__ == "__main__":
    run(_options.parse(__doc__))
