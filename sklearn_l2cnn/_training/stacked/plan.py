"""Many networks, split into fleets that suit the processor, one thread for each fleet.

How they are split follows from the problem alone, never from how many threads there
are: the numbers do not depend on the machine.
"""

import math
import threading
from concurrent.futures import wait
from typing import NamedTuple

import torch

from sklearn_l2cnn._training.forward import network_input, work
from sklearn_l2cnn._training.runtime import lone_threads
from sklearn_l2cnn._training.stacked._fleet import Fleet, kind_of
from sklearn_l2cnn._utils.layers import leaves

# Multiplications of a fleet in a step: of fewer much is Python, more leave the cache.
_STEP = 1.2e9

# Bytes that a fleet may take, and all that are at work at a time, beside the images.
_FLEET_BYTES = 1 << 29
_BUDGET = 4 * _FLEET_BYTES

# A network in training holds its parameters, gradients, two moments and what is left of
# an update.
_COPIES = 6


class Lot(NamedTuple):
    """A network to be trained, and where it learns.

    Attributes
    ----------
    member : Member
    place : int
        Of its fold.
    """

    member: object
    place: int


def train_together(lots, folds, epochs, threads):
    """Train many networks, those of one kind in fleets.

    Parameters
    ----------
    lots : list of Lot
    folds : list of Fold
    epochs : int
    threads : int
        How many fleets may be at work at a time; the numbers do not depend on it.
    """
    kinds = {}
    for lot in lots:
        kind = kind_of(lot.member.net, folds[lot.place])
        kinds.setdefault(kind, []).append(lot)
    stopped = threading.Event()
    fleets = []
    for alike in kinds.values():
        most, size = _most_members(alike[0], folds)
        threads = max(1, min(threads, int(_BUDGET / (most * size))))
        for part in parts_of(alike, most):
            members = [lot.member for lot in part]
            places = [lot.place for lot in part]
            fleets.append(Fleet(members, places, folds, stopped))
    fleets.sort(key=lambda fleet: -len(fleet.members))
    if threads == 1 or len(fleets) == 1:
        for fleet in fleets:
            fleet.train(epochs)
        return
    with lone_threads(min(threads, len(fleets))) as pool:
        runs = [pool.submit(fleet.train, epochs) for fleet in fleets]
        try:
            for run in runs:
                run.result()
        except BaseException:
            stopped.set()
            for run in runs:
                run.cancel()
            wait(runs)
            raise


def parts_of(lots, most):
    """Split networks of one kind into those that are trained together.

    Parameters
    ----------
    lots : list of Lot
        In the order of their folds.
    most : int
        How many a fleet should have.

    Returns
    -------
    parts : list of list of Lot
    """
    by_fold = {}
    for lot in lots:
        by_fold.setdefault(lot.place, []).append(lot)
    width = max(map(len, by_fold.values()))
    if most < 2 * width:  # every fold by itself: nothing is ragged, nothing mixed
        cuts, groups = math.ceil(width / most), len(by_fold)
    else:  # several folds together, and at least two fleets, for two threads
        groups = math.ceil(len(lots) / most)
        cuts = min(2, width) if groups == 1 else 1
    parts = []
    for number, places in enumerate(_even_parts(list(by_fold), groups)):
        # an odd last fleet would leave one of two threads without work
        odd = cuts == 1 and groups % 2 == 1 and number == groups - 1
        for k in range(cuts + odd):
            parts.append(
                [lot for p in places for lot in _part(by_fold[p], k, cuts + odd)]
            )
    return [part for part in parts if part]


def _even_parts(items, number):
    return [_part(items, k, number) for k in range(number)]


def _part(items, k, number):
    return items[len(items) * k // number : len(items) * (k + 1) // number]


def _most_members(lot, folds):
    """Say how many networks a fleet should have, and how many bytes each takes."""
    net, fold = lot.member.net, folds[lot.place]
    image = network_input(fold.X["images"][:1], *net.pixels())
    image = image.expand(2, -1, -1, -1)  # a norm over rows takes no single one
    layers = [layer for _, layer in leaves(net.module_)]
    rows = min(net.batch_size, len(fold.y))
    net.module_.eval()
    by_work = _STEP / (rows * work(layers, image))
    size = _bytes(layers, image, rows)
    return max(1, int(min(by_work, _FLEET_BYTES / size))), size


def _bytes(layers, image, rows):
    """Estimate the memory that training a network takes."""
    values = 0
    with torch.no_grad():
        for layer in layers:
            image = layer(image)
            values += 2 * rows * image.numel()  # and its gradient
    own = sum(p.numel() for layer in layers for p in layer.parameters())
    return (values + _COPIES * own) * image.element_size()
