"""The gradient of a batch in several threads, the same to the last bit in any number.

torch's own threads split the sum over the images inside a kernel, in as many parts as
there are threads, so that the last bits of a gradient depend on the machine. Here a
batch is cut into shards, as many as the problem asks for and whatever the machine has;
kernels compute a shard in one thread, and the gradients are added along a fixed binary
tree. How many threads work on the tree changes nothing but the time, and neither does
how many ranks do: each has neighbouring shards, and all add up their sums in the order
of the tree.
"""

import math
from contextlib import nullcontext
from itertools import pairwise, starmap

import torch

from sklearn_l2cnn._training.packing import Layout, form_of
from sklearn_l2cnn._training.ranks import ALONE

# A batch of W multiplications takes about W / shards + shards * _STEP where there are
# as many threads: what Python and torch do around the kernels of a shard goes one shard
# at a time. That is least for sqrt(W / _STEP) shards.
_STEP = 3e7
_MOST_SHARDS = 16
_FEWEST_ROWS = 8


def shard_count(n_rows, work):
    """Return into how many shards a batch is cut: a power of two.

    A function of the problem alone, never of the machine.

    Parameters
    ----------
    n_rows : int
        Images in the batch.
    work : float
        Multiplications for one image.

    Examples
    --------
    >>> from sklearn_l2cnn._training.shards import shard_count
    >>> [shard_count(128, work) for work in (1e3, 2e6, 1e7, 1e9)]
    [1, 2, 4, 16]
    """
    most = min(math.sqrt(n_rows * work / _STEP), n_rows / _FEWEST_ROWS, _MOST_SHARDS)
    return 1 << int(math.log2(max(most, 1)))


