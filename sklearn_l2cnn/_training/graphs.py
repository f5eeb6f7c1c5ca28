"""Training steps that are recorded once and replayed: CUDA graphs.

A small network is bound by launching kernels: an eager step makes hundreds of launches,
a replayed one makes one. Steps on full batches are recorded, a last and smaller batch
is done eagerly. Nothing is trained for the recording: the first steps, which warm up
the libraries, are steps of the training, and recording executes nothing.

A replay does again what was done on the device, and nothing of what was done on the
host. So learning rates are read on the device; everything else that a step reads on the
host is compared in every epoch, and where it has changed, steps are recorded again; and
what changes on the host in a step, such as a counter in a network or Python's random
numbers, is not recorded at all.
"""

import logging
import warnings
from contextlib import contextmanager

import torch
from sklearn.exceptions import EfficiencyWarning

from sklearn_l2cnn._training.batches import EpochLosses
from sklearn_l2cnn._utils.devices import OutOfMemory
from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn._utils.seeds import random_states
from sklearn_l2cnn._utils.state import state_of

_log = logging.getLogger("sklearn_l2cnn")

# Steps before the recording: libraries choose kernels, optimizers make their state.
_WARM_UP = 3


def why_not_recorded(optimizer):
    """Say why the steps of an optimizer cannot be recorded; None where they can.

    It must keep everything on the device, its learning rate and its count of steps;
    fused optimizers do.
    """
    kind = type(optimizer)
    if kind not in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD):
        return f"the optimizer is {kind.__name__}"
    if not all(group["fused"] for group in optimizer.param_groups):
        return "the optimizer is not fused"
    return None


class RecordedSteps:
    """The steps of a training, recorded where they can be.

    Parameters
    ----------
    steps : EagerSteps
    recorder : CudaRecorder
    module : torch.nn.Module
    """

    def __init__(self, steps, recorder, module):
        self.steps = steps
        self.recorder = recorder
        self.module = module
        self.regularization = steps.regularization
        self.groups = steps.regularization.optimizer.param_groups
        self.eager = False
        self._forget()

    def _forget(self):
        """Let go of the graph, and of its memory."""
        self.n_warm, self.replay, self.seen = 0, None, None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._forget()

    def epoch(self, batches, prepare):
        """Take the steps of an epoch, as `EagerSteps.epoch` does."""
        if self.replay is not None and self._seen_on_host() != self.seen:
            self._forget()
        found = EpochLosses()
        X, y = batches.dataset.X, batches.dataset.y
        for rows in batches.rows():
            prepare()
            if self.eager or len(rows) != batches.batch_size:
                losses = self._take(X, y, rows)
            else:
                losses = self._take_full(X, y, rows)
            found.add(losses, len(rows))
        return found

    def _take(self, X, y, rows):
        losses, *_ = self.steps.take(X.take(rows), y.index_select(0, rows))
        return losses

    def _take_full(self, X, y, rows):
        if self.n_warm < _WARM_UP:
            self.n_warm += 1
            return self._watched(
                lambda: self.recorder.warm_up(lambda: self._take(X, y, rows))
            )
        if self.replay is None and not self._record(X, y, rows):
            return self._take(X, y, rows)
        self.rows.copy_(rows)
        for k, (group, rate) in enumerate(zip(self.groups, self.rates, strict=True)):
            if group["lr"] != self.numbers[k]:
                self.numbers[k] = group["lr"]
                rate.fill_(group["lr"])
        self.replay()
        return self.losses.clone()  # which the next one overwrites

    def _watched(self, function):
        """Call a function; go on eagerly where it changes anything on the host."""
        before = random_states(), self._content()
        result = function()
        if before != (random_states(), self._content()):
            self.eager = True
            _log.info(
                "Training goes on step by step, without a graph: a step changes "
                "attributes of the network or of the penalty, or draws random numbers "
                "on the host."
            )
        return result

    def _record(self, X, y, rows):
        """Record a step; say whether it could be."""
        self.rows = rows.clone()
        self.numbers = [group["lr"] for group in self.groups]
        self.rates = [torch.full((), lr, device=y.device) for lr in self.numbers]
        try:
            with _on_device(self.groups, self.rates):
                self.replay = self.recorder.record(self._recorded(X, y))
        except OutOfMemory as error:
            self.eager = True
            warnings.warn(
                "There is no memory for the graph of a training step; training goes on "
                f"step by step, more slowly: {first_line(error)} A smaller batch_size "
                "needs less.",
                EfficiencyWarning,
                stacklevel=2,
            )
        except RuntimeError as error:
            self.eager = True
            _log.info(
                "Training goes on step by step, without a graph: %s", first_line(error)
            )
        if self.eager:
            self._forget()
            return False
        self.seen = self._seen_on_host()
        return True

    def _recorded(self, X, y):
        def step():
            self.losses = self._watched(lambda: self._take(X, y, self.rows))

        return step

    def _content(self):
        """Return what is in the network and in the penalty, but for the numbers."""
        return state_of(self.module, self.regularization.objective.penalty).content

    def _seen_on_host(self):
        """Return what a step reads on the host, but for the learning rates."""
        options = [
            {k: v for k, v in group.items() if k not in ("params", "lr")}
            for group in self.groups
        ]
        tensors = [*self.module.parameters(), *self.module.buffers()]
        places = [tensor.data_ptr() for tensor in tensors]
        return options, places, self._content()


@contextmanager
def _on_device(groups, rates):
    """Let an optimizer read its learning rates on the device."""
    before = [dict(group) for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
        if "capturable" in group:
            group["capturable"] = True  # by which Adam knows of the recording
    try:
        yield
    finally:
        for group, options in zip(groups, before, strict=True):
            group.update(options)
