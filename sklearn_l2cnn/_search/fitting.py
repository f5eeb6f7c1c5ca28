"""The networks of a search, every alpha of every fold: stacked, or one by one."""

import logging
import warnings
import zlib
from functools import partial
from itertools import product

import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import EfficiencyWarning
from sklearn.utils.parallel import Parallel, delayed
from skorch.history import History

from sklearn_l2cnn._data.stored import is_stored
from sklearn_l2cnn._estimator.checkpoints import checkpoints_of
from sklearn_l2cnn._estimator.convergence import warn_of_the_end
from sklearn_l2cnn._estimator.data import fold_data, training_data
from sklearn_l2cnn._estimator.fitting import (
    Fitted,
    attributes_of,
    raise_interrupt,
    train_network,
)
from sklearn_l2cnn._estimator.network import (
    build_net,
    epochs_of,
    fit_callbacks,
    on_device,
)
from sklearn_l2cnn._search.progress import Progress
from sklearn_l2cnn._search.tasks import Mapped, SentOnce, again_if_lost
from sklearn_l2cnn._training.checkpoint import written
from sklearn_l2cnn._training.runtime import isolated
from sklearn_l2cnn._training.stacked.batches import batches_kind
from sklearn_l2cnn._training.stacked.network import signature
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
from sklearn_l2cnn._utils.estimators import set_attributes
from sklearn_l2cnn._utils.turns import turn_on

_logger = logging.getLogger("sklearn_l2cnn")

# Bytes of images that are on the device at a time; the folds of more come in turn.
_IMAGE_BYTES = 1 << 31


def fit_folds(
    template,
    settings,
    labelled,
    folds,
    *,
    path,
    n_jobs=None,
    score=None,
    progress=None,
):
    """Fit a classifier with each of some settings to the training rows of every fold.

    Parameters
    ----------
    template : L2CNNClassifier
        Unfitted; the classifiers are like it in all but the settings.
    settings : list of dict
        Parameters by name, in which networks of a stack may differ.
    labelled : LabelledImages
    folds : list of tuple (train, test)
        Positions of the rows that each fold trains on, and of those it is scored on.
    path : {"independent", "warm"}
        ``"warm"`` starts each network from the weights that the next larger alpha has
        ended with, in its own fold.
    n_jobs : int, default=None
        Processes for networks that cannot be stacked.
    score : callable, default=None
        ``score(classifier, fold)`` is called where a network was trained, in a process
        of its own maybe; its result is kept in place of the classifier, so that not all
        networks have to be held at once.
    progress : Progress, default=None
        Who is told of the epochs; None is who `template` tells.

    Returns
    -------
    outcomes : list of list
        ``outcomes[fold][setting]``: the fitted classifier, its score, or the ValueError
        that the fit ended with.
    """
    found, failed = folds_data(template, labelled, folds)
    progress = progress or Progress(template, settings, len(folds))
    candidates = Candidates(
        template, settings, path == "warm", labelled.origin, score, progress
    )
    outcomes = {}
    trained = (epochs_of(template, data.train) for data in found.values())
    progress.begin(max(trained, default=0))
    if found:
        outcomes = fit_stacked(candidates, found)
        if outcomes is None:
            outcomes = fit_one_by_one(candidates, found, n_jobs)
    progress.end()
    outcomes |= {fold: [error] * len(settings) for fold, error in failed.items()}
    return [outcomes[fold] for fold in range(len(folds))]


def folds_data(template, labelled, folds):
    """Return the training data of every fold.

    Parameters
    ----------
    template : L2CNNClassifier
    labelled : LabelledImages
    folds : list of tuple (train, test)

    Returns
    -------
    found : dict of TrainingData
        By the number of the fold.
    failed : dict of ValueError
        Those of the other folds.
    """
    found, failed = {}, {}
    for number, (train, test) in enumerate(folds):
        y, weighs = labelled.y, labelled.weight > 0
        valid = test[weighs[test]]
        valid = valid[np.isin(y[valid], y[train[weighs[train]]])]
        # Test rows must not have a say in the training: early stopping then holds out
        # rows of the training part, as it does in any fit.
        clf = clone(template)  # each fit draws from a random state of its own
        if clf.early_stopping or clf.lr_schedule == "plateau" or clf.callbacks:
            valid = valid[:0]
        try:
            found[number] = fold_data(clf, labelled, train, valid)
        except ValueError as error:
            failed[number] = error
    return found, failed


