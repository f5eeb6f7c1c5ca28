"""Which networks are stacked, and how many stacks are trained at a time.

The plan follows from the problem alone, never from the number of threads: the numbers
do not depend on the machine.
"""

import math
import threading
from concurrent.futures import wait
from itertools import pairwise

import torch

from sklearn_l2cnn._training.forward import network_input, work
from sklearn_l2cnn._training.runtime import lone_threads
from sklearn_l2cnn._utils.layers import leaves

# Multiplications of a stack in a step: with fewer much is Python, more leave the cache.
_STEP = 1.2e9

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
    image = network_input(data.X["images"][:1], *net.pixels())
    image = image.expand(2, -1, -1, -1)  # a norm over rows takes no single one
    layers = [layer for _, layer in leaves(net.module_)]
    rows = min(net.batch_size, len(data.y))
    net.module_.eval()
    by_work = _STEP / (rows * work(layers, image))
    n_bytes = _bytes(layers, image, rows)
    return max(1, int(min(by_work, _STACK_BYTES / n_bytes))), n_bytes


def _bytes(layers, image, rows):
    """Estimate the memory that training a network takes."""
    values = 0
    with torch.no_grad():
        for layer in layers:
            image = layer(image)
            values += 2 * rows * image.numel()  # and its gradient
    own = sum(p.numel() for layer in layers for p in layer.parameters())
    return (values + _COPIES * own) * image.element_size()


def plan_stacks(members, most):
    """Split the networks of each fold into stacks.

    Parameters
    ----------
    members : list of list
        The networks of every fold.
    most : int
        How many a stack should have.

    Returns
    -------
    stacks : list of tuple (fold, list)

    Examples
    --------
    >>> from sklearn_l2cnn._training.stacked.plan import plan_stacks
    >>> plan_stacks(["abc", "abc", "abc"], most=5)
    [(0, 'abc'), (1, 'abc'), (2, 'a'), (2, 'bc')]
    """
    stacks = []
    for fold, own in enumerate(members):
        number = math.ceil(len(own) / most)
        # an odd last stack would leave one of two threads without work
        if number == 1 and len(members) % 2 and fold == len(members) - 1:
            number = min(2, len(own))
        ends = [len(own) * k // number for k in range(number + 1)] if own else [0]
        stacks += [(fold, own[start:stop]) for start, stop in pairwise(ends)]
    return stacks


def train_stacks(trainings, epochs, threads, n_bytes):
    """Train stacks, several at a time.

    Parameters
    ----------
    trainings : list of StackedTraining
    epochs : int
    threads : int
        How many stacks may be trained at a time; the numbers do not depend on it.
    n_bytes : int
        What one network takes.

    Returns
    -------
    errors : list of list of ValueError or None
        Of every network of every stack.
    """
    stopped = threading.Event()
    largest = max(len(training.nets) for training in trainings) * n_bytes
    threads = max(1, min(threads, len(trainings), int(_BUDGET / largest)))
    if threads == 1:
        return [training.train(epochs, stopped) for training in trainings]
    with lone_threads(threads) as pool:
        runs = [pool.submit(training.train, epochs, stopped) for training in trainings]
        try:
            return [run.result() for run in runs]
        except BaseException:
            stopped.set()
            for run in runs:
                run.cancel()
            wait(runs)
            raise
