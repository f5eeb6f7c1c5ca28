"""Networks of a search that are trained as one: which, on what device, and when."""

import copy
import warnings
import zlib
from functools import partial

import numpy as np
import torch
from sklearn.exceptions import EfficiencyWarning

from sklearn_l2cnn._data.stored import is_stored
from sklearn_l2cnn._estimator.checkpoints import checkpoints_of
from sklearn_l2cnn._estimator.fitting import Fitted
from sklearn_l2cnn._estimator.network import (
    build_net,
    drawn_network,
    fit_callbacks,
    on_device,
    wrapped,
)
from sklearn_l2cnn._search.candidates import NUMBERS
from sklearn_l2cnn._training.checkpoint import written
from sklearn_l2cnn._training.runtime import isolated
from sklearn_l2cnn._training.stacked.batches import batches_kind
from sklearn_l2cnn._training.stacked.network import signature
from sklearn_l2cnn._training.stacked.optimizer import undivided
from sklearn_l2cnn._training.stacked.plan import plan_stacks, stack_size, train_stacks
from sklearn_l2cnn._training.stacked.training import (
    Member,
    StackedTraining,
    why_one_by_one,
)
from sklearn_l2cnn._utils.devices import (
    OutOfMemory,
    devices_for,
    free_memory,
    recover_memory,
)
from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn._utils.turns import turn_on

# Bytes of images that are on the device at a time; the sources of more come in turn.
_IMAGE_BYTES = 1 << 31


def fit_stacked(candidates, sources, halving=None):
    """Train the networks that can be stacked, those on the same images as one.

    Parameters
    ----------
    candidates : Candidates
    sources : list of Source
    halving : Halving, default=None
        Who says which candidates end early.

    Returns
    -------
    outcomes : dict
        By fold and position; see `fit_networks`.
    left : list of Source
        With the positions of the candidates that have to be trained one by one.
    reasons : list of str
        Why these have to be.
    """
    devices = devices_for(candidates.template.device)
    with turn_on(devices) as turn:
        try:
            return turn.fit(
                lambda device: _fit_on(device, candidates, sources, halving)
            )
        except OutOfMemory as error:
            reason = f"do not fit into the memory of {turn.device}"
            warnings.warn(
                f"Networks that are trained as one {reason}, and are trained one by "
                f"one: {first_line(error)}",
                EfficiencyWarning,
                stacklevel=2,
            )
    recover_memory(turn.device)
    return {}, sources, [f"as one they {reason}"]


def _fit_on(device, candidates, sources, halving):
    outcomes, left, reasons, told = {}, [], {}, None
    if halving is not None:
        halving.begin()
    # to be compared they have to be there together
    for some in _at_a_time(sources) if halving is None else [sources]:
        stacked = []
        for source in some:
            own = _StackedSource(candidates, source, device)
            reason = reasons.get(source.family) or own.build()
            if reason is None:
                stacked.append(own)
            else:
                reasons[source.family] = reason
                left.append(source)
        told = told or _lines(candidates.progress, stacked)
        while stacked:
            _train(stacked, candidates, device, told, halving)
            outcomes |= {key: o for own in stacked for key, o in own.outcomes.items()}
            stacked = [own for own in stacked if own.to_come]
            for own in stacked:
                own.build()
    return outcomes, left, [*dict.fromkeys(reasons.values())]


