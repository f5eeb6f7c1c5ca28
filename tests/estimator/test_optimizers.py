"""Optimizers that cannot work are named before anything is trained."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import quick


def of_others(parameters, lr):
    return torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=lr)


@pytest.mark.parametrize(
    "optimizer, kind, message",
    [
        (torch.optim.SparseAdam, ValueError, "sparse gradients alone.*'adam'"),
        (lambda parameters, lr: None, TypeError, "has returned None, which is no opt"),
        (lambda parameters, lr: "adam", TypeError, "has returned 'adam', which is no"),
        (lambda: None, TypeError, "cannot be called with parameters and lr.*partial"),
        (lambda parameters: None, TypeError, "unexpected keyword argument 'lr'.*parti"),
        (torch.optim.Optimizer, TypeError, "missing .*'defaults'.*torch.optim was exp"),
        (int, TypeError, "<class 'int'> cannot be called with parameters and lr"),
        (of_others, ValueError, "of other parameters than those it was given"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_one_that_cannot_work_is_named(digits, optimizer, kind, message, method):
    X, y = digits
    clf = quick(optimizer=optimizer)
    more = {"classes": np.unique(y)} if method == "partial_fit" else {}
    with pytest.raises(kind, match=message):
        getattr(clf, method)(X[:20], y[:20], **more)
    assert not hasattr(clf, "net_")


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.NAdam,
        partial(torch.optim.SGD, nesterov=True),
        lambda parameters, lr: torch.optim.Adagrad(list(parameters)[:2], lr=lr),
        lambda *given, **options: torch.optim.Adam(*given, **options),
    ],
)
def test_optimizers_that_can_work_do(digits, optimizer):
    X, y = digits
    clf = quick(optimizer=optimizer, max_epochs=2).fit(X[:40], y[:40])
    assert clf.data_loss_curve_[1] < clf.data_loss_curve_[0]
