"""What images of a memory map take: peaks of memory, and throughput.

python -m benchmarks.bench_streaming [--full] [--task NAME]

Tasks are memory, speed and search.

Memory, the peak of a new process with all that it imports: a fit of one epoch, and
predictions, of memory maps of noise (bars mark the classes) and of JPEGs of 128 pixels.
``--full`` takes maps of 6 GB (28 x 28 x 1 and 224 x 224 x 3) and 20,000 files; the
network is one convolution of large stride, as it is the images that count, and the size
of a batch is the default. A floor is what the same takes on a few images in memory.
Bits are compared on the first images, as many as fit into memory, with what is learnt
from these in memory.

Speed: epochs of images of a map that is in the page cache against the same in memory.
Search: the private memory of the workers of ``GridSearchCV(n_jobs=2)`` over a map of 2
GB with ``--full``.
"""

import textwrap
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import _options
from benchmarks._measure import Figure, in_new_process
from benchmarks._stored import (
    BATCH,
    SIDE,
    fitted,
    labels,
    mapped,
    throughput,
    write_files,
    write_map,
)
from benchmarks._tasks import two_convolutions

GB = 10**9
SHAPES = (28, 28, 1), (224, 224, 3)


# -- memory ---------------------------------------------------------------------------


MEMORY = """
import numpy as np
from benchmarks._measure import memory
from benchmarks._stored import labels, mapped, model, read_lazily

lazy, n_few = {source}
y = labels(len(lazy))
few = np.asarray(lazy[:64])
model().fit(few, y[:64]).predict(few)
floor = memory()
clf = model(batch_size="auto").fit(lazy, y)
fitted = memory()
clf.predict(lazy)
print(floor, fitted, memory())
"""

BITS = """
import numpy as np
from benchmarks._stored import labels, left_where_they_are, mapped, model, read_lazily

lazy, n_few = {source}
y = labels(n_few)
lazy = lazy[:n_few]
with left_where_they_are():
    found = model().fit(lazy, y)
    same = [np.array_equal(found.predict_proba(lazy[:1000]), found.predict_proba(
        np.asarray(lazy[:1000])))]
    inside = model().fit(np.asarray(lazy), y)
pairs = zip(found.module_.parameters(), inside.module_.parameters())
same += [one.equal(other) for one, other in pairs]
print(int(all(same)))
"""


def of_memory(name, source):
    """Return the peaks of a process that fits and predicts, and whether bits agree."""
    floor, fitted, predicted = in_new_process(MEMORY.format(source=source))
    note = f"{floor / GB:.3f} on a few images in memory, all imports included"
    [same] = in_new_process(BITS.format(source=source))
    return [
        Figure(f"{name}: peak of a fit, GB", fitted / GB, 1.0, False, note=note),
        Figure(f"{name}: peak of a fit and predict, GB", predicted / GB, 1.0, False),
        Figure(f"{name}: the same bits as in memory, on a part", same, 1.0),
    ]


def memory_of_all(options, folder):
    """Return the peaks of memory maps and of files."""
    size, n_files = (6 * GB, 20_000) if options.full else (GB // 8, 300)
    figures = []
    for shape in SHAPES:
        path, n = f"{folder}/images", size // int(np.prod(shape))
        write_map(path, n, shape)
        n_few = 10_000 if shape[0] < 100 else 300
        source = f"mapped({path!r}, {shape}, {n_few})"
        name = f"{n:,} images of {'x'.join(map(str, shape))} in a memory map"
        figures += of_memory(name, source)
        Path(path).unlink()
    write_files(folder, n_files)
    name = f"{n_files:,} JPEG paths of {SIDE}x{SIDE}"
    figures += of_memory(name, f"read_lazily({folder!r}, 500)")
    return figures


# -- speed ----------------------------------------------------------------------------


def speed(options, folder):
    """Return the throughput of images of a map over that of the same in memory."""
    n = 60_000 if options.full else 4_000
    write_map(f"{folder}/images", n, SHAPES[0])
    lazy, _ = mapped(f"{folder}/images", SHAPES[0], n)
    inside, y, figures = np.asarray(lazy), labels(n), []
    for name, network in (("plain", "plain"), ("two convolutions", two_small)):
        figures += throughput(
            f"{n:,} images of 28x28 in a map / in memory, {name}",
            partial(fitted, inside, y, architecture=network),
            partial(fitted, lazy, y, architecture=network),
            options.repeats,
            wanted=0.9,
        )
    Path(f"{folder}/images").unlink()
    return figures


def two_small(input_shape, n_classes):
    """Build two convolutions of width 8."""
    channels, height, width = input_shape
    return two_convolutions((height, width, channels), 8)


# -- a search in processes ------------------------------------------------------------


SEARCH = """
import glob, os, threading
import numpy as np
from sklearn.model_selection import GridSearchCV
from benchmarks._stored import labels, mapped, model

def private():
    # bytes of children that no other process has
    found = [0]
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                stat = file.read()
            parent = int(stat.rpartition(")")[2].split()[1])
            if parent == os.getpid():
                with open(path.replace("/stat", "/smaps_rollup")) as file:
                    lines = [line.split() for line in file if "Private_" in line]
                found.append(sum(1024 * int(line[1]) for line in lines))
        except OSError:
            continue
    return max(found)

peak, done = [0], threading.Event()
def watch():
    while not done.wait(0.05):
        peak.append(private())

lazy, n_few = {source}
y = labels(len(lazy))
def search(X, y):
    grid = {{"alpha": [1e-4, 1e-2]}}
    clf = model()
    GridSearchCV(clf, grid, cv=2, n_jobs=2, refit=False).fit(X, y)
thread = threading.Thread(target=watch, daemon=True)
thread.start()
search(np.asarray(lazy[:n_few]), y[:n_few])
few = max(peak)
peak.clear()
peak.append(private())
search(lazy, y)
done.set()
thread.join()
print(few, max(peak))
"""


def search_code(source):
    """Return code that prints the private memory of a worker: of few images, of all."""
    return SEARCH.format(source=source)


def search(options, folder):
    """Return by how much the private memory of a worker grows with the images."""
    size = 2 * GB if options.full else GB // 8
    path, shape = f"{folder}/images", SHAPES[1]
    write_map(path, size // int(np.prod(shape)), shape)
    source = f"mapped({path!r}, {shape}, {2 * BATCH})"
    few, all_of_it = in_new_process(search_code(source))
    Path(path).unlink()
    note = f"{all_of_it / GB:.3f} GB, {few / GB:.3f} GB in a search on few images"
    what = f"GridSearchCV(n_jobs=2) over a map of {size / GB:g} GB"
    found = (all_of_it - few) / size
    return [
        Figure(
            f"{what}: private memory of a worker above that, of the map",
            *(found, 0.25, False),
            note=note,
        )
    ]


TASKS = {"memory": memory_of_all, "speed": speed, "search": search}


def run(options):
    """Return the figures of all, and print them."""
    return _options.run_tasks(TASKS, options)


if __name__ == "__main__":
    run(_options.parse(textwrap.dedent(__doc__)))
