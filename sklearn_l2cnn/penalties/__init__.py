r"""Penalties on the weights: value, gradient, proximal step, and who is penalised.

The objective holds :math:`\sum_W \alpha_W\,\Omega(W)`, the sum over the penalised
parameters. A penalty :math:`\Omega = f + g` is any object that knows a smooth part
:math:`f` by its gradient, or a part :math:`g` with corners by its proximal step, or
both. It has ``value`` and at least one of the other two:

``value(weight)``
    :math:`\Omega(W)`, a tensor of shape ``()``.

``gradient(weight)``
    :math:`\nabla f(W)`, a tensor like the weight; it may be the weight itself.

``prox(weight, step)``
    :math:`\operatorname{argmin}_U \sum_i \frac{(U_i - W_i)^2}{2\,t_i} + g(U)`, a new
    tensor like the weight. ``step`` is the tensor of all :math:`t_i`: of shape ``()``
    or, where the optimizer has a step of its own for every number, like the weight.

All see one parameter at a time, at a strength of 1, and need no gradient recorded. The
first dimension of a parameter counts its filters or units.
"""

from sklearn_l2cnn.penalties._penalties import L1, L2, ElasticNet, Group
from sklearn_l2cnn.penalties._steps import (
    add_gradients,
    decays,
    project,
    shrink,
    total_value,
)
from sklearn_l2cnn.penalties._strengths import filters_of, strengths

__all__ = [
    "L1",
    "L2",
    "ElasticNet",
    "Group",
    "add_gradients",
    "decays",
    "filters_of",
    "project",
    "shrink",
    "strengths",
    "total_value",
]
