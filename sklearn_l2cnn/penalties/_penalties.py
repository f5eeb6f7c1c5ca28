"""The penalties: ridge, lasso, elastic net, and lasso on whole filters."""

import math

import torch

# Newton's method on the norm of a group: after six steps nothing but rounding is left,
# seen with steps that differ by eight decades within a group.
_NEWTON_STEPS = 6


def rows_of(weight):
    """Return a weight as a matrix with a row for every filter or unit."""
    return weight.flatten(1) if weight.ndim > 1 else weight.reshape(-1, 1)


class _Penalty:
    """What all penalties have in common: they show and compare their parameters."""

    def __repr__(self):
        own = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({own})"

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self):
        return hash((type(self), *vars(self).values()))


class L2(_Penalty):
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


class L1(_Penalty):
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


class ElasticNet(_Penalty):
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


class Group(_Penalty):
    r"""Group lasso, a norm for every filter or unit: :math:`\sum_k \sqrt{d}\,\|W_k\|`.

    :math:`W_k` are the d numbers of filter or unit k of a weight. One that is not worth
    its norm vanishes as a whole. The root of d makes small and large filters alike, and
    groups of a single number a lasso.

    Examples
    --------
    >>> import torch
    >>> from sklearn_l2cnn.penalties import Group
    >>> weight = torch.tensor([[3.0, 4.0], [0.1, 0.2]])
    >>> Group().prox(weight, torch.tensor(1.0 / 2**0.5))
    tensor([[2.4000, 3.2000],
            [0.0000, 0.0000]])
    """

    def value(self, weight):
        """Return the sum of the norms of all groups, times the root of their size."""
        rows = rows_of(weight)
        return math.sqrt(rows.shape[1]) * rows.norm(dim=1).sum()

    def prox(self, weight, step):
        r"""Bring the norm of every group towards zero, and no further.

        With one step t for all numbers of a group, its norm shrinks by
        :math:`\sqrt{d}\,t`. With a step for each, the new norm r solves
        :math:`\sum_i (W_i / (r + \sqrt{d}\,t_i))^2 = 1`.
        """
        rows = rows_of(weight)
        step = math.sqrt(rows.shape[1]) * step
        if step.ndim == 0:
            norms = rows.norm(dim=1, keepdim=True)
            kept = torch.where(norms > step, 1 - step / norms, 0)
            return (kept * rows).reshape(weight.shape)
        steps = step.reshape(rows.shape)
        norms = _group_norms(rows, steps)
        kept = torch.where(norms > 0, norms / (norms + steps), 0)
        return (kept * rows).reshape(weight.shape)


def _group_norms(rows, steps):
    """Solve sum_i (z_i / (r + t_i))^2 = 1 for r in every row; 0 where there is none.

    Newton's method on 1 / sqrt(sum), which is concave and grows with r: from below it
    comes nearer and never goes too far.
    """
    # with the largest step for all the norm would be this, and it is no more than r
    norms = rows.norm(dim=1, keepdim=True) - steps.amax(dim=1, keepdim=True)
    norms = norms.clamp_min(0)
    for _ in range(_NEWTON_STEPS):
        shrunk = rows / (norms + steps)
        total = shrunk.square().sum(dim=1, keepdim=True)
        slope = (shrunk.square() / (norms + steps)).sum(dim=1, keepdim=True)
        # 1 / sqrt(total) has the slope total^(-3/2) * slope, and is to become 1
        move = (total.sqrt() - 1) * total / slope
        norms = torch.where(total > 1, norms + move, norms)
    return norms