class Candidates:
    """The classifiers of a search: one for each setting.

    Parameters
    ----------
    template : L2CNNClassifier
    settings : list of dict
        Parameters by name.
    warm : bool
        Whether each starts from the network of the next larger alpha.
    origin : array
        Of the namespace of the images.
    score : callable or None
    progress : Progress, default=None
    """

    def __init__(self, template, settings, warm, origin, score, progress=None):
        self.template = template
        self.settings = settings
        self.warm = warm
        self.origin = origin
        self.score = score
        self.progress = progress
        self.order = list(range(len(settings)))
        if warm:
            self.order.sort(key=lambda k: -settings[k]["alpha"])

    def unfitted(self, k):
        """Return a new classifier with a setting."""
        return clone(self.template).set_params(**self.settings[k])

    def outcome(self, clf, fitted, fold):
        """Return what is kept of a classifier that was trained, or its ValueError."""
        if isinstance(fitted, ValueError):
            return fitted
        set_attributes(clf, attributes_of(clf, fitted, self.origin))
        return clf if self.score is None else self.score(clf, fold)


# -- one by one -----------------------------------------------------------------------


def fit_one_by_one(candidates, folds, n_jobs=None):
    """Train every network by itself, in so many processes.

    Parameters
    ----------
    candidates : Candidates
    folds : dict of TrainingData
    n_jobs : int, default=None

    Returns
    -------
    outcomes : dict of list
        ``outcomes[fold][alpha]``; see `fit_folds`.
    """
    order = candidates.order
    paths = [order] if candidates.warm else [[k] for k in order]
    images, n_bytes = next(iter(folds.values())).train.images, 0
    if not is_stored(images):
        images = images.cpu()
        n_bytes = images.nbytes
    common = SentOnce((candidates, Mapped(images), n_jobs), n_bytes)
    bare = {fold: data.with_images(None) for fold, data in folds.items()}
    tasks = list(product(folds, paths))
    found = again_if_lost(
        lambda: Parallel(n_jobs=n_jobs)(
            delayed(_fit_task)(common, path, bare[fold], fold, place * len(path))
            for place, (fold, path) in enumerate(tasks)
        )
    )
    outcomes = {fold: [None] * len(order) for fold in folds}
    for (fold, path), own in zip(tasks, found, strict=True):
        for k, outcome in zip(path, own, strict=True):
            outcomes[fold][k] = outcome
    return outcomes


def _fit_task(common, positions, data, fold, n_before):
    """Train the networks of some alphas, one after the other; return what is kept."""
    candidates, images, n_jobs = common.value
    callbacks = None
    if candidates.progress is not None:
        callbacks = partial(candidates.progress.one_by_one, fold, n_before, n_jobs)
    data = data.with_images(images.array)
    found = []
    for clf, fitted in fit_path(candidates, positions, data, callbacks):
        if isinstance(fitted, Fitted):
            raise_interrupt(fitted.net)
        found.append(candidates.outcome(clf, fitted, fold))
    return found


def fit_path(candidates, positions, data, callbacks=None):
    """Train networks one after the other, on a warm path each from the last.

    Parameters
    ----------
    candidates : Candidates
    positions : list of int
        Of their alphas.
    data : TrainingData
    callbacks : callable, default=None
        From the position of an alpha, and its place among these, to the callbacks,
        named, of its network.

    Yields
    ------
    clf : L2CNNClassifier
    fitted : Fitted or ValueError
    """
    start = None
    for place, k in enumerate(positions):
        clf = candidates.unfitted(k)
        own = () if callbacks is None else callbacks(k, place)
        try:
            fitted = train_network(clf, data, devices_for(clf.device), start, own)
        except ValueError as error:
            fitted = error
        else:
            if place + 1 < len(positions):  # the last one may be kept
                raise_interrupt(fitted.net)
            if candidates.warm:
                start = fitted.net.snapshot()
                start.history = History()  # each has a history of its own
        yield clf, fitted


def refit(template, alpha, alphas, labelled, path, progress):
    """Fit a classifier with the best alpha to all images.

    A warm path is gone along again, from the largest alpha to the best: what was scored
    is what that ends with.

    Returns
    -------
    clf : L2CNNClassifier
    """
    if path == "warm":
        alphas = [other for other in alphas if other >= alpha]
    else:
        alphas = [alpha]
    settings = [{"alpha": alpha} for alpha in alphas]
    candidates = Candidates(template, settings, path == "warm", labelled.origin, None)
    data = training_data(clone(template), labelled)
    progress.begin(candidates, data.summary, epochs_of(template, data.train))
    fits = fit_path(candidates, candidates.order, data, progress.one_by_one)
    *_, (clf, fitted) = fits
    best = candidates.outcome(clf, fitted, None)
    if isinstance(best, ValueError):
        raise best
    warn_of_the_end(clf, fitted)
    progress.end()
    return best


# -- stacked --------------------------------------------------------------------------


def fit_stacked(candidates, folds):
    """Train the networks of each fold as one.

    Parameters
    ----------
    candidates : Candidates
    folds : dict of TrainingData

    Returns
    -------
    outcomes : dict of list, or None
        ``outcomes[fold][alpha]``; see `fit_folds`. None where these networks cannot be
        stacked, which the log says.
    """
    with turn_on(devices_for(candidates.template.device)) as turn:
        try:
            return turn.fit(lambda device: _fit_on(device, candidates, folds))
        except OutOfMemory as error:
            warnings.warn(
                f"Networks that are trained as one do not fit into the memory of "
                f"{turn.device}, and are trained one by one: {first_line(error)}",
                EfficiencyWarning,
                stacklevel=2,
            )
    recover_memory(turn.device)
    return None


