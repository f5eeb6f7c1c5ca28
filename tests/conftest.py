"""What all tests share: small data, quick networks, devices, few threads."""

import os
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._utils import turns
from tests.pictures import picture
from tests.pretended import is_pretended

# Doctests that need the extra "onnx", which the oldest releases have none of.
EXAMPLES_OF_ONNX = {"sklearn_l2cnn.export.to_onnx"}

# They are plugins, and change torch where they are imported.
collect_ignore = ["pretended/cuda.py", "pretended/other.py"]


def pytest_addoption(parser):
    parser.addoption(
        "--quick",
        action="store_true",
        help="units and oracles alone, in two minutes: neither the README nor what is "
        "marked long",
    )


def pytest_collection_modifyitems(config, items):
    """Leave out what is long where a quick run is asked for, and what cannot run."""
    if config.getoption("quick"):
        kept, long = [], []
        for item in items:
            is_long = item.get_closest_marker("long") or item.path.name == "README.md"
            (long if is_long else kept).append(item)
        config.hook.pytest_deselected(items=long)
        items[:] = kept
    for item in items:
        if item.name in EXAMPLES_OF_ONNX and not find_spec("onnx"):
            item.add_marker(pytest.mark.skip(reason="onnx is not installed"))


@pytest.fixture
def a_build_for_cuda_is_no_device(monkeypatch):
    """Let scikit-learn's checks of array libraries skip CUDA where no device is.

    They take a torch that was built for CUDA for a device that is there (its issue
    28280).
    """
    monkeypatch.setattr(torch.backends.cuda, "is_built", torch.cuda.is_available)


@pytest.fixture(scope="session")
def digits():
    """300 digits as uint8 images of 8 x 8, with their labels."""
    X, y = load_digits(return_X_y=True)
    return (X[:300].reshape(-1, 8, 8) * 15).astype(np.uint8), y[:300]


@pytest.fixture
def some(digits):
    """Half of them."""
    X, y = digits
    return X[:150], y[:150]


@pytest.fixture(scope="session")
def colours():
    """60 small random colour images of three classes that differ in brightness."""
    rng = np.random.RandomState(0)
    y = np.arange(60) % 3
    X = rng.uniform(0, 0.4, size=(60, 6, 5, 3)) + 0.3 * y[:, None, None, None]
    return X, y


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of several sizes as files, and their labels."""
    paths, labels = [], []
    for k in range(12):
        path = tmp_path / f"{k:02d}.{'jpg' if k % 2 else 'png'}"
        image = picture((20 + k, 30 - k), seed=k) // 2 + 127 * (k % 3 == 0)
        Image.fromarray(image.astype(np.uint8)).save(path)
        paths.append(str(path))
        labels.append(k % 3 == 0)
    return paths, np.array(labels)


@pytest.fixture(scope="session", autouse=True)
def turns_of_this_process(tmp_path_factory):
    """Let fits of other processes of a test run be on machines of their own."""
    before, folder = turns._folder, tmp_path_factory.mktemp("turns")
    turns._folder = lambda: folder
    yield
    turns._folder = before


@pytest.fixture
def cuda():
    """The CUDA device of this machine; without one the test is skipped."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device; with -p tests.pretended.cuda one is pretended")
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Every kind of device that a network can be trained on."""
    if request.param == "cuda":
        request.getfixturevalue("cuda")
    return request.param


@pytest.fixture(autouse=True)
def world_is_left_alone():
    """Fail a test that leaves torch's threads, default dtype or grad mode changed.

    Every test draws the same random numbers, whichever ran before it.
    """
    torch.manual_seed(0)
    np.random.seed(0)

    def world():
        return (
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )

    before = world()
    yield
    assert world() == before


@pytest.fixture
def plt():
    """matplotlib without a screen; its settings must stay as they are."""
    matplotlib = pytest.importorskip("matplotlib")
    import matplotlib.pyplot as plt

    plt.close("all")  # those of doctests, which switching would close with a warning
    plt.switch_backend("Agg")
    before = dict(matplotlib.rcParams)
    yield plt
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


@pytest.fixture
def limited(cuda):
    """Let a pretended device have little memory."""
    if not is_pretended():
        pytest.skip("the memory of a real device is what it is")
    from tests.pretended import driver

    def limit(n_bytes):
        driver.memory_limit[0] = driver.allocated(0) + n_bytes

    yield limit
    driver.memory_limit[0] = None


linux = pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="memory is read as Linux tells it"
)


class SmallNet(nn.Module):
    """A network of one's own, with what the built-in one lacks: norm and dropout."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.conv = nn.Conv2d(input_shape[0], 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(8 * input_shape[1] * input_shape[2], n_classes)

    def forward(self, X):
        X = torch.relu(self.norm(self.conv(X)))
        return self.head(self.drop(X.flatten(1)))


def tiny(input_shape, n_classes):
    """Build the quickest network that learns digits."""
    depth, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(depth, 4, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * height * width, n_classes),
    )


def pooled(input_shape, n_classes):
    """Build a network that takes little memory, however large the images are."""
    pools = nn.AdaptiveAvgPool2d(4), nn.Flatten()
    return nn.Sequential(*pools, nn.Linear(16 * input_shape[0], n_classes))


def double(input_shape, n_classes):
    """Build the same network in float64."""
    return tiny(input_shape, n_classes).double()


def drawn(make, *shape):
    """Build a network with weights that are the same in every run of the tests."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(*shape)


def on_devices(X, y, **parameters):
    """Fit on the CPU, on CUDA with recorded steps, and there step by step."""
    ways = (
        {"device": "cpu"},
        {"device": "cuda"},
        {"device": "cuda", "cuda_graph": False},
    )
    return [quick(**parameters, **more).fit(X, y) for more in ways]


def quick(**parameters):
    """Return an estimator that takes a moment."""
    defaults = {"architecture": tiny, "max_epochs": 3, "random_state": 0}
    return L2CNNClassifier(**(defaults | parameters))
