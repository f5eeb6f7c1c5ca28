"""What networks of a stack may differ in, by the parameters of their classifiers.

These are `alpha`, `lr`, `momentum`, `max_norm`, `gradient_clip`, `label_smoothing` and
`l1_ratio`. Where all have the same number it is one, and else a tensor with an entry
for each.
"""

import math

import torch
from torch.nn.functional import cross_entropy

from sklearn_l2cnn._training.regularization import Penalized, Regularization, project
from sklearn_l2cnn._training.stacked.network import by_row, joined
from sklearn_l2cnn._training.stacked.optimizer import RowwiseSGD
from sklearn_l2cnn._utils.devices import sent
from sklearn_l2cnn.penalties import L1, ElasticNet


class StackedLoss:
    """The losses of a batch of images in all networks of a stack.

    Parameters
    ----------
    network : StackedNetwork
    smoothing : float, or Tensor of shape (K,)
    """

    def __init__(self, network, smoothing):
        self.network = network
        self.smoothing = smoothing

    def __call__(self, images, labels, weight, generator=None):
        """Return the summed losses of a batch of `side_by_side`, and its logits.

        Returns
        -------
        losses : Tensor of shape (K,)
        logits : Tensor of shape (K, n_classes, n)
        """
        logits = self.network.logits(images)
        # (K, n) or, of mixed images, (K, n_classes, n)
        losses = self._losses(logits, self.of_networks(labels))
        losses = losses if weight is None else losses * self.of_networks(weight)
        return losses.sum(dim=1), logits

    def _losses(self, logits, labels):
        if not isinstance(self.smoothing, torch.Tensor):
            return cross_entropy(
                logits, labels, reduction="none", label_smoothing=self.smoothing
            )
        even = self.smoothing[:, None]
        spread = -logits.log_softmax(dim=1).mean(dim=1)
        return (1 - even) * cross_entropy(logits, labels, reduction="none") + (
            even * spread
        )

    def of_networks(self, values):
        """Give every network the values of its fold: (n, folds, ...) to (K, ..., n)."""
        return values.index_select(1, self.network.owners).movedim(0, -1)


class StackedRegularization(Regularization):
    """What acts on the weights of a stack in every step: on each network its own.

    Parameters
    ----------
    nets : list of Net
    trained : list of torch.nn.Parameter
        Of the stack.
    optimizer : torch.optim.Optimizer

    Attributes
    ----------
    of_nets : list of list of Penalized
        Of each network, of what is in its loss.
    """

    def __init__(self, nets, trained, optimizer):
        self.nets = nets
        self.rates, self.rows_of_rates = None, None
        found = [net.objective.groups(net.module_, net.starts) for net in nets]
        decoupled = nets[0].objective.decoupled
        self.of_nets = [[] for _ in nets] if decoupled else found
        names = "max_norm", "gradient_clip", "label_smoothing"
        differing = {
            name: one_or_each(
                [getattr(net.objective, name) for net in nets], trained[0]
            )
            for name in names
        }
        differing["penalty"] = _penalty(nets, trained[0])
        objective = nets[0].objective._replace(**differing)
        groups = _groups(nets, found, trained)
        super().__init__(objective, groups, trained, optimizer)

    def follow_rates(self):
        """Take over the learning rates of the networks, which schedules have changed.

        Where they differ, the optimizer makes its step at a rate of 1.
        """
        rates = [net.optimizer_.param_groups[0]["lr"] for net in self.nets]
        if rates == self.rates:
            return
        self.rates, self.rows_of_rates = rates, None
        rate = one_or_each(rates, self.trained[0])
        if isinstance(rate, torch.Tensor):
            self.rows_of_rates = self._rows(rate)
            rate = 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _rows(self, values):
        """Return the values of networks for the rows of every weight."""
        return {weight: by_row(values, weight) for weight in self.trained}

    def rate_of(self, weight):
        """Return the learning rate of a weight, by rows where networks differ."""
        if self.rows_of_rates is None:
            return super().rate_of(weight)
        return self.rows_of_rates[weight]

    def momentum_of(self, weight):
        """Return the momentum of a weight, by rows where networks differ."""
        if isinstance(self.optimizer, RowwiseSGD):
            return self.optimizer.momenta[weight]
        return super().momentum_of(weight)

    def move(self, update):
        """Let the optimizer make its update; shorten that of each to its rate."""
        if self.rows_of_rates is None:
            update()
            return
        before = [weight.detach().clone() for weight in self.trained]
        update()
        with torch.no_grad():
            for weight, start in zip(self.trained, before, strict=True):
                way = (weight - start).mul_(self.rate_of(weight))
                weight.copy_(way.add_(start))

    def clip(self, max_norm):
        """Scale the gradients of each network, as `clip_grad_norm_` of torch does."""
        size = len(self.nets)
        squares = sum(
            p.grad.reshape(size, -1).square().sum(dim=1) for p in self.trained
        )
        factors = (max_norm / (squares.sqrt() + 1e-6)).clamp_max(1)
        for parameter in self.trained:
            parameter.grad.mul_(by_row(factors, parameter))

    def project(self, weights, max_norm):
        """Bring the filters of each network back to its largest norm."""
        if not isinstance(max_norm, torch.Tensor):
            project(weights, max_norm)
            return
        for weight in weights:
            project([weight], by_row(max_norm, weight))


