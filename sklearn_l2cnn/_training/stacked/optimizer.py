"""The optimizer of a stack: that of its networks, each with its own momentum maybe."""

import torch

from sklearn_l2cnn._training.stacked.network import by_row
from sklearn_l2cnn._utils.devices import sent

# What SGD does with its gradients and its momentum besides the plain thing.
_MORE = "weight_decay", "dampening", "nesterov", "maximize"


def stacked_optimizer(nets, trained):
    """Return the optimizer of a stack, without memory.

    Parameters
    ----------
    nets : list of Net
    trained : list of torch.nn.Parameter
        Of the stack.

    Returns
    -------
    optimizer : torch.optim.Optimizer
    """
    model = nets[0].optimizer_
    own = "params", "initial_lr"
    options = {k: v for k, v in model.param_groups[0].items() if k not in own}
    momenta = [net.optimizer_.param_groups[0].get("momentum") for net in nets]
    if len(set(momenta)) == 1:
        return type(model)(trained, **options)
    return RowwiseSGD(trained, momenta, lr=options["lr"])


def undivided(net):
    """Return what networks of a stack have in common, of what candidates may not have.

    Parameters
    ----------
    net : Net
    """
    options = net.optimizer_.param_groups[0]
    plain = not any(options.get(name) for name in _MORE)
    return None if plain else options.get("momentum")


class RowwiseSGD(torch.optim.SGD):
    """SGD with a momentum for each network of a stack, and so for rows of weights.

    Parameters
    ----------
    trained : list of torch.nn.Parameter
    momenta : list of float
        Of the networks.
    lr : float

    Attributes
    ----------
    momenta : dict of Tensor
        Of every row of a weight.
    """

    def __init__(self, trained, momenta, lr):
        super().__init__(trained, lr=lr)
        values = torch.tensor(momenta, dtype=trained[0].dtype)
        values = sent(values, trained[0].device)
        self.momenta = {weight: by_row(values, weight) for weight in trained}

    @torch.no_grad()
    def step(self, closure):
        """Make a step with the gradients of a closure, as SGD for each network."""
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum_buffer" in state:
                    buffer = state["momentum_buffer"].mul_(self.momenta[weight])
                    buffer.add_(weight.grad)
                else:
                    state["momentum_buffer"] = weight.grad.clone()
                weight.sub_(state["momentum_buffer"], alpha=group["lr"])
        return loss