def _at_a_time(sources):
    """Split sources into lists, so that the images of each list fit on a device."""
    images = sources[0].data.train.images
    if is_stored(images):
        return [sources]
    n_bytes = images.numel() * (1 if images.dtype == torch.uint8 else 4)
    step = max(1, _IMAGE_BYTES // max(1, n_bytes))
    return [sources[start : start + step] for start in range(0, len(sources), step)]


def _lines(progress, sources):
    """Return what prints the lines of stacks, having told what is trained."""
    built = ((net, own.tensors) for own in sources for _, net in own.nets.values())
    net, tensors = next(built, (None, None))
    return None if net is None else progress.stack_lines(net, tensors.X)


class _StackedSource:
    """The networks of one source on their way through stacks.

    Parameters
    ----------
    candidates : Candidates
    source : Source
    device : torch.device

    Attributes
    ----------
    nets : dict of tuple (clf, net)
        Those that are built, by position.
    outcomes : dict
        Of those that are trained, by fold and position.
    """

    def __init__(self, candidates, source, device):
        self.candidates = candidates
        self.source = source
        self.data = source.data
        self.device = device
        self.nets, self.outcomes = {}, {}
        self.tensors, self.drawn, self.last = None, None, None
        # what they have in common is made once
        self.alike = candidates.common(source.positions)
        order = candidates.order(source.positions)
        # on a warm path each begins where the last has ended
        self.to_come = [[k] for k in order] if candidates.warm else [order]

    def build(self):
        """Build the nets that come next; return why they cannot be stacked, or None."""
        for k in self.to_come.pop(0):
            clf = self._unfitted(k)
            try:
                clf._validate_params()
                net = self._new_net(clf)
                reason = why_one_by_one(net)
                if reason is not None:
                    return reason
                # or it raises: a pattern may match no layer
                net.objective.groups(net.module_, net.starts)
                if self.tensors is None:
                    self.tensors = on_device(
                        clf, net, self.data.summary, self.data.train, self.data.valid
                    )
                net.check_batches(self.tensors)
            except OutOfMemory:
                raise  # as one, they may fit one by one
            except self.candidates.failures as error:
                self.outcomes[self.source.fold, k] = error
                continue
            self.nets[k] = clf, net
        return None

    def _unfitted(self, k):
        numbers = self.candidates.settings[k].items()
        own = {name: value for name, value in numbers if name in NUMBERS}
        return copy.copy(self.alike).set_params(**own)

    def _new_net(self, clf):
        if self.last is not None:
            return build_net(clf, self.data, self.device, self.last)
        if self.drawn is None:
            self.drawn = drawn_network(clf, self.data, self.device)
        network, starts = self.drawn
        return wrapped(clf, copy.deepcopy(network), starts, self.data, self.device)

    def members(self):
        """Return positions of nets that are built, by what can be in one stack."""
        kinds = {}
        for k, (_, net) in self.nets.items():
            own = signature(net.module_), batches_kind(net, self.tensors)
            kind = self.source.family, undivided(net), *own
            kinds.setdefault(kind, []).append(k)
        return kinds

    def member(self, k):
        """Return a net as one of a stack."""
        clf, net = self.nets[k]
        told = self.candidates.progress.callbacks(k, self.source.fold)
        first = fit_callbacks(clf, net)
        return Member(net, first, told, self._dropout_seed(k), self.tensors)

    def _dropout_seed(self, k):
        """Return a seed for the dropout of a network, the same in whatever stack."""
        setting = self.candidates.settings[k].items()
        numbers = repr([(name, value) for name, value in setting if name in NUMBERS])
        entropy = self.data.order_seed, self.source.fold, zlib.crc32(numbers.encode())
        seed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        return int(seed >> np.uint64(1))

    def look(self, k):
        """Return what would be kept of a net that is being trained."""
        fitted = Fitted(self.data.summary, self.nets[k][1].snapshot())
        return self.candidates.outcome(self._unfitted(k), fitted, self.source)

    def finish(self, k, error):
        """Keep what is wanted of a net that was trained."""
        clf, net = self.nets.pop(k)
        if error is None:
            net.offload()
            self.last = net if self.candidates.warm else None
        fitted = error or Fitted(self.data.summary, net)
        outcome = self.candidates.outcome(clf, fitted, self.source)
        self.outcomes[self.source.fold, k] = outcome


def _train(sources, candidates, device, told, halving):
    """Train the nets that are built, in stacks."""
    found = [(source, *own) for source in sources for own in source.members().items()]
    if not found:
        return
    owners, kinds, positions = zip(*found, strict=True)
    sizes = {
        kind: stack_size(owner.nets[own[0]][1], owner.tensors)
        for owner, kind, own in reversed(found)
    }
    most = {kind: number for kind, (number, _) in sizes.items()}
    stacks = [
        [(owners[place], k) for place, own in stack for k in own]
        for stack in plan_stacks(positions, kinds, most)
    ]
    nets = [[(*owner.nets[k], owner.data) for owner, k in stack] for stack in stacks]
    template = candidates.template
    checkpoints = checkpoints_of(template, nets)
    with isolated(owners[0].data.seed, device, template.threads) as threads:
        trainings = [
            StackedTraining([owner.member(k) for owner, k in stack], told, checkpoint)
            for stack, checkpoint in zip(stacks, checkpoints, strict=True)
        ]
        rungs = None
        if halving is not None:
            pauses = [halving.pauses(training.epochs) for training in trainings]
            compare = partial(_compare, trainings, stacks, halving, candidates.progress)
            rungs = pauses, compare
        n_bytes = max(n_bytes for _, n_bytes in sizes.values())
        with written(checkpoints):
            train_stacks(trainings, threads, n_bytes, rungs)
    for stack, training in zip(stacks, trainings, strict=True):
        for (owner, k), error in zip(stack, training.errors, strict=True):
            owner.finish(k, error)
    free_memory(device)


def _compare(trainings, stacks, halving, progress):
    """Return the places of the networks that end, in every stack."""
    scores = {}
    for training, stack in zip(trainings, stacks, strict=True):
        for (owner, k), error in zip(stack, training.errors, strict=True):
            # of networks that have stopped by themselves, too
            if error is None and halving.is_alive(k):
                scores.setdefault(k, []).append(halving.score_of(owner.look(k)))
    halving.go_on(scores)
    ending = [
        [place for place in training.active if not halving.is_alive(stack[place][1])]
        for training, stack in zip(trainings, stacks, strict=True)
    ]
    for training, own in zip(trainings, ending, strict=True):
        progress.drop(len(own) * training.epochs_left())
    return ending