def one_or_each(values, weight):
    """Return the value that all networks have, or a tensor of all; None is no bound.

    Parameters
    ----------
    values : list of float or None
    weight : Tensor
        Whose dtype and device that has.
    """
    if all(value == values[0] for value in values):
        return values[0]
    known = [math.inf if value is None else value for value in values]
    return sent(torch.tensor(known, dtype=weight.dtype), weight.device)


class RowwiseElasticNet:
    """Mixtures of lasso and ridge, of each network of a stack its own.

    Parameters
    ----------
    ratios : Tensor of shape (K,)
        The shares of the lasso.
    """

    def __init__(self, ratios):
        self.ratios = ratios

    def gradient(self, weight):
        """Return the gradients of the shares of the ridge."""
        return (1 - by_row(self.ratios, weight)) * weight

    def prox(self, weight, step):
        """Take the proximal steps of the shares of the lasso."""
        return L1().prox(weight, by_row(self.ratios, weight) * step)


def _penalty(nets, weight):
    """Return the penalty of a stack: that of all, or of each its own mixture."""
    penalties = [net.objective.penalty for net in nets]
    if type(penalties[0]) is not ElasticNet:
        return penalties[0]
    ratio = one_or_each([float(penalty.l1_ratio) for penalty in penalties], weight)
    if isinstance(ratio, torch.Tensor):
        return RowwiseElasticNet(ratio)
    return penalties[0]


def _groups(nets, found, trained):
    """Return what is penalised of a stack.

    Parameters
    ----------
    nets : list of Net
    found : list of list of Penalized
        Of each network.
    trained : list of torch.nn.Parameter

    Returns
    -------
    groups : list of Penalized
        One for each parameter of the stack, with the strengths as a column.
    """
    alphas = [[0.0] * len(nets) for _ in trained]
    for k, (net, groups) in enumerate(zip(nets, found, strict=True)):
        own = [p for p in net.module_.parameters() if p.requires_grad]
        place = {id(parameter): place for place, parameter in enumerate(own)}
        for group in groups:
            for weight in group.weights:
                alphas[place[id(weight)]][k] = group.alpha
    starts = [None] * len(trained)
    if nets[0].objective.from_start:
        named = nets[0].module_.named_parameters()
        names = [name for name, p in named if p.requires_grad]
        starts = [
            [joined([net.starts[name] for net in nets]).to(weight)]
            for name, weight in zip(names, trained, strict=True)
        ]
    return [
        Penalized(
            by_row(torch.tensor(own, dtype=torch.float64), weight).to(weight),
            [weight],
            began,
        )
        for own, weight, began in zip(alphas, trained, starts, strict=True)
        if any(own)
    ]
