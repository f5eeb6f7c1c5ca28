"""What products are computed in, and that little depends on it."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import EfficiencyWarning
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import runtime
from sklearn_l2cnn._training.runtime import autocast, lowered_dtype
from sklearn_l2cnn._utils.devices import computes_bfloat16
from tests.conftest import SmallNet, double, quick, tiny

CPU = torch.device("cpu")


def test_what_the_parameter_stands_for(monkeypatch):
    assert lowered_dtype("float32", CPU) is None
    assert lowered_dtype("bfloat16", CPU) is torch.bfloat16
    for native, expected in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(runtime, "computes_bfloat16", lambda _, n=native: n)
        assert lowered_dtype("auto", CPU) is expected


def test_emulation_is_said(monkeypatch, digits):
    X, y = digits
    slow = quick(precision="bfloat16", max_epochs=1)
    monkeypatch.setattr(runtime, "computes_bfloat16", lambda _: False)
    with pytest.warns(EfficiencyWarning, match="this CPU, which has no instructions"):
        slow.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for precision in ("float32", "auto"):
            clone(slow).set_params(precision=precision).fit(X, y)
        for there in (True, None):  # None: nobody can tell
            monkeypatch.setattr(runtime, "computes_bfloat16", lambda _, t=there: t)
            clone(slow).fit(X, y)


def test_instructions_are_asked_of_torch(monkeypatch):
    for name, expected in (("amx_bf16", True), ("avx2", False)):
        capabilities = {name: True, "avx512_bf16": False}
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda c=capabilities: c, raising=False
        )
        assert computes_bfloat16(CPU) is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert computes_bfloat16(CPU) is None


def test_auto_is_what_the_hardware_computes(digits):
    clf = quick(precision="auto", max_epochs=1).fit(*digits)
    expected = "bfloat16" if computes_bfloat16(CPU) else "float32"
    assert clf.precision_ == expected


class Witness(nn.Module):
    """A network that notes the dtype of a product."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.body = tiny(input_shape, n_classes)
        self.seen = set()

    def forward(self, X):
        logits = self.body(X)
        self.seen.add((X.dtype, logits.dtype))
        return logits


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_are_computed_in_it_and_nothing_else(digits, precision):
    X, y = digits
    clf = quick(architecture=Witness, precision=precision, early_stopping=True)
    clf.fit(X, y)
    clf.module_.seen.clear()
    probabilities = clf.partial_fit(X, y).predict_proba(X)
    assert clf.module_.seen == {(torch.float32, getattr(torch, precision))}
    assert probabilities.dtype == np.float32 and clf.precision_ == precision
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert all(p.dtype == torch.float32 for p in clf.module_.parameters())


def test_a_network_of_float64_stays_there(digits):
    one, two = (
        quick(architecture=double, precision=p).fit(*digits)
        for p in ("float32", "bfloat16")
    )
    assert one.loss_curve_ == two.loss_curve_
    assert two.predict_proba(digits[0]).dtype == np.float64


def test_nothing_changes_outside():
    with autocast(torch.bfloat16, CPU):
        assert torch.is_autocast_enabled("cpu")
        with autocast(None, CPU):
            pass
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("architecture", ["plain", tiny, SmallNet])
def test_bfloat16_learns_nearly_the_same(digits, architecture):
    X, y = digits
    losses = [
        L2CNNClassifier(
            architecture=architecture,
            precision=precision,
            max_epochs=4,
            random_state=0,
        )
        .fit(X, y)
        .loss_curve_
        for precision in ("float32", "bfloat16")
    ]
    np.testing.assert_allclose(*losses, rtol=0.1)
    assert losses[0] != losses[1]


def test_a_prediction_in_bfloat16_is_independent_of_its_batch(digits):
    X, y = digits
    clf = quick(precision="bfloat16").fit(X, y)
    whole = clf.predict_proba(X)
    for rows in (slice(0, 1), slice(17, 20), slice(100, 300)):
        assert np.array_equal(clf.predict_proba(X[rows]), whole[rows])
