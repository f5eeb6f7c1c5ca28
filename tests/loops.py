"""Plain loops of torch, to compare training with."""

import numpy as np
import torch
import torch.nn.functional as F

from sklearn_l2cnn import L2CNNClassifier
from tests.conftest import double


def parameters_of(clf):
    return [p.detach().numpy().copy() for p in clf.module_.parameters()]


def one_batch(X, **parameters):
    """An estimator in float64 whose steps see all images."""
    defaults = {
        "architecture": double,
        "batch_size": len(X),
        "lr_schedule": None,
        "max_epochs": 8,
        "random_state": 0,
    }
    return L2CNNClassifier(**(defaults | parameters))


def reference(module, clf, X, y, optimizer, after=lambda: None, epochs=8, before=None):
    """Train a module with a plain loop on what the estimator saw."""
    images = torch.tensor((X - clf.channel_mean_) / clf.channel_scale_)
    images, labels = images.permute(0, 3, 1, 2), torch.tensor(y)
    for _ in range(epochs):
        optimizer.zero_grad()
        F.cross_entropy(module(images), labels).backward()
        if before is not None:
            before()
        optimizer.step()
        after()
    return [p.detach().numpy() for p in module.parameters()]


def groups(module, alpha):
    decayed = [p for p in module.parameters() if p.ndim >= 2]
    spared = [p for p in module.parameters() if p.ndim < 2]
    return [{"params": decayed, "weight_decay": alpha}, {"params": spared}]


def assert_close(mine, theirs, rtol=1e-9):
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)
