"""What is minimised with the loss of the data, and how a step does it.

Nothing here waits for the device.
"""

from typing import NamedTuple

import torch
from torch.nn.utils import clip_grad_norm_

from sklearn_l2cnn._utils.layer_names import by_pattern, layer_of


class Objective(NamedTuple):
    """What is minimised, as the parameters of the estimator say it.

    Attributes
    ----------
    penalty : object or None
        Of the contract of `sklearn_l2cnn.penalties`.
    alpha : float or mapping
    penalize : {"weights", "all"} or callable
    decoupled : bool
        Whether the penalty acts on the update rather than on the loss.
    activity_alpha : float or mapping
    max_norm : float or None
    label_smoothing : float
    gradient_clip : float or None
    """

    penalty: object
    alpha: object
    penalize: object
    decoupled: bool
    activity_alpha: object
    max_norm: object
    label_smoothing: float
    gradient_clip: object

    @property
    def from_start(self):
        """Whether the penalty is on the way of weights from where they started."""
        return getattr(self.penalty, "from_start", False)

    def groups(self, module, starts=None):
        """Return the parameters of a network that are penalised; see `strengths`."""
        if self.penalty is None:
            return []
        starts = starts if self.from_start else None
        return strengths(module, self.alpha, self.penalize, starts)


class Penalized(NamedTuple):
    """Parameters that are penalised alike.

    Attributes
    ----------
    alpha : float or Tensor
        How strongly; for many networks trained as one with an entry for every filter.
    weights : list of torch.nn.Parameter
    starts : list of Tensor, default=None
        Where they started, if the penalty is on their way from there.
    """

    alpha: object
    weights: list
    starts: object = None

    def ways(self):
        """Return the weights, or where they have starts how far they are from these."""
        if self.starts is None:
            return self.weights
        return torch._foreach_sub(self.weights, self.starts)


