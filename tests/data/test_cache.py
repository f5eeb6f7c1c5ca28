"""Images and listings that are kept in a folder: used again, and never others."""

import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_l2cnn._data import cached, listing
from sklearn_l2cnn._data import images as _images
from sklearn_l2cnn.datasets import LazyImages, read_image_folder
from sklearn_l2cnn.preprocessing import ImageReader
from sklearn_l2cnn.preprocessing import _files as files_module
from tests.conftest import quick
from tests.data.test_lazy import in_dask, in_hdf5, in_zarr, of_samples, saved

N = 60


@pytest.fixture
def data(digits):
    X, y = digits
    return X[:N], y[:N]


@pytest.fixture
def paths(data, tmp_path):
    paths = [str(tmp_path / f"{k}.png") for k in range(N)]
    for image, path in zip(data[0], paths, strict=True):
        Image.fromarray(image).save(path)
    return np.array(paths)


@pytest.fixture
def decoded(monkeypatch):
    """The sources that are decoded, in the order in which they are."""
    found, read_image = [], files_module.read_image

    def reading(source, options):
        found.append(source)
        return read_image(source, options)

    monkeypatch.setattr(files_module, "read_image", reading)
    return found


@pytest.fixture
def reader(tmp_path):
    return ImageReader(8, "L", lazy=True, cache=tmp_path / "cache").fit(["any"])


def broken_but_looks_the_same(path):
    """Replace what is in a file, without a trace in its state."""
    state = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"\0" * state.st_size)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_every_file_is_decoded_once(paths, data, reader, decoded):
    expected = data[0][..., np.newaxis]
    some, again = np.arange(N)[::-2], np.random.RandomState(0).permutation(N)
    assert np.array_equal(reader.transform(paths[some]), expected[some])
    assert sorted(decoded) == sorted(paths[some])
    assert np.array_equal(reader.transform(paths[again]), expected[again])
    assert sorted(decoded) == sorted(paths)
    lazy = reader.transform(paths)
    for images in (lazy, pickle.loads(pickle.dumps(lazy)), lazy[::3]):
        np.asarray(images)
    in_memory = ImageReader(8, "L", cache=reader.cache, n_jobs=2).fit_transform(paths)
    assert np.array_equal(in_memory, expected)
    assert len(decoded) == N


@pytest.mark.parametrize(
    "options",
    [
        *({"size": 9}, {"mode": "RGB"}, {"channels": "first"}, {"dtype": "float32"}),
        *({"interpolation": "nearest"}, {"aspect": "pad"}, {"white": 100.0}),
    ],
    ids=lambda options: next(iter(options)),
)
def test_other_options_are_other_images(options, paths, reader, decoded):
    np.asarray(reader.transform(paths[:5]))
    reader.set_params(**options)
    expected = ImageReader(**{**reader.get_params(), "lazy": False, "cache": None})
    expected = expected.fit_transform(paths[:5])
    del decoded[:]
    assert np.array_equal(reader.transform(paths[:5]), expected)
    assert len(decoded) == 5
    reader.set_params(max_pixels=1000, n_jobs=2, on_error="fill")
    assert np.array_equal(reader.transform(paths[:5]), expected)
    assert len(decoded) == 5


def test_a_changed_file_is_another_image(paths, data, reader, decoded):
    np.asarray(reader.transform(paths))
    Image.fromarray(data[0][1]).save(paths[0])
    os.utime(paths[0], ns=(0, time.time_ns() + 10**9))
    del decoded[:]
    found = np.asarray(reader.transform(paths))
    assert decoded == [paths[0]]
    assert np.array_equal(found[0, ..., 0], data[0][1])
    assert np.array_equal(found[1:, ..., 0], data[0][1:])


def test_bytes_are_kept_and_images_in_memory_are_not(paths, data, reader, decoded):
    with open(paths[0], "rb") as file:
        content = file.read()
    for _ in range(2):
        sources = [content, Image.open(paths[1]), data[0][2], bytearray(content)]
        found = np.asarray(reader.transform(sources))[..., 0]
        assert np.array_equal(found, data[0][[0, 1, 2, 0]])
    assert [type(source) for source in decoded].count(bytes) == 1
    assert len(decoded) <= 4  # each Pillow image, and the bytes once or for both forms


