"""What images that are not in memory take: peaks of memory, and throughput.

python -m benchmarks.bench_streaming [--full] [--task NAME]

Tasks are memory, speed, files, search and rates.

Memory, the peak of a new process with all that it imports: a fit of one epoch, and
predictions, of memory maps of noise (bars mark the classes) and of JPEGs of 128 pixels.
``--full`` takes maps of 6 GB (28 x 28 x 1 and 224 x 224 x 3) and 20,000 files; the
network is one convolution of large stride, as it is the images that count. A floor is
what the same takes on a few images in memory. Bits are compared on the first images,
as many as fit into memory, with what is learnt from these in memory.

Speed: epochs of images of a map that is in the page cache against the same in memory.
Files: epochs of JPEG paths against a loop with a DataLoader of two workers (the same
network, batches, optimizer and decoded size), and both with what goes before the first.
Search: the private memory of the workers of ``GridSearchCV(n_jobs=2)`` over a map of 2
GB with ``--full``.
Rates: what a second of one processor does, which docs/scaling.md calculates with.
"""

import statistics
import tempfile
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn

from benchmarks import _options
from benchmarks._measure import (
    CONTROL,
    Figure,
    control_pair,
    in_new_process,
    interleaved,
    ratio,
)
from benchmarks._tasks import two_convolutions
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._data import images as _images
from sklearn_l2cnn._data.canonical import survey
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn.datasets import LazyImages
from sklearn_l2cnn.preprocessing import ImageReader

GB = 10**9
N_CLASSES = 10
SHAPES = (28, 28, 1), (224, 224, 3)
SIDE, BATCH = 128, 128


# -- images ---------------------------------------------------------------------------


def noise(n, shape, rng):
    """Make images of noise, all different, with a bright bar where the class is."""
    values = np.frombuffer(bytearray(rng.bytes(n * int(np.prod(shape)))), np.uint8)
    images = values.reshape(n, *shape)
    images >>= 1
    height = shape[0] // N_CLASSES
    for label in range(N_CLASSES):
        images[label::N_CLASSES, label * height : (label + 1) * height] += 100
    return images


