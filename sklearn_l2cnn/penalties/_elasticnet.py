"""A mixture of lasso and ridge."""

from sklearn_l2cnn.penalties._base import Penalty
from sklearn_l2cnn.penalties._l1 import L1


class ElasticNet(Penalty):
    r"""A mixture of lasso and ridge: :math:`r \|W\|_1 + \frac{1 - r}{2} \|W\|^2`.

    Parameters
    ----------
    l1_ratio : float, default=0.5
        The share r of the lasso, from 0, which is ridge, to 1, which is lasso.

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn.penalties import ElasticNet
    >>> ElasticNet(l1_ratio=0.5).value(torch.tensor([[3.0, 4.0]]))
    tensor(9.7500)
    """

    def __init__(self, l1_ratio=0.5):
        self.l1_ratio = l1_ratio

    def value(self, weight):
        """Return the mixture of both values."""
        lasso, ridge = weight.abs().sum(), 0.5 * weight.square().sum()
        return self.l1_ratio * lasso + (1 - self.l1_ratio) * ridge

    def gradient(self, weight):
        """Return the gradient of the ridge's share."""
        return (1 - self.l1_ratio) * weight

    def prox(self, weight, step):
        """Take the proximal step of the lasso's share."""
        return L1().prox(weight, self.l1_ratio * step)
