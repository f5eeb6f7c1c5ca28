"""Are model files loaded as they were saved, or refused, whatever is done to them?

python -m benchmarks.fuzz_files --cases N [--seed S] [--jobs J]

Files of `sklearn_l2cnn.persistence.save`, of a classifier, a pipeline, a search and a
transformer, are damaged at random: bits, bytes, pieces, lengths, the sizes in front.
They must raise a `ModelFileError`, or give the same estimator. In every other case it
is the document that is changed, and its checksum written anew, as somebody would who
means harm: then another estimator may come, or a `ModelFileError`, and nothing else.
Memory is bounded, what a file names is not imported, global state stays as it was,
nothing is printed.
"""

import copy
import json
import os
import sys
import tempfile
import warnings
from functools import cache

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sklearn.pipeline import make_pipeline

from benchmarks import _fuzzing
from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn.persistence import ModelFileError, load, save
from sklearn_l2cnn.persistence._file import _digest
from sklearn_l2cnn.preprocessing import PatchWhitener, PixelScaler

_MEMORY = 128 << 20


def main():
    return _fuzzing.main("benchmarks.fuzz_files", __doc__, case)


@cache
def originals():
    """Return files as bytes, and estimators with what they give for some images."""
    rng = np.random.RandomState(0)
    X, y = rng.uniform(size=(12, 4, 4, 1)).astype(np.float32), np.arange(12) % 2
    small = {"max_epochs": 1, "batch_size": 6, "random_state": 0}
    classifier = L2CNNClassifier(**small).partial_fit(X, y, classes=[0, 1])
    estimators = [
        classifier,
        make_pipeline(PixelScaler(), L2CNNClassifier(**small)).fit(X, y),
        L2CNNClassifierCV(alphas=[0.1], cv=2, scoring="accuracy", **small).fit(X, y),
        PatchWhitener(patch_size=3).fit(X),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model")
        files = []
        for estimator in estimators:
            save(estimator, path)
            with open(path, "rb") as file:
                files.append(file.read())
    return X, [(f, answers(e, X)) for f, e in zip(files, estimators, strict=True)]


def answers(estimator, X):
    """Return what an estimator gives for images."""
    predict = getattr(estimator, "predict_proba", None) or estimator.transform
    return predict(X)


def case(seed):
    """Yield what is wrong with a case."""
    draw = _fuzzing.draw(seed)
    X, files = originals()
    whole, expected = draw.choice(files)
    with tempfile.TemporaryDirectory(dir=_folder()) as folder:
        path = os.path.join(folder, "model")
        harmful = bool(seed % 2)
        (_write_harmful if harmful else _write_damaged)(draw, path, whole)
        # a document takes some ten times as much in memory as in a file
        size = _MEMORY + 12 * os.path.getsize(path)
        with _fuzzing.little_memory(size) as taken, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of releases of scikit-learn, for example
            try:
                estimator = load(path)
            except ModelFileError as error:
                if len(str(error)) < 30:
                    yield f"it says too little: {error}"
            else:
                if not harmful and not np.array_equal(answers(estimator, X), expected):
                    yield "another estimator came"
        yield from taken
    if "this" in sys.modules:
        yield "it has imported what a file names"


def _folder():
    """Return a folder in memory, where there is one."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


# -- damage ---------------------------------------------------------------------------


def _write_damaged(draw, path, whole):
    """Write a file of which some bytes are others."""
    data = bytearray(whole)
    # the header is a small part of a file, and the one that decides
    length = int.from_bytes(whole[:8], "little") + 8
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        end = draw.choice((8, length, len(data)))
        at = draw.randrange(max(1, min(end, len(data))))
        kind = draw.randrange(6)
        if kind == 0:
            data[at : at + 1] = bytes([data[at] ^ 1 << draw.randrange(8)])
        elif kind == 1:
            data[at : at + 1] = bytes([draw.randrange(256)])
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:at] = draw.randbytes(draw.choice((1, 8, 100)))
        elif kind == 4:
            del data[at : at + draw.choice((1, 8, 100))]
        else:
            other = draw.choice(originals()[1])[0]
            data[at:] = other[draw.randrange(len(other)) :]
        data = data or bytearray(b"\0")
    with open(path, "wb") as file:
        file.write(data)


# -- harm -----------------------------------------------------------------------------

_NAMES = (
    "os.system",
    "builtins.eval",
    "this.s",
    "sklearn.pipeline.Pipeline",
    "torch.optim.Adam",
)
_NAMES += (
    "sklearn_l2cnn.L2CNNClassifier",
    "net",
    "summary",
    "posix.system",
    "resnet152",
)
_SCALARS = (None, True, False, 0, -1, 3, 1 << 40, 1 << 70, 0.5, 1e300, "", "a" * 1000)


def _write_harmful(draw, path, whole):
    """Write a file with another document, or other arrays, and a right checksum."""
    with open(path, "wb") as file:
        file.write(whole)
    arrays = load_file(path)
    with safe_open(path, framework="numpy") as file:
        header = file.metadata()
    document = json.loads(header["document"])
    for _ in range(draw.choice((1, 1, 2, 4))):
        if draw.random() < 0.2:
            _change_array(draw, arrays)
        else:
            document = _changed(draw, document)
    text = json.dumps(document)
    header |= {"document": text, "sha256": _digest(text, arrays.items())}
    save_file(arrays, path, metadata=header)


def _change_array(draw, arrays):
    if not arrays:
        return
    name = draw.choice(sorted(arrays))
    value = arrays[name]
    kind = draw.randrange(5)
    if kind == 0:
        arrays.pop(name)
    elif kind == 1:
        arrays[name] = value.reshape(-1)[: value.size // 2].copy()
    elif kind == 2:
        dtype = draw.choice(("float64", "int64", "uint8", "bool"))
        with np.errstate(invalid="ignore"):  # of NaN as an integer
            arrays[name] = value.astype(dtype)
    elif kind == 3:
        arrays[name] = np.full_like(value, draw.choice((0, 1, 255)))
    elif value.dtype.kind == "f":
        arrays[name] = np.full_like(value, draw.choice((np.nan, np.inf, 1e30)))


def _nodes(document, path=()):
    """Yield where the parts of a document are."""
    yield path
    if isinstance(document, list | dict):
        keys = range(len(document)) if isinstance(document, list) else list(document)
        for key in keys:
            yield from _nodes(document[key], (*path, key))


def _at(document, path):
    for key in path:
        document = document[key]
    return document


def _changed(draw, document):
    """Return a document of which a part is another."""
    places = list(_nodes(document))
    path = draw.choice(places)
    new = draw.choice(
        (
            lambda: draw.choice(_SCALARS),
            lambda: draw.choice(_NAMES),
            lambda: {"name": draw.choice(_NAMES)},
            lambda: {"object": [draw.choice(_NAMES), []]},
            lambda: {"again": draw.choice((0, 5, 100, -1))},
            lambda: copy.deepcopy(_at(document, draw.choice(places))),
            lambda: [copy.deepcopy(_at(document, path))] * draw.choice((0, 2, 1000)),
        )
    )()
    if not path:
        return new
    _at(document, path[:-1])[path[-1]] = new
    return document


if __name__ == "__main__":
    sys.exit(main())
