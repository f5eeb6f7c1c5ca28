"""Images that are not in memory: arrays to scikit-learn, and the same bits learnt."""

import io
import os
import pickle
import textwrap
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback

from benchmarks._measure import in_new_process
from sklearn_l2cnn import L2CNNClassifierCV
from sklearn_l2cnn._data import images as _images
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn.datasets import LazyImages
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import FilterSelector, PixelSelector
from sklearn_l2cnn.preprocessing import ImageReader
from tests.conftest import SmallNet, double, linux, quick, tiny

N = 200


@pytest.fixture(autouse=True)
def however_small(monkeypatch):
    """Leave images where they are, however few they are."""
    monkeypatch.setattr(_images, "_IN_MEMORY", 0)


def saved(X, path):
    path = f"{path}.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


def in_the_middle_of_a_file(X, path):
    filled = np.memmap(path, X.dtype, "w+", 16, (len(X) + 3, *X.shape[1:]))
    filled[:] = 7
    filled[2 : len(X) + 2] = X
    filled.flush()
    return np.memmap(path, X.dtype, "r", 16, filled.shape)[2 : len(X) + 2]


def backwards(X, path):
    return saved(np.ascontiguousarray(X[::-1]), path)[::-1]


def transposed(X, path):
    return saved(np.ascontiguousarray(X.swapaxes(1, 2)), path).swapaxes(1, 2)


