"""Which networks are stacked, and how many stacks are trained at a time.

The plan follows from the problem alone, never from the number of threads: the numbers
do not depend on the machine.
"""

import math
import threading
from contextlib import ExitStack, suppress
from itertools import pairwise

from sklearn_l2cnn._training.forward import network_input
from sklearn_l2cnn._training.runtime import lone_threads
from sklearn_l2cnn._utils.operations import on_meta, run, values_of, work

# Multiplications of a stack in a step: with fewer much is Python, more leave the cache.
_STEP = 1.2e9

# An odd last stack leaves one of two threads without work, so that it is halved; less
# than this part of a full one is not, as two threads would take as long.
_WORTH_HALVING = 1 / 6

# Bytes that a stack may take, and all that are trained at a time, without the images.
_STACK_BYTES = 1 << 29
_BUDGET = 4 * _STACK_BYTES

# A network in training holds its parameters, gradients, two moments and what is left of
# an update.
_COPIES = 6


def stack_size(net, data):
    """Return how many networks like this a stack should have, and the bytes of each.

    Parameters
    ----------
    net : Net
    data : TrainingTensors
    """
    image = network_input(data.X.images[:1], *net.pixels())
    twin = on_meta(net.module_).eval()
    done = run(twin, image.to("meta").expand(2, -1, -1, -1))
    rows = min(net.batch_size, len(data.y))
    by_work = _STEP / (rows * work(done))
    # of every value there is a gradient
    values = 2 * rows * sum(values_of(done))
    own = sum(p.numel() for p in twin.parameters())
    n_bytes = (values + _COPIES * own) * image.element_size()
    return max(1, int(min(by_work, _STACK_BYTES / n_bytes))), n_bytes


def plan_stacks(members, kinds, most):
    """Split networks into stacks: parts of a fold or, of small ones, several folds.

    Parameters
    ----------
    members : list of list
        The networks of every fold.
    kinds : list
        Equal for folds that can be in one stack.
    most : dict of int
        How many a stack of a kind should have.

    Returns
    -------
    stacks : list of list of tuple (fold, list)

    Examples
    --------
    >>> from sklearn_l2cnn._training.stacked.plan import plan_stacks
    >>> plan_stacks(["abc", "abc"], [0, 0], most={0: 2})
    [[(0, 'a')], [(0, 'bc')], [(1, 'a')], [(1, 'bc')]]
    >>> plan_stacks(["abc", "abc", "abc"], [0, 0, 0], most={0: 6})
    [[(0, 'a'), (1, 'a'), (2, 'a')], [(0, 'bc'), (1, 'bc'), (2, 'bc')]]
    """
    groups = []
    for kind in dict.fromkeys(kinds):
        folds = [fold for fold, own in enumerate(kinds) if own == kind]
        width = max(len(members[fold]) for fold in folds)
        together = most[kind] // width
        worth_halving = _WORTH_HALVING * most[kind] / width  # in folds
        number = math.ceil(len(folds) / max(1, together))
        if number <= 2 <= together:  # halves of the folds, or else of each below
            by_fold = width == 1 or len(folds) % 2 == 0
            number = 1 + (by_fold and len(folds) > worth_halving)
        parts = math.ceil(width / most[kind])
        halved = 2 if parts == 1 else parts
        groups += [
            (own, parts, halved if len(own) > worth_halving else parts)
            for own in _even_parts(folds, number)
        ]
    stacks = []
    for place, (folds, number, if_last) in enumerate(groups):
        if len(groups) % 2 == 1 and place == len(groups) - 1:
            number = if_last
        parts = [_even_parts(members[fold], number) for fold in folds]
        for part in zip(*parts, strict=True):
            own = zip(folds, part, strict=True)
            stacks.append([(fold, some) for fold, some in own if some])
    return [stack for stack in stacks if stack]


def _even_parts(items, number):
    ends = [len(items) * k // number for k in range(number + 1)]
    return [items[start:stop] for start, stop in pairwise(ends)]


def train_stacks(trainings, threads, n_bytes, rungs=None):
    """Train stacks, several at a time.

    Parameters
    ----------
    trainings : list of StackedTraining
    threads : int
        How many stacks may be trained at a time; the numbers do not depend on it.
    n_bytes : int
        What one network takes.
    rungs : list of list of int and callable, default=None
        After how many epochs all of a training are compared, of each training; and who
        returns, of each, the positions of the networks that then end.
    """
    stopped = threading.Event()
    largest = max(len(training.nets) for training in trainings) * n_bytes
    threads = max(1, min(threads, len(trainings), int(_BUDGET / largest)))
    pauses, compare = rungs or ([()] * len(trainings), None)
    stages = [
        training.stages(stopped, own)
        for training, own in zip(trainings, pauses, strict=True)
    ]
    n_stages = 1 + len(pauses[0])
    with ExitStack() as opened:
        for stage in stages:
            opened.callback(stage.close)
        pool = opened.enter_context(lone_threads(threads)) if threads > 1 else None
        ending = [None] * len(stages)
        for number in range(n_stages):
            if number:
                ending = compare()
            try:
                _advance(stages, ending, pool)
            except BaseException:
                stopped.set()  # the pool cancels what waits, and waits for the rest
                raise


def _advance(stages, ending, pool):
    """Let every training go on to the end of its next stage."""
    if pool is None:
        for stage, own in zip(stages, ending, strict=True):
            _next(stage, own)
        return
    tasks = [
        pool.submit(_next, stage, own)
        for stage, own in zip(stages, ending, strict=True)
    ]
    for task in tasks:
        task.result()


def _next(stage, ending):
    with suppress(StopIteration):
        stage.send(ending)
