"""How much sooner do two ranks train a network than one, with one thread each?

python -m benchmarks.bench_ranks [--full] [--data DIR] [--repeats N]

Two ranks are started once. In every round the first fits by itself while the other
waits, twice; then both fit together; then each fits by itself at the same time, which
says what the two cores of the machine give at best. Seconds are those of the clock;
processor seconds are told beside them, as cores are shared with others. All fits must
come to the same bits.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch

from benchmarks import _options, _tasks
from benchmarks._measure import CONTROL, Figure, control_pair, ratio, turns
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._estimator import fitting
from sklearn_l2cnn._training.ranks import ALONE, ranks_of_process
from sklearn_l2cnn._utils.identity import identity

LEAST = 1.7
ONE, TWO, BOTH = "one rank", "two ranks", "one rank on each core"


def run(options):
    """Return the figures, and print them as they come."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"),
            *("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"),
            *(
                "--master-addr=127.0.0.1",
                "-m",
                "benchmarks.bench_ranks",
                "--out",
                folder,
            ),
            *(
                "--repeats",
                str(options.repeats),
                "--full" if options.full else "--quick",
            ),
            *(("--data", options.data) if options.data else ()),
        ]
        here = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        subprocess.run(command, check=True, env={**os.environ, **here})
        found = [
            json.loads(path.read_text()) for path in sorted(Path(folder).iterdir())
        ]
    (seconds, work, bits), (_, other, of_other) = found
    bits = {*bits, *of_other}
    apart, quiet = control_pair(seconds, ONE)
    together = [max(pair) for pair in zip(work[TWO], other[TWO], strict=True)]
    name = f"{'MNIST' if options.data else 'synthetic'} 28x28, plain"
    figures = [
        Figure(f"{name}: control pair", apart),
        Figure(
            f"{name}: seconds of one rank / of two",
            ratio(seconds, ONE, TWO),
            LEAST,
            quiet=quiet,
        ),
        Figure(
            f"{name}: processor seconds of one rank / of each of two",
            ratio({ONE: work[ONE], TWO: together}, ONE, TWO),
            LEAST,
        ),
        Figure(
            f"{name}: what two cores give at best",
            ratio({BOTH: [2 * s for s in seconds[ONE]], ONE: seconds[BOTH]}, BOTH, ONE),
        ),
        Figure(f"{name}: different bits", len(bits) - 1, 0, False),
    ]
    _options.show(figures)
    return figures


def rank(options):
    """Take part in the rounds; write the times of this rank."""
    torch.set_num_threads(1)
    n = 60_000 if options.full else 6_000
    if options.data:
        task = _tasks.mnist(options.data, n)
    else:
        task = _tasks.synthetic(n, 28, n_test=1)
    clf = L2CNNClassifier(
        batch_size=128, max_epochs=1, random_state=0, device="cpu", threads=1
    )
    ranks = ranks_of_process()

    def alone():
        with mock.patch.object(fitting, "ranks_of_process", lambda: ALONE):
            return clf.fit(task.X, task.y)

    def first_alone():
        return alone() if ranks.is_first else None

    ways = {
        ONE: first_alone,
        CONTROL: first_alone,
        TWO: lambda: clf.fit(task.X, task.y),
        BOTH: alone,
    }
    seconds, work, bits = {name: [] for name in ways}, {name: [] for name in ways}, []
    for name in [TWO, ONE, *turns(ways, options.repeats)]:
        ranks.agree()  # a rank that has nothing to do waits here
        start, before = time.perf_counter(), time.process_time()
        done = ways[name]()
        work[name].append(time.process_time() - before)
        ranks.agree()
        seconds[name].append(time.perf_counter() - start)
        if done is not None:
            bits.append(identity(dict(done.module_.state_dict())))
    for times in (seconds, work):  # the first of two are warming up
        del times[TWO][0], times[ONE][0]
    (options.out / f"{ranks.rank}.json").write_text(json.dumps([seconds, work, bits]))


if __name__ == "__main__":
    chosen = _options.parse(__doc__)
    (run if ranks_of_process() is ALONE else rank)(chosen)