class Regularization:
    """What acts on the weights in every step of one training.

    A step is: the gradient of the data loss, plus that of the penalty's smooth part;
    clipped; the optimizer's update; the proximal step of the penalty's part with
    corners; the projection. With a decoupled penalty, the smooth part takes its share
    off the weights with the update instead.

    Parameters
    ----------
    objective : Objective
    groups : list of Penalized
    trained : list of torch.nn.Parameter
    optimizer : torch.optim.Optimizer
    """

    def __init__(self, objective, groups, trained, optimizer):
        self.objective = objective
        self.groups = groups
        self.trained = trained
        self.optimizer = optimizer
        self.options = {
            parameter: group
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def value(self):
        """Return the penalty that is in the loss, as a tensor of shape ``()``."""
        groups = [] if self.objective.decoupled else self.groups
        device = self.optimizer.param_groups[0]["params"][0].device
        return total_value(self.objective.penalty, groups, device)

    def finish_gradient(self):
        """Add the penalty's part to the gradients, and clip them."""
        if not self.objective.decoupled:
            add_gradients(self.objective.penalty, self.groups)
        if self.objective.gradient_clip is not None:
            self.clip(self.objective.gradient_clip)
        if isinstance(self.optimizer, torch.optim.LBFGS):
            # it views every gradient as a vector; kernels lie channels last
            for parameter in self.trained:
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.contiguous()

    def step(self, update):
        """Let the optimizer make its update, and do what belongs to it.

        Parameters
        ----------
        update : callable
        """
        penalty, max_norm = self.objective.penalty, self.objective.max_norm
        decayed = self.groups if self.objective.decoupled else []
        losses = decays(penalty, decayed, self.rate_of)
        self.move(update)
        with torch.no_grad():
            for weight, loss in losses:
                weight.sub_(loss)
        shrink(penalty, self.groups, self._step_of)
        if max_norm is not None:
            self.project([w for w in self.trained if w.ndim >= 2], max_norm)

    def rate_of(self, weight):
        """Return the learning rate of a weight: a tensor in recorded steps."""
        return self.options[weight]["lr"]

    def momentum_of(self, weight):
        """Return the momentum of a weight, of SGD."""
        return self.options[weight]["momentum"]

    def move(self, update):
        """Let the optimizer make its update."""
        update()

    def clip(self, max_norm):
        """Scale all gradients together down to a norm."""
        clip_grad_norm_(self.trained, max_norm)

    def project(self, weights, max_norm):
        """Bring filters and units back to a norm."""
        project(weights, max_norm)

    def _step_of(self, weight):
        """Return the proximal step of a weight at a strength of 1, as a tensor."""
        options, state = self.options[weight], self.optimizer.state.get(weight)
        step = self.rate_of(weight)
        if not self.objective.decoupled:
            if isinstance(self.optimizer, torch.optim.Adam | torch.optim.AdamW):
                step = adam_steps(step, options, state) if state else step
            elif isinstance(self.optimizer, torch.optim.SGD):
                momentum = self.momentum_of(weight)
                step = step * sgd_factor(momentum, options["dampening"])
        if isinstance(step, torch.Tensor):
            return step
        # filled on the device, so that the host does not wait
        return torch.full((), step, dtype=weight.dtype, device=weight.device)


# -- which parameters, and how strongly -----------------------------------------------


def strengths(module, alpha, penalize="weights", starts=None):
    """Group the penalised parameters of a network by the strength of their penalty.

    Parameters
    ----------
    module : torch.nn.Module
    alpha : float or mapping
        For all, or ``{pattern of layer names: float}``: the first pattern that matches
        a layer decides, and a layer that none matches is not penalised.
    penalize : {"weights", "all"} or callable, default="weights"
        ``"weights"`` are the parameters of two or more dimensions: the kernels of
        convolutions and the matrices of dense layers. A callable says of
        ``(name, parameter)`` whether it is penalised.
    starts : dict of Tensor, default=None
        What parameters started from, by name.

    Returns
    -------
    groups : list of Penalized
        Of positive strength. A parameter that layers share counts once.
    """
    chosen = _penalized(module, penalize)
    layers = [layer_of(name) for name, _ in chosen]
    if hasattr(alpha, "items"):
        found = by_pattern(alpha, layers, "alpha")
    else:
        alpha, found = {"*": alpha}, dict.fromkeys(layers, "*")
    groups = []
    for pattern, strength in alpha.items():
        own = [
            both
            for both, layer in zip(chosen, layers, strict=True)
            if found.get(layer) == pattern
        ]
        if strength and own:
            began = starts and [starts[name].to(weight) for name, weight in own]
            groups.append(Penalized(strength, [weight for _, weight in own], began))
    return groups


def _penalized(module, penalize):
    """List the parameters that are trained and penalised, with their names."""
    trained = [
        (name, parameter)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and parameter.is_floating_point()
    ]
    if penalize == "all":
        return trained
    if penalize == "weights":
        return [(name, weight) for name, weight in trained if weight.ndim >= 2]
    chosen = [(name, weight) for name, weight in trained if penalize(name, weight)]
    if trained and not chosen:
        raise ValueError(
            f"penalize={penalize!r} chooses no parameter of "
            f"{', '.join(repr(name) for name, _ in trained[:40])}. For no penalty, "
            "set alpha=0."
        )
    return chosen


# -- what a penalty does in a step ----------------------------------------------------


def total_value(penalty, groups, device=None):
    """Return the penalty of all weights on a device, each times its strength."""
    total = torch.zeros((), device=device)
    with torch.no_grad():
        for group in groups:
            for way in group.ways():
                total = total + group.alpha * penalty.value(way)
    return total


def add_gradients(penalty, groups):
    r"""Add the gradient of the smooth part to the gradient of every weight.

    With L2 that is exactly :math:`\alpha W`. A weight that the data loss does not reach
    has no gradient yet and is given one.
    """
    if not hasattr(penalty, "gradient"):
        return
    for group in groups:
        for weight in group.weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        with torch.no_grad():
            gradients = [weight.grad for weight in group.weights]
            penalties = [penalty.gradient(way) for way in group.ways()]
            if isinstance(group.alpha, torch.Tensor):
                for gradient, part in zip(gradients, penalties, strict=True):
                    gradient.addcmul_(part, group.alpha)
            else:
                torch._foreach_add_(gradients, penalties, alpha=group.alpha)


def decays(penalty, groups, rate_of):
    """Return what decoupled decay takes off the weights in one step.

    Parameters
    ----------
    penalty : object
    groups : list of Penalized
    rate_of : callable
        From a weight to its learning rate.

    Returns
    -------
    losses : list of tuple (weight, Tensor)
        To be subtracted once the optimizer has made its step.
    """
    if not hasattr(penalty, "gradient"):
        return []
    with torch.no_grad():
        return [
            (weight, penalty.gradient(way) * (group.alpha * rate_of(weight)))
            for group in groups
            for weight, way in zip(group.weights, group.ways(), strict=True)
        ]


def shrink(penalty, groups, step_of):
    """Take the proximal step of the part with corners, in place.

    Parameters
    ----------
    penalty : object
    groups : list of Penalized
    step_of : callable
        From a weight to the step at a strength of 1, as a tensor.
    """
    if not hasattr(penalty, "prox"):
        return
    with torch.no_grad():
        for group in groups:
            shrunk = []
            for weight, way in zip(group.weights, group.ways(), strict=True):
                step = group.alpha * step_of(weight)
                # one step for all numbers, or one for each
                step = step.expand_as(weight) if step.ndim else step
                shrunk.append(penalty.prox(way, step))
            if group.starts is not None:
                torch._foreach_add_(shrunk, group.starts)
            for weight, new in zip(group.weights, shrunk, strict=True):
                weight.copy_(new)


def project(weights, max_norm):
    """Bring every filter and unit back to a norm of at most `max_norm`, in place."""
    with torch.no_grad():
        for weight in weights:
            norms = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.ndim - 1))
            # where the norm is less, the factor is 1 and changes no bit
            weight.mul_((max_norm / norms).clamp_max(1))


def adam_steps(rate, options, state):
    r"""Return the step that Adam makes for every number: lr / (sqrt(v) + eps).

    A proximal step in any other metric would end somewhere else than where the gradient
    of the loss balances the penalty.
    """
    square = state.get("max_exp_avg_sq", state["exp_avg_sq"])
    correction = 1 - options["betas"][1] ** state["step"]
    return rate / ((square / correction).sqrt() + options["eps"])


def sgd_factor(momentum, dampening):
    """Return how far a constant gradient moves a weight in the end, in rates.

    With momentum m it is 1 / (1 - m): the penalty must move it as far.
    """
    if not isinstance(momentum, torch.Tensor) and not momentum:
        return 1.0  # without momentum torch has no dampening either
    return (1 - dampening) / (1 - momentum)
