"""Files without pickle: the same estimator comes back, or a ModelFileError."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_l2cnn import (
    L2CNNClassifier,
    L2CNNClassifierCV,
    L2CNNSearchCV,
    preprocessing,
)
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.augmentation import Augmentation
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.feature_selection import FilterSelector, PixelSelector, prune
from sklearn_l2cnn.penalties import Group
from sklearn_l2cnn.persistence import TRUSTED, ModelFileError, load, save
from sklearn_l2cnn.persistence._file import _digest
from sklearn_l2cnn.preprocessing import ChannelStandardizer, PatchWhitener, PixelScaler
from tests.conftest import SmallNet, quick


def small(**parameters):
    return quick(**{"max_epochs": 1, "random_state": 0, **parameters})


CASES = {
    "classifier": lambda: small(architecture="plain"),
    "many parameters": lambda: small(
        architecture="conv_dropout",
        alpha={"conv*": 1e-3, "*": 1e-4},
        penalty=Group(),
        augment=[Augmentation(rotate=10), "flip"],
        class_weight={"a": 1.0, "b": 2.0, "c": 1.0},
        optimizer=torch.optim.RMSprop,
        random_state=np.random.RandomState(3),
        freeze="conv1",
    ),
    "pipeline": lambda: make_pipeline(PixelScaler(), small(architecture="two_conv")),
    "search": lambda: L2CNNClassifierCV(
        alphas=[1e-3, 1e-2], cv=2, scoring="f1_macro", max_epochs=1, random_state=0
    ),
    "search over anything": lambda: L2CNNSearchCV(
        make_pipeline(PixelScaler(), small(architecture="plain")),
        {"l2cnnclassifier__alpha": [1e-3, 1e-2], "l2cnnclassifier__lr": [1e-3]},
        cv=2,
        scoring=["accuracy", "f1_macro"],
        refit="accuracy",
    ),
    "features": lambda: make_pipeline(
        FeatureUnion([("features", CNNFeatures(small(architecture="plain")))]),
        StandardScaler(),
        LogisticRegression(),
    ),
    "pixels": lambda: PixelSelector(small(architecture="plain"), max_features=9),
    "filters": lambda: FilterSelector(small(architecture="plain", penalty="group")),
    "transformers": lambda: make_pipeline(
        ChannelStandardizer(), PatchWhitener(), small(architecture="plain")
    ),
}


@pytest.fixture
def labelled(digits):
    X, y = digits
    return X[:40], np.array(list("abc"))[y[:40] % 3]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def fitted(labelled):
    return small(architecture="plain").fit(*labelled)


def outputs(estimator, X):
    predict = getattr(estimator, "predict_proba", None)
    return estimator.transform(X) if predict is None else predict(X)


@pytest.mark.parametrize("name", CASES)
def test_a_loaded_estimator_is_the_same(name, labelled, path):
    X, y = labelled
    estimator = CASES[name]().fit(X, y)
    save(estimator, path)
    again = load(path)
    assert np.array_equal(outputs(again, X), outputs(estimator, X))
    if "RandomState" not in repr(estimator):
        assert repr(again) == repr(estimator)
    assert outputs(clone(again).fit(X, y), X).shape == outputs(estimator, X).shape


@pytest.mark.parametrize("name", CASES)
def test_skops_loads_what_is_trusted(name, labelled):
    io = pytest.importorskip("skops.io")
    X, y = labelled
    estimator = CASES[name]().fit(X, y)
    again = io.loads(io.dumps(estimator), trusted=TRUSTED)
    assert np.array_equal(outputs(again, X), outputs(estimator, X))


@pytest.mark.parametrize("name", preprocessing.__all__)
def test_every_transformer_is_saved(name, path):
    transformer = getattr(preprocessing, name)
    try:
        transformer = transformer()
    except TypeError:  # it has a parameter without a default
        transformer = transformer((4, 4))
    save(transformer, path)
    assert repr(load(path)) == repr(transformer)


def test_a_search_and_its_best_estimator_have_one_net_again(labelled, path):
    search = CASES["search"]().fit(*labelled)
    save(search, path)
    again = load(path)
    assert again.best_estimator_.net_ is again.net_
    weights = sum(w.nbytes for w in search.module_.state_dict().values())
    assert path.stat().st_size < 1.1 * weights


def test_weights_are_read_by_safetensors_alone(labelled, fitted, path):
    save(make_pipeline(PixelScaler(), fitted), path)
    network = build_network("plain", (1, 8, 8), 3)
    tensors = load_tensors(path)
    own = {name: tensors[name] for name in network.state_dict()}
    network.load_state_dict(own)
    for found, expected in zip(
        network.parameters(), fitted.module_.parameters(), strict=True
    ):
        assert torch.equal(found, expected)
    assert all("/" in name for name in tensors.keys() - own.keys())


@pytest.mark.parametrize("name", ["plain", "resnet18", "mobilenet_v3_small", "unet"])
def test_state_dicts_are_written_as_they_are(name, labelled, path):
    from safetensors.torch import save_file as save_tensors

    clf = small(architecture=name).fit(*labelled)
    save_tensors(clf.module_.state_dict(), path)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw"])
def test_training_goes_on_as_if_never_saved(optimizer, labelled, path):
    X, y = labelled
    clf = small(architecture="plain", optimizer=optimizer, warm_start=True)
    clf.partial_fit(X[:20], y[:20], classes=list("abc"))
    save(clf, path)
    again = load(path)
    for part in (slice(20, 40), slice(10, 30)):
        clf.partial_fit(X[part], y[part])
        again.partial_fit(X[part], y[part])
        assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert np.array_equal(again.fit(X, y).predict(X), clf.fit(X, y).predict(X))


def test_memory_of_the_optimizer_is_saved_unless_weights_alone_are_wanted(
    labelled, tmp_path
):
    X, y = labelled
    clf = small(architecture="plain").partial_fit(X, y, classes=list("abc"))
    whole, weights = tmp_path / "whole", tmp_path / "weights"
    save(clf, whole)
    save(clf, weights, weights_only=True)
    ratio = whole.stat().st_size / weights.stat().st_size
    assert 2.5 < ratio < 3
    assert np.array_equal(load(weights).predict_proba(X), clf.predict_proba(X))
    load(weights).partial_fit(X, y)


@pytest.mark.parametrize("architecture", [SmallNet, SmallNet((1, 8, 8), 3)])
def test_a_network_of_ones_own_is_given_again(architecture, labelled, path):
    X, y = labelled
    clf = small(architecture=architecture, dropout=0.2).fit(X, y)
    save(clf, path)
    with pytest.raises(ModelFileError, match=r"class of yours.*SmallNet.*architecture"):
        load(path)
    again = load(path, architecture=architecture)
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert again.architecture is architecture
    again.partial_fit(X, y)
    layers = torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(64, 3)
    wrong = torch.nn.Sequential(*layers)
    with pytest.raises(ModelFileError, match="weights of another network"):
        load(path, architecture=wrong)


def test_pruned_networks_and_backbones_are_networks_by_name(labelled, path, tmp_path):
    X, y = labelled
    clf = prune(small(architecture="plain").fit(X, y), fraction=0.5)
    save(clf, path)
    assert np.array_equal(load(path).predict_proba(X), clf.predict_proba(X))
    weights = tmp_path / "weights.pt"
    torch.save(build_network("resnet18", (1, 8, 8), 4).state_dict(), weights)
    features = CNNFeatures("resnet18", pretrained=str(weights)).fit(X)
    save(features, path)
    assert np.array_equal(load(path).transform(X), features.transform(X))


def test_callbacks_are_left_out_with_a_warning(labelled, path):
    from skorch.callbacks import EpochScoring

    X, y = labelled
    clf = small(architecture="plain", callbacks=[EpochScoring("accuracy")]).fit(X, y)
    with pytest.warns(UserWarning, match="callbacks are programs, and not saved"):
        save(clf, path)
    again = load(path)
    assert again.callbacks is None
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))


def test_what_cannot_be_saved_is_named_and_the_old_file_stays(fitted, path):
    save(fitted, path)
    before = path.read_bytes()
    clf = clone(fitted).set_params(penalize=lambda name, parameter: True)
    with pytest.raises(TypeError, match=r"L2CNNClassifier.penalize=.*without pickle"):
        save(clf, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


# -- files that others have written ---------------------------------------------------


def rewritten(path, change, arrays=None, **header):
    """Write a file anew with another document, and a checksum that is right."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    document = change(json.loads(metadata["document"]))
    arrays = {**load_file(path), **(arrays or {})}
    text = json.dumps(document)
    metadata |= {"document": text, "sha256": _digest(text, arrays.items()), **header}
    save_file(arrays, path, metadata=metadata)


