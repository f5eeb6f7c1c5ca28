"""Estimators as a document of plain values, and arrays beside it.

A document holds None, booleans, numbers, texts and lists as they are; everything else
is a dict with one key, which says what it is.
"""

import base64
import math
import os
import warnings
from functools import partial

import numpy as np
import torch
from sklearn.utils import Bunch

from sklearn_l2cnn._utils.trees import in_arrays
from sklearn_l2cnn.persistence._names import NETS, name_of

_PLAIN = (type(None), bool, int, str)
_LEFT_OUT = (
    "callbacks are programs, and not saved. Before training goes on, give them again: "
    "set_params(callbacks=[...])."
)


class Encoder:
    """Turns values into a document.

    Parameters
    ----------
    weights_only : bool
        Whether what optimizers remember is left out.

    Attributes
    ----------
    arrays : dict
        Of numpy, by the name that the document knows them by. Names without a slash
        are those of the state dict of the first network.
    """

    def __init__(self, weights_only):
        self.weights_only = weights_only
        self.arrays, self.seen, self.kept = {}, {}, []

    def value(self, value, place):
        """Return a value as a part of the document.

        Parameters
        ----------
        value : object
        place : str
            Where it is, for names of arrays and for messages.
        """
        kind = type(value)
        if place.endswith("/callbacks") and value:
            warnings.warn(_LEFT_OUT, UserWarning, stacklevel=2)
            return None
        if kind in _PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if kind is list:
            return self._all(value, place)
        if id(value) in self.seen:
            return {"again": self.seen[id(value)]}
        encoded = self._other(value, kind, place)
        # of two places with one object both are to have one again
        self.seen[id(value)] = len(self.kept)
        self.kept.append(value)
        return encoded

    def _all(self, values, place):
        return [self.value(value, f"{place}/{k}") for k, value in enumerate(values)]

    def _items(self, mapping, place):
        return [
            [self.value(key, f"{place}/key"), self.value(value, f"{place}/{key}")]
            for key, value in mapping.items()
        ]

    def _other(self, value, kind, place):
        name = name_of(kind)
        if kind is tuple:
            return {"tuple": self._all(value, place)}
        if kind in (dict, Bunch):
            return {kind.__name__.lower(): self._items(value, place)}
        if kind in (set, frozenset):
            return {"set": self._all(sorted(value, key=repr), place)}
        if isinstance(value, np.ndarray):
            return self._array(value, place)
        if isinstance(value, np.generic):
            return {"scalar": self.value(np.asarray(value), place)}
        if kind is torch.Tensor:
            return {"tensor": self._array(value.detach().cpu().numpy(), place)}
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if kind is bytes:
            return {"bytes": base64.b64encode(value).decode()}
        if kind is slice:
            parts = value.start, value.stop, value.step
            return {"slice": self._all(parts, place)}
        if kind is torch.dtype:
            return {"dtype": str(value).removeprefix("torch.")}
        if kind is np.random.RandomState:
            return {"generator": self.value(value.get_state(), place)}
        if kind is partial:
            parts = value.func, value.args, value.keywords
            return {"partial": self._all(parts, place)}
        if name in NETS:
            return {"net": [name, *self._net(value, place)]}
        if isinstance(value, tuple) and name is not None:
            return {"record": [name, self._all(value, place)]}
        if name is not None:
            state = value.__getstate__()
            return {"object": [name, self._items(state or {}, place)]}
        if isinstance(value, torch.nn.Module) or place.endswith("/architecture"):
            maker = value if hasattr(value, "__qualname__") else kind
            return {"yours": f"{maker.__module__}.{maker.__qualname__}"}
        if callable(value) and name_of(value) is not None:
            return {"name": name_of(value)}
        raise TypeError(_cannot(value, place))

    def _array(self, array, place):
        if array.dtype.kind in "OUT":
            texts = array.dtype.str if array.dtype.kind == "U" else "O"
            return {
                "texts": [
                    texts,
                    list(array.shape),
                    self._all(array.ravel().tolist(), place),
                ]
            }
        dtype = None
        if array.dtype.kind in "mM":
            array, dtype = array.view(np.int64), array.dtype.str
        if array.dtype.kind not in "biuf":
            raise TypeError(_cannot(array, place))
        if place in self.arrays:  # keys of a dict may be the same as texts
            place = f"{place}/{len(self.arrays)}"
        self.arrays[place] = np.ascontiguousarray(array).reshape(array.shape)
        return {"array": [place, dtype]}

    def _net(self, net, place):
        """Name the weights as the network does, and leave out what is not data."""
        state = net.__getstate__()
        weights = state["weights"]
        if weights is None:  # the user has the class
            weights = in_arrays(state["network"].state_dict())
        is_first = all("/" in name for name in self.arrays)
        prefix = "" if is_first else f"{place}/weights/"
        self.arrays |= {
            prefix + name: np.ascontiguousarray(value).reshape(value.shape)
            for name, value in weights.items()
        }
        if self.weights_only and state.get("memory"):
            state["memory"] = {**state["memory"], "state": {}}
        if "callbacks" in state:
            own = [pair for pair in state["callbacks_"] if name_of(type(pair[1]))]
            state |= {"callbacks": [], "callbacks_": own}
        state["weights"] = None
        return prefix, list(weights), self._items(state, place)


def _cannot(value, place):
    place = place.strip("/").replace("/", ".")
    return (
        f"{place}={value!r} cannot be saved without pickle: {type(value).__name__} is "
        "no kind of numbers or texts, and no class that is known here. Set the "
        "parameter to something else for saving, and again after loading, or use "
        "joblib.dump, whose files must be trusted by those who load them."
    )
