"""The training step: from a batch to changed weights.

`training_steps` chooses, once for a training, among two ways to the gradient of a
batch, whole or in `Shards`, and among two ways to take steps, one by one or recorded in
a graph. None of them knows the skorch net.
"""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy

from sklearn_l2cnn._training.activity import Activity
from sklearn_l2cnn._training.analysis import (
    analysis_of,
    looks_across_by_norms_alone,
)
from sklearn_l2cnn._training.augmenting import Augmenter
from sklearn_l2cnn._training.batches import EpochLosses, batch_bounds
from sklearn_l2cnn._training.forward import forward_of, logits_of, network_input
from sklearn_l2cnn._training.graphs import RecordedSteps, why_not_recorded
from sklearn_l2cnn._training.norms import OverTheBatch
from sklearn_l2cnn._training.ranks import ALONE
from sklearn_l2cnn._training.runtime import lone_threads, torch_threads
from sklearn_l2cnn._training.shards import Shards, gradient_in_parts, parts_of
from sklearn_l2cnn._training.streaming import is_streamed
from sklearn_l2cnn._utils.devices import recorder_for


def summed_loss(logits, labels, weight, smoothing=0.0):
    """Return the sum of weight times cross-entropy over a batch.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
    labels : Tensor of int64 of shape (n,)
    weight : Tensor of shape (n,) or None
        None is 1 for each.
    smoothing : float, default=0.0
        The part of every label that is spread over all classes.
    """
    options = {"label_smoothing": smoothing}
    if weight is None:
        return cross_entropy(logits, labels, reduction="sum", **options)
    return cross_entropy(logits, labels, reduction="none", **options).dot(weight)


class Listeners(NamedTuple):
    """The callbacks that follow single steps; most follow epochs alone.

    Attributes
    ----------
    on_gradient : callable or None
        Called with the batch whenever its gradient is there.
    to_batches : bool
        Whether a callback is called for every batch.
    """

    on_gradient: object = None
    to_batches: bool = False

    @property
    def any(self):
        """Whether there are any."""
        return self.on_gradient is not None or self.to_batches


class BatchLoss:
    """The loss of a batch of images.

    Parameters
    ----------
    forward : callable
        Of `forward_of`.
    pixels : tuple (gain, shift)
        Of `pixel_map`.
    lower : torch.dtype or None
    smoothing : float
    activity : Activity, default=None
        A penalty on hidden layers.
    """

    def __init__(self, forward, pixels, lower, smoothing, activity=None):
        self.forward = forward
        self.pixels = pixels
        self.lower = lower
        self.smoothing = smoothing
        self.activity = activity

    def __call__(self, images, labels, weight, generator=None):
        """Return the summed losses of a batch, and its logits.

        Parameters
        ----------
        images : Tensor of shape (n, channels, height, width)
        labels : Tensor of int64 of shape (n,), or (n, n_classes) of mixed images
        weight : Tensor of shape (n,) or None
        generator : torch.Generator, default=None
            For dropout, if not torch's own.

        Returns
        -------
        losses : Tensor of shape () or (2,)
            Weighted cross-entropy and, where there is such a penalty, activity.
        logits : Tensor of shape (n, n_classes)
        """

        def logits_of_batch():
            return logits_of(images, self.forward, self.pixels, self.lower, generator)

        if self.activity is None:
            logits = logits_of_batch()
            loss = summed_loss(logits, labels, weight, self.smoothing)
            return loss, logits
        logits, activity = self.activity.of(logits_of_batch)
        loss = summed_loss(logits, labels, weight, self.smoothing)
        activity = activity.sum() if weight is None else activity.dot(weight)
        return torch.stack([loss, activity.to(loss.dtype)]), logits


@dataclass
class EagerSteps:
    """Training steps, taken one after another.

    Parameters
    ----------
    loss : BatchLoss
    gradient : callable
        `whole_gradient` or `Shards`.
    regularization : Regularization
    augment : callable, default=None
        Varies images, labels and weights of a batch.
    on_gradient : callable, default=None
        Called with the batch whenever its gradient is there.
    with_objective : bool, default=True
        Whether the optimizer, or a callback, looks at the objective of a step.
    own : callable, default=None
        From the number of rows of a batch to the slice of those whose images are looked
        at; None is all.
    whole : str, default=None
        Why no batch is cut, if none is.
    """

    loss: object
    gradient: object
    regularization: object
    augment: object = None
    on_gradient: object = None
    with_objective: bool = True
    own: object = None
    whole: str = None

    def take(self, X, y):
        """Take a step.

        Parameters
        ----------
        X : Resident
        y : Tensor

        Returns
        -------
        losses : Tensor
            The means of what the loss returns, before the step.
        logits : Tensor
        objective : Tensor of shape () or None
        """
        images, labels, weight = X.images, y, X.weight
        if self.augment is not None:
            images, labels, weight = self.augment(images, labels, weight, X.mirrored)
        first = []

        def closure():
            _free_gradients(self.regularization.trained)
            losses, logits = self.gradient(self.loss, images, labels, weight)
            self.regularization.finish_gradient()
            objective = None
            if self.with_objective:
                objective = losses.sum() + self.regularization.value()
            if not first:
                first.append((losses, logits, objective))
            if self.on_gradient is not None:
                self.on_gradient((X, y))
            return objective

        self.regularization.step(lambda: self.regularization.optimizer.step(closure))
        return first[0]

    def epoch(self, batches, prepare):
        """Take the steps of an epoch.

        Parameters
        ----------
        batches : ShuffledBatches, or iterable of tuple (X, y)
        prepare : callable
            Called before every step.

        Returns
        -------
        losses : EpochLosses
        """
        found = EpochLosses()
        for X, y in batches if self.own is None else batches.read(self.own):
            prepare()
            losses, _, _ = self.take(X, y)
            found.add(losses, len(y) if X.rows is None else X.rows)
        return found


