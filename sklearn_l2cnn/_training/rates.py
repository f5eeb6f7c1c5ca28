"""The learning rate: over the epochs of a training, and of every layer."""

import copy
import math

from skorch.callbacks import Callback, LRScheduler

from sklearn_l2cnn._training.batches import batch_bounds
from sklearn_l2cnn._utils.layer_names import by_pattern, layer_of


class RateSchedule(Callback):
    """What changes the learning rate over so many epochs, and gives it back.

    Parameters
    ----------
    epochs : int
    """

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_end(self, net, **kwargs):
        """Set the initial rates again, for later trainings."""
        set_rates(net.optimizer_, rates_of(net))


class CosineRate(RateSchedule):
    r"""Lower the learning rate over the epochs along half a cosine.

    Epoch k of n, counted from 0, has the rate
    :math:`\frac{lr}{2} (1 + \cos(\pi k / n))`: the first the whole of it, the last
    nearly 0, so that training ends in a minimum and not near it.

    Parameters
    ----------
    epochs : int
    """

    def on_train_begin(self, net, **kwargs):
        """Start from the first epoch."""
        self.epoch_ = 0

    def on_epoch_begin(self, net, **kwargs):
        """Set and record the rate of this epoch."""
        factor = half_cosine(self.epoch_ / self.epochs)
        rates = [rate * factor for rate in rates_of(net)]
        net.history.record("event_lr", max(rates))
        set_rates(net.optimizer_, rates)
        self.epoch_ += 1


class OneCycleRate(RateSchedule):
    """Raise the learning rate to its whole and lower it to nothing, step by step.

    Over the first fifth of all steps the rate rises in a straight line from a
    twenty-fifth of ``lr``, over the others it falls along half a cosine. Short
    trainings gain most from it, at a rate several times the usual one.

    Parameters
    ----------
    epochs : int
    """

    rise = 0.2
    start = 1 / 25

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Start from the first step."""
        self.step_ = 0
        self.n_steps_ = self.epochs * len(batch_bounds(len(y), net.batch_size))

    def before_step(self, net):
        """Set the rate of this step."""
        done = self.step_ / self.n_steps_
        if done < self.rise:
            factor = self.start + (1 - self.start) * done / self.rise
        else:
            factor = half_cosine((done - self.rise) / (1 - self.rise))
        set_rates(net.optimizer_, [rate * factor for rate in rates_of(net)])
        self.step_ += 1

    def on_epoch_end(self, net, **kwargs):
        """Record the rate that the epoch ended with."""
        rates = [group["lr"] for group in net.optimizer_.param_groups]
        net.history.record("event_lr", max(rates))


class PlateauRate(RateSchedule):
    """Lower the learning rate to a tenth whenever the loss has stopped falling.

    After more than three epochs in a row without a loss that is lower by one part in
    ten thousand than the lowest so far, as torch's ``ReduceLROnPlateau``. The loss is
    that of the validation images where there are some, else the objective.

    Parameters
    ----------
    epochs : int
    """

    factor = 0.1
    patience = 3
    threshold = 1e-4

    def on_train_begin(self, net, **kwargs):
        """Start with the initial rates."""
        self.rates_ = rates_of(net)
        self.lowest_ = math.inf
        self.misses_ = 0

    def on_epoch_begin(self, net, **kwargs):
        """Record the rate of this epoch."""
        net.history.record("event_lr", max(self.rates_))

    def on_epoch_end(self, net, **kwargs):
        """Look at the loss, and lower the rate of the epochs to come."""
        row = net.history[-1]
        loss = row.get("valid_loss", row["train_loss"])
        better = loss < self.lowest_ * (1 - self.threshold)
        self.lowest_ = loss if better else self.lowest_
        self.misses_ = 0 if better else self.misses_ + 1
        if self.misses_ > self.patience:
            self.misses_ = 0
            self.rates_ = [rate * self.factor for rate in self.rates_]
            set_rates(net.optimizer_, self.rates_)


def half_cosine(done):
    """Fall from 1 to 0 while `done` goes from 0 to 1."""
    return 0.5 * (1 + math.cos(math.pi * done))


def rates_of(net):
    """Return the learning rate that each group of parameters begins with."""
    if isinstance(net.lr, dict):
        return list(net.lr.values())
    return [net.lr] * len(net.optimizer_.param_groups)


def set_rates(optimizer, rates):
    """Set the learning rate of every group of parameters."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def holds_scheduler(callbacks):
    """Say whether one of these, by name, is a schedule of torch for the rate."""
    return any(isinstance(called, LRScheduler) for _, called in callbacks)


def take_back_rates(callbacks, optimizer, rates):
    """Go back to learning rates, where schedules of torch have changed and tell others.

    Parameters
    ----------
    callbacks : list of (name, callback)
    optimizer : torch.optim.Optimizer
    rates : list of float
        Of its groups.
    """
    for _, called in callbacks:
        if isinstance(called, LRScheduler):
            called.lr_scheduler_._last_lr = list(rates)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate


def follow_net(net, start):
    """Go on after the epochs of another net, with an optimizer that is new.

    A schedule of torch that goes on wants to know the rate that it began with, and
    computes each rate from the one before.

    Parameters
    ----------
    net : Net
        Initialised, with the network of the other.
    start : Net
    """
    net.history.extend(copy.deepcopy(list(start.history)))
    goes_on = start.lr == net.lr and holds_scheduler(net.callbacks_)
    for group in net.optimizer_.param_groups:
        group["initial_lr"] = group["lr"]
    if goes_on:
        earlier = start.optimizer_.param_groups
        set_rates(net.optimizer_, [group["lr"] for group in earlier])


# -- of every layer -------------------------------------------------------------------


def check_same_layers(lr, before):
    """Raise where rates are of other layers than those that a training began with."""
    layers = [list(r) if isinstance(r, dict) else None for r in (lr, before)]
    if layers[0] != layers[1]:
        raise ValueError(
            f"lr={lr!r} names other layers than lr={before!r} of the training so far, "
            "which goes on with the same. Name the same, or fit again."
        )


def by_rate(named, lr):
    """Group parameters by their learning rates, as an optimizer takes them.

    Parameters
    ----------
    named : list of tuple (str, torch.nn.Parameter)
    lr : dict
        From patterns of the names of layers to rates: the first that means a layer
        decides, and each layer is meant by one.

    Returns
    -------
    groups : list of dict
        In the order of the patterns.
    """
    layers = [layer_of(name) for name, _ in named]
    found = by_pattern(lr, layers, "lr")
    missing = [repr(name) for name in dict.fromkeys(layers) if name not in found]
    if missing:
        raise ValueError(
            f"lr has no rate for {len(missing)} layers of the network, "
            f"{', '.join(missing[:8])}{', ...' * (len(missing) > 8)}. Add '*' as the "
            "last of its patterns, with a rate for all other layers; layers that are "
            "not to be trained are named in freeze."
        )
    groups = {pattern: [] for pattern in lr}
    for layer, (_, parameter) in zip(layers, named, strict=True):
        groups[found[layer]].append(parameter)
    return [{"params": own, "lr": lr[pattern]} for pattern, own in groups.items()]
