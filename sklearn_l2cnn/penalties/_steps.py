"""What a penalty does in a step of training, to groups of weights of one strength.

Groups are as `strengths` returns them. Nothing here waits for the device.
"""

import torch

from sklearn_l2cnn.penalties._penalties import rows_of


def total_value(penalty, groups):
    """Return the penalty of all weights, each times its strength."""
    total = torch.zeros(())
    with torch.no_grad():
        for alpha, weights in groups:
            for weight in weights:
                total = total.to(weight.device) + alpha * penalty.value(weight)
    return total


def add_gradients(penalty, groups):
    r"""Add the gradient of the smooth part to the gradient of every weight.

    With L2 that is exactly :math:`\alpha W`. A weight that the data loss does not reach
    has no gradient yet and is given one.
    """
    if not hasattr(penalty, "gradient"):
        return
    for alpha, weights in groups:
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        with torch.no_grad():
            gradients = [weight.grad for weight in weights]
            penalties = [penalty.gradient(weight) for weight in weights]
            torch._foreach_add_(gradients, penalties, alpha=alpha)


def decays(penalty, groups, rate_of):
    """Return what decoupled decay takes off the weights in one step.

    Parameters
    ----------
    penalty : object
    groups : list
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
            (weight, penalty.gradient(weight) * (alpha * rate_of(weight)))
            for alpha, weights in groups
            for weight in weights
        ]


def shrink(penalty, groups, step_of):
    """Take the proximal step of the part with corners, in place.

    Parameters
    ----------
    penalty : object
    groups : list
    step_of : callable
        From a weight to the step at a strength of 1, as a tensor.
    """
    if not hasattr(penalty, "prox"):
        return
    with torch.no_grad():
        for alpha, weights in groups:
            for weight in weights:
                weight.copy_(penalty.prox(weight, alpha * step_of(weight)))


def project(weights, max_norm):
    """Bring every filter and unit back to a norm of at most `max_norm`, in place."""
    with torch.no_grad():
        for weight in weights:
            norms = rows_of(weight).norm(dim=1).reshape(-1, *[1] * (weight.ndim - 1))
            # where the norm is less, the factor is 1 and changes no bit
            weight.mul_((max_norm / norms).clamp_max(1))
