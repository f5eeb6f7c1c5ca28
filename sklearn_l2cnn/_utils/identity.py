"""What an object is, as a text that is the same in every process."""

import hashlib
import inspect
import re
from functools import partial
from types import CodeType, FunctionType

import numpy as np
import torch

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.Size)
# Packages whose classes are known by their names: a release of theirs is another key.
_KNOWN = ("builtins", "numpy", "sklearn", "sklearn_l2cnn", "skorch", "torch")


def identity(*values):
    """Return a hash of values, equal in another process for values that do the same.

    Looked at are numbers, containers, arrays and tensors, the parameters or attributes
    of objects, and of functions and classes of others the code.

    Parameters
    ----------
    *values : object

    Returns
    -------
    name : str
        Of 32 hexadecimal digits.

    Examples
    --------
    >>> from sklearn_l2cnn._utils.identity import identity
    >>> identity([1, "a"]) == identity([1, "a"]), identity([1]) == identity([1.0])
    (True, False)
    """
    walk = _Walk()
    walk.add(values)
    return walk.digest.hexdigest()


class _Walk:
    """A walk through values that adds what it sees to a hash."""

    def __init__(self):
        self.digest = hashlib.blake2b(digest_size=16)
        self.inside = []

    def add(self, value):
        """Add a value and all that is in it."""
        kind = type(value)
        self._say(kind.__module__, kind.__qualname__)
        if kind in _PLAIN:
            self._say(repr(value))
        elif id(value) in self.inside:  # something that it holds holds it
            self._say("again", self.inside.index(id(value)))
        else:
            self.inside.append(id(value))
            self._parts(value, kind)
            self.inside.pop()

    def _parts(self, value, kind):
        if isinstance(value, np.generic | np.ndarray):
            self._array(np.asarray(value))
        elif isinstance(value, torch.Tensor):
            value = value.detach().cpu().contiguous()
            self._say(value.dtype, tuple(value.shape))
            self.digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, dict):
            self._all(*value.keys(), *value.values())
        elif isinstance(value, set | frozenset):
            self._all(*sorted(value, key=repr))
        elif isinstance(value, list | tuple):
            self._all(*value)
        elif isinstance(value, CodeType):
            self._all(value.co_code, value.co_names, value.co_consts)
        elif isinstance(value, FunctionType):
            own = value.__code__, value.__defaults__, value.__kwdefaults__
            self._say(value.__module__, value.__qualname__)
            self._all(*own, enclosed_by(value))
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, partial):
            self._all(value.func, value.args, value.keywords)
        else:
            self._object(value, kind)

    def _say(self, *words):
        text = "\0".join(map(str, words))
        self.digest.update(f"{len(text)}:{text}".encode())

    def _all(self, *values):
        self._say(len(values))
        for value in values:
            self.add(value)

    def _array(self, array):
        self._say(array.dtype.str, array.shape)
        if array.dtype.hasobject:
            self._all(*array.ravel().tolist())
        else:
            self.digest.update(np.ascontiguousarray(array).reshape(-1).view("u1").data)

    def _class(self, kind):
        """Add the name of a class and, if it is of others, what its methods do."""
        for base in kind.__mro__:
            self._say(base.__module__, base.__qualname__)
            if base.__module__.partition(".")[0] not in _KNOWN:
                members = (getattr(v, "__func__", v) for v in vars(base).values())
                self._all(*(v for v in members if isinstance(v, FunctionType)))

    def _object(self, value, kind):
        self._class(kind)
        if isinstance(value, torch.nn.Module):
            self._say(_text(value))
            parts = list(value.modules())
            self._all(*dict.fromkeys(map(type, parts)))
            self._all(*map(_plain_attributes, parts), dict(value.state_dict()))
        elif _says_all(value, kind):
            self.add(value.get_params(deep=False))
        elif hasattr(value, "__dict__"):  # what it has learnt is not what it is
            own = vars(value).items()
            self.add({k: v for k, v in own if not k.endswith("_")})
            self._say(getattr(value, "__qualname__", ""))
        else:
            self._say(_text(value))


def _text(value):
    """Return the repr of an object, without where it lies in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _plain_attributes(part):
    """Return numbers and texts among the attributes of a part of a network."""
    return {k: v for k, v in vars(part).items() if type(v) in _PLAIN}


def _says_all(value, kind):
    """Say whether an object has parameters, as those of scikit-learn, and no others."""
    if not (hasattr(value, "get_params") and hasattr(value, "set_params")):
        return False
    parameters = inspect.signature(kind).parameters.values()
    return all(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def enclosed_by(function):
    """List the variables of other functions that one uses, None if without a value."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # it has none yet
            found.append(None)
    return found
