"""How fast are files read, and what does augmentation cost a step?

python -m benchmarks.bench_images [--full --data DIR]

Files: JPEGs of 32 to 500 pixels, 5,000 with ``--full``, of smooth coloured noise,
against torchvision's ``ImageFolder`` behind a ``DataLoader`` of two workers, which
resizes and crops as its documentation shows. Augmentation: a fit with
and without on images of 32 x 32 x 3, with the default network. ``--full --data`` adds a
search over size, alpha and augmentation on a data frame of 5,000 photographs of
CIFAR-10, written as JPEGs of 32 to 500 pixels.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from benchmarks import _options, _tasks
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.augmentation import NAMES, Augmentation
from sklearn_l2cnn.datasets import read_image_folder
from sklearn_l2cnn.preprocessing import ChannelStandardizer, ImageReader

SIDE = 32
AUGMENTS = [*NAMES, ["flip", "crop"], ["flip", "crop", "cutout"]]


def noise(n):
    """Make small images of coloured noise, in ten classes."""
    images = np.random.RandomState(0).randint(0, 256, size=(n, 12, 12, 3))
    return images.astype(np.uint8), np.arange(n) % 10


def write_jpegs(folder, images, labels):
    """Write images as JPEGs, each of a size of its own."""
    rng = np.random.RandomState(0)
    for k, (small, label) in enumerate(zip(images, labels, strict=True)):
        size = tuple(int(side) for side in rng.randint(32, 501, size=2))
        path = Path(folder) / str(label)
        path.mkdir(exist_ok=True)
        image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
        image.save(path / f"{k:05d}.jpg", quality=90)


def image_folder(folder):
    """Read a folder as torchvision's documentation shows."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE)]
    data = ImageFolder(folder, transforms.Compose([*steps, transforms.PILToTensor()]))
    loader = torch.utils.data.DataLoader(data, batch_size=128, num_workers=2)
    return torch.cat([images for images, _ in loader]).permute(0, 2, 3, 1).numpy()


def reader(folder):
    """Read a folder with the transformer, in two threads."""
    paths = read_image_folder(folder).paths
    return ImageReader((SIDE, SIDE), n_jobs=2).fit_transform(paths)


def reading(options, folder):
    """Return how many times as fast files are read, and how far the images differ."""
    ways = {"ours": lambda: reader(folder), "ImageFolder": lambda: image_folder(folder)}
    seconds, found = interleaved(ways, options.repeats, control="ours")
    n = len(found["ours"])
    far = np.abs(found["ours"].astype(int) - found["ImageFolder"]).mean()
    times, quiet = control_pair(seconds, "ours")
    return [
        Figure("reading JPEGs, control pair", times),
        Figure(
            f"reading {n} JPEGs to {SIDE}x{SIDE}, ImageFolder with two workers / ours "
            "(time)",
            ratio(seconds, "ImageFolder", "ours"),
            1.0,
            True,
            quiet,
            note=f"mean difference of the pixels {far:.1f} of 255",
        ),
    ]


def steps(options):
    """Return how much longer a fit takes with augmentation."""
    n = 4000 if options.full else 1000
    task = _tasks.synthetic(n, SIDE, depth=3, n_test=10)
    clf = L2CNNClassifier(
        max_epochs=2, batch_size=128, random_state=0, device=options.device
    )

    def fit(augment):
        return lambda: clf.set_params(augment=augment).fit(task.X, task.y)

    ways = {"none": fit(None)}
    ways |= {str(augment): fit(augment) for augment in AUGMENTS}
    seconds, _ = interleaved(ways, max(3, options.repeats // 3), control="none")
    times, quiet = control_pair(seconds, "none")
    figures = [Figure("fit without augmentation, control pair", times)]
    for augment in AUGMENTS:
        what = f"fit with augment={augment!r} / without, {SIDE}x{SIDE}x3 (time)"
        times = ratio(seconds, str(augment), "none")
        figures.append(Figure(what, times, 1.15, False, quiet))
    return figures


def search(options):
    """Return what a search over size, alpha and augmentation comes to, and its time."""
    task = _tasks.cifar10(options.data, 5000)
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(folder, task.X, task.y)
        paths, target = read_image_folder(folder, as_frame=True, return_X_y=True)
        clf = L2CNNClassifier(
            augment=Augmentation(),
            max_epochs=4,
            random_state=0,
            device=options.device,
        )
        pipeline = make_pipeline(ImageReader(), ChannelStandardizer(), clf)
        grid = {
            "imagereader__size": [(16, 16), (32, 32)],
            "l2cnnclassifier__alpha": [1e-4, 1e-2],
            "l2cnnclassifier__augment__flip": [False, True],
        }
        start = time.perf_counter()
        found = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(paths, target)
        seconds = time.perf_counter() - start
    scores = found.cv_results_["mean_test_score"]
    note = f"best {found.best_params_}; scores {np.round(scores, 3).tolist()}"
    what = "a search over size, alpha, flip on 5,000 JPEGs of CIFAR-10"
    return [
        Figure(f"{what}, seconds", seconds),
        Figure(f"{what}, accuracy of the best", found.best_score_, note=note),
    ]


def run(options):
    """Return the figures of all, and print them."""
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(folder, *noise(5000 if options.full else 500))
        figures = reading(options, folder)
    _options.show(figures)
    more = steps(options)
    if options.full and options.data:
        more += search(options)
    _options.show(more)
    return figures + more


if __name__ == "__main__":
    run(_options.parse(__doc__))
