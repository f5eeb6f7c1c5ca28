"""The steps of one training: from a batch to the gradient of the objective."""

from contextlib import ExitStack
from functools import partial

import torch
from skorch.callbacks import Callback
from torch.nn.functional import cross_entropy

from sklearn_l2cnn.training._forward import logits_of, network_input
from sklearn_l2cnn.training._graphs import RecordedSteps, recorder_for
from sklearn_l2cnn.training._layers import forward_of, layers_by_image, work
from sklearn_l2cnn.training._shards import Shards


def mean_loss(logits, labels, weight):
    """Return the mean of weight times cross-entropy: see `summed_loss`."""
    if weight is None:
        return cross_entropy(logits, labels)
    return summed_loss(logits, labels, weight) / len(labels)


def summed_loss(logits, labels, weight):
    """Return the sum of weight times cross-entropy over a batch.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)
    labels : Tensor of int64 of shape (n,)
    weight : Tensor of shape (n,) or None
        None is 1 for each.
    """
    if weight is None:
        return cross_entropy(logits, labels, reduction="sum")
    return cross_entropy(logits, labels, reduction="none").dot(weight)


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
    weights : list of torch.nn.Parameter
        Those that are penalised.
    shards : Shards or None
    recorded : RecordedSteps or None
    """

    def __init__(self, net, X, threads):
        self.penalty = net.penalty
        self.optimizer = net.optimizer_
        self.device = torch.device(net.device)
        self.pixels, self.lower = net.pixels(), net.lower
        self.forward = forward_of(net.module_)
        self.trained = [p for p in net.module_.parameters() if p.requires_grad]
        self.weights = net.penalized(net.module_)
        callbacks = net.callbacks_
        hooks = (getattr(called, "before_step", None) for _, called in callbacks)
        self.before = [partial(hook, net) for hook in hooks if hook is not None]
        plain = isinstance(self.optimizer, torch.optim.Adam | torch.optim.SGD)
        self.batches_are_heard = listens(callbacks, "on_batch_begin", "on_batch_end")
        heard = self.batches_are_heard or listens(callbacks, "on_grad_computed")
        self.lean = plain and not heard
        self.shards = self._shards(net.module_, X["images"][:1], threads)
        recorder = recorder_for(self.device) if self.lean else None
        self.recorded = None
        if recorder is not None:
            self.recorded = RecordedSteps(
                lambda batch: self.lean_step(batch)["loss"],
                self.optimizer,
                recorder,
                self.device,
            )

    def _shards(self, module, image, threads):
        layers = layers_by_image(module)
        if layers is None or not self.trained or self.device.type != "cpu":
            return None
        work_of_one = work(layers, network_input(image, *self.pixels))
        return Shards(self.trained, work_of_one, threads)

    def __enter__(self):
        with ExitStack() as stack:
            for part in (self.shards, self.recorded):
                if part is not None:
                    stack.enter_context(part)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self.stack.close()

    def prepare(self):
        """Let callbacks of ours do what they do before every step."""
        for hook in self.before:
            hook()

    def logits(self, images):
        """Return the logits of a batch of images."""
        return logits_of(images, self.forward, self.pixels, self.lower)

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
        if self.shards is not None and self.shards.count(len(y)) > 1:
            loss, logits = self.shards.gradient(self._summed, (images, y, weight))
        else:
            logits = self.logits(images)
            loss = mean_loss(logits, y, weight)
            if loss.requires_grad:
                loss.backward()
        self.penalty.add_gradient(self.weights)
        return loss.detach(), logits

    def _summed(self, images, labels, weight):
        logits = self.logits(images)
        return logits, summed_loss(logits, labels, weight)

    def lean_step(self, batch, **fit_params):
        """Take a step as skorch's `train_step` does, with no more than that takes."""
        for parameter in self.trained:
            parameter.grad = None
        loss, logits = self.add_gradient(batch)
        self.optimizer.step()
        return {"loss": loss, "y_pred": logits}
