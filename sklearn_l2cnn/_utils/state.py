"""What a network is and remembers, to be compared: with another, or before and after.

Python objects can be compared by what is in them, tensors by who they are and by how
often they were changed.
"""

from collections import OrderedDict, deque
from types import FunctionType
from typing import NamedTuple

import numpy as np
import torch

from sklearn_l2cnn._utils.identity import enclosed_by

# Objects that are looked into; of what is further away the identity counts.
_MOST_OBJECTS = 10_000
_PLAIN = frozenset((type(None), bool, int, float, str, bytes))
_DICTS = dict, OrderedDict
_CONTAINERS = list, tuple, set, frozenset, deque

# What was found out is kept of so many networks.
_MOST_KNOWN = 256


class State(NamedTuple):
    """The state of a network.

    Attributes
    ----------
    content : tuple
        Hashable; equal for networks that do the same, as far as classes, functions,
        attributes and the shapes of tensors say.
    tensors : list of int
        Which tensors there are.
    versions : list of int
        How often each of them was changed.
    """

    content: tuple
    tensors: list
    versions: list


def state_of(module, *others):
    """Return the state of a network, and of other objects that it has to do with.

    Looked at are the attributes of all its parts, what containers and objects among
    them hold, and the variables of their classes, and of modules and functions around,
    that the methods of these classes use.

    Parameters
    ----------
    module : torch.nn.Module
    *others : object

    Returns
    -------
    state : State

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn._utils.state import state_of
    >>> norm = torch.nn.BatchNorm1d(2)
    >>> before, _, versions = state_of(norm)
    >>> _ = norm(torch.ones(3, 2))
    >>> after, _, versions_after = state_of(norm)
    >>> before == after, versions == versions_after
    (True, False)
    """
    walk = _Walk()
    kinds = dict.fromkeys(map(type, (*module.modules(), *others)))
    content = *map(walk.content, (module, *others)), *map(walk.of_class, kinds)
    return State(content, walk.tensors, walk.versions)


def remembered(known, module, options, find_out):
    """Return what is known of networks that are alike, found out once.

    Parameters
    ----------
    known : dict
        It is changed.
    module : torch.nn.Module
    options : tuple
        What else it depends on.
    find_out : callable
        Of no argument.
    """
    key = state_of(module).content, options
    if key not in known:
        if len(known) >= _MOST_KNOWN:
            known.clear()
        known[key] = find_out()
    return known[key]


class _Identity:
    """Stands for an object that is equal to itself alone."""

    def __init__(self, of):
        self.of = of

    def __eq__(self, other):
        return isinstance(other, _Identity) and self.of is other.of

    def __hash__(self):
        return id(self.of)


class _Walk:
    """A walk through all that can be reached from a network."""

    def __init__(self):
        self.seen = {}
        self.tensors = []
        self.versions = []

    def content(self, value):
        """Return what is in an object, as something hashable."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if id(value) in self.seen:
            return self.seen[id(value)]
        if len(self.seen) > _MOST_OBJECTS:
            return _Identity(value)
        self.seen[id(value)] = len(self.seen)
        if isinstance(value, torch.Tensor):
            self.tensors.append(id(value))
            # tensors of torch.inference_mode have no version, and do not change
            self.versions.append(None if value.is_inference() else value._version)
            return kind, tuple(value.shape), value.dtype, value.requires_grad
        if isinstance(value, np.ndarray):
            return kind, value.shape, value.dtype.str, value.tobytes()
        if isinstance(value, dict):
            content = self.content
            keys = [k if type(k) is str else _key(k) for k in value]
            return (
                kind,
                *keys,
                *[
                    # most values of a module are empty dicts or plain
                    of
                    if (of := type(v)) in _DICTS and not v
                    else v
                    if of in _PLAIN
                    else content(v)
                    for v in value.values()
                ],
            )
        if isinstance(value, _CONTAINERS):
            return kind, *map(self.content, value)
        if isinstance(value, FunctionType):
            return _Identity(value), *map(self.content, _variables(value))
        if isinstance(value, type) or not hasattr(value, "__dict__"):
            return _Identity(value)
        return kind, self.content(vars(value))

    def of_class(self, kind):
        """Return what is in the variables of a class, and in what its methods use."""
        return kind, *(
            self.content(getattr(value, "__func__", value))
            for base in kind.__mro__
            if not base.__module__.startswith(("torch.", "builtins"))
            for value in vars(base).values()
        )


def _key(key):
    return key if isinstance(key, int) else _Identity(key)


def _variables(function):
    """List the variables around a function that it uses, and its default values."""
    names = function.__code__.co_names
    used = [function.__globals__[n] for n in names if n in function.__globals__]
    return [
        *(value for value in enclosed_by(function) if value is not None),
        # other functions, classes and modules are not looked into
        *(value for value in used if isinstance(value, _DATA)),
        *(function.__defaults__ or ()),
    ]


_DATA = (bool, int, float, str, dict, *_CONTAINERS, np.ndarray, torch.Tensor)