def test_what_cannot_be_read_is_not_kept(paths, reader):
    with open(paths[3], "wb") as file:
        file.write(b"no image")
    reader.set_params(on_error="fill", fill=1.0)
    images = reader.transform(paths)
    for _ in range(2):
        with pytest.warns(UserWarning, match="row 3: .*3.png"):
            assert (images[3] == 255).all()
    reader.set_params(on_error="raise")
    with pytest.raises(ValueError, match="Row 3 of X"):
        np.asarray(reader.transform(paths))
    assert "kept in" in repr(images) and str(reader.cache) in repr(images)


def flip_a_byte(folder, paths):
    with open(folder / "8x8x1-uint8.images", "r+b") as file:
        file.seek(10 * 72 + 30)
        byte = file.read(1)
        file.seek(10 * 72 + 30)
        file.write(bytes([byte[0] ^ 1]))


def lose_keys(folder, paths):
    """Give the places of what is kept to others."""
    os.unlink(folder / "8x8x1-uint8.keys")
    paths[:] = paths[::-1].copy()


def cut_keys(folder, paths):
    os.truncate(folder / "8x8x1-uint8.keys", 16 * 20 + 5)
    paths[:] = paths[::-1].copy()


def lose_images(folder, paths):
    os.unlink(folder / "8x8x1-uint8.images")


@pytest.mark.parametrize("damage", [flip_a_byte, lose_keys, cut_keys, lose_images])
def test_what_is_damaged_is_decoded_again(damage, paths, data, reader, decoded):
    np.asarray(reader.transform(paths))
    order = np.arange(N)
    damage(reader.cache, paths)
    if damage in (lose_keys, cut_keys):
        order = order[::-1]
    del decoded[:]
    assert np.array_equal(reader.transform(paths), data[0][order][..., np.newaxis])
    assert 0 < len(decoded) <= N
    del decoded[:]
    assert np.array_equal(reader.transform(paths), data[0][order][..., np.newaxis])
    assert not decoded


SOURCES = in_hdf5, in_zarr, in_dask, of_samples


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_read_once(source, dtype, data, tmp_path, monkeypatch):
    X = data[0].astype(dtype)
    given = source(X, tmp_path / "images")
    images = LazyImages(given, cache=tmp_path / "cache")
    assert np.array_equal(images[::2], X[::2])
    again = LazyImages(given, cache=str(tmp_path / "cache"))
    read, asked = again.store.store.read, []

    def reading(rows):
        asked.extend(rows)
        return read(rows)

    monkeypatch.setattr(again.store.store, "read", reading)
    for _ in range(2):
        assert np.array_equal(again, X)
    assert sorted(asked) == list(range(1, N, 2))