def shard_bounds(n_rows, work):
    """Return where the shards of a batch begin, and where the last one ends."""
    count = shard_count(n_rows, work)
    return [n_rows * k // count for k in range(count + 1)]


def whole_gradient(loss, images, labels, weight):
    """Add the gradient of the mean loss of a batch to that of the parameters.

    Parameters
    ----------
    loss : BatchLoss
    images, labels, weight : Tensor
        A batch, as for `loss`.

    Returns
    -------
    losses : Tensor
        The means of what `loss` returns, without a gradient.
    logits : Tensor of shape (n, n_classes)
    """
    losses, logits = loss(images, labels, weight)
    losses.backward(torch.full_like(losses, 1 / len(images)))
    return losses.detach() / len(images), logits.detach()


def parts_of(n_rows, count):
    """Return where parts of a batch, so many or one a row, start and end."""
    count = min(count, n_rows)
    return list(pairwise([n_rows * k // count for k in range(count + 1)]))


def gradient_in_parts(count, most=None):
    """Return what adds up the gradient of a batch part by part: a device lacks memory.

    Parameters
    ----------
    count : int
    most : int, default=None
        Of so many images each; every one of these parts is cut into `count`.
    """
    if count == 1 and most is None:
        return whole_gradient

    def in_parts(loss, images, labels, weight):
        n_rows, means, logits = len(images), [], []
        n_parts = count * math.ceil(n_rows / (most or n_rows))
        for part in starmap(slice, parts_of(n_rows, n_parts)):
            own = None if weight is None else weight[part]
            sums, found = loss(images[part], labels[part], own)
            sums.backward(torch.full_like(sums, 1 / n_rows))
            means.append(sums.detach() / n_rows)
            logits.append(found.detach())
        return sum(means), torch.cat(logits)

    return in_parts


def subtrees(first, last, start, stop):
    """Return the largest parts of a binary tree that are within a range of its leaves.

    Parameters
    ----------
    first, last : int
        The leaves of the tree.
    start, stop : int
        Those of the range.

    Returns
    -------
    nodes : list of tuple (first, last)

    Examples
    --------
    >>> from sklearn_l2cnn._training.shards import subtrees
    >>> subtrees(0, 8, 0, 4), subtrees(0, 8, 3, 6)
    ([(0, 4)], [(3, 4), (4, 6)])
    """
    if start <= first and last <= stop:
        return [(first, last)]
    if last <= start or stop <= first:
        return []
    middle = (first + last) // 2
    left = subtrees(first, middle, start, stop)
    return left + subtrees(middle, last, start, stop)


class Shards:
    """The gradient of a batch, worked out shard by shard in several threads.

    Parameters
    ----------
    parameters : list of torch.nn.Parameter
        What the gradient is with respect to.
    work : float
        Multiplications for one image.
    pool : concurrent.futures.Executor
        Of `lone_threads`: one thread less than `threads`, for the caller works too.
    threads : int
        How many may work at a time; the result does not depend on it.
    draws : bool, default=False
        Whether layers draw random numbers: then every shard has its own.
    ranks : Ranks, default=ALONE
        Who share the work.
    parts : int, default=None
        How many shards there are, on a device that takes all that it is given at once;
        None is what `shard_bounds` says.
    whole_logits : bool, default=True
        Whether logits are those of the batch on every rank, rather than None.
    around : callable, default=None
        From the number of rows of a batch, and the slice of a shard, to the context in
        which the loss of the shard is computed. Then every rank has a shard.
    """

    def __init__(
        self,
        parameters,
        work,
        pool,
        threads,
        draws=False,
        ranks=ALONE,
        parts=None,
        whole_logits=True,
        around=None,
    ):
        self.parameters = parameters
        self.work = work
        self.pool = pool
        self.threads = threads
        self.draws = draws
        self.ranks = ranks
        self.parts = parts
        self.whole_logits = whole_logits
        self.around = around
        self.layout = None

    def bounds(self, n_rows):
        """Return where the shards of a batch begin, and where the last one ends."""
        if self.parts is None:
            return shard_bounds(n_rows, self.work)
        if self.around is not None and n_rows < self.parts:
            return [0, n_rows]  # some rank would have no shard
        return [0, *(stop for _, stop in parts_of(n_rows, self.parts))]

    def own(self, n_rows):
        """Return which rows of a batch this rank looks at."""
        ends = self.bounds(n_rows)
        if len(ends) == 2:
            return slice(0, n_rows)
        start, stop = self.ranks.span(len(ends) - 1)
        return slice(ends[start], ends[stop])

    def __call__(self, loss, images, labels, weight):
        """Do as `whole_gradient` does, shard by shard."""
        batch = images, labels, weight
        n_rows = len(labels)
        ends = self.bounds(n_rows)
        n_shards = len(ends) - 1
        if n_shards == 1:
            self.ranks.agree()
            return whole_gradient(loss, *batch)
        logits = [None] * n_shards
        generators = [None] * n_shards
        if self.draws:
            seeds = torch.randint(1 << 62, (n_shards,)).tolist()
            device = labels.device
            generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

        def one(k):
            shard = [
                None if part is None else part[ends[k] : ends[k + 1]] for part in batch
            ]
            with self._context(n_rows, slice(ends[k], ends[k + 1])):
                sums, logits[k] = loss(*shard, generators[k])
            means = sums / n_rows
            gradients = torch.autograd.grad(
                means.sum(), self.parameters, allow_unused=True
            )
            logits[k] = logits[k].detach()
            return means.detach(), gradients

        def tree(first, last, threads):
            if last - first == 1:
                return one(first)
            middle = (first + last) // 2
            if threads == 1:
                left, right = tree(first, middle, 1), tree(middle, last, 1)
            else:
                half = threads // 2
                later = self.pool.submit(tree, middle, last, half)
                left = tree(first, middle, threads - half)
                right = later.result()
            return _added(left, right)

        def subtree(first, last):
            return tree(first, last, min(self.threads, last - first))

        if self.ranks.size == 1:
            losses, gradients = subtree(0, n_shards)
        else:
            losses, gradients = self._shared(subtree, n_shards)
            logits = self._gathered(logits)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is not None and gradient.stride() != parameter.stride():
                # fused optimizers walk through both as they lie in memory
                gradient = torch.empty_like(parameter).copy_(gradient)
            parameter.grad = gradient
        return losses, torch.cat(logits) if logits else None

    def _context(self, n_rows, rows):
        return nullcontext() if self.around is None else self.around(n_rows, rows)

    def _shared(self, subtree, n_shards):
        """Add up what the ranks make of their parts of a tree of shards."""
        of_rank = [
            subtrees(0, n_shards, *self.ranks.span(n_shards, rank))
            for rank in range(self.ranks.size)
        ]
        found = list(starmap(subtree, of_rank[self.ranks.rank]))
        if self.layout is None:
            # the first rank has a part of any tree
            form = self.ranks.from_first(form_of(*found[0]) if found else None)
            self.layout = Layout(form, self.parameters)
        rows = max(map(len, of_rank))
        packed = self.layout.packed(found, rows, self.parameters[0].device)
        sums = {
            node: row
            for nodes, own in zip(of_rank, self.ranks.gathered(packed), strict=True)
            for node, row in zip(nodes, own, strict=False)
        }

        def total(first, last):
            if (first, last) not in sums:
                middle = (first + last) // 2
                self.layout.add(total(first, middle), total(middle, last))
                sums[first, last] = sums[first, middle]
            return sums[first, last]

        return self.layout.unpacked(total(0, n_shards))

    def _gathered(self, logits):
        """Return the logits of all shards, or nothing where nobody asks for them."""
        if not self.whole_logits:
            return []
        own = [part.cpu() for part in logits if part is not None]
        found = self.ranks.gathered_objects(own)
        device = self.parameters[0].device
        return [part.to(device) for parts in found for part in parts]


def _added(left, right):
    """Add a loss and its gradients to others, in place; both miss the same ones."""
    (loss, gradients), (other_loss, others) = left, right
    with torch.no_grad():
        torch._foreach_add_(
            [gradient for gradient in gradients if gradient is not None],
            [other for other in others if other is not None],
        )
    return loss + other_loss, gradients
