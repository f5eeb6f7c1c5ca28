"""How long do features take, compared with a loop of one's own over the same network?

python -m benchmarks.bench_extraction [--quick | --full] [--device cuda]

``CNNFeatures.transform`` of a backbone and of a small trained network; the same in one
thread; and batches of 64 through the same module by hand, with all threads that torch
takes. The images are noise: time does not depend on what they show.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision

from benchmarks import _options
from benchmarks._measure import Figure, control_pair, interleaved, ratio
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training.runtime import torch_threads
from sklearn_l2cnn.feature_extraction import CNNFeatures

OURS, ALONE, BY_HAND = "CNNFeatures", "in one thread", "by hand"
MOST_TIMES = 1.1  # the time of the loop by hand


def backbone(options):
    """A residual network with weights from a file, and colour images."""
    X = noise(256 if options.full else 32, (64, 64, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        network = torchvision.models.resnet18(weights=None)
        torch.save(network.state_dict(), path)
        features = CNNFeatures("resnet18", pretrained=path, device=options.device)
        return "resnet18, 64 x 64 in colour", features.fit(X), X


def small(options):
    """A small network, trained for an epoch, and grey images."""
    X = noise(4000 if options.full else 1000, (28, 28, 1))
    clf = L2CNNClassifier(
        architecture="conv_pool", max_epochs=1, device=options.device, random_state=0
    )
    return "conv_pool, 28 x 28", CNNFeatures(clf).fit(X, np.arange(len(X)) % 10), X


def noise(n, shape):
    rng = np.random.RandomState(0)
    return rng.randint(0, 256, (n, *shape)).astype(np.uint8)


def by_hand(features, X, size=64):
    """Return what the last layer with weights is given, or what the backbone gives."""
    clf, network = features.estimator_, features.module_.eval()
    if hasattr(clf, "classes_"):
        network = network[:-1]
    pixels = X.astype(np.float32) / 255
    axes, found = (0, 1, 2), []
    mean, scale = pixels.mean(axes, dtype=float), pixels.std(axes, dtype=float)
    if pixels.shape[-1] == 3:  # what the weights of a backbone were trained with
        mean, scale = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    with torch.inference_mode():
        for start in range(0, len(X), size):
            batch = (pixels[start : start + size] - mean) / scale
            batch = torch.from_numpy(batch.astype(np.float32)).to(clf.device_)
            found.append(network(batch.permute(0, 3, 1, 2)).cpu())
    return torch.cat(found).numpy()


def in_one_thread(features, X):
    with torch_threads(1):
        return features.transform(X)


def compare(name, features, X, repeats):
    """Return the figures of one network."""
    ways = {
        OURS: lambda: features.transform(X),
        ALONE: lambda: in_one_thread(features, X),
        BY_HAND: lambda: by_hand(features, X),
    }
    for way in ways.values():
        way()
    seconds, found = interleaved(ways, repeats, control=OURS)
    apart, quiet = control_pair(seconds, OURS)
    gap = np.abs(found[OURS] - found[BY_HAND]).max() / np.abs(found[OURS]).max()
    same = np.array_equal(found[OURS], found[ALONE])
    name = f"{name}, {len(X):,} images"
    return [
        Figure(f"{name}: features, control pair", apart),
        Figure(
            f"{name}: features, {OURS} / {BY_HAND} (time)",
            ratio(seconds, OURS, BY_HAND),
            MOST_TIMES,
            False,
            quiet,
            f"values {gap:.1g} of the largest apart",
        ),
        Figure(
            f"{name}: features, {ALONE} / {OURS} (time)",
            ratio(seconds, ALONE, OURS),
            quiet=quiet,
            note=f"{torch.get_num_threads()} threads; "
            f"{'the same' if same else 'NOT the same'} to the last bit",
        ),
    ]


def run(options):
    """Return the figures, and print them."""
    figures = []
    for case in (backbone, small):
        figures += compare(*case(options), options.repeats)
        _options.show(figures[-3:])
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
