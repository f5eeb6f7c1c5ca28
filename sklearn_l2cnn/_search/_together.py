"""Classifiers that differ in alpha, fitted to the folds of one data set in one go."""

import logging
import zlib

from sklearn_l2cnn._estimator._assembly import equipped, gather, guests_of, loaded
from sklearn_l2cnn._estimator.fitting import finish
from sklearn_l2cnn._training.runtime import isolated, resolve_device
from sklearn_l2cnn._training.stacked._fleet import Member, why_no_fleet
from sklearn_l2cnn._training.stacked.plan import Lot, train_together
from sklearn_l2cnn._utils.seeds import draw_seeds
from sklearn_l2cnn.penalties import strengths

_logger = logging.getLogger("sklearn_l2cnn")

# Bytes of images that are held at a time; more folds than that come one after another.
_IMAGE_BYTES = 1 << 31


def fit_together(members, part_of, size, order, warm=False, then=None):
    """Fit classifiers to the folds, as each would be by itself.

    Parameters
    ----------
    members : list of list of L2CNNClassifier
        For every fold one for each alpha; not fitted.
    part_of : callable
        From the number of a fold to what its members are fitted to: arguments of `fit`,
        as a tuple (data, watched).
    size : int
        Bytes of the images of a fold, about.
    order : list of int
        The positions of the alphas, one after another where `warm`.
    warm : bool, default=False
        Whether each alpha starts from the network of the one before it.
    then : callable, default=None
        ``then(classifier, fold)`` is called with those that are fitted; what it returns
        is kept in their place.

    Returns
    -------
    outcomes : list of list, or None
        For every fold what became of each alpha, a ValueError where a fit failed. None
        where these networks cannot be trained together.
    """
    device = resolve_device(members[0][0].device)
    at_a_time = max(1, _IMAGE_BYTES // max(1, size))
    epochs = members[0][0].max_epochs
    outcomes = []
    known = False
    for start in range(0, len(members), at_a_time):
        crews = []
        for number, row in enumerate(members[start : start + at_a_time], start):
            crews.append(_Crew(row, part_of(number), device, number, then))
            # before the other folds are made ready in vain
            if not known and (member := crews[-1].any_member()) is not None:
                if reason := why_no_fleet(member.net, member.guests):
                    _logger.info("The networks are trained one by one: %s.", reason)
                    return None
                known = True
        for group in [[k] for k in order] if warm else [order]:
            _train(crews, group, device, epochs, warm)
        outcomes += [crew.outcomes for crew in crews]
    return outcomes


class _Crew:
    """The classifiers of one fold.

    Parameters
    ----------
    members : list of L2CNNClassifier
    part : tuple (data, watched)
    device : torch.device
    number : int
        Of the fold.
    then : callable or None
    """

    def __init__(self, members, part, device, number, then):
        self.members, self.device, self.number = list(members), device, number
        self.then = then
        self.outcomes = [None] * len(members)
        self.nets = [None] * len(members)
        self.fold = self.last = None
        lead = members[0]
        known = set(vars(lead))
        data, watched = part
        names = "X_val", "y_val", "sample_weight_val"
        validation = [watched.get(name) for name in names]
        try:
            self.material = gather(lead, **data, validation=validation)
        except ValueError as error:
            self.outcomes = [error] * len(members)
            return
        found = {k: value for k, value in vars(lead).items() if k not in known}
        for member in members[1:]:
            vars(member).update(found)

    def any_member(self):
        """Make the first member whose fit has not failed already, or return None."""
        made = map(self.equip, range(len(self.members)))
        return next((member for member in made if member is not None), None)

    def equip(self, k, start=None):
        """Make the net of a member, from the network of a net or a new one.

        Returns
        -------
        member : Member, or None where the fit has failed already
        """
        if self.outcomes[k] is not None:
            return None
        clf = self.members[k]
        try:
            net = equipped(clf, self.material, self.device, start)
            if net.objective.penalty is not None:  # who has no such layer says so here
                strengths(net.module_, net.objective.alpha, net.objective.penalize)
            if self.fold is None:
                self.fold = loaded(clf, net, self.material)
                self.batch_size = net.batch_size
            else:
                net.batch_size = self.batch_size
                draw_seeds(net.generator, 1)  # as `loaded` does
        except ValueError as error:
            self.outcomes[k] = error
            return None
        self.nets[k] = net
        seed = self.fold.seed, self.number, zlib.crc32(repr(clf.alpha).encode())
        return Member(net, guests_of(clf), seed)

    def take(self, k, member):
        """Take over what became of a member."""
        if member.error is not None:
            self.outcomes[k] = member.error
        else:
            clf, self.last = self.members[k], self.nets[k]
            finish(clf, self.last, 0)
            self.outcomes[k] = clf if self.then is None else self.then(clf, self.number)
        self.members[k] = self.nets[k] = None  # what is kept of it is the outcome


def _train(crews, chosen, device, epochs, warm):
    """Train some members of every crew together."""
    lots, folds, taken = [], [], []
    for crew in crews:
        for k in chosen:
            member = crew.equip(k, crew.last if warm else None)
            if member is None:
                continue
            if not folds or folds[-1] is not crew.fold:
                folds.append(crew.fold)
            lots.append(Lot(member, len(folds) - 1))
            taken.append((crew, k, member))
    if lots:
        with isolated(folds[0].seed, device) as threads:
            train_together(lots, folds, epochs, threads)
    for crew, k, member in taken:
        crew.take(k, member)