def replaced(before, after):
    return lambda document: json.loads(json.dumps(document).replace(before, after))


def same(document):
    return document


HOSTILE = {
    "a class that is not known": (
        lambda path: rewritten(path, replaced('"sklearn_l2cnn.L2CNN', '"os.L2CNN')),
        "names 'os.L2CNNClassifier'",
    ),
    "a function": (
        lambda path: rewritten(path, lambda d: {"name": "posix.system"}),
        "names 'posix.system'",
    ),
    "another kind": (
        lambda path: rewritten(path, lambda d: {"eval": "1"}),
        "no kind 'eval'",
    ),
    "a huge network": (
        lambda path: rewritten(path, replaced("[1, 8, 8]", "[1, 80000, 80000]")),
        "cannot be loaded",
    ),
    "many classes": (
        lambda path: rewritten(
            path, replaced('["n_classes", 3]', '["n_classes", 99999999999]')
        ),
        "cannot be loaded",
    ),
    "weights that are no numbers": (
        lambda path: rewritten(
            path, same, {"conv1.bias": np.full(32, np.nan, np.float32)}
        ),
        "conv1.bias are not all finite",
    ),
    "weights of another shape": (
        lambda path: rewritten(path, same, {"logits.bias": np.zeros(7, np.float32)}),
        "cannot be loaded",
    ),
    "a later release": (
        lambda path: rewritten(path, same, schema="2", version="9.9"),
        r"9\.9 has written it, a later release.*pip install --upgrade",
    ),
    "nested without end": (
        lambda path: rewritten(path, lambda d: deep(300)),
        "cannot be loaded",
    ),
    "safetensors of others": (
        lambda path: save_file({"w": np.zeros(3)}, path),
        "not of this package.*pretrained",
    ),
    "a pickle": (
        lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n."),
        "no file of safetensors",
    ),
    "nothing": (lambda path: path.write_bytes(b""), "no file of safetensors"),
}


