"""Tests of ImageReader: forms of input, threads and pipelines."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_l2cnn.augmentation import Augmentation
from sklearn_l2cnn.preprocessing import (
    ChannelStandardizer,
    ImageReader,
    ImageResizer,
    ImagesToRows,
)
from tests.conftest import quick
from tests.pictures import RGB, far, picture

# -- forms of input -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:X has feature names")
def test_all_forms_of_input_give_the_same_images(folder, monkeypatch):
    paths, _ = folder
    expected = ImageReader((8, 8)).fit_transform(paths)
    assert expected.shape == (12, 8, 8, 3) and expected.dtype == np.uint8
    monkeypatch.chdir(Path(paths[0]).parent)
    for X in (
        list(map(Path, paths)),
        np.array(paths),
        np.array(paths, dtype=object),
        np.array(paths)[:, np.newaxis],
        pd.Series(paths),
        pd.Series(paths, dtype="string"),
        pd.DataFrame({"path": paths}),
        pd.DataFrame({"path": paths}, index=range(5, 17)),
        pl.Series(paths),
        pl.DataFrame({"path": paths}),
        [Path(path).read_bytes() for path in paths],
        [bytearray(Path(path).read_bytes()) for path in paths],
        [Image.open(path) for path in paths],
        [os.path.basename(path) for path in paths],
        [*paths[:6], *map(Path, paths[6:9]), *map(Image.open, paths[9:])],
    ):
        assert np.array_equal(ImageReader((8, 8)).fit_transform(X), expected)
        fitted = ImageReader((8, 8)).fit(paths)
        assert np.array_equal(fitted.transform(X), expected)


def test_arrays_of_many_sizes_and_dtypes():
    bytes_ = picture((20, 30))
    X = [
        bytes_,
        bytes_[:, :, 0],
        bytes_ / 255,
        (bytes_ / 255).astype(np.float32),
        bytes_.astype(np.uint16) * 257,
        torch.tensor(bytes_),
        bytes_[:, :, :1] > 127,
        np.dstack([bytes_, np.full((20, 30), 255, np.uint8)]),
    ]
    # two arrays of different shapes, since a single one would be an array of images
    found = [ImageReader((10, 15)).fit_transform([x, bytes_[:9]])[0] for x in X]
    together = ImageReader((10, 15)).fit_transform([X[0], X[2], X[6]])
    assert np.array_equal(together, [found[0], found[2], found[6]])
    expected = ImageResizer((10, 15)).fit_transform(bytes_[np.newaxis])[0]
    for k in (0, 2, 3, 4, 5, 7):
        assert far(found[k], expected) <= 1
    assert far(found[1], found[1][..., :1]) == 0, "grey is repeated"
    assert far(found[1][..., 0], expected[..., 0]) == 0
    white = ImageResizer((10, 15)).fit_transform(255 * np.uint8(X[6])[np.newaxis])
    assert far(found[6], white[0]) == 0


def test_pillow_images_are_not_changed(tmp_path):
    path = tmp_path / "large.jpg"
    Image.fromarray(picture((600, 800))).save(path)
    expected = ImageReader(100).fit_transform([str(path)])
    with Image.open(path) as image:
        small = ImageReader(8, mode="L").fit_transform([image])
        assert (image.size, image.mode) == ((800, 600), "RGB")
        assert far(ImageReader(100).fit_transform([image]), expected) <= 6
        assert np.array_equal(ImageReader(8, mode="L").fit_transform([image]), small)


def test_repeated_pillow_image_in_threads(tmp_path):
    path = tmp_path / "large.jpg"
    Image.fromarray(picture((1000, 1000))).save(path)
    for _ in range(3):
        with Image.open(path) as image:
            found = ImageReader(8, n_jobs=2).fit_transform([image] * 64)
        assert far(found, found[:1]) == 0


def test_white_of_floats_and_of_integers():
    half = np.full((9, 12, 3), 0.5)
    for others, value in (
        (np.full((9, 10, 3), 30000, np.uint16), 117),
        (np.full((8, 12, 3), 128, np.int64), 128),
    ):
        reader = ImageReader(4)
        found = reader.fit_transform([half, others])
        assert found[:, 0, 0, 0].tolist() == [128, value]
        assert reader.white_ == 1 and reader.integer_white_ > 1
        assert found.tolist() == reader.transform([others, half])[::-1].tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("first", [0, 1])
def test_invalid_array_does_not_affect_others(bad, first):
    good, spoilt = np.full((9, 12, 3), 0.5), np.full((10, 12, 3), 0.5)
    spoilt[0, 0, 0] = bad
    X = [good, spoilt][:: 1 - 2 * first]
    with pytest.warns(UserWarning, match=f"row {1 - first}: .*contains"):
        found = ImageReader(4, on_error="fill").fit_transform(X)
    assert found[:, 0, 0, 0].tolist() == [128, 0][:: 1 - 2 * first]
    with pytest.raises(ValueError, match=f"Row {1 - first} of X contains"):
        ImageReader(4).fit_transform(X)


def test_invalid_sources_are_filled():
    good = np.full((9, 12, 3), 0.5)
    for odd in (None, np.nan, np.zeros((0, 3, 3)), np.arange(3)):
        with pytest.warns(UserWarning, match="1 of 2 images could not be read"):
            found = ImageReader(4, on_error="fill").fit_transform([odd, good])
        assert found[:, 0, 0, 0].tolist() == [0, 128]


@pytest.mark.parametrize("sizes", [(9, 9, 9), (9, 9, 7)])
def test_arrays_in_a_series_or_data_frame(sizes):
    arrays = [picture((side, 12), side) for side in sizes]
    expected = ImageReader(4).fit_transform(arrays)
    column = np.empty(3, dtype=object)
    column[:] = arrays
    for X in (pd.Series(arrays), pd.DataFrame({"image": arrays}), column):
        assert np.array_equal(ImageReader(4).fit_transform(X), expected)
    fitted = ImageReader(4).fit(pd.Series(arrays))
    assert np.array_equal(fitted.transform(pd.Series(arrays[:2])), expected[:2])


def test_lists_of_one_path(folder):
    paths, _ = folder
    expected = ImageReader(4).fit_transform(paths)
    found = ImageReader(4).fit_transform([[path] for path in paths])
    assert np.array_equal(found, expected)


def test_mappings_with_an_image(folder):
    paths, _ = folder
    expected = ImageReader(8).fit_transform(paths)
    files = [Path(path).read_bytes() for path in paths]
    for rows in (
        [{"image": Image.open(path), "label": 3} for path in paths],
        [{"img": path, "label": 3} for path in paths],
        [{"bytes": file, "path": "lost.png"} for file in files],
        [{"bytes": None, "path": path} for path in paths],
        [{"image": {"bytes": file, "path": None}, "label": 3} for file in files],
    ):
        for X in (
            rows,
            pd.Series(rows),
            pd.DataFrame({"x": rows}),
            [[r] for r in rows],
        ):
            assert np.array_equal(ImageReader(8).fit_transform(X), expected)
    rows[3] = {"image": {"bytes": None, "path": None}, "label": 3}
    with pytest.raises(ValueError, match=r"Row 3 of X is \{'bytes'.*'img' or 'path'"):
        ImageReader(8).fit(rows)
    with pytest.warns(UserWarning, match="row 3: Row 3 of X"):
        found = ImageReader(8, on_error="fill").fit_transform(rows)
    assert np.array_equal(found[4:], expected[4:]) and not found[3].any()
    with pytest.raises(ValueError, match="X has 2 columns, one of which contains byt"):
        ImageReader(8).fit(pd.DataFrame({"x": rows, "label": 3}))


def test_sequences_of_other_libraries(folder):
    class Column(Sequence):
        def __len__(self):
            return len(folder[0])

        def __getitem__(self, row):
            return Image.open(folder[0][row])

    expected = ImageReader(8).fit_transform(folder[0])
    assert np.array_equal(ImageReader(8).fit_transform(Column()), expected)


def test_transparent_pixels_do_not_tint_their_neighbours():
    image = np.zeros((8, 8, 4), np.uint8)
    image[:, ::2], image[:, 1::2] = (255, 0, 0, 0), (0, 0, 255, 255)
    X = [image, image[:6]]
    reader = ImageReader(4, mode="RGBA")
    arrays = reader.fit_transform(X)
    files = reader.fit_transform(list(map(Image.fromarray, X)))
    assert far(arrays[..., :3], [0, 0, 255]) == 0
    assert far(arrays, files) <= 2


def test_pillow_modes_of_more_than_8_bits():
    grey = picture(depth=1)[..., 0]
    expected = ImageReader(8, "L").fit_transform([Image.fromarray(grey)])
    for mode in ("F", "I"):
        image = Image.fromarray(grey).convert(mode)
        assert far(ImageReader(8, "L").fit_transform([image]), expected) <= 1
    shares = Image.fromarray(grey.astype(np.float32) / 255)
    assert far(ImageReader(8, "L").fit_transform([shares]), expected) <= 1


def test_data_frame_of_pixels():
    X = np.random.RandomState(0).uniform(size=(5, 16))
    frame = pd.DataFrame(X, columns=[f"p{k}" for k in range(16)])
    found = ImageReader(4, "L").fit_transform(frame)
    assert np.array_equal(found, ImageReader(4, "L").fit_transform(X))


def test_one_array_matches_its_images():
    X = np.stack([picture((20, 30), seed) for seed in range(4)])
    fitted = ImageReader((8, 8)).fit(X)
    assert fitted.image_shape_ == (20, 30, 3) and fitted.n_features_in_ == 1800
    one_by_one = ImageReader((8, 8)).fit_transform([Image.fromarray(x) for x in X])
    assert far(fitted.transform(X), one_by_one) <= 2
    rows = ImageReader((8, 8), image_shape=(20, 30, 3)).fit_transform(X.reshape(4, -1))
    assert np.array_equal(rows.reshape(4, 8, 8, 3), fitted.transform(X))


@pytest.mark.parametrize(
    ("values", "white"),
    [
        *((1.0, 1), (0.3, 1), (1.5, 255), (255, 255), (256, 1023), (1024, 4095)),
        *((4096, 16383), (16384, 65535), (70000, 70000)),
    ],
)
@pytest.mark.filterwarnings("ignore:Values from .* were taken as grey")
def test_white_is_learnt(values, white):
    X = np.random.RandomState(0).uniform(0, 1, size=(5, 6, 6)) * values
    X[0, 0, 0] = values
    reader = ImageReader((6, 6), mode="L").fit(X)
    assert reader.white_ == white
    expected = np.round(X * (255 / white))
    assert (
        far(
            reader.transform(X)[..., 0] if X.ndim == 4 else reader.transform(X),
            expected,
        )
        == 0
    )
    with pytest.warns(UserWarning, match=f"were cut off at 0 and {white:g}"):
        found = reader.transform(X - 0.1 * white)
    assert found.min() == 0


@pytest.mark.parametrize("wrong", [{"fill": 2}, {"background": -1}, {"n_jobs": 0}])
def test_invalid_parameters_raise(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ImageReader(**wrong).fit_transform([RGB])


def test_fit_to_an_array_and_transform_files_and_vice_versa(folder):
    paths, _ = folder
    arrays = np.stack([picture((20, 30), seed) for seed in range(3)])
    reader = ImageReader((8, 8)).fit(arrays)
    files = reader.transform(paths)
    assert np.array_equal(files, ImageReader((8, 8)).fit_transform(paths))
    expected = reader.transform(arrays)
    assert np.array_equal(reader.fit(paths).transform(arrays), expected)
    assert not hasattr(reader, "image_shape_")


def test_feature_names_of_a_data_frame(folder):
    paths, _ = folder
    reader = ImageReader().fit(pd.DataFrame({"path": paths}))
    assert reader.feature_names_in_.tolist() == ["path"]
    assert reader.n_features_in_ == 1
    with pytest.raises(ValueError, match="feature names"):
        reader.transform(pd.DataFrame({"file": paths}))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("cat.jpg", r"a single image, 'cat.jpg'.*Pass a list"),
        (b"\x89PNG", r"a single image, bytes"),
        (Image.new("L", (3, 3)), r"a single image, PIL image of mode 'L'"),
        (pd.DataFrame({"a": ["1.jpg"], "b": ["2.jpg"]}), r"X has 2 columns"),
        (pd.DataFrame([["1.jpg", "2.jpg"]] * 2, index=[5.0, 6.0]), r"X has 2 columns"),
        (["a.jpg", None], r"Row 1 of X is None, of type NoneType"),
        (pd.Series(["a.jpg", np.nan]), r"Row 1 of X is nan"),
        (["a.jpg", 3], r"Row 1 of X is 3, of type int"),
        ([np.zeros((3, 3)), np.zeros(4)], r"Row 1 of X is array.*ndarray"),
        ([np.zeros((3, 3)), np.full((4, 3), np.nan)], "NaN"),
        ([], r"X is empty, it has 0 sample"),
    ],
    ids=range(11),
)
def test_invalid_input_raises(X, message):
    with pytest.raises(ValueError, match=message):
        ImageReader().fit(X).transform(X)


# -- threads and pipelines ------------------------------------------------------------


def test_images_do_not_depend_on_n_jobs(folder):
    paths = 20 * folder[0]
    expected = ImageReader().fit_transform(paths)
    for n_jobs in (1, 2, -1):
        assert np.array_equal(ImageReader(n_jobs=n_jobs).fit_transform(paths), expected)


@pytest.mark.long
def test_grid_search_with_a_column_of_paths(folder):
    paths, labels = folder
    frame = pd.DataFrame({"path": paths, "size": range(12)})
    pipeline = make_pipeline(
        ImageReader(size=(8, 8)),
        ChannelStandardizer(),
        quick(augment=Augmentation(), max_epochs=15, lr=0.01),
    )
    grid = {
        "imagereader__size": [(6, 6), (8, 8)],
        "l2cnnclassifier__alpha": [1e-4, 1e-2],
        "l2cnnclassifier__augment__brightness": [0, 0.1],
    }
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise", n_jobs=1)
    search.fit(frame[["path"]], labels)
    assert search.best_score_ > 0.8
    assert search.predict(frame[["path"]]).dtype == bool


def test_paths_in_a_column_transformer(folder):
    paths, _ = folder
    frame = pd.DataFrame({"path": paths, "size": range(12)})
    columns = ColumnTransformer(
        [
            ("image", make_pipeline(ImageReader((4, 4)), ImagesToRows()), ["path"]),
            ("size", "passthrough", ["size"]),
        ]
    )
    assert columns.fit_transform(frame).shape == (12, 4 * 4 * 3 + 1)


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_column_transformer_of_frames(folder, library, everywhere):
    frame = library.DataFrame({"path": folder[0], "size": range(12)})
    images = make_pipeline(ImageReader((4, 4)), ChannelStandardizer(), ImagesToRows())
    columns = ColumnTransformer(
        [("image", images, ["path"]), ("size", "passthrough", ["size"])]
    )
    name = library.__name__
    if not everywhere:
        columns.set_output(transform=name)
    with config_context(transform_output=name if everywhere else None):
        found = columns.fit_transform(frame)
    assert type(found) is library.DataFrame and found.shape == (12, 4 * 4 * 3 + 1)
    assert [*found.columns][:2] == ["image__pixel_0_0_0", "image__pixel_0_0_1"]
    assert [*found.columns] == [*columns.get_feature_names_out()]
    expected = (
        clone(images).set_output(transform="default").fit_transform(frame["path"])
    )
    assert np.array_equal(found.to_numpy()[:, :-1], expected)


def test_a_pipeline_of_images_and_frames(folder):
    paths, labels = folder
    pipeline = make_pipeline(ImageReader((4, 4)), ChannelStandardizer(), quick())
    expected = clone(pipeline).fit(paths, labels).predict_proba(paths)
    frame = pd.DataFrame({"path": paths})
    found = pipeline.set_output(transform="pandas").fit(frame, labels)
    assert np.array_equal(found.predict_proba(frame), expected)


def test_feature_names_out():
    reader = ImageReader((2, 3), "L").fit(np.zeros((4, 25)))
    names = reader.get_feature_names_out()
    assert names.tolist() == [f"pixel_{r}_{c}" for r in range(2) for c in range(3)]
