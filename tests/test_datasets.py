"""Tests of the data sets."""

import pickle
import struct
import urllib.error

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.utils._param_validation import InvalidParameterError
from torchvision.datasets import CIFAR10, MNIST, mnist, utils

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.datasets import (
    load_cifar10,
    load_digits_images,
    load_image_folder,
    load_mnist,
    make_shapes,
    read_image_folder,
)

# -- included -------------------------------------------------------------------------


def test_digits_match_scikit_learn():
    ours, theirs = load_digits_images(), load_digits()
    assert ours.images.dtype == np.uint8 and ours.images.shape == (1797, 8, 8)
    assert np.array_equal(np.round(ours.images * (16 / 255)), theirs.images)
    assert ours.images.min() == 0 and ours.images.max() == 255
    assert np.array_equal(ours.target, theirs.target)
    X, y = load_digits_images(return_X_y=True)
    assert np.array_equal(X, ours.images) and np.array_equal(y, ours.target)


def test_digits_as_a_frame():
    data = load_digits_images(as_frame=True)
    assert isinstance(data.images, pd.DataFrame) and isinstance(data.target, pd.Series)
    assert data.images.columns[:2].tolist() == ["pixel_0_0", "pixel_0_1"]
    assert data.frame.shape == (1797, 65) and (data.images.dtypes == np.uint8).all()


# -- data sets of torchvision ---------------------------------------------------------


def write_mnist(home, n=5):
    """Write the files of MNIST with fewer images."""
    raw = home / "MNIST" / "raw"
    raw.mkdir(parents=True)
    parts = {}
    for part, first in (("train", 0), ("t10k", 100)):
        images = np.arange(n * 28 * 28).reshape(n, 28, 28) % 251 + first % 5
        labels = (np.arange(n) + first) % 10
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(">BBBB", 0, 0, 8, values.ndim)
            head += struct.pack(f">{values.ndim}I", *values.shape)
            content = head + values.astype(np.uint8).tobytes()
            (raw / f"{part}-{kind}-ubyte").write_bytes(content)
        parts[part] = images, labels
    return parts


@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_mnist_is_read_from_the_disk(tmp_path, subset):
    parts = write_mnist(tmp_path)
    names = {"train": ["train"], "test": ["t10k"], "all": ["train", "t10k"]}[subset]
    data = load_mnist(tmp_path, subset=subset)
    expected = np.concatenate([parts[name][0] for name in names])
    assert data.images.dtype == np.uint8 and np.array_equal(data.images, expected)
    expected = np.concatenate([parts[name][1] for name in names])
    assert np.array_equal(data.target, expected)
    assert data.target_names == list("0123456789")
    frame = load_mnist(str(tmp_path), as_frame=True).frame
    assert frame.shape == (5, 785)


