"""The steps of one training: from a batch to the gradient of the objective."""

from contextlib import ExitStack
from functools import partial

import torch
from skorch.callbacks import Callback
from torch.nn.functional import cross_entropy

from sklearn_l2cnn._training.activity import Activity
from sklearn_l2cnn._training.augmenting import Augmenter
from sklearn_l2cnn._training.forward import (
    as_it_is,
    draws,
    forward_of,
    logits_of,
    network_input,
    work,
)
from sklearn_l2cnn._training.graphs import RecordedSteps, recorder_for
from sklearn_l2cnn._training.regularization import Regularization
from sklearn_l2cnn._training.shards import Shards
from sklearn_l2cnn._utils.layers import layers_by_image


def mean_loss(logits, labels, weight, smoothing=0.0):
    """Return the mean of weight times cross-entropy: see `summed_loss`."""
    if weight is None:
        return cross_entropy(logits, labels, label_smoothing=smoothing)
    return summed_loss(logits, labels, weight, smoothing) / len(labels)


def summed_loss(logits, labels, weight, smoothing=0.0):
    """Return the sum of weight times cross-entropy over a batch.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
    labels : Tensor of int64 of shape (n,)
    weight : Tensor of shape (n,) or None
        None is 1 for each.
    smoothing : float, default=0.0
        What part of every label is spread over all classes.
    """
    options = {"label_smoothing": smoothing}
    if weight is None:
        return cross_entropy(logits, labels, reduction="sum", **options)
    return cross_entropy(logits, labels, reduction="none", **options).dot(weight)


def listens(callbacks, *hooks):
    """Say whether any callback listens to one of these hooks; most do not."""
    return any(
        getattr(type(callback), hook, None) is not getattr(Callback, hook)
        for _, callback in callbacks
        for hook in hooks
    )


