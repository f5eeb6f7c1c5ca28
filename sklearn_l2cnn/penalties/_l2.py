"""Ridge."""

from sklearn_l2cnn.penalties._base import Penalty


class L2(Penalty):
    r"""Ridge, or weight decay in the loss: :math:`\frac{1}{2} \|W\|^2`.

    All weights become smaller, in proportion to themselves; none becomes zero.

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn.penalties import L2
    >>> weight = torch.tensor([[3.0, 4.0]])
    >>> L2().value(weight), L2().gradient(weight)
    (tensor(12.5000), tensor([[3., 4.]]))
    """

    def value(self, weight):
        """Return half the squared norm of a weight."""
        return 0.5 * weight.square().sum()

    def gradient(self, weight):
        """Return the gradient, which is the weight itself."""
        return weight
