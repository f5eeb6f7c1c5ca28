"""Gradients of several batches for one step."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sklearn_l2cnn import L2CNNClassifierCV
from tests.conftest import SmallNet, on_devices, quick, tiny
from tests.loops import assert_close, parameters_of

OPTIMIZERS = {
    "sgd": (functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9), 1e-9),
    "adam": (functools.partial(torch.optim.Adam, lr=0.02), 1e-7),
}


def normed(input_shape, n_classes):
    """Build a network that looks across the images of a batch."""
    depth, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(depth, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * height * width, n_classes),
    ).double()


def equal(one, other):
    pairs = zip(parameters_of(one), parameters_of(other), strict=True)
    return all(np.array_equal(mine, theirs) for mine, theirs in pairs)


@pytest.mark.parametrize("architecture", [tiny, "plain"])
@pytest.mark.parametrize("size, k", [(16, 4), (10, 3), (7, 20), (1, 64)])
def test_images_that_do_not_meet_are_a_larger_batch_bit_for_bit(
    some, architecture, size, k
):
    parameters = {"architecture": architecture, "max_epochs": 2}
    one = quick(batch_size=size, accumulate=k, **parameters).fit(*some)
    assert equal(one, quick(batch_size=size * k, **parameters).fit(*some))
    assert one.net_.batch_size == size * k


class Looking(nn.Module):
    """Remember what a network is trained on."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.seen = []

    def forward(self, images):
        if self.training:
            self.seen.append(images.detach().clone())
        return self.inner(images)


def labels_of(images, clf, X, y):
    """Find the labels of standardised images."""
    known = torch.tensor((X - clf.channel_mean_) / clf.channel_scale_)
    apart = images[:, None] - known.permute(0, 3, 1, 2)[None]
    nearest, rows = apart.abs().amax(dim=(2, 3, 4)).min(dim=1)
    assert nearest.max() < 1e-9
    return torch.tensor(y)[rows]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("size", [30, 15, 10])
def test_norms_see_a_batch_each(colours, name, size):
    X, y = colours
    module, k = Looking(normed((3, 6, 5), 3)), 60 // size
    clf = quick(
        architecture=module,
        optimizer=name,
        lr=0.02,
        lr_schedule=None,
        alpha=0.1,
        batch_size=size,
        accumulate=k,
        max_epochs=2,
    ).fit(X, y)
    seen, module = clf.module_.seen, module.inner.train()
    assert [len(images) for images in seen] == [size] * 2 * k
    make, rtol = OPTIMIZERS[name]
    optimizer = make(module.parameters())
    for step in (seen[:k], seen[k:]):
        optimizer.zero_grad()
        for images in step:
            labels = labels_of(images, clf, X, y)
            loss = F.cross_entropy(module(images), labels, reduction="sum")
            (loss / 60).backward()
        for weight in module.parameters():
            if weight.ndim >= 2:
                weight.grad += 0.1 * weight.detach()
        optimizer.step()
    assert_close(parameters_of(clf), [p.detach() for p in module.parameters()], rtol)
    norm = clf.module_.inner[1]
    assert norm.num_batches_tracked == 2 * k
    torch.testing.assert_close(norm.running_var, module[1].running_var)


def test_a_last_step_has_batches_of_about_one_size(some):
    module = Looking(normed((1, 8, 8), 10))
    clf = quick(architecture=module, batch_size=32, accumulate=3, max_epochs=1)
    clf.fit(*some)  # 96 images, and 54
    assert [len(images) for images in clf.module_.seen] == [32, 32, 32, 27, 27]


def test_steps_are_counted_as_they_are_taken(some, capsys):
    X, y = some
    clf = quick(batch_size=16, accumulate=5, verbose=1).fit(X, y)
    assert "batch size 80, 2 steps an epoch" in capsys.readouterr().out
    clf.set_params(verbose=0, accumulate=1).partial_fit(X, y)
    assert clf.net_.batch_size == 16


def test_searches_train_such_networks_one_by_one(some):
    parameters = {"architecture": tiny, "max_epochs": 2, "batch_size": 10}
    parameters |= {"accumulate": 4, "random_state": 0}
    search = L2CNNClassifierCV([1e-4, 1e-1], cv=2, **parameters).fit(*some)
    assert equal(search, quick(alpha=search.alpha_, **parameters).fit(*some))


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", [tiny, SmallNet, "plain"])
def test_recorded_steps_add_up_batches(digits, cuda, architecture):
    parameters = {"architecture": architecture, "batch_size": 16, "accumulate": 4}
    here, there, eager = on_devices(*digits, **parameters)
    np.testing.assert_allclose(there.loss_curve_, eager.loss_curve_, rtol=1e-5)
    if architecture is not SmallNet:  # its dropout draws otherwise
        np.testing.assert_allclose(there.loss_curve_, here.loss_curve_, rtol=1e-3)


@pytest.mark.gpu
def test_a_step_takes_the_memory_of_a_batch(digits, cuda):
    def most(**parameters):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        quick(architecture="plain", device="cuda:0", **parameters).fit(*digits)
        return torch.cuda.max_memory_allocated() - before

    small = most(batch_size=16)
    large, added = most(batch_size=128), most(batch_size=16, accumulate=8)
    assert added < small + (large - small) / 4