def deep(levels):
    document = None
    for _ in range(levels):
        document = {"tuple": [document]}
    return document if levels > 300 else {"record": ["info", [document]]}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name, fitted, path):
    change, message = HOSTILE[name]
    save(fitted, path)
    change(path)
    with pytest.raises(ModelFileError, match=message):
        load(path)


def test_every_changed_byte_and_every_length_is_noticed(fitted, path):
    save(fitted, path)
    whole, rng = path.read_bytes(), np.random.RandomState(0)
    for _ in range(200):
        changed = bytearray(whole)
        changed[rng.randint(len(whole))] ^= 1 << rng.randint(8)
        path.write_bytes(changed)
        with pytest.raises(ModelFileError):
            load(path)
    for length in rng.randint(len(whole), size=50):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError):
            load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_and_a_folder_are_no_files(path):
    os.mkfifo(path)
    with pytest.raises(ModelFileError, match="not a regular file"):
        load(path)
    with pytest.raises(ModelFileError, match="not a regular file"):
        load(path.parent)
    with pytest.raises(FileNotFoundError):
        load(path.parent / "absent")


KILLED = """
import sys
from sklearn_l2cnn.persistence import load, save
clf = load(sys.argv[1])
print("ready", flush=True)
while True:
    save(clf, sys.argv[1])
"""


@pytest.mark.long
def test_a_process_that_is_killed_while_it_saves_leaves_a_whole_file(
    fitted, labelled, path
):
    X, _ = labelled
    save(fitted, path)
    expected = fitted.predict_proba(X)
    command = [sys.executable, "-c", KILLED, str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.2)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert np.array_equal(load(path).predict_proba(X), expected)


@pytest.mark.gpu
def test_an_estimator_computes_where_it_did_or_is_told(labelled, path, cuda):
    X, y = labelled
    clf = small(architecture="plain", device="cuda").fit(X, y)
    save(clf, path)
    assert load(path).device_ == clf.device_ == str(cuda)
    again = load(path, device="cpu")
    assert again.device_ == "cpu"
    np.testing.assert_allclose(
        again.predict_proba(X), clf.predict_proba(X), rtol=1e-4, atol=1e-5
    )


def test_no_device_that_is_not_there(fitted, path):
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    save(fitted, path)
    with pytest.raises(ValueError, match="sees no CUDA device"):
        load(path, device="cuda")


def test_parameters_of_an_estimator_that_is_not_fitted(path):
    weights = {1: np.float64(2), "1": np.float64(3), (2, None): {4.5}, b"x": slice(3)}
    clf = L2CNNClassifier(alpha=float("inf"), class_weight=weights)
    save(clf, path)
    assert load(path).get_params() == clf.get_params()
