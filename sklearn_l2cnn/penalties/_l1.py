"""Lasso."""

import torch

from sklearn_l2cnn.penalties._base import Penalty


class L1(Penalty):
    r"""Lasso, the sum of the absolute values: :math:`\|W\|_1`.

    A weight that is not worth its magnitude becomes zero, exactly.

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn.penalties import L1
    >>> L1().prox(torch.tensor([[3.0, -0.5]]), torch.tensor(1.0))
    tensor([[2., 0.]])
    """

    def value(self, weight):
        """Return the sum of the absolute values of a weight."""
        return weight.abs().sum()

    def prox(self, weight, step):
        """Bring every number towards zero by its step, and no further."""
        return weight - torch.clamp(weight, -step, step)
