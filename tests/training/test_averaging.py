"""Averages of weights, against torch's own and against loops by hand."""

import functools
import math

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch.optim.swa_utils import AveragedModel

from tests.conftest import SmallNet, double, on_devices, quick
from tests.loops import assert_close, one_batch, parameters_of, reference

OPTIMIZERS = {
    "sgd": (functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9), 1e-9),
    "adam": (functools.partial(torch.optim.Adam, lr=0.02), 1e-7),
}


def averaged(module, decay):
    """Let torch average a module, by the formula of the documentation."""

    def of_step(average, weight, n_averaged):
        part = max(1 - decay, 1 / (int(n_averaged) + 1))
        return average + part * (weight - average)

    return AveragedModel(module, avg_fn=of_step)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
def test_the_average_is_that_of_torch(colours, name, decay):
    X, y = colours
    module = double((3, 6, 5), 3)
    parameters = {"alpha": 0.0, "optimizer": name, "lr": 0.02, "architecture": module}
    clf = one_batch(X, average=decay, **parameters).fit(X, y)
    make, rtol = OPTIMIZERS[name]
    theirs = averaged(module, decay)
    optimizer = make(module.parameters())
    reference(
        module, clf, X, y, optimizer, lambda: theirs.update_parameters(module), epochs=8
    )
    found = [p.detach().numpy() for p in theirs.module.parameters()]
    assert_close(parameters_of(clf), found, rtol)
    # what was trained is another
    assert not np.allclose(found[0], module[0].weight.detach())


@pytest.mark.parametrize("epochs", [1, 3, 8])
def test_swa_is_the_mean_of_the_last_epochs(colours, epochs):
    X, y = colours
    module = double((3, 6, 5), 3)
    parameters = {"alpha": 0.0, "optimizer": "sgd", "lr": 0.02, "architecture": module}
    clf = one_batch(X, average="swa", max_epochs=epochs, **parameters).fit(X, y)
    ends = []

    def after():
        ends.append([p.detach().clone() for p in module.parameters()])

    optimizer = OPTIMIZERS["sgd"][0](module.parameters())
    reference(module, clf, X, y, optimizer, after, epochs)
    last = ends[epochs - math.ceil(epochs / 4) :]
    means = [torch.stack(one).mean(dim=0).numpy() for one in zip(*last, strict=True)]
    assert_close(parameters_of(clf), means)


class Looking(Callback):
    """Keep what is in the network at the end of every epoch."""

    def on_epoch_end(self, net, **kwargs):
        found = vars(self).setdefault("found_", [])
        found.append([p.detach().clone() for p in net.module_.parameters()])


class Steps(Callback):
    """Keep what is in the network after every step."""

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            found = vars(self).setdefault("found_", [])
            found.append([p.detach().clone() for p in net.module_.parameters()])


def test_training_goes_on_without_the_average(some):
    steps, looking = Steps(), Looking()
    parameters = {"architecture": double, "batch_size": 50, "max_epochs": 4}
    clf = quick(average=0.8, callbacks=[steps, looking], **parameters).fit(*some)
    alone = Steps()
    quick(callbacks=[alone], **parameters).fit(*some)
    for mine, theirs in zip(steps.found_, alone.found_, strict=True):
        assert all(map(torch.equal, mine, theirs))
    mean, expected = None, []
    for t, weights in enumerate(steps.found_, 1):
        part = max(1 - 0.8, 1 / t)
        mean = mean or weights
        mean = [m + part * (w - m) for m, w in zip(mean, weights, strict=True)]
        if t % 3 == 0:
            expected.append(mean)
    for mine, theirs in zip(looking.found_, expected, strict=True):
        assert_close([m.numpy() for m in mine], [t.numpy() for t in theirs])
    assert_close(parameters_of(clf), [t.numpy() for t in expected[-1]])


def test_validation_and_early_stopping_look_at_the_average(some):
    X, y = some
    looking = Looking()
    clf = quick(
        average=0.5,
        early_stopping=True,
        max_epochs=8,
        n_iter_no_change=np.inf,
        lr=0.02,
        callbacks=[looking],
    ).fit(X, y, X_val=X[:60], y_val=y[:60])
    best = looking.found_[clf.best_epoch_ - 1]
    assert all(map(torch.equal, best, clf.module_.parameters()))
    assert clf.score(X[:60], y[:60]) == pytest.approx(clf.best_validation_score_)


@pytest.mark.parametrize("average", [0.9, "swa"])
def test_norms_are_averaged_and_whole_numbers_are_not(some, average):
    parameters = {"architecture": SmallNet, "lr": 0.01, "max_epochs": 5}
    one, other = (quick(average=a, **parameters).fit(*some) for a in (average, None))
    mine, theirs = one.module_.norm, other.module_.norm
    assert not torch.equal(mine.running_mean, theirs.running_mean)
    assert torch.equal(mine.num_batches_tracked, theirs.num_batches_tracked)
    assert one.score(*some) > 0.5


@pytest.mark.parametrize("average", [0.9, "swa"])
def test_an_interrupt_leaves_the_average(some, average):
    class Interrupt(Callback):
        def on_batch_end(self, net, training=False, **kwargs):
            self.steps_ = getattr(self, "steps_", 0) + training
            if self.steps_ == 11:  # in the middle of the fourth epoch
                raise KeyboardInterrupt

    steps = Steps()
    parameters = {"batch_size": 50, "architecture": double, "average": average}
    clf = quick(max_epochs=4, callbacks=[steps, Interrupt()], **parameters)
    clf.fit(*some)
    weights = [step[0] for step in steps.found_]
    if average == "swa":
        assert torch.equal(clf.module_[0].weight, weights[-1])
    else:
        mean = weights[0]
        for t, weight in enumerate(weights[:-1], 1):
            mean = mean + max(0.1, 1 / t) * (weight - mean)
        assert_close([clf.module_[0].weight.detach()], [mean])


@pytest.mark.parametrize("average", [0.9, 1.0, "swa"])
def test_a_fit_goes_on_from_a_checkpoint(some, tmp_path, average):
    class Lost(Exception):
        pass

    class Losing(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 5 and losing:
                raise Lost

    losing = True
    parameters = {"average": average, "max_epochs": 8, "batch_size": 50}
    clf = quick(checkpoint=tmp_path, callbacks=[("l", Losing())], **parameters)
    with pytest.raises(Lost):
        clf.fit(*some)
    losing = False
    clf.fit(*some)
    whole = quick(**parameters).fit(*some)
    for mine, theirs in zip(parameters_of(clf), parameters_of(whole), strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.gpu
@pytest.mark.parametrize("average", [0.9, "swa"])
@pytest.mark.parametrize("architecture", [SmallNet, "plain"])
def test_recorded_steps_are_averaged(digits, cuda, average, architecture):
    # the bias before a norm has no gradient but rounding, which Adam would make large
    parameters = {"average": average, "architecture": architecture, "max_epochs": 4}
    parameters |= {"optimizer": "sgd", "lr": 0.01}
    here, there, eager = on_devices(*digits, **parameters)
    X, _ = digits
    np.testing.assert_allclose(
        there.predict_proba(X), eager.predict_proba(X), atol=1e-5
    )
    if architecture == "plain":  # dropout draws otherwise on a device
        np.testing.assert_allclose(here.loss_curve_, there.loss_curve_, rtol=1e-3)
