"""The hash that names what an object is, in this process and in others."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import EarlyStopping, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import StepLR

from sklearn_l2cnn._utils.identity import identity
from sklearn_l2cnn.augmentation import Augmentation
from tests.conftest import SmallNet, tiny


def scaled(factor):
    return lambda x: factor * x


def network(seed, activation=nn.ReLU):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 2), activation())


def setting(module, **attributes):
    vars(module[0]).update(attributes)
    return module


def recursive():
    values = [1]
    values.append(values)
    return values


MAKERS = {
    "None": lambda: None,
    "int": lambda: 1,
    "bool": lambda: True,
    "float": lambda: 1.0,
    "text": lambda: "1",
    "bytes": lambda: b"1",
    "list": lambda: [1, 2],
    "tuple": lambda: (1, 2),
    "nested": lambda: [1, [2]],
    "dict": lambda: {"a": 1, "b": 2},
    "another order": lambda: {"b": 2, "a": 1},
    "set": lambda: {"a", "b"},
    "recursive": recursive,
    "array": lambda: np.arange(4),
    "its shape": lambda: np.arange(4).reshape(2, 2),
    "its dtype": lambda: np.arange(4.0),
    "texts": lambda: np.array(["a", "b"]),
    "objects": lambda: np.array(["a", "b"], dtype=object),
    "scalar": lambda: np.float32(1),
    "tensor": lambda: torch.arange(4),
    "bfloat16": lambda: torch.arange(4, dtype=torch.bfloat16),
    "no dimension": lambda: torch.tensor(1.0),
    "dtype": lambda: torch.float32,
    "function": lambda: tiny,
    "closure": lambda: scaled(2),
    "another closure": lambda: scaled(3),
    "lambda": lambda: lambda x: x + 1,
    "another lambda": lambda: lambda x: x + 2,
    "another attribute": lambda: lambda x: x.T,
    "default": lambda: lambda x=1: x,
    "partial": lambda: partial(tiny, n_classes=2),
    "another partial": lambda: partial(tiny, n_classes=3),
    "class": lambda: SmallNet,
    "class of torch": lambda: nn.Linear,
    "builtin": lambda: max,
    "module": lambda: network(0),
    "other weights": lambda: network(1),
    "other layers": lambda: network(0, nn.Tanh),
    "other attributes": lambda: setting(network(0), factor=2.0),
    "path": lambda: Path("a"),
    "another path": lambda: Path("b"),
    "device": lambda: torch.device("cpu"),
    "slice": lambda: slice(1, 2),
    "estimator": lambda: LogisticRegression(),
    "its parameter": lambda: LogisticRegression(C=2.0),
    "augmentation": lambda: Augmentation(rotate=10),
    "another augmentation": lambda: Augmentation(rotate=20),
    "callback": lambda: EarlyStopping(patience=3),
    "another callback": lambda: EarlyStopping(patience=4),
    "keywords": lambda: LRScheduler(StepLR, step_size=3),
    "other keywords": lambda: LRScheduler(StepLR, step_size=4),
}


def test_values_have_an_identity_of_their_own_each():
    found = {name: identity(make()) for name, make in MAKERS.items()}
    assert {name: identity(make()) for name, make in MAKERS.items()} == found
    assert len(set(found.values())) == len(found)


@pytest.mark.long
def test_it_is_the_same_in_another_process():
    code = """
from tests.utils.test_identity import MAKERS, identity
print(*(identity(make()) for make in MAKERS.values()))
"""
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert other.stdout.split() == [identity(make()) for make in MAKERS.values()]


def test_what_was_learnt_does_not_count():
    X, y = np.arange(6.0).reshape(3, 2), [0, 1, 0]
    assert identity(LogisticRegression().fit(X, y)) == identity(LogisticRegression())
    callback = EarlyStopping()
    callback.misses_ = 3
    assert identity(callback) == identity(EarlyStopping())


def test_where_an_object_lies_does_not_count():
    assert identity([object()]) == identity([object()])
    activation = partial(scaled, 2)
    one, other = (
        setting(network(0), extra_repr=lambda f=activation: repr(f)) for _ in "ab"
    )
    assert identity(one) == identity(other)


def test_parts_cannot_be_moved_between_values():
    assert identity("ab", "c") != identity("a", "bc")
    assert identity([1], [2]) != identity([1, 2])
    shared = [1, 2]
    assert identity([shared, shared]) == identity([[1, 2], [1, 2]])
