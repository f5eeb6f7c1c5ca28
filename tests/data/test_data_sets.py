"""Tests of what holds images and labels together: the messages say what to type."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.pipeline import make_pipeline
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from sklearn_l2cnn.preprocessing import ImageReader, PixelScaler
from tests.conftest import quick

Y = np.array(["a", "b"] * 6)


class Named(Dataset):
    """Images of Pillow with their labels."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        if row >= len(self.images):
            raise IndexError
        return Image.fromarray(self.images[row]), Y[row]


@pytest.fixture
def bytes_():
    return np.random.RandomState(0).randint(0, 256, (12, 8, 8)).astype(np.uint8)


def data_sets(images, folder):
    for name in np.unique(Y):
        (folder / name).mkdir()
    for row, (image, label) in enumerate(zip(images, Y, strict=True)):
        Image.fromarray(image).save(folder / label / f"{row}.png")
    y = torch.tensor(Y == "b")
    tensors = TensorDataset(torch.tensor(images), y)
    yield tensors
    yield DataLoader(tensors, batch_size=5)
    yield ImageFolder(folder)
    yield ImageFolder(folder, transform=ToTensor())
    yield Named(images)
    yield random_split(Named(images), [6, 6])[0]
    yield [*Named(images)]
    yield [*zip(images, Y, strict=True)]


def test_what_the_message_says_can_be_typed(bytes_, tmp_path):
    for given in data_sets(bytes_, tmp_path):
        for estimator in (quick(max_epochs=1), ImageReader(), PixelScaler()):
            with pytest.raises(TypeError, match="X is of type.* Type: ") as caught:
                estimator.fit(given, None)
        message = str(caught.value)
        line = re.search(r"Type: (.*?)\. (?=torch has|sklearn)", message)[1]
        names = {"dataset": given, "loader": given, "torch": torch}
        exec(line, names)
        X, y = names["X"], names["y"]
        assert len(X) == len(y) >= 6
        clf = quick(max_epochs=1)
        if "ImageReader" in message:
            clf = make_pipeline(ImageReader(8, "L"), clf)
        assert clf.fit(X, y).predict(X).shape == (len(y),)
        with pytest.raises(TypeError, match="X is of type"):
            clf.predict(given)


def test_a_data_set_of_the_hub(bytes_):
    kind = type("Dataset", (), {"__module__": "datasets.arrow_dataset"})
    kind.column_names = ["image", "label"]
    with pytest.raises(TypeError, match=r"columns are 'image', 'label'. Type: X, y"):
        quick().fit(kind(), Y)


def test_a_mapping(bytes_):
    for estimator in (quick(), ImageReader()):
        with pytest.raises(
            TypeError, match=r"of its keys, X\['image'\] or X\['label'\]\."
        ):
            estimator.fit({"image": bytes_, "label": Y}, Y)


@pytest.mark.parametrize(
    ("wrapped", "told"),
    [
        (list, "mappings with the keys 'image', 'label'"),
        (lambda rows: pd.DataFrame({"image": rows}), "mappings with the keys"),
        (
            lambda rows: pd.DataFrame({"image": [row["image"] for row in rows]}),
            "images such as PIL image of mode 'L'",
        ),
    ],
)
def test_images_without_a_reader(bytes_, wrapped, told):
    rows = [{"image": Image.fromarray(x), "label": 0} for x in bytes_]
    with pytest.raises(TypeError, match=rf"X holds {told}.*ImageReader read them"):
        quick().fit(wrapped(rows), Y)
    fitted = make_pipeline(ImageReader(8, "L"), quick(max_epochs=1))
    assert len(fitted.fit(wrapped(rows), Y).predict(wrapped(rows))) == 12


@pytest.mark.parametrize(
    ("y", "typed"),
    [
        (np.eye(2)[[0, 1] * 6], r"Pass np.asarray\(y\).argmax\(axis=1\), or"),
        (
            np.eye(2, dtype=int)[[0, 1] * 6].tolist(),
            r"np.asarray\(y\).argmax\(axis=1\)",
        ),
        (pd.get_dummies(Y), r"Pass y.idxmax\(axis=1\), or"),
        (np.ones((12, 2)), "Pass a 1-D y, or"),
        (np.array([["a", "b"]] * 12), "Pass a 1-D y, or"),
        (None, r"y is None: fit\(X, y\) takes the label of every image"),
    ],
)
def test_labels_that_are_none(bytes_, y, typed):
    with pytest.raises(ValueError, match=typed):
        quick().fit(bytes_, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64, torch.tensor, list])
def test_pixels_that_are_no_numbers_are_found(bytes_, bad, kind):
    X = bytes_ / 255
    X[3, 0, 0] = X[7, 1, 1] = bad
    X = X.astype(kind) if kind in (np.float32, np.float64) else kind(X)
    what = "NaN" if np.isnan(bad) else r"infinity or a value too large for dtype\(.*\)"
    match = rf"^Input X contains {what} in 2 of 12 images, row 3, 7\. Leave"
    for estimator in (quick(), PixelScaler()):
        with pytest.raises(ValueError, match=match) as caught:
            estimator.fit(X, Y)
        assert "HistGradientBoosting" not in str(caught.value)


def test_sums_that_overflow_are_no_infinite_pixels():
    X = np.full((4, 3, 3), 3e38, np.float32)
    assert PixelScaler().fit_transform(X).shape == X.shape
