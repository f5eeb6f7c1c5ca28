"""Is any network, whoever wrote it, as fast as a loop that is tuned by hand?

python -m benchmarks.bench_networks [--quick | --full] [--task NAME] [--device DEVICE]

Even with ``--quick`` all networks take ten minutes on two cores, four of them the
resnet18 of small images; ``python -m benchmarks --quick`` leaves them out.
"""

import resource
import time

import numpy as np

from benchmarks import _options, _tasks
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from benchmarks._networks import NETWORKS
from benchmarks.bench_speed import CLOSE, fits, same_curve

# name: side, width, batch size, images, epochs; and what is wanted: fit over the tuned
# loop and over stock skorch, prediction over the tuned loop
_SMALL, _LARGE, _FOLDED = (1.05, 0.75, 1.05), (1.05, 1.0, 1.05), (1.05, 1.0, 0.85)
TASKS = {
    "sequence": (28, 16, 128, 4096, 2, _SMALL),
    "functional forward": (28, 16, 128, 4096, 2, _SMALL),
    "wrapped sequence": (28, 8, 64, 4096, 2, _SMALL),
    "batch norm": (28, 16, 128, 4096, 1, (1.05, 0.75, 0.85)),
    "resnet18, small stem": (28, 0, 64, 256, 1, _FOLDED),
    "timm resnet18": (32, 0, 64, 1024, 1, _FOLDED),
    "mobilenet_v3_small": (32, 0, 64, 1024, 1, _FOLDED),
    "ViT": (28, 0, 64, 1024, 1, _LARGE),
}
# Small networks predict so many images in half a second, the largest so many.
N_TEST, N_TEST_OF_RESNET = 8000, 512


def run(options):
    """Return the figures of every network, and print them as they come."""
    figures = []
    for name, (side, width, batch_size, n, epochs, wanted) in TASKS.items():
        if name in NETWORKS and options.task in name:
            task = _tasks.synthetic(
                n * (3 if options.full else 1),
                side,
                width=width,
                batch_size=batch_size,
                epochs=epochs,
                n_test=N_TEST_OF_RESNET if "resnet18, " in name else N_TEST,
                device=options.device,
                build=NETWORKS[name],
            )
            figures += one_network(name, task, wanted, options)
    return figures


def one_network(name, task, wanted, options):
    """Compare training and prediction with one network."""
    seconds, trained = fits(task, CLOSE, options.repeats)
    apart, quiet = control_pair(seconds, "tuned loop")
    found = ratio(seconds, "ours", "tuned loop")
    note = same_curve(trained)
    figures = [
        Figure(f"{name}: fit, control pair", apart),
        Figure(f"{name}: fit, ours / tuned loop", found, wanted[0], False, quiet, note),
    ]
    found = ratio(seconds, "ours", "stock skorch")
    what = f"{name}: fit, ours / stock skorch"
    figures.append(Figure(what, found, wanted[1], False, quiet))
    found = processor_time(task)
    figures.append(Figure(f"{name}: fit, processor time / time", found))
    _options.show(figures)
    return figures + predictions(name, task, trained, wanted[2], options)


def processor_time(task):
    """Return how many processors a fit of ours keeps busy."""
    from benchmarks._peers import ours

    start = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    ours(task)
    end = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    used = sum(
        getattr(end[1], kind) - getattr(start[1], kind)
        for kind in ("ru_utime", "ru_stime")
    )
    return used / (end[0] - start[0])


def predictions(name, task, trained, wanted, options):
    """Compare the predictions of one network."""
    X = task.X_test
    ways = {peer: (lambda peer=peer: trained[peer].predict(X)) for peer in CLOSE}
    seconds, labels = interleaved(ways, options.repeats, control="tuned loop")
    apart, quiet = control_pair(seconds, "tuned loop")
    found = ratio(seconds, "ours", "tuned loop")
    same = np.mean(labels["ours"] == labels["tuned loop"])
    note = f"{same:.4f} of the labels agree"
    figures = [
        Figure(f"{name}: predict, control pair", apart),
        Figure(
            f"{name}: predict, ours / tuned loop", found, wanted, False, quiet, note
        ),
        Figure(
            f"{name}: predict, stock skorch / ours",
            ratio(seconds, "stock skorch", "ours"),
        ),
    ]
    _options.show(figures)
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
