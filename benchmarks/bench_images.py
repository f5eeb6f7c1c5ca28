"""How fast are files read, and what does augmentation cost a step?

python -m benchmarks.bench_images [--full]

Files: JPEGs of 32 to 500 pixels, 5,000 with ``--full``, of smooth coloured noise,
against torchvision's ``ImageFolder`` behind a ``DataLoader`` of two workers, which
resizes and crops as its documentation shows. Augmentation: a fit with
and without on images of 32 x 32 x 3, with the default network.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import _options, _tasks
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.augmentation import NAMES
from sklearn_l2cnn.datasets import read_image_folder
from sklearn_l2cnn.preprocessing import ImageReader

SIDE = 32
AUGMENTS = [*NAMES, ["flip", "crop"], ["flip", "crop", "cutout"]]


def write_jpegs(folder, n):
    """Write JPEGs of smooth coloured noise, each of a size of its own."""
    rng = np.random.RandomState(0)
    for k in range(n):
        small = rng.randint(0, 256, size=(12, 12, 3)).astype(np.uint8)
        size = tuple(int(side) for side in rng.randint(32, 501, size=2))
        path = Path(folder) / str(k % 10)
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


def run(options):
    """Return the figures of both, and print them."""
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(folder, 5000 if options.full else 500)
        figures = reading(options, folder)
    _options.show(figures)
    more = steps(options)
    _options.show(more)
    return figures + more


if __name__ == "__main__":
    run(_options.parse(__doc__))