def in_hdf5(X, path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["images"] = X
    return h5py.File(path, "r")["images"]


def in_zarr(X, path):
    zarr = pytest.importorskip("zarr")
    array = zarr.open(
        str(path), mode="w", shape=X.shape, dtype=X.dtype, chunks=(50,) + X.shape[1:]
    )
    array[:] = X
    return array


def in_dask(X, path):
    array = pytest.importorskip("dask.array")
    return array.from_array(X, chunks=64)


class Samples(torch.utils.data.Dataset):
    """Samples that are an image and its label."""

    def __init__(self, X):
        self.X = X

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return torch.from_numpy(self.X[row]), 0


def of_samples(X, path):
    return Samples(X)


SOURCES = [
    *(saved, in_the_middle_of_a_file, backwards, transposed),
    *(in_hdf5, in_zarr, in_dask, of_samples),
]


@pytest.fixture
def data(digits):
    X, y = digits
    return X[:N], y[:N]


def learnt(estimator, X, y, **more):
    """Return all that a fit, and predictions of what it was not fitted to, come to."""
    half = len(y) // 2
    estimator = clone(estimator).fit(X[:half], y[:half], **more)
    clf = getattr(estimator, "estimator_", estimator)
    clf = getattr(clf, "best_estimator_", clf)
    found = [p.numpy() for p in clf.module_.state_dict().values()]
    for method in ("predict_proba", "transform"):
        if hasattr(estimator, method):
            found.append(getattr(estimator, method)(X[half:]))
    found.append(getattr(estimator, "score", lambda X, y: 0)(X[half:], y[half:]))
    return found


def assert_same(estimator, X, lazy, y, **more):
    expected = learnt(estimator, X, y, **more)
    found = learnt(estimator, lazy, y, **more)
    assert len(found) == len(expected) > 2
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int16"])
@pytest.mark.parametrize("source", SOURCES)
def test_it_is_an_array_that_is_read_when_it_is_needed(source, dtype, data, tmp_path):
    X = data[0].astype(dtype)
    lazy = LazyImages(source(X, tmp_path / "images"))
    again = pickle.loads(pickle.dumps(lazy))
    for images in (lazy, again):
        assert images.shape == X.shape and images.dtype == X.dtype
        assert len(images) == len(X) and images.ndim == X.ndim
        assert images.nbytes == X.nbytes
        assert np.array_equal(np.asarray(images), X)
        rows = np.random.RandomState(0).randint(N, size=30)
        for some in (
            slice(3, 70, 4),
            slice(None, None, -1),
            rows,
            rows.tolist(),
            np.arange(N) % 7 > 2,
        ):
            part = images[some]
            assert isinstance(part, LazyImages) and part.shape == X[some].shape
            assert np.array_equal(np.asarray(part), X[some])
            assert np.array_equal(np.asarray(part[1:5]), X[some][1:5])
        assert np.array_equal(images[7], X[7]) and np.array_equal(images[-1], X[-1])
    assert len(pickle.dumps(lazy)) < 4000 or source in (in_dask, of_samples)


@pytest.mark.parametrize("source", SOURCES)
def test_a_fit_learns_the_same_from_every_source(source, data, tmp_path):
    X, y = data
    lazy = LazyImages(source(X, tmp_path / "images"))
    assert_same(quick(), X, lazy, y)


def files(X, folder, kind="png"):
    paths = [str(folder / f"{k}.{kind}") for k in range(len(X))]
    for image, path in zip(X, paths, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize("mode, channels", [("L", "last"), ("RGB", "first")])
def test_files_are_read_batch_by_batch(mode, channels, data, tmp_path):
    X, y = data
    paths = files(X, tmp_path)
    reader = ImageReader(8, mode, channels=channels)
    lazy = clone(reader).set_params(lazy=True).fit_transform(paths)
    assert isinstance(lazy, LazyImages)
    assert "of 200 files" in repr(lazy)
    assert_same(quick(channels=channels), reader.fit_transform(paths), lazy, y)


def test_a_folder_of_torchvision(data, tmp_path):
    from torchvision.datasets import ImageFolder

    X, y = data
    for label in range(10):
        (tmp_path / str(label)).mkdir()
    for k, (image, label) in enumerate(zip(X, y, strict=True)):
        Image.fromarray(image).save(tmp_path / str(label) / f"{k}.png")
    folder = ImageFolder(tmp_path)
    lazy = LazyImages(folder)
    assert lazy.shape == (N, 8, 8, 3)
    targets = np.array(folder.targets)
    order = np.random.RandomState(0).permutation(N)
    images = np.stack([np.asarray(image) for image, _ in folder])
    assert_same(quick(), images[order], lazy[order], targets[order])


class Batches(Callback):
    """Look at every batch."""

    def on_batch_end(self, net, batch, training, **kwargs):
        assert len(batch[0]) == len(batch[1])


@pytest.mark.parametrize(
    "parameters",
    [
        {"early_stopping": True, "max_epochs": 4},
        {"augment": ["flip", "shift", "mixup"]},
        {"architecture": SmallNet, "threads": 1},
        {"architecture": double},
        {"activity_alpha": 1e-3},
        {"callbacks": [Batches()]},
        {"standardize": False, "optimizer": "sgd"},
        {"class_weight": "balanced", "batch_size": 7},
        {"architecture": "unet", "max_epochs": 1},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_every_kind_of_fit_learns_the_same(parameters, dtype, data, tmp_path):
    X, y = data[0].astype(dtype), data[1]
    lazy = LazyImages(saved(X, tmp_path / "images"))
    assert_same(quick(**parameters), X, lazy, y)


def test_repeats_and_weights_count_as_in_memory(data, tmp_path):
    X, y = data
    rows = np.random.RandomState(0).randint(40, size=N)
    weight = np.random.RandomState(1).randint(3, size=N // 2)
    lazy = LazyImages(saved(X, tmp_path / "images"), rows)
    assert_same(quick(), X[rows], lazy, y[rows], sample_weight=weight)


def test_validation_data_partial_fit_and_warm_start(data, tmp_path):
    X, y = data
    lazy = LazyImages(saved(X, tmp_path / "images"))
    found = []
    for images in (X, lazy):
        clf = quick(early_stopping=True, warm_start=True)
        clf.fit(images[:99], y[:99], X_val=images[99:], y_val=y[99:])
        clf.fit(images[:99], y[:99], X_val=images[99:], y_val=y[99:])
        clf.partial_fit(images[99:], y[99:])
        found.append(clf.predict_proba(images))
    assert np.array_equal(*found)


@pytest.mark.parametrize("parameters", [{}, {"path": "warm"}, {"optimizer": "sgd"}])
@pytest.mark.parametrize("wrapped", [LazyImages, lambda array: array])
def test_a_search_finds_the_same(parameters, wrapped, data, tmp_path):
    X, y = data
    search = L2CNNClassifierCV(
        [1e-3, 1.0], architecture=tiny, cv=3, max_epochs=2, random_state=0, **parameters
    )
    lazy = wrapped(saved(X, tmp_path / "images"))
    assert_same(search, X, lazy, y)


def test_a_search_in_processes_finds_the_same(data, tmp_path):
    X, y = data
    search = L2CNNClassifierCV(
        [1e-3, 1.0],
        architecture=tiny,
        cv=3,
        max_epochs=2,
        random_state=0,
        optimizer=torch.optim.NAdam,
        n_jobs=2,
    )
    assert_same(search, X, LazyImages(saved(X, tmp_path / "images")), y)


def test_searches_of_scikit_learn_find_the_same(data, tmp_path):
    X, y = data
    paths = files(X, tmp_path)
    scores = []
    for lazy in (False, True):
        model = make_pipeline(ImageReader(8, "L", lazy=lazy), quick())
        grid = {"l2cnnclassifier__alpha": [1e-3, 1.0]}
        search = GridSearchCV(model, grid, cv=3, n_jobs=2).fit(np.array(paths), y)
        scores.append(search.cv_results_["mean_test_score"])
    assert np.array_equal(*scores)
    mapped = LazyImages(saved(X, tmp_path / "images"))
    scores = [cross_val_score(quick(), images, y, cv=3) for images in (X, mapped)]
    assert np.array_equal(*scores)


@pytest.mark.parametrize(
    "estimator",
    [
        CNNFeatures(quick()),
        PixelSelector(quick()),
        FilterSelector(quick()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_what_holds_a_classifier_takes_them(estimator, data, tmp_path):
    X, y = data
    assert_same(estimator, X, LazyImages(saved(X, tmp_path / "images")), y)


def test_other_transformers_read_them(data, tmp_path):
    from sklearn_l2cnn.preprocessing import ImageResizer

    X, _ = data
    lazy = LazyImages(saved(X, tmp_path / "images"))
    expected = ImageResizer(5).fit_transform(X)
    assert np.array_equal(ImageResizer(5).fit_transform(lazy), expected)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "parameters", [{}, {"early_stopping": True}, {"augment": ["flip", "mixup"]}]
)
def test_images_stream_to_a_device(parameters, data, tmp_path, cuda):
    """There steps on images in memory are recorded, which rounds otherwise."""
    X, y = data
    lazy = LazyImages(saved(X, tmp_path / "images"))
    memory, streamed = (
        quick(device="cuda", **parameters).fit(images, y) for images in (X, lazy)
    )
    assert streamed.device_.startswith("cuda")
    np.testing.assert_allclose(streamed.loss_curve_, memory.loss_curve_, rtol=1e-5)
    expected = memory.predict_proba(X)
    np.testing.assert_allclose(streamed.predict_proba(lazy), expected, atol=1e-5)


@pytest.mark.parametrize(
    "estimator",
    [
        quick(verbose=1),
        L2CNNClassifierCV(
            [1.0, 2.0], architecture=tiny, cv=2, max_epochs=1, verbose=1, random_state=0
        ),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_it_is_told_where_images_come_from(estimator, data, tmp_path, capsys):
    X, y = data
    clone(estimator).fit(X, y)
    assert "images from" not in capsys.readouterr().out
    lazy = LazyImages(saved(X, tmp_path / "images"))
    clone(estimator).fit(lazy, y)
    lines = capsys.readouterr().out.splitlines()
    where = f"images from the memory map '{tmp_path / 'images'}.npy'"
    assert any(line.startswith("device") and line.endswith(where) for line in lines)


def test_few_images_are_read_into_memory(data, tmp_path, monkeypatch):
    lazy = LazyImages(saved(data[0], tmp_path / "images"))
    monkeypatch.setattr(_images, "_IN_MEMORY", lazy.nbytes)
    assert torch.is_tensor(as_images(lazy, stored=True))
    monkeypatch.setattr(_images, "_IN_MEMORY", lazy.nbytes - 1)
    assert not torch.is_tensor(as_images(lazy, stored=True))
    assert torch.is_tensor(as_images(lazy))


# -- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_named(value, data, tmp_path):
    X, y = data[0].astype(np.float32), data[1]
    clf = quick().fit(X, y)
    X[130, 3, 3] = value
    lazy = LazyImages(saved(X, tmp_path / "images"))
    for call in (lambda: quick().fit(lazy, y), lambda: clf.predict(lazy)):
        with pytest.raises(ValueError, match="row 130"):
            call()


def test_a_file_that_goes_in_the_middle_of_a_training_is_named(data, tmp_path):
    X, y = data
    paths = files(X, tmp_path)

    class Removing(Callback):
        def on_epoch_end(self, net, **kwargs):
            os.unlink(paths[33])

    lazy = ImageReader(8, "L", lazy=True).fit_transform(paths)
    n_threads = threading.active_count()
    clf = quick(callbacks=[Removing()])
    with pytest.raises(FileNotFoundError, match=r"Row 33 of X.*33\.png"):
        clf.fit(lazy, y)
    assert not hasattr(clf, "net_")
    waiting = [t for t in threading.enumerate() if "ahead" in t.name]
    assert not waiting and threading.active_count() <= n_threads + 4


def test_samples_of_other_shapes_are_named():
    class Growing(Samples):
        def __getitem__(self, row):
            return np.zeros((5 + row // 150, 5))

    with pytest.raises(ValueError, match=r"Sample 150 .* shape \(6, 5\).*Resize"):
        np.asarray(LazyImages(Growing(np.zeros(N))))


@pytest.mark.parametrize(
    "source", [["a.png", "b.png"], 3, None, "folder", io.BytesIO()]
)
def test_what_is_no_source_is_told_of(source):
    with pytest.raises(TypeError, match="ImageReader"):
        LazyImages(source)


def test_other_dimensions_are_not_indexed(data, tmp_path):
    lazy = LazyImages(saved(data[0], tmp_path / "images"))
    with pytest.raises(IndexError, match="by rows alone"):
        lazy[:, 0]
    with pytest.raises(IndexError):
        lazy[N]


@linux
def test_places_beyond_four_gigabytes_are_found(tmp_path):
    # ranks are of 4 bytes: so many rows times so many bytes are beyond them
    n, side = 5000, 1000
    path, rows = tmp_path / "images", np.array([4999, 0, 2148, 4295], dtype=np.int32)
    with open(path, "wb") as file:  # the rest takes no place on the disk
        file.truncate(n * side**2)
        for row in rows.tolist():
            file.seek(row * side**2)
            file.write(bytes([row % 251]) * side**2)
    lazy = LazyImages(np.memmap(path, np.uint8, "r", 0, (n, side, side)))
    images = as_images(lazy, stored=True)
    for some in (rows, np.sort(rows), rows[2:], rows[:1]):
        found = images.read(some)[:, 0, 0, 0]
        assert found.tolist() == [row % 251 for row in some.tolist()]


# -- memory ---------------------------------------------------------------------------


@linux
@pytest.mark.parametrize(
    "given", ["X", pytest.param("LazyImages(X)", marks=pytest.mark.slow)]
)
def test_a_map_is_never_copied_nor_kept_whole(given, tmp_path, monkeypatch):
    # what is freed is given back to the system, so that peaks are those of what is held
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    n, side = 40_000, 60
    path = tmp_path / "images"
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        for _ in range(0, n, 1000):
            file.write(rng.bytes(1000 * side**2))
    code = f"""
        import numpy as np
        from benchmarks._measure import memory
        from sklearn_l2cnn.datasets import LazyImages, make_shapes
        from tests.conftest import pooled, quick

        y = np.arange({n}) % 2
        clf = quick(architecture=pooled, max_epochs=1, batch_size=64)
        some = make_shapes(600, {side}, random_state=0).images
        clf.fit(some, y[:600]).predict(some)  # imports, and what a network takes
        X = np.memmap({str(path)!r}, np.uint8, "r", shape=({n}, {side}, {side}))
        before = memory()
        clf.fit({given}, y).predict({given})
        print(memory() - before)
    """
    [grown] = in_new_process(textwrap.dedent(code))
    assert grown < path.stat().st_size / 2