def write_map(path, n, shape):
    """Write a file of images of noise; the labels follow from the rows."""
    rng = np.random.default_rng(0)
    step = N_CLASSES * max(1, (1 << 25) // int(np.prod(shape)) // N_CLASSES)
    with open(path, "wb") as file:
        for start in range(0, n, step):
            file.write(noise(min(step, n - start), shape, rng))


def labels(n):
    """Return the labels of images of noise, a byte each."""
    return np.resize(np.arange(N_CLASSES, dtype=np.uint8), n)


def write_files(folder, n, side=SIDE):
    """Write JPEGs of smooth noise, all different; return their paths."""
    rng = np.random.default_rng(0)
    paths = []
    for k in range(n):
        small = noise(N_CLASSES, (12, 12, 3), rng)[k % N_CLASSES]
        paths.append(f"{folder}/{k:05d}.jpg")
        Image.fromarray(small).resize((side, side)).save(paths[-1], quality=90)
    return paths


def strided(input_shape, n_classes):
    """Build a network of few multiplications, for images of any size."""
    channels, height, _ = input_shape
    stride = max(7, height // 14)
    side = (height - 7) // stride + 1
    return nn.Sequential(
        nn.Conv2d(channels, 4, 7, stride=stride),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * side**2, n_classes),
    )


def model(**parameters):
    """Return a classifier for one epoch."""
    usual = {"architecture": strided, "max_epochs": 1, "batch_size": BATCH}
    return L2CNNClassifier(random_state=0, **{**usual, **parameters})


# -- memory ---------------------------------------------------------------------------


MEMORY = """
import numpy as np
from benchmarks._measure import memory
from benchmarks.bench_streaming import labels, mapped, model, read_lazily

lazy, n_few = {source}
y = labels(len(lazy))
few = np.asarray(lazy[:64])
model().fit(few, y[:64]).predict(few)
floor = memory()
clf = model(batch_size=2048).fit(lazy, y)
fitted = memory()
clf.predict(lazy)
print(floor, fitted, memory())
"""

BITS = """
import numpy as np
from benchmarks.bench_streaming import labels, left_where_they_are, mapped, model
from benchmarks.bench_streaming import read_lazily

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


def mapped(path, shape, n_few):
    """Return the images of a file, and how many of them fit into memory."""
    images = np.memmap(path, np.uint8, "r").reshape(-1, *shape)
    return LazyImages(images), min(n_few, len(images))


def read_lazily(folder, n_few):
    """Return the images of JPEGs, and how many of them fit into memory."""
    paths = sorted(map(str, Path(folder).glob("*.jpg")))
    images = ImageReader(SIDE, lazy=True).fit_transform(paths)
    return images, min(n_few, len(images))


@contextmanager
def left_where_they_are():
    """Let images that are not in memory stay where they are, however few."""
    before, _images._IN_MEMORY = _images._IN_MEMORY, 0
    try:
        yield
    finally:
        _images._IN_MEMORY = before


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


class Epochs(Callback):
    """Take the time of every epoch."""

    def on_train_begin(self, net, **kwargs):
        self.seconds = []

    def on_epoch_begin(self, net, **kwargs):
        self.start = time.perf_counter()

    def on_epoch_end(self, net, **kwargs):
        self.seconds.append(time.perf_counter() - self.start)


def speed(options, folder):
    """Return the throughput of images of a map over that of the same in memory."""
    n = 60_000 if options.full else 4_000
    write_map(f"{folder}/images", n, SHAPES[0])
    lazy, _ = mapped(f"{folder}/images", SHAPES[0], n)
    inside, y = np.asarray(lazy), labels(n)
    figures = []
    for name, network in (("plain", "plain"), ("two convolutions", two_small)):
        epochs, fits = {}, {}
        ways = {"memory": inside, CONTROL: inside, "map": lazy}
        for k in range(options.repeats):
            for way in ways if k % 2 == 0 else list(ways)[::-1]:
                clf = model(architecture=network, callbacks=[Epochs()])
                start = time.perf_counter()
                with left_where_they_are():
                    clf.fit(ways[way], y)
                fits.setdefault(way, []).append(time.perf_counter() - start)
                epochs.setdefault(way, []).append(sum(clf.callbacks[0].seconds))
        apart, quiet = control_pair(epochs, "memory")
        what = f"{n:,} images of 28x28 in a map / in memory, {name}"
        found = ratio(epochs, "memory", "map")
        note = f"control pair {apart}"
        figures += [
            Figure(f"{what}: throughput of epochs", found, 0.9, True, quiet, note),
            Figure(f"{what}: of a fit of one epoch", ratio(fits, "memory", "map")),
        ]
    Path(f"{folder}/images").unlink()
    return figures


def two_small(input_shape, n_classes):
    """Build two convolutions of width 8."""
    channels, height, width = input_shape
    return two_convolutions((height, width, channels), 8)


# -- files ----------------------------------------------------------------------------


class Files(torch.utils.data.Dataset):
    """JPEGs as tensors, as a data set of torchvision decodes them."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, row):
        with Image.open(self.paths[row]) as image:
            pixels = np.array(image.convert("RGB"))
        return torch.from_numpy(pixels), row % N_CLASSES


def loop(paths, n_epochs):
    """Train with a DataLoader of two workers; return the seconds of the epochs."""
    torch.manual_seed(0)
    network = files_network((3, SIDE, SIDE), N_CLASSES)
    network = network.to(memory_format=torch.channels_last)
    step = torch.optim.Adam(network.parameters(), fused=True)
    loader = torch.utils.data.DataLoader(
        Files(paths), BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    criterion, seconds = nn.CrossEntropyLoss(), []
    for _ in range(n_epochs):
        start = time.perf_counter()
        for X, y in loader:
            X = X.permute(0, 3, 1, 2).float().div_(255).sub_(0.5).div_(0.25)
            loss = criterion(network(X), y)
            step.zero_grad()
            loss.backward()
            step.step()
        seconds.append(time.perf_counter() - start)
    return seconds


def files_network(input_shape, n_classes):
    """Build two convolutions that leave a quarter of each side."""
    channels, *_ = input_shape
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(512, n_classes),
    )


def lazily(paths, n_epochs):
    """Train this package's classifier on paths; return the seconds of the epochs."""
    timer = Epochs()
    clf = model(architecture=files_network, max_epochs=n_epochs, callbacks=[timer])
    lazy = ImageReader(SIDE, lazy=True).fit_transform(paths)
    with left_where_they_are():
        clf.fit(lazy, labels(len(paths)))
    return timer.seconds


def files(options, folder):
    """Return the throughput of JPEG paths over that of a loop with a DataLoader."""
    paths = write_files(folder, 4_000 if options.full else 300)
    ours, theirs = "ImageReader(lazy=True)", "DataLoader"
    ways = {
        ours: lambda: lazily(paths, 3),
        theirs: lambda: loop(paths, 3),
    }
    epochs = {}

    def kept(name):
        def call():
            epochs.setdefault(name, []).append(statistics.median(ways[name]()))

        return call

    seconds, _ = interleaved({name: kept(name) for name in ways}, options.repeats, ours)
    # the control pair shares its name with ours: every other one is a pair
    own = epochs[ours]
    pairs = {ours: own[::2], CONTROL: own[1::2], theirs: epochs[theirs]}
    apart, quiet = control_pair(pairs, ours)
    what = f"{len(paths):,} JPEG paths of {SIDE}x{SIDE}, lazy / DataLoader, 2 workers"
    note = f"control pair {apart}"
    found = ratio(pairs, theirs, ours)
    return [
        Figure(f"{what}: throughput of epochs", found, 0.95, True, quiet, note),
        Figure(f"{what}: of a fit of three epochs", ratio(seconds, theirs, ours)),
    ]


# -- a search in processes ------------------------------------------------------------


SEARCH = """
import glob, os, threading
import numpy as np
from sklearn.model_selection import GridSearchCV
from benchmarks.bench_streaming import labels, mapped, model

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
    clf = model(batch_size=2048)
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


# -- rates ----------------------------------------------------------------------------


def rates(options, folder):
    """Return how many images a second of one processor is enough for."""
    n, side = 400 if options.full else 40, 224
    rng, paths = np.random.default_rng(0), []
    for k in range(n):
        small = Image.fromarray(noise(1, (24, 32, 3), rng)[0])
        paths.append(f"{folder}/{k}.jpg")
        small.resize((500, 375), Image.BICUBIC).save(paths[-1], quality=95)
    size = statistics.mean(Path(path).stat().st_size for path in paths)
    reader = ImageReader(side, lazy=True).fit(paths)
    kept = clone(reader).set_params(cache=f"{folder}/cache")
    images = kept.fit_transform(paths)
    inside = np.asarray(images)
    small = noise(50 * n, SHAPES[0], rng)
    tasks = {
        f"JPEG of 500x375 and {size / 1e3:.0f} kB, decoded and resized to {side}": (
            (n, lambda: np.asarray(reader.transform(paths)))
        ),
        f"{side}x{side}x3 from a cache": (n, lambda: np.asarray(images)),
        "paths, looked up in a cache": (n, lambda: kept.transform(paths)),
        f"{side}x{side}x3, looked at before a fit": (n, lambda: looked_at(inside)),
        "28x28, looked at before a fit": (len(small), lambda: looked_at(small)),
    }
    figures = []
    for name, (count, task) in tasks.items():
        seconds = []
        for _ in range(max(2, options.repeats)):
            start = time.process_time()
            task()
            seconds.append(time.process_time() - start)
        rate = count / min(seconds)
        figures.append(Figure(f"{name}: images in a second of a processor", rate))
    return figures


def looked_at(images):
    """Do what a fit does with all images before it trains."""
    return survey(as_images(images))


TASKS = {
    "memory": memory_of_all,
    "speed": speed,
    "files": files,
    "search": search,
    "rates": rates,
}


def run(options):
    """Return the figures of all, and print them."""
    figures = []
    for name, task in TASKS.items():
        if getattr(options, "task", "") in name:
            with tempfile.TemporaryDirectory() as folder:
                own = task(options, folder)
            _options.show(own)
            figures += own
    return figures


if __name__ == "__main__":
    run(_options.parse(textwrap.dedent(__doc__)))