def _fit_on(device, candidates, folds):
    outcomes, order, told = {}, candidates.order, None
    for numbers in _folds_at_a_time(folds):
        stacked = [_StackedFold(candidates, folds[k], device, k) for k in numbers]
        for step in [[k] for k in order] if candidates.warm else [order]:
            for fold in stacked:
                reason = fold.build(step)
                if reason is not None:
                    _logger.info("The networks are trained one by one: %s.", reason)
                    return None
            told = told or _lines(candidates.progress, stacked)
            _train(stacked, candidates.template, device, told)
        outcomes |= {fold.number: fold.outcomes for fold in stacked}
    return outcomes


def _folds_at_a_time(folds):
    """Split the numbers of the folds, so that their images fit on a device."""
    numbers = list(folds)
    images = folds[numbers[0]].train.images
    if is_stored(images):
        return [numbers]
    n_bytes = images.numel() * (1 if images.dtype == torch.uint8 else 4)
    step = max(1, _IMAGE_BYTES // max(1, n_bytes))
    return [numbers[start : start + step] for start in range(0, len(numbers), step)]


def _lines(progress, folds):
    """Return what prints the lines of stacks, having told what is trained."""
    built = ((net, fold.tensors) for fold in folds for _, net in fold.nets.values())
    net, tensors = next(built, (None, None))
    return None if net is None else progress.stack_lines(net, tensors.X)


class _StackedFold:
    """The networks of one fold on their way through stacks.

    Parameters
    ----------
    candidates : Candidates
    data : TrainingData
    device : torch.device
    number : int
        Of the fold.
    """

    def __init__(self, candidates, data, device, number):
        self.candidates = candidates
        self.data = data
        self.device = device
        self.number = number
        self.outcomes = [None] * len(candidates.settings)
        self.nets, self.tensors, self.last = {}, None, None

    def build(self, positions):
        """Build the nets of some alphas; return why they cannot be stacked, or None."""
        for k in positions:
            clf = self.candidates.unfitted(k)
            try:
                net = build_net(clf, self.data, self.device, self.last)
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
            except ValueError as error:
                self.outcomes[k] = error
                continue
            self.nets[k] = clf, net
        return None

    def members(self):
        """Return positions of nets that are built, by what can be in one stack."""
        kinds = {}
        for k, (_, net) in self.nets.items():
            kind = signature(net.module_), batches_kind(net, self.tensors)
            kinds.setdefault(kind, []).append(k)
        return kinds

    def member(self, k):
        """Return a net as one of a stack."""
        clf, net = self.nets[k]
        told = self.candidates.progress.callbacks(k, self.number)
        first = fit_callbacks(clf, net)
        return Member(net, first, told, self._dropout_seed(k), self.tensors)

    def _dropout_seed(self, k):
        """Return a seed for the dropout of a network, the same in whatever stack."""
        setting = zlib.crc32(repr([*self.candidates.settings[k].items()]).encode())
        entropy = self.data.order_seed, self.number, setting
        seed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        return int(seed >> np.uint64(1))

    def finish(self, k, error):
        """Keep what is wanted of a net that was trained."""
        clf, net = self.nets.pop(k)
        if error is None:
            net.offload()
            self.last = net if self.candidates.warm else None
        fitted = error or Fitted(self.data.summary, net)
        self.outcomes[k] = self.candidates.outcome(clf, fitted, self.number)


def _train(folds, template, device, told):
    """Train the nets that are built, in stacks."""
    found = [(fold, *own) for fold in folds for own in fold.members().items()]
    if not found:
        return
    owners, kinds, positions = zip(*found, strict=True)
    fold = owners[0]
    most, n_bytes = stack_size(fold.nets[positions[0][0]][1], fold.tensors)
    stacks = [
        [(owners[place], k) for place, own in stack for k in own]
        for stack in plan_stacks(positions, kinds, most)
    ]
    nets = [[(*fold.nets[k], fold.data) for fold, k in stack] for stack in stacks]
    checkpoints = checkpoints_of(template, nets)
    with isolated(fold.data.seed, device, template.threads) as threads:
        trainings = [
            StackedTraining([fold.member(k) for fold, k in stack], told, checkpoint)
            for stack, checkpoint in zip(stacks, checkpoints, strict=True)
        ]
        with written(checkpoints):
            errors = train_stacks(trainings, threads, n_bytes)
    for stack, own in zip(stacks, errors, strict=True):
        for (fold, k), error in zip(stack, own, strict=True):
            fold.finish(k, error)
    free_memory(device)