@contextmanager
def training_steps(
    module,
    regularization,
    *,
    pixels,
    lower,
    X,
    batch_size,
    threads,
    record,
    parts,
    augment,
    n_classes,
    listeners,
    accumulate=1,
    ranks=ALONE,
):
    """Choose how the steps of a training are taken.

    A batch is cut into shards for several threads where it may be; elsewhere torch's
    own threads work on it.

    Parameters
    ----------
    module : torch.nn.Module
    regularization : Regularization
    pixels : tuple (gain, shift)
        Of `pixel_map`.
    lower : torch.dtype or None
    X : Resident
        The training data.
    batch_size : int
    threads : int
        How many may work on a batch.
    record : bool
        Whether steps are recorded where they can be.
    parts : int
        In how many the gradient of a batch is added up on a device, for want of memory.
    augment : Plan or None
    n_classes : int
    listeners : Listeners
    accumulate : int, default=1
        In how many the gradient of a batch is added up because the user says so, where
        the network looks at all images of one of these at once.
    ranks : Ranks, default=ALONE
        Who share every batch, where it may be cut.

    Yields
    ------
    steps : EagerSteps or RecordedSteps
    """
    objective, optimizer = regularization.objective, regularization.optimizer
    _start_momentum(optimizer)
    device = pixels[0].device
    image = network_input(X.images[:1], *pixels)
    activity = None
    if objective.activity_alpha:
        activity = Activity(module, objective.activity_alpha, image)
    bounds, on_cpu = batch_bounds(len(X), batch_size), device.type == "cpu"
    cut = parts if on_cpu else parts * accumulate * ranks.size
    analysis = analysis_of(
        module,
        image,
        sorted(_sizes_of_parts(bounds, cut)) if on_cpu or cut > 1 else (),
        reorder=activity is None,  # a hidden layer has its values in its own order
        by_parts=activity is not None and not activity.of_single_layers,
    )
    norms = (
        ranks.size > 1
        and accumulate == 1
        and looks_across_by_norms_alone(
            module, image, _sizes_of_parts(bounds, ranks.size)
        )
    )
    if norms:  # each rank has a part, and what is not of single images is of all ranks
        analysis = analysis._replace(program=None, draws=False, whole=None)
    forward = forward_of(module, analysis.program)
    loss = BatchLoss(forward, pixels, lower, objective.label_smoothing, activity)
    with ExitStack() as stack:
        stack.callback(_free_gradients, regularization.trained)
        if parts > 1 and (norms or analysis.whole is not None):
            why = analysis.whole or "batch norm looks across all of it"
            raise ValueError(
                f"A batch of {batch_size} images does not fit into the memory of "
                f"{device}, and cannot be cut: {why}. Lower batch_size."
            )
        rows = batch_size // accumulate if accumulate > 1 else None
        gradient, own, followed = gradient_in_parts(parts, rows), None, listeners.any
        varies = augment is not None
        may_be_cut = analysis.whole is None and regularization.trained
        if may_be_cut and (on_cpu or ranks.size > 1):
            if norms and on_cpu:
                stack.enter_context(torch_threads(threads))
            threads = threads if on_cpu and not norms else 1
            gradient = Shards(
                regularization.trained,
                analysis.work,
                stack.enter_context(lone_threads(max(1, threads - 1))),
                threads,
                analysis.draws,
                ranks,
                parts=ranks.size if norms else None if on_cpu else cut,
                whole_logits=listeners.to_batches,
                around=partial(OverTheBatch, ranks) if norms else None,
            )
            if ranks.size > 1 and not (followed or varies):
                own = gradient.own
        elif on_cpu:
            stack.enter_context(torch_threads(threads))
        if ranks.size > 1 and not may_be_cut:
            gradient = agreed(gradient, ranks)
        if activity is not None:
            stack.enter_context(activity)
        plain = isinstance(optimizer, torch.optim.Adam | torch.optim.SGD)
        steps = EagerSteps(
            loss,
            gradient,
            regularization,
            Augmenter(augment, pixels, n_classes) if varies else None,
            listeners.on_gradient,
            with_objective=not plain or listeners.to_batches,
            own=own,
            whole=analysis.whole,
        )
        recorder = recorder_for(device) if record else None
        # functions of the user may draw random numbers on another device
        can_vary = not varies or not augment.functions
        fixed = can_vary and not followed and not is_streamed(X.images)
        fixed = fixed and ranks.size == 1  # what they send cannot be recorded
        if recorder is not None and fixed and why_not_recorded(optimizer) is None:
            steps = stack.enter_context(RecordedSteps(steps, recorder, module))
        yield steps


def agreed(gradient, ranks):
    """Return a gradient that every rank works out by itself, if all go on."""

    def of_batch(*batch):
        ranks.agree()
        return gradient(*batch)

    return of_batch


def _sizes_of_parts(bounds, parts):
    """Return the sizes of batches, and of the parts of each."""
    sizes = {stop - start for start, stop in bounds}
    return sizes | {b - a for size in sizes for a, b in parts_of(size, parts)}


def _start_momentum(optimizer):
    """Let the momentum of SGD start from 0, as it does, for all that is trained.

    torch's fused steps take momentum of all parameters or of none, and a layer may be
    trained later than others.
    """
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        if not (group["fused"] and group["momentum"]):
            continue
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if parameter.requires_grad and state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def _free_gradients(parameters):
    """Let go of gradients, which take as much memory as the network itself."""
    for parameter in parameters:
        parameter.grad = None
