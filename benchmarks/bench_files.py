"""What images of JPEGs take: throughput beside a DataLoader, a cache, rates.

python -m benchmarks.bench_files [--full] [--task NAME]

Tasks are loader, cache and rates.

Loader: epochs of JPEG paths that are read while training goes on, against a loop with a
DataLoader of two workers (the same network, batches, optimizer and decoded size).
Cache: the same paths from a cache against images in memory, from the second epoch on.
Rates: what a second of one processor does, which docs/scaling.md calculates with.
"""

import statistics
import textwrap
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.base import clone
from torch import nn

from benchmarks import _options
from benchmarks._measure import Figure
from benchmarks._stored import (
    BATCH,
    N_CLASSES,
    SIDE,
    fitted,
    labels,
    noise,
    throughput,
    write_files,
)
from sklearn_l2cnn._data.canonical import survey
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn.preprocessing import ImageReader

N_EPOCHS = 3


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


def loop(paths):
    """Train with a DataLoader of two workers; return the seconds of the epochs."""
    torch.manual_seed(0)
    network = files_network((3, SIDE, SIDE), N_CLASSES)
    network = network.to(memory_format=torch.channels_last)
    step = torch.optim.Adam(network.parameters(), fused=True)
    loader = torch.utils.data.DataLoader(
        Files(paths), BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    criterion, seconds = nn.CrossEntropyLoss(), []
    for _ in range(N_EPOCHS):
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


def trained(images):
    """Train this package's classifier; return the seconds of the epochs."""
    y = labels(len(images))
    return fitted(images, y, architecture=files_network, max_epochs=N_EPOCHS)


def loader(options, folder):
    """Return the throughput of JPEG paths over that of a loop with a DataLoader."""
    paths = write_files(folder, 4_000 if options.full else 300)
    lazy = ImageReader(SIDE, lazy=True).fit_transform(paths)
    return throughput(
        f"{len(paths):,} JPEG paths of {SIDE}x{SIDE}, lazy / DataLoader, 2 workers",
        partial(loop, paths),
        partial(trained, lazy),
        options.repeats,
        wanted=0.95,
        first=1,  # the workers have begun
    )


def cache(options, folder):
    """Return the throughput of cached JPEGs over that of images in memory."""
    paths = write_files(folder, 4_000 if options.full else 300)
    reader = ImageReader(SIDE, cache=f"{folder}/cache")
    kept = reader.fit_transform(paths)
    return throughput(
        f"{len(paths):,} JPEG paths of {SIDE}x{SIDE}, cache / memory",
        partial(trained, np.asarray(kept)),
        partial(trained, kept),
        options.repeats,
        wanted=1.0,
        first=1,
    )


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
    small = noise(50 * n, (28, 28, 1), rng)
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


TASKS = {"loader": loader, "cache": cache, "rates": rates}


def run(options):
    """Return the figures of all, and print them."""
    return _options.run_tasks(TASKS, options)


if __name__ == "__main__":
    run(_options.parse(textwrap.dedent(__doc__)))
