"""What is minimised beside the loss of the data, and how a step does it."""

from typing import NamedTuple

import torch
from torch.nn.utils import clip_grad_norm_

from sklearn_l2cnn.penalties import (
    add_gradients,
    decays,
    filters_of,
    project,
    shrink,
    strengths,
    total_value,
)


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
    activity_layers : {"last", "all"}
    max_norm : float or None
    label_smoothing : float
    gradient_clip : float or None
    """

    penalty: object
    alpha: object
    penalize: object
    decoupled: bool
    activity_alpha: object
    activity_layers: str
    max_norm: object
    label_smoothing: float
    gradient_clip: object


class Regularization:
    """What acts on the weights in every step of one training.

    A step is: the gradient of the data loss, plus that of the penalty's smooth part;
    clipped; the optimizer's update; the proximal step of the penalty's part with
    corners; the projection. With a decoupled penalty, the smooth part takes its share
    off the weights beside the update instead.

    Parameters
    ----------
    objective : Objective
    module : torch.nn.Module
    optimizer : torch.optim.Optimizer
    """

    def __init__(self, objective, module, optimizer):
        self.objective = objective
        self.optimizer = optimizer
        self.trained = [p for p in module.parameters() if p.requires_grad]
        self.groups = []
        if objective.penalty is not None:
            self.groups = strengths(module, objective.alpha, objective.penalize)
        self.bounded = filters_of(module) if objective.max_norm is not None else []
        self.options = {
            parameter: group
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def value(self):
        """Return the penalty that is in the loss, as a tensor of shape ``()``."""
        groups = [] if self.objective.decoupled else self.groups
        return total_value(self.objective.penalty, groups)

    def finish_gradient(self):
        """Add the penalty's part to the gradients, and clip them."""
        if self.groups and not self.objective.decoupled:
            add_gradients(self.objective.penalty, self.groups)
        if self.objective.gradient_clip is not None:
            clip_grad_norm_(self.trained, self.objective.gradient_clip)

    def step(self, update):
        """Let the optimizer make its update, and do what belongs to it.

        Parameters
        ----------
        update : callable
        """
        losses = []
        if self.groups and self.objective.decoupled:
            losses = decays(self.objective.penalty, self.groups, self._rate)
        update()
        with torch.no_grad():
            for weight, loss in losses:
                weight.sub_(loss)
        if self.groups:
            shrink(self.objective.penalty, self.groups, self._step_of)
        if self.bounded:
            project(self.bounded, self.objective.max_norm)

    def _rate(self, weight):
        """Return the learning rate of a weight; in recorded steps it is a tensor."""
        return self.options[weight]["lr"]

    def _step_of(self, weight):
        """Return the proximal step of a weight at a strength of 1, as a tensor."""
        options, state = self.options[weight], self.optimizer.state.get(weight)
        step = options["lr"]
        if not self.objective.decoupled:
            if isinstance(self.optimizer, torch.optim.Adam | torch.optim.AdamW):
                step = adam_steps(options, state) if state else step
            elif isinstance(self.optimizer, torch.optim.SGD):
                step = step * sgd_factor(options)
        if isinstance(step, torch.Tensor):
            return step
        return torch.tensor(step, dtype=weight.dtype, device=weight.device)


def adam_steps(options, state):
    r"""Return the step that Adam makes for every number: lr / (sqrt(v) + eps).

    A proximal step in any other metric would end somewhere else than where the gradient
    of the loss balances the penalty.
    """
    square = state.get("max_exp_avg_sq", state["exp_avg_sq"])
    correction = 1 - options["betas"][1] ** state["step"]
    return options["lr"] / ((square / correction).sqrt() + options["eps"])


def sgd_factor(options):
    """Return how far a constant gradient moves a weight in the end, in rates.

    With momentum m it is 1 / (1 - m): the penalty must move it as far.
    """
    if not options["momentum"]:
        return 1.0
    return (1 - options["dampening"]) / (1 - options["momentum"])
