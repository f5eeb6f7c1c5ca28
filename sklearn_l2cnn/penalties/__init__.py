r"""Penalties on the weights: value, gradient and proximal step.

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

Each method gets one parameter at a time, at a strength of 1, and no gradient is
recorded. The first dimension of a parameter counts its filters or units. An attribute
``by_filter`` that is true says that every filter is treated by itself: then a search
over alpha can train networks with this penalty together. With an attribute
``from_start`` that is true, the methods get what weights have become since the
training started, :math:`W - W_0`, as :class:`L2SP` explains.
"""

from sklearn_l2cnn.penalties._elasticnet import ElasticNet
from sklearn_l2cnn.penalties._group import Group
from sklearn_l2cnn.penalties._l1 import L1
from sklearn_l2cnn.penalties._l2 import L2
from sklearn_l2cnn.penalties._l2sp import L2SP
from sklearn_l2cnn.penalties._registry import build_penalty, list_penalties

__all__ = ["L1", "L2", "L2SP", "ElasticNet", "Group", "build_penalty", "list_penalties"]
