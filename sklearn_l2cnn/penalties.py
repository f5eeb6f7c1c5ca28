r"""Penalties on the weights: value, gradient, and who is penalised.

The penalty is :math:`\alpha\,\Omega(\theta)` with
:math:`\Omega = \frac{1}{2} \sum_W \|W\|^2`, the sum over the *weights*: the trainable
parameters with two or more dimensions, which are the kernels of convolutions and the
matrices of dense layers. Biases and the scales of normalisations are exempt.

A penalty has two verbs, ``value(weights)`` and ``add_gradient(weights)``.
"""

import torch


def penalized_weights(module):
    """List the parameters that a penalty acts on.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    weights : list of torch.nn.Parameter
        Trainable, floating point, of two or more dimensions; a parameter that is
        shared between layers counts once.
    """
    return [
        parameter
        for parameter in module.parameters()
        if parameter.requires_grad
        and parameter.is_floating_point()
        and parameter.ndim >= 2
    ]


class L2:
    r"""Ridge, or weight decay in the loss: :math:`\frac{\alpha}{2} \sum_W \|W\|^2`.

    Parameters
    ----------
    alpha : float
        Strength; 0 is no penalty, bit for bit.

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn.penalties import L2
    >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    >>> float(L2(alpha=0.1).value([weight]))
    1.25
    """

    def __init__(self, alpha):
        self.alpha = alpha

    def value(self, weights):
        """Return the penalty of these weights as a tensor without a gradient.

        Parameters
        ----------
        weights : list of Tensor

        Returns
        -------
        value : Tensor of shape ()
        """
        if not self.alpha or not weights:
            return torch.zeros((), device=weights[0].device if weights else None)
        with torch.no_grad():
            norms = torch.stack(torch._foreach_norm(weights))
            return 0.5 * self.alpha * norms.square().sum()

    def add_gradient(self, weights):
        r"""Add the gradient, exactly :math:`\alpha W`, to the gradient of every weight.

        Parameters
        ----------
        weights : list of Parameter
            Their ``grad`` is changed in place; a weight that the data loss does not
            reach has none yet and is given one.
        """
        if not self.alpha or not weights:
            return
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        with torch.no_grad():
            gradients = [weight.grad for weight in weights]
            torch._foreach_add_(gradients, weights, alpha=self.alpha)
