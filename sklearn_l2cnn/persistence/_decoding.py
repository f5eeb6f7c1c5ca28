"""Estimators from a document of plain values, and arrays beside it."""

import base64
from functools import partial

import numpy as np
import torch
from sklearn.utils import Bunch

from sklearn_l2cnn._training.runtime import isolated
from sklearn_l2cnn._utils.operations import on_meta
from sklearn_l2cnn._utils.trees import in_tensors
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.persistence._names import named

_DTYPES = "float16", "bfloat16", "float32", "float64"


class ModelFileError(ValueError):
    """A file that cannot be loaded: damaged, of another kind, or not to be trusted.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn_l2cnn.persistence import ModelFileError, load
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "notes.txt")
    ...     with open(path, "w") as file:
    ...         _ = file.write("no model")
    ...     try:
    ...         load(path)
    ...     except ModelFileError as error:
    ...         print("cannot be loaded" in str(error))
    True
    """


class Decoder:
    """Turns documents of `Encoder` into values.

    Parameters
    ----------
    array : callable
        Returns the array of a name.
    architecture : torch.nn.Module, callable or None
        Of which the user has the class.
    device_of : callable
        Returns where a net is to compute, of the device that it computed on.
    """

    def __init__(self, array, architecture, device_of):
        self.array, self.architecture, self.device_of = array, architecture, device_of
        self.kept = []

    def value(self, document):
        """Return the value that a part of a document describes."""
        if isinstance(document, list):
            return self._all(document)
        if not isinstance(document, dict):
            return document
        [(kind, body)] = document.items()
        if kind == "float":
            return float(body)
        if kind == "again":
            return self.kept[body]
        if kind not in _KINDS:
            raise ModelFileError(f"There is no kind {kind!r} of values.")
        value = _KINDS[kind](self, body)
        self.kept.append(value)
        return value

    def _all(self, documents):
        return [self.value(document) for document in documents]

    def _dict(self, items):
        return {self.value(key): self.value(value) for key, value in items}

    def _array(self, name, dtype):
        array = self.array(name)
        return array if dtype is None else array.view(dtype)

    def _texts(self, dtype, shape, values):
        array = np.empty(len(values), dtype=object)
        array[:] = self._all(values)
        array = array.reshape(shape)
        return array if dtype == "O" else np.array(array, dtype=f"U{_length(array)}")

    def _object(self, name, items):
        instance = object.__new__(_known(name))
        state = self._dict(items)
        if hasattr(instance, "__setstate__"):
            instance.__setstate__(state)
        else:
            vars(instance).update(state)
        return instance

    def _net(self, kind, prefix, names, items):
        """Make a net, its network by name or with the architecture of the user."""
        state = self._dict(items)
        weights = {name: self.array(prefix + name) for name in names}
        if isinstance(state["network"], tuple):
            state["weights"] = weights
        else:
            state["network"] = _loaded(self._own_network(state), in_tensors(weights))
        state["device"] = self.device_of(state["device"])
        net = object.__new__(_known(kind))
        net.__setstate__(state)
        _check(net)
        return net

    def _own_network(self, state):
        height, width, depth = state["image_shape"]
        shape, dropout = (depth, height, width), state["made_by"]["dropout"]
        with isolated(0, torch.device("cpu")):  # the given weights replace all
            return build_network(
                self.architecture, shape, state["n_classes"], dropout=dropout
            )

    def _tensor(self, document):
        [array] = document.values()
        return torch.from_numpy(self._array(*array))

    def _generator(self, state):
        generator = np.random.RandomState()
        generator.set_state(self.value(state))
        return generator

    def _partial(self, parts):
        function, arguments, keywords = self._all(parts)
        return partial(function, *arguments, **keywords)

    def _yours(self, name):
        if self.architecture is None:
            raise ModelFileError(
                f"its network is of a class of yours, {name}. Files hold no programs: "
                "give the module, or the function that makes it, as load(path, "
                "architecture=...)."
            )
        return self.architecture


def _dtype(name):
    if name not in _DTYPES:
        raise ModelFileError(f"it names {name!r} as a dtype of networks.")
    return getattr(torch, name)


# What a part of a document is made into, by its kind.
_KINDS = {
    "tuple": lambda self, parts: tuple(self._all(parts)),
    "dict": Decoder._dict,
    "bunch": lambda self, items: Bunch(**self._dict(items)),
    "set": lambda self, parts: set(self._all(parts)),
    "array": lambda self, parts: self._array(*parts),
    "texts": lambda self, parts: self._texts(*parts),
    "scalar": lambda self, document: self.value(document)[()],
    "tensor": Decoder._tensor,
    "bytes": lambda self, text: base64.b64decode(text, validate=True),
    "slice": lambda self, parts: slice(*self._all(parts)),
    "dtype": lambda self, name: _dtype(name),
    "generator": Decoder._generator,
    "partial": Decoder._partial,
    "name": lambda self, name: _known(name),
    "net": lambda self, parts: self._net(*parts),
    "record": lambda self, parts: _known(parts[0])._make(self._all(parts[1])),
    "object": lambda self, parts: self._object(*parts),
    "yours": Decoder._yours,
}


def _loaded(network, weights):
    """Load the weights of a file into a network of the user."""
    for dtype in {value.dtype for value in weights.values()}:
        if dtype.is_floating_point:  # of which there is one
            network.to(dtype)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelFileError(
            "it holds the weights of another network than the given architecture: "
            f"{' '.join(str(error).split()[:60])}"
        ) from error
    return network


def _check(net):
    """Raise where a network has weights that are no numbers, or gives no logits."""
    network = net.module_
    for name, weight in network.named_parameters():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise ModelFileError(f"the weights {name} are not all finite.")
    made_by = getattr(net, "made_by", {})  # the net of a backbone has no logits
    if not isinstance(made_by.get("architecture"), str):
        return
    height, width, depth = net.image_shape
    images = torch.empty((2, depth, height, width), dtype=net.dtype, device="meta")
    with torch.no_grad():
        shape = on_meta(network).eval()(images).shape
    if shape != (2, net.n_classes) or len(net.classes) != net.n_classes:
        raise ModelFileError(f"its network has outputs of shape {tuple(shape)}.")


def _known(name):
    found = named(name)
    if found is None:
        raise ModelFileError(
            f"it names {name!r}, which is not among the classes that files may hold."
        )
    return found


def _length(array):
    return max(map(len, array.flat), default=1) or 1