class Steps:
    """What the steps of one training have in common, worked out once.

    To be used as a context, which ends the threads and frees the graph.

    Parameters
    ----------
    net : Net
        Initialised, on its device.
    X : dict of Tensor
        The training data.
    threads : int
        How many may work on a batch.

    Attributes
    ----------
    batches_are_heard : bool
        Whether a callback listens to single batches.
    lean : bool
        Whether nobody listens to single steps, so that skorch's closures and hooks can
        be spared.
    rule : Regularization
        What acts on the weights.
    shards : Shards or None
    recorded : RecordedSteps or None
    """

    def __init__(self, net, X, threads):
        self.smoothing = net.objective.label_smoothing
        self.optimizer = net.optimizer_
        self.device = torch.device(net.device)
        self.pixels, self.lower = net.pixels(), net.lower
        self.rule = Regularization(net.objective, net.module_, self.optimizer)
        callbacks = net.callbacks_
        hooks = (getattr(called, "before_step", None) for _, called in callbacks)
        self.before = [partial(hook, net) for hook in hooks if hook is not None]
        plain = isinstance(self.optimizer, torch.optim.Adam | torch.optim.SGD)
        self.batches_are_heard = listens(callbacks, "on_batch_begin", "on_batch_end")
        heard = self.batches_are_heard or listens(callbacks, "on_grad_computed")
        self.lean = plain and not heard
        self._look_into(net, X["images"][:1], threads)
        self.augmenter, self.mirrored = None, X.get("mirrored")
        if net.augment is not None:
            self.augmenter = Augmenter(net.augment, self.pixels, net.n_classes)
        steady = net.augment is None or net.augment.is_recordable
        recorder = recorder_for(self.device) if self.lean and steady else None
        self.recorded = None
        if recorder is not None:
            self.recorded = RecordedSteps(
                lambda batch: self.lean_step(batch)["loss"],
                self.optimizer,
                recorder,
                self.device,
            )

    def _look_into(self, net, image, threads):
        """Find out what the network allows: several threads, another order."""
        module, objective = net.module_, net.objective
        layers = layers_by_image(module)
        image = network_input(image, *self.pixels)
        self.draws = layers is not None and draws(layers)
        self.forward = forward_of(module, reorder=not objective.activity_alpha)
        self.activity = self.shards = None
        apart = layers is not None and bool(self.rule.trained)
        if apart and self.device.type == "cpu":
            self.shards = Shards(self.rule.trained, work(layers, image), threads)
        if objective.activity_alpha:
            self.activity = Activity(
                module, objective.activity_alpha, objective.activity_layers, image
            )
            self.activity_sum = torch.zeros((), dtype=torch.float64, device=self.device)
            if not self.activity.of_single_layers:
                self.forward, self.shards = as_it_is(module), None

    def __enter__(self):
        with ExitStack() as stack:
            for part in (self.activity, self.shards, self.recorded):
                if part is not None:
                    stack.enter_context(part)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self.stack.close()
        for parameter in self.rule.trained:
            parameter.grad = None  # as much memory as the network itself

    def prepare(self):
        """Let callbacks of ours do what they do before every step."""
        for hook in self.before:
            hook()

    def logits(self, images, generator=None):
        """Return the logits of a batch of images."""
        return logits_of(images, self.forward, self.pixels, self.lower, generator)

    def add_gradient(self, batch):
        """Add the gradient of the objective to the parameters'.

        Parameters
        ----------
        batch : tuple (X, y)

        Returns
        -------
        data_loss : Tensor of shape ()
        logits : Tensor of shape (n, n_classes)
        """
        X, y = batch
        images, weight = X["images"], X.get("weight")
        if self.augmenter is not None:
            images, y, weight = self.augmenter(images, y, weight, X.get("mirrored"))
        if self.shards is not None and self.shards.count(len(y)) > 1:
            parts, logits = self.shards.gradient(
                self._summed, (images, y, weight), self.draws
            )
        elif self.activity is not None:
            logits, parts = self._summed(images, y, weight)
            parts = parts / len(y)
        else:
            logits = self.logits(images)
            parts = mean_loss(logits, y, weight, self.smoothing)
        if parts.requires_grad:  # those of shards have been through it already
            (parts.sum() if parts.ndim else parts).backward()
        self.rule.finish_gradient()
        parts = parts.detach()
        if self.activity is None:
            return parts, logits
        self.last_activity = parts[1]
        self.activity_sum.add_(parts[1], alpha=len(y))
        return parts[0], logits

    def _summed(self, images, labels, weight, generator=None):
        """Return logits and summed loss; with a penalty on activity, both of them."""
        if self.activity is None:
            logits = self.logits(images, generator)
            return logits, summed_loss(logits, labels, weight, self.smoothing)
        logits, activity = self.activity.of(lambda: self.logits(images, generator))
        loss = summed_loss(logits, labels, weight, self.smoothing)
        activity = activity.sum() if weight is None else activity.dot(weight)
        return logits, torch.stack([loss, activity.to(loss.dtype)])

    def penalty(self):
        """Return the penalty that the last batch had, as a tensor of shape ``()``."""
        value = self.rule.value()
        return value if self.activity is None else value + self.last_activity

    def begin_epoch(self):
        """Start to add up anew."""
        if self.activity is not None:
            self.activity_sum.zero_()

    def end_epoch(self):
        """Let every image be seen from the other side in the next epoch."""
        if self.mirrored is not None:
            self.mirrored.logical_not_()

    def penalty_of_epoch(self, n_rows):
        """Return the penalty of the weights as they are, and of an epoch's activity."""
        value = float(self.rule.value())
        if self.activity is None:
            return value
        return value + float(self.activity_sum) / n_rows

    def lean_step(self, batch, **fit_params):
        """Take a step as skorch's `train_step` does, with no more than that takes."""
        for parameter in self.rule.trained:
            parameter.grad = None
        loss, logits = self.add_gradient(batch)
        self.rule.step(self.optimizer.step)
        return {"loss": loss, "y_pred": logits}