def test_default_data_home(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    X, y = load_mnist(return_X_y=True)
    assert len(X) == len(y) == 5


def write_cifar10(home, monkeypatch, n=3):
    """Write the files of CIFAR-10 with fewer images."""
    folder = home / CIFAR10.base_folder
    folder.mkdir(parents=True)
    rng, parts = np.random.RandomState(0), {}
    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    for name in names:
        images = rng.randint(0, 256, size=(n, 3, 32, 32), dtype=np.uint8)
        labels = rng.randint(10, size=n).tolist()
        entry = {"data": images.reshape(n, -1), "labels": labels}
        (folder / name).write_bytes(pickle.dumps(entry))
        parts[name] = images.transpose(0, 2, 3, 1), labels
    meta = {"label_names": [f"class {k}" for k in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    # the checksums are those of the real files
    for kind in ("train_list", "test_list"):
        unsummed = [[name, None] for name, _ in getattr(CIFAR10, kind)]
        monkeypatch.setattr(CIFAR10, kind, unsummed)
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    return [parts[name] for name in names]


@pytest.mark.parametrize("subset", ["train", "test", "all"])
def test_cifar10_is_read_from_the_disk(tmp_path, monkeypatch, subset):
    parts = write_cifar10(tmp_path, monkeypatch)
    chosen = {"train": parts[:5], "test": parts[5:], "all": parts}[subset]
    data = load_cifar10(tmp_path, subset=subset)
    expected = np.concatenate([images for images, _ in chosen])
    assert data.images.dtype == np.uint8 and np.array_equal(data.images, expected)
    assert data.target.tolist() == [k for _, labels in chosen for k in labels]
    assert data.target_names[3] == "class 3"


LOADERS = [(load_mnist, "MNIST/raw"), (load_cifar10, "cifar-10-batches-py")]


@pytest.mark.parametrize(("load", "place"), LOADERS)
def test_missing_data_are_not_downloaded_by_default(tmp_path, load, place, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the data must not be downloaded")

    monkeypatch.setattr(utils.urllib.request, "urlopen", refuse)
    with pytest.raises(OSError, match=r"download=True.*data_home=") as caught:
        load(tmp_path)
    assert str(tmp_path / place) in str(caught.value)
    assert list(tmp_path.iterdir()) == [], "no folder is left behind"


@pytest.mark.parametrize(("load", "place"), LOADERS)
def test_failed_download_says_where_to_put_the_files(
    tmp_path, load, place, monkeypatch, capsys
):
    def fail(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(mnist, "download_and_extract_archive", fail)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fail)
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        load(tmp_path, download=True)
    message = str(caught.value)
    assert str(tmp_path / place) in message and "http" in message
    assert capsys.readouterr() == ("", "")


def test_download_uses_torchvision(tmp_path, monkeypatch):
    def download(self):
        write_mnist(tmp_path)

    monkeypatch.setattr(MNIST, "download", download)
    assert len(load_mnist(tmp_path, download=True).images) == 5


@pytest.mark.parametrize("load", [load_mnist, load_cifar10])
def test_unknown_subset_raises(load, tmp_path):
    with pytest.raises(ValueError, match=r"subset='validation'.*'all'"):
        load(tmp_path, subset="validation")


# -- folders --------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    colours = {"cat": (200, 10, 10), "dog": (10, 200, 10)}
    for k, (name, colour) in enumerate(colours.items()):
        (tmp_path / name / "more").mkdir(parents=True)
        for file in ("b.png", "a.JPG", "more/c.webp"):
            Image.new("RGB", (10 + k, 8), colour).save(tmp_path / name / file)
        (tmp_path / name / "notes.txt").write_text("no image")
    (tmp_path / "readme.md").write_text("no class")
    return tmp_path


def test_read_image_folder_does_not_open_files(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the images must not be opened")

    monkeypatch.setattr(Image, "open", refuse)
    data = read_image_folder(folder)
    names = ["cat/a.JPG", "cat/b.png", "cat/more/c.webp"]
    names += [name.replace("cat", "dog") for name in names]
    assert data.paths.tolist() == [str(folder / name) for name in names]
    assert data.target.tolist() == 3 * ["cat"] + 3 * ["dog"]
    assert data.target_names == ["cat", "dog"]
    others = [str(folder / name / "notes.txt") for name in ("cat", "dog")]
    assert data.others == others
    paths, target = read_image_folder(folder, return_X_y=True)
    assert paths.tolist() == data.paths.tolist() and len(target) == 6


def test_read_image_folder_as_frame(folder):
    data = read_image_folder(folder, as_frame=True)
    assert data.frame.columns.tolist() == ["path", "target"]
    assert data.paths.columns.tolist() == ["path"] and data.target.name == "target"


def test_load_image_folder(folder):
    data = load_image_folder(folder, size=(6, 6))
    assert data.images.shape == (6, 6, 6, 3) and data.images.dtype == np.uint8
    red = data.images[:, 0, 0, 0] > data.images[:, 0, 0, 1]
    assert np.array_equal(red, data.target == "cat")
    X, y = load_image_folder(folder, size=4, mode="L", return_X_y=True)
    assert X.shape == (6, 4, 4, 1) and len(y) == 6
    clf = L2CNNClassifier(max_epochs=2).fit(X, y)
    assert clf.classes_.tolist() == ["cat", "dog"]


def test_images_of_several_sizes_require_a_size(folder):
    with pytest.raises(ValueError, match=r"2 sizes: 8 x 10 \(3\), 8 x 11 \(3\).*size="):
        load_image_folder(folder)


def test_images_of_one_size(folder):
    for file in (folder / "dog").rglob("*.*"):
        file.unlink()
    assert load_image_folder(folder).images.shape == (3, 8, 10, 3)


def test_invalid_folder_raises(tmp_path, folder):
    with pytest.raises(NotADirectoryError, match="does not exist"):
        read_image_folder(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="is a file"):
        read_image_folder(folder / "readme.md")
    with pytest.raises(FileNotFoundError, match="has no folders in it"):
        read_image_folder(folder / "cat" / "more")
    for file in folder.rglob("*.*"):
        if file.is_file() and file.suffix != ".txt":
            file.unlink()
    with pytest.raises(FileNotFoundError, match=r"'cat', 'dog'.*\.jpg.*2 other files"):
        read_image_folder(folder)


# -- generated ------------------------------------------------------------------------


def test_masks_of_shapes():
    shapes = make_shapes(400, size=20, noise=0, random_state=0)
    assert shapes.images.shape == shapes.masks.shape == (400, 20, 20)
    assert shapes.images.dtype == np.uint8 and shapes.masks.dtype == bool
    assert np.array_equal(shapes.images > 0, shapes.masks)
    assert np.bincount(shapes.target).tolist() == [100] * 4
    areas = [shapes.masks[shapes.target == k].sum(axis=(1, 2)).mean() for k in range(4)]
    disc, square, triangle, cross = areas
    assert square > disc > cross > triangle
    corners = shapes.masks[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=0)
    assert (corners < 0.05).all() and shapes.masks.any(axis=0)[2:-2, 2:-2].all()


def test_pixels_of_each_shape():
    shapes = make_shapes(4, size=9, noise=0, random_state=0)
    rows = [
        "".join("#" if inside else "." for inside in row)
        for mask in shapes.masks
        for row in mask[mask.any(axis=1)][:, mask.any(axis=0)]
    ]
    assert len(rows) == 28, "seven rows each"
    assert rows[:7] == [
        "...#...",
        ".#####.",
        ".#####.",
        "#######",
        ".#####.",
        ".#####.",
        "...#...",
    ]
    assert rows[7:14] == 7 * ["#######"]
    assert rows[14:21] == [
        "...#...",
        "...#...",
        "..###..",
        "..###..",
        ".#####.",
        ".#####.",
        "#######",
    ]
    assert rows[21:] == 2 * ["..###.."] + 3 * ["#######"] + 2 * ["..###.."]


def test_shapes_leave_the_global_generator_alone():
    before = np.random.get_state()[1].copy()
    one, other = make_shapes(4), make_shapes(4)
    assert np.array_equal(np.random.get_state()[1], before)
    assert not np.array_equal(one.images, other.images)
    generator = np.random.RandomState(0)
    assert np.array_equal(
        make_shapes(4, random_state=generator).images,
        make_shapes(4, random_state=0).images,
    )
    assert generator.randint(1 << 30) != np.random.RandomState(0).randint(1 << 30)


def test_shapes_are_seeded_noisy_and_learnable():
    one, other = (make_shapes(40, random_state=0) for _ in range(2))
    assert np.array_equal(one.images, other.images)
    different = make_shapes(40, random_state=1)
    assert not np.array_equal(one.images, different.images)
    loud = make_shapes(40, noise=0.4, random_state=0).images
    assert loud[~one.masks].std() > 2 * one.images[~one.masks].std()
    X, y = make_shapes(400, size=12, random_state=0, return_X_y=True)
    X_test, y_test = make_shapes(200, size=12, random_state=1, return_X_y=True)
    clf = L2CNNClassifier(random_state=0).fit(X, y)
    assert clf.score(X_test, y_test) > 0.9


def test_too_small_size_raises():
    with pytest.raises(ValueError, match="size=5 is too small"):
        make_shapes(size=5)


def test_hidden_files_are_ignored(folder):
    expected = read_image_folder(folder)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / expected.target_names[0] / "._1.png").write_bytes(b"no image")
    found = read_image_folder(folder)
    assert found.target_names == expected.target_names
    assert found.paths.tolist() == expected.paths.tolist()
    assert found.others == expected.others


@pytest.mark.parametrize(
    "wrong", [{"aspect": "padd"}, {"mode": "CMYK"}, {"mode": "rgb"}, {"size": 0}]
)
def test_load_image_folder_validates_its_parameters(folder, wrong):
    with pytest.raises(InvalidParameterError, match=f"The '{next(iter(wrong))}' par"):
        load_image_folder(folder, **{"size": 8, **wrong})


def test_damaged_data_raise(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for kind in ("images-idx3", "labels-idx1"):
        (raw / f"train-{kind}-ubyte").touch()
        (raw / f"t10k-{kind}-ubyte").touch()
    with pytest.raises(OSError, match="MNIST is not in .*, or it is damaged"):
        load_mnist(tmp_path)
