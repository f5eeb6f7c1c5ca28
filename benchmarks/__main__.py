"""Run the benchmarks, print what was seen, and write it as JSON and as a picture.

python -m benchmarks --quick              under three minutes on two cores
python -m benchmarks --full --data DIR    everything, on MNIST and CIFAR-10 too
"""

import sys
import time

from benchmarks import (
    _options,
    _report,
    bench_accuracy,
    bench_extraction,
    bench_features,
    bench_first,
    bench_growth,
    bench_images,
    bench_import,
    bench_keras,
    bench_latency,
    bench_layers,
    bench_memory,
    bench_path,
    bench_precision,
    bench_pruning,
    bench_speed,
)

BENCHMARKS = {
    "speed": bench_speed,
    "keras": bench_keras,
    "layers": bench_layers,
    "accuracy": bench_accuracy,
    "precision": bench_precision,
    "memory": bench_memory,
    "import": bench_import,
    "first": bench_first,
    "latency": bench_latency,
    "growth": bench_growth,
    "images": bench_images,
    "features": bench_features,
    "extraction": bench_extraction,
    "path": bench_path,
    "pruning": bench_pruning,
}


def main():
    parser = _options.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=[*BENCHMARKS])
    options = _options.completed(parser.parse_args())
    start = time.perf_counter()
    figures = []
    for name in options.only:
        print(f"\n== {name}: {BENCHMARKS[name].__doc__.splitlines()[0]}", flush=True)
        begin = time.perf_counter()
        figures += BENCHMARKS[name].run(options)
        print(f"({time.perf_counter() - begin:.0f} s)", flush=True)
    _report.write(figures, options, time.perf_counter() - start)
    return 0


if __name__ == "__main__":
    sys.exit(main())
