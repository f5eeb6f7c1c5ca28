"""Run the benchmarks, print what was seen, and write it as JSON and as a picture.

python -m benchmarks --quick              all but those that take minutes each
python -m benchmarks --full --data DIR    everything, on MNIST and CIFAR-10 too
python -m benchmarks --only NAME ...      some of them, the long ones too
"""

import sys
import time

from benchmarks import (
    _options,
    _report,
    bench_accuracy,
    bench_classifiers,
    bench_cluster,
    bench_epochs,
    bench_extraction,
    bench_features,
    bench_files,
    bench_first,
    bench_growth,
    bench_images,
    bench_import,
    bench_keras,
    bench_latency,
    bench_layers,
    bench_memory,
    bench_networks,
    bench_onnx,
    bench_path,
    bench_patience,
    bench_precision,
    bench_pruning,
    bench_ranks,
    bench_search,
    bench_speed,
    bench_streaming,
)

BENCHMARKS = {
    "speed": bench_speed,
    "keras": bench_keras,
    "networks": bench_networks,
    "layers": bench_layers,
    "accuracy": bench_accuracy,
    "classifiers": bench_classifiers,
    "cluster": bench_cluster,
    "epochs": bench_epochs,
    "patience": bench_patience,
    "precision": bench_precision,
    "memory": bench_memory,
    "import": bench_import,
    "first": bench_first,
    "latency": bench_latency,
    "growth": bench_growth,
    "images": bench_images,
    "features": bench_features,
    "files": bench_files,
    "extraction": bench_extraction,
    "path": bench_path,
    "pruning": bench_pruning,
    "ranks": bench_ranks,
    "search": bench_search,
    "onnx": bench_onnx,
    "streaming": bench_streaming,
}
# processes of a cluster or a job, and those that load TensorFlow; a resnet18; all named
# networks; large files, and many; a search in processes
LONG = {
    *("cluster", "files", "keras", "networks", "onnx", "ranks", "search", "streaming")
}


def main():
    parser = _options.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS)
    options = _options.completed(parser.parse_args())
    start = time.perf_counter()
    figures = []
    for name in chosen(options):
        print(f"\n== {name}: {BENCHMARKS[name].__doc__.splitlines()[0]}", flush=True)
        begin = time.perf_counter()
        figures += BENCHMARKS[name].run(options)
        print(f"({time.perf_counter() - begin:.0f} s)", flush=True)
    _report.write(figures, options, time.perf_counter() - start)
    return 0


def chosen(options):
    """Return the names that were asked for, or all that there is time for."""
    if options.only is not None:
        return options.only
    return [name for name in BENCHMARKS if options.full or name not in LONG]


if __name__ == "__main__":
    sys.exit(main())
