"""What acts on the weights of a stack of networks in every step.

The same as `Regularization` and torch's optimizers do to a single network, with an own
strength and an own learning rate for each: vectors, spread over the rows that a network
has in every parameter of the stack.
"""

import torch

from sklearn_l2cnn._training.regularization import adam_steps, sgd_factor
from sklearn_l2cnn.penalties import (
    L1,
    L2,
    ElasticNet,
    Group,
    project,
    strengths,
    total_value,
)

_HELD = (L1, L2, ElasticNet, Group)


def why_no_rule(objective, optimizer):
    """Say why a stack cannot be trained this way; None where it can."""
    if type(optimizer) not in (torch.optim.Adam, torch.optim.SGD):
        return f"the optimizer is {type(optimizer).__name__}"
    if objective.penalty is not None and type(objective.penalty) not in _HELD:
        return f"the penalty is {objective.penalty!r}"
    return "activity_alpha is set" if objective.activity_alpha else None


class StackRule:
    """Penalty, optimizer and projection of a stack.

    Parameters
    ----------
    stack : Stack
    nets : list of Net
        Whose networks are stacked, each with an objective and an optimizer of its own,
        which tells the learning rate; they differ in alpha and rate alone.
    memory : dict, default=None
        What the optimizer of a stack remembers, by position of the parameter.
    """

    def __init__(self, stack, nets, memory=None):
        self.stack, self.nets = stack, nets
        self.objective = nets[0].objective
        self.penalty = self.objective.penalty
        self.trained = [p for p in stack.parameters if p.requires_grad]
        self.weights = [p for p in self.trained if p.ndim >= 2]
        self.alphas = self._strengths()
        model = nets[0].optimizer_
        self.is_adam = type(model) is torch.optim.Adam
        options = {k: v for k, v in model.param_groups[0].items() if k != "params"}
        options.pop("initial_lr", None)
        self.optimizer = type(model)(self.trained, **options)
        for k, state in (memory or {}).items():
            self.optimizer.state[self.trained[k]] = state
        self.rates, self.rate = [], None

    def _strengths(self):
        """Return (weight, strengths) of what is penalised, as columns of rows."""
        if self.penalty is None:
            return []
        found = [{} for _ in self.trained]
        self.groups = []
        for k, net in enumerate(self.nets):
            own = strengths(net.module_, net.objective.alpha, net.objective.penalize)
            self.groups.append([] if self.objective.decoupled else own)
            trained = [p for p in net.module_.parameters() if p.requires_grad]
            positions = {id(p): place for place, p in enumerate(trained)}
            for alpha, parameters in own:
                for parameter in parameters:
                    found[positions[id(parameter)]][k] = alpha
        return [
            (
                weight,
                self._spread(
                    [alphas.get(k, 0.0) for k in range(len(self.nets))], weight
                ),
            )
            for weight, alphas in zip(self.trained, found, strict=True)
            if alphas
        ]

    def _spread(self, values, weight):
        """Give every row of a weight the value of its network, as a column."""
        column = torch.tensor(values, dtype=torch.float64)
        column = column.repeat_interleave(len(weight) // len(self.nets))
        column = column.to(device=weight.device, dtype=weight.dtype)
        return column.view(-1, *[1] * (weight.ndim - 1))

    def values(self):
        """Return the penalty of every network that is in its loss."""
        if self.penalty is None:
            return [0.0] * len(self.nets)
        return [float(total_value(self.penalty, groups)) for groups in self.groups]

    def memory(self, kept):
        """Return what the optimizer remembers of some of the networks.

        Parameters
        ----------
        kept : list of int
        """
        memory = {}
        for k, weight in enumerate(self.trained):
            state = self.optimizer.state.get(weight, {})
            memory[k] = {
                name: value[_rows(kept, len(weight) // len(self.nets), value.device)]
                if isinstance(value, torch.Tensor) and value.ndim
                else value
                for name, value in state.items()
            }
        return {k: state for k, state in memory.items() if state}

    def follow_rates(self):
        """Take over the learning rates that callbacks have given to the nets."""
        rates = [float(net.optimizer_.param_groups[0]["lr"]) for net in self.nets]
        if rates == self.rates:
            return
        self.rates = rates
        self.rate = rates[0] if len(set(rates)) == 1 else None
        if self.rate is None:
            self.columns = {w: self._spread(rates, w) for w in self.trained}
        else:
            self.columns = None
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate

    # -- a step -----------------------------------------------------------------------

    def step(self):
        """Finish the gradients, which are those of the data losses, and move on."""
        with torch.no_grad():
            if self.alphas and not self.objective.decoupled:
                self._add_gradients()
            if self.objective.gradient_clip is not None:
                self._clip()
            losses = self._decays()
            if self.rate is None:
                self._update_apart()
            else:
                self.optimizer.step()
            for weight, loss in losses:
                weight.sub_(loss)
            if self.alphas and hasattr(self.penalty, "prox"):
                self._shrink()
            if self.objective.max_norm is not None:
                project(self.weights, self.objective.max_norm)

    def _add_gradients(self):
        if type(self.penalty) is L2:
            for weight, alpha in self.alphas:
                weight.grad.addcmul_(weight, alpha)
        elif hasattr(self.penalty, "gradient"):
            for weight, alpha in self.alphas:
                weight.grad.addcmul_(self.penalty.gradient(weight), alpha)

    def _clip(self):
        """Scale the gradients of every network as torch's clip_grad_norm_ does."""
        n = len(self.nets)
        squares = sum(p.grad.reshape(n, -1).square().sum(dim=1) for p in self.trained)
        factors = (self.objective.gradient_clip / (squares.sqrt() + 1e-6)).clamp_max(1)
        for weight in self.trained:
            rows = factors.repeat_interleave(len(weight) // n)
            weight.grad.mul_(rows.view(-1, *[1] * (weight.ndim - 1)))

    def _decays(self):
        if not (self.objective.decoupled and hasattr(self.penalty, "gradient")):
            return []
        return [
            (weight, self.penalty.gradient(weight) * (alpha * self._rate_of(weight)))
            for weight, alpha in self.alphas
        ]

    def _rate_of(self, weight):
        return self.rate if self.columns is None else self.columns[weight]

    def _update_apart(self):
        """Make the optimizer's update where the networks have rates of their own."""
        options = self.optimizer.param_groups[0]
        for weight in self.trained:
            state, rate = self.optimizer.state[weight], self._rate_of(weight)
            if self.is_adam:
                _adam(weight, state, options, rate)
            else:
                _sgd(weight, state, options, rate)

    def _shrink(self):
        options = self.optimizer.param_groups[0]
        for weight, alpha in self.alphas:
            step = self._rate_of(weight)
            if not self.objective.decoupled:
                if self.is_adam:
                    state = self.optimizer.state[weight]
                    step = adam_steps({**options, "lr": step}, state)
                else:
                    step = step * sgd_factor(options)
            step = (alpha * step).expand_as(weight)
            weight.copy_(self.penalty.prox(weight, step))


def _rows(kept, rows, device):
    """Return the rows that some networks have in a parameter of the stack."""
    first = torch.tensor(kept, device=device)[:, None] * rows
    return (first + torch.arange(rows, device=device)).flatten()


def _adam(weight, state, options, rate):
    """Update a weight as torch's Adam does, with learning rates that differ."""
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32)
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = torch.zeros_like(weight, memory_format=torch.preserve_format)
    state["step"] += 1
    step, (first, second) = float(state["step"]), options["betas"]
    state["exp_avg"].lerp_(weight.grad, 1 - first)
    state["exp_avg_sq"].mul_(second).addcmul_(
        weight.grad, weight.grad, value=1 - second
    )
    spread = (state["exp_avg_sq"] / (1 - second**step)).sqrt() + options["eps"]
    weight.sub_(rate / (1 - first**step) * state["exp_avg"] / spread)


def _sgd(weight, state, options, rate):
    """Update a weight as torch's SGD does, with learning rates that differ."""
    change = weight.grad
    if options["momentum"]:
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = change.clone()
        else:
            kept = state["momentum_buffer"].mul_(options["momentum"])
            change = kept.add_(change, alpha=1 - options["dampening"])
        change = state["momentum_buffer"]
    weight.sub_(rate * change)
