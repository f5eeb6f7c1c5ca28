"""Lasso on whole filters."""

import math

import torch

from sklearn_l2cnn.penalties._base import Penalty, rows_of

# Newton's method on the norm of a group: after six steps nothing but rounding is left,
# seen with steps that differ by eight decades within a group.
_NEWTON_STEPS = 6


class Group(Penalty):
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
