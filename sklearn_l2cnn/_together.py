"""Classifiers that differ in alpha, fitted to the folds of one data set in one go."""

import logging
import math
import zlib

import numpy as np
import torch

from sklearn_l2cnn._assembly import equipped, gather, guests_of, loaded
from sklearn_l2cnn._fitting import finish
from sklearn_l2cnn.training import (
    Lot,
    Member,
    draw_seeds,
    isolated,
    resolve_device,
    train_together,
    why_no_fleet,
)

_logger = logging.getLogger("sklearn_l2cnn")

# Bytes of images that are held at a time; more folds than that come one after another.
_IMAGE_BYTES = 1 << 31


def why_not_together(member, part):
    """Say why classifiers cannot be fitted together; None where they can.

    Parameters
    ----------
    member : L2CNNClassifier
        One of them, not fitted.
    part : tuple (X, y, sample_weight, validation)
        What it would be fitted to.

    Returns
    -------
    reason : str or None
    """
    from sklearn.base import clone

    member = clone(member)
    material = gather(member, *part)
    net = equipped(member, material, resolve_device(member.device))
    return why_no_fleet(net, guests_of(member))


def fit_together(members, parts, path="independent"):
    """Fit classifiers to the folds, as each would be by itself.

    Parameters
    ----------
    members : list of list of L2CNNClassifier
        For every fold one for each alpha; not fitted.
    parts : list of tuple (X, y, sample_weight, validation)
        What those of each fold are fitted to.
    path : {"independent", "warm"}, default="independent"
        Whether each alpha starts from the network of the one before it.

    Returns
    -------
    outcomes : list of list
        The classifiers, or the ValueError that ended a fit.
    """
    device = resolve_device(members[0][0].device)
    size = _image_bytes(parts[0][0])
    at_a_time = max(1, int(_IMAGE_BYTES / size))
    outcomes = []
    for start in range(0, len(parts), at_a_time):
        stop = start + at_a_time
        crews = [
            _Crew(row, part, device, number)
            for number, (row, part) in enumerate(
                zip(members[start:stop], parts[start:stop], strict=True), start
            )
        ]
        if path == "warm":
            for k in range(len(members[0])):
                _train(crews, [k], device, warm=True)
        else:
            _train(crews, range(len(members[0])), device)
        outcomes += [crew.outcomes for crew in crews]
    return outcomes


class _Crew:
    """The classifiers of one fold.

    Parameters
    ----------
    members : list of L2CNNClassifier
    part : tuple (X, y, sample_weight, validation)
    device : torch.device
    number : int
        Of the fold.
    """

    def __init__(self, members, part, device, number):
        self.members, self.device, self.number = members, device, number
        self.outcomes = [None] * len(members)
        self.nets = [None] * len(members)
        self.fold = None
        lead = members[0]
        known = set(vars(lead))
        try:
            self.material = gather(lead, *part)
        except ValueError as error:
            self.outcomes = [error] * len(members)
            return
        found = {k: value for k, value in vars(lead).items() if k not in known}
        for member in members[1:]:
            vars(member).update(found)

    def equip(self, k, start=None):
        """Make the net of a member, from the network of a net or a new one.

        Returns
        -------
        lot : tuple (Member, Fold), or None where the fit has failed already
        """
        if self.outcomes[k] is not None:
            return None
        clf = self.members[k]
        net = self.nets[k] = equipped(clf, self.material, self.device, start)
        if self.fold is None:
            self.fold = loaded(clf, net, self.material)
            self.batch_size = net.batch_size
        else:
            net.batch_size = self.batch_size
            draw_seeds(net.generator, 1)  # as `loaded` does
        seed = self.fold.seed, self.number, zlib.crc32(repr(clf.alpha).encode())
        return Member(net, guests_of(clf), seed)

    def take(self, k, member):
        """Take over what became of a member."""
        if member.error is not None:
            self.outcomes[k] = member.error
        else:
            finish(self.members[k], self.nets[k], 0)
            self.outcomes[k] = self.members[k]


def _train(crews, chosen, device, warm=False):
    """Train some members of every crew together."""
    lots, folds, taken = [], [], []
    for crew in crews:
        for k in chosen:
            member = crew.equip(k, _start_of(crew, k) if warm else None)
            if member is None:
                continue
            if not folds or folds[-1] is not crew.fold:
                folds.append(crew.fold)
            lots.append(Lot(member, len(folds) - 1))
            taken.append((crew, k, member))
    if not lots:
        return
    epochs = crews[0].members[0].max_epochs
    with isolated(folds[0].seed, device) as threads:
        train_together(lots, folds, epochs, threads)
    for crew, k, member in taken:
        crew.take(k, member)


def _start_of(crew, k):
    """Return the net of the last member before one that was fitted, if any."""
    fitted = [i for i in range(k) if not isinstance(crew.outcomes[i], ValueError)]
    return crew.nets[fitted[-1]] if fitted else None


def _image_bytes(X):
    shape, dtype = getattr(X, "shape", None), getattr(X, "dtype", None)
    if shape is None:
        X = np.asarray(X)
        shape, dtype = X.shape, X.dtype
    wide = 1 if dtype in (np.uint8, torch.uint8) else 4
    return math.prod(shape) * wide