@pytest.mark.long
def test_a_source_is_known_in_another_process(data, tmp_path):
    for source in (in_hdf5, in_zarr):
        given = source(data[0], tmp_path / source.__name__)
        np.asarray(LazyImages(given, cache=tmp_path / "cache"))
    script = f"""
        import h5py, zarr
        import numpy as np
        from sklearn_l2cnn.datasets import LazyImages

        def reading(rows):
            raise AssertionError("it is read again")

        in_hdf5 = h5py.File({str(tmp_path / "in_hdf5")!r}, "r")["images"]
        in_zarr = zarr.open({str(tmp_path / "in_zarr")!r}, mode="r")
        for given in (in_hdf5, in_zarr):
            images = LazyImages(given, cache={str(tmp_path / "cache")!r})
            images.store.store.read = reading
            assert np.asarray(images).any()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


def test_memory_maps_are_read_as_ever(data, tmp_path):
    images = LazyImages(saved(data[0], tmp_path / "images"), cache=tmp_path / "cache")
    assert np.array_equal(images, data[0])
    assert not (tmp_path / "cache").exists()


def test_a_fit_learns_the_same(paths, data, reader, decoded, monkeypatch):
    monkeypatch.setattr(_images, "_IN_MEMORY", 0)
    expected = quick().fit(data[0], data[1]).predict_proba(data[0])
    images = reader.transform(paths)
    found = quick().fit(images, data[1]).predict_proba(images)
    assert np.array_equal(found, expected)
    assert sorted(decoded) == sorted(paths)


@pytest.mark.long
def test_processes_of_a_search_share_it(paths, data, reader, decoded):
    """The files are no images any more once all have been decoded."""
    model = make_pipeline(reader, quick())
    search = GridSearchCV(model, {"l2cnnclassifier__alpha": [1e-3, 1.0]}, cv=3)
    scores = search.fit(paths, data[1]).cv_results_["mean_test_score"]
    assert sorted(decoded) == sorted(paths)
    for path in paths:
        broken_but_looks_the_same(path)
    again = search.set_params(n_jobs=2).fit(paths, data[1])
    assert np.array_equal(again.cv_results_["mean_test_score"], scores)


def test_threads_read_and_write_at_a_time(paths, data, reader):
    expected, wrong = data[0][..., np.newaxis], []

    def work(seed):
        rows = np.random.RandomState(seed).permutation(N)
        found = np.asarray(reader.transform(paths[rows]))
        if not np.array_equal(found, expected[rows]):
            wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert os.path.getsize(reader.cache / "8x8x1-uint8.keys") == 16 * N


def test_a_disk_without_room_is_told_of(paths, reader, monkeypatch):
    room = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(cached.shutil, "disk_usage", lambda folder: room)
    with pytest.raises(OSError, match=r"60 images of 72 bytes .* 1,000 bytes are free"):
        reader.transform(paths)
    monkeypatch.undo()
    images = reader.transform(paths)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.open", full)
    monkeypatch.setattr(images.store.store, "attempt", lambda rows: (0, len(rows) > 0))
    with pytest.raises(OSError, match=r"could not be kept .*No space.*cache="):
        np.asarray(images)


# -- listings -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder of two classes, which nobody has changed for an hour."""
    path = tmp_path / "photos"
    for name in (
        "cat/1.jpg",
        "cat/more/2.png",
        "cat/.hidden",
        "dog/1.jpg",
        "dog/a.txt",
    ):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    (path / "dog" / "\udcff.png").touch()  # no UTF-8
    long_ago(path)
    return path


def long_ago(path):
    for place, _, _ in os.walk(path):
        os.utime(place, ns=(0, time.time_ns() - 3600 * 10**9))


@pytest.fixture
def listings(monkeypatch):
    """How often all names were asked for."""
    found, listed = [], listing._listed

    def listing_anew(path):
        found.append(path)
        return listed(path)

    monkeypatch.setattr(listing, "_listed", listing_anew)
    return found


def same(one, other):
    return one.paths.tolist() == other.paths.tolist() and one.others == other.others


def test_a_listing_is_used_again(folder, tmp_path, listings):
    expected = read_image_folder(folder)
    assert len(expected.paths) == 4
    for _ in range(3):
        assert same(read_image_folder(folder, cache=tmp_path / "cache"), expected)
    assert len(listings) == 2


@pytest.mark.parametrize("name", ["cat/more/3.png", "dog/2.jpg", "owl/1.jpg"])
def test_a_changed_folder_is_listed_anew(name, folder, tmp_path, listings):
    read_image_folder(folder, cache=tmp_path / "cache")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    for _ in range(2):  # changed a moment ago: another change might not show
        found = read_image_folder(folder, cache=tmp_path / "cache")
        assert same(found, read_image_folder(folder))
    assert len(listings) == 5
    os.unlink(folder / name)
    shutil.rmtree(folder / "cat" / "more")
    long_ago(folder)
    for _ in range(2):
        found = read_image_folder(folder, cache=tmp_path / "cache")
    assert len(found.paths) == 3 and len(listings) == 6


def test_a_damaged_listing_is_made_anew(folder, tmp_path):
    expected = read_image_folder(folder, cache=tmp_path)
    (path,) = tmp_path.glob("*.listing")
    path.write_text(path.read_text()[:-9])
    assert same(read_image_folder(folder, cache=tmp_path), expected)
