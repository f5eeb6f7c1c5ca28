"""Training steps that are recorded once and replayed: CUDA graphs.

A small network is bound by launching kernels: an eager step makes hundreds of launches,
a replayed one makes one. Steps on full batches are recorded, a last and smaller batch
is done eagerly. Nothing is trained for the recording: the first steps, which warm up
the libraries, are steps of the training, and recording executes nothing.
"""

import logging

import torch

from sklearn_l2cnn._training.batches import take_rows

_log = logging.getLogger("sklearn_l2cnn")

# Steps before the recording: libraries choose kernels, optimizers make their state.
_WARM_UP = 3


class CudaRecorder:
    """Record what a function does on a CUDA device.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device):
        self.device = device

    def warm_up(self, function):
        """Call a function in a side stream, as torch asks for before a recording."""
        with torch.cuda.device(self.device):
            main = torch.cuda.current_stream()
            side = torch.cuda.Stream()
            side.wait_stream(main)
            with torch.cuda.stream(side):
                function()
            main.wait_stream(side)

    def record(self, function):
        """Return a function that does again what the given one does, on its tensors."""
        with torch.cuda.device(self.device):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                function()
        return graph.replay


def recorder_for(device):
    """Return what records steps on a device, or None where that gains nothing."""
    return CudaRecorder(device) if device.type == "cuda" else None


class RecordedSteps:
    """The steps of a training, recorded where they can be.

    Parameters
    ----------
    steps : EagerSteps
        The learning rates of its optimizer are tensors while this is entered as a
        context, so that what is recorded follows them.
    recorder : CudaRecorder
    device : torch.device
    """

    def __init__(self, steps, recorder, device):
        self.steps = steps
        self.regularization = steps.regularization
        self.optimizer = steps.regularization.optimizer
        self.recorder = recorder
        self.device = device
        self.totals = None
        self.n_warm = 0
        self.replay = None
        self.failed = False

    def __enter__(self):
        for group in self.optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=self.device)
        return self

    def __exit__(self, *exception):
        for group in self.optimizer.param_groups:
            group["lr"] = float(group["lr"])
        self.replay = self.steps = None  # the graph and its memory

    def epoch(self, batches, prepare):
        """Take the steps of an epoch.

        Parameters
        ----------
        batches : ShuffledBatches
        prepare : callable
            Called before every step.

        Returns
        -------
        totals : Tensor of float64
            The losses, summed over all rows.
        """
        if self.totals is not None:
            self.totals.zero_()
        X, y = batches.dataset.X, batches.dataset.y
        for rows in batches.rows():
            prepare()
            if self.failed or len(rows) != batches.batch_size:
                self._take(X, y, rows)
            else:
                self._take_full(X, y, rows)
        return self.totals.clone()

    def _take(self, X, y, rows):
        batch = {name: take_rows(part, rows) for name, part in X.items()}
        losses, *_ = self.steps.take(batch, y.index_select(0, rows))
        if self.totals is None:
            self.totals = torch.zeros_like(losses, dtype=torch.float64)
        self.totals.add_(losses, alpha=len(rows))

    def _take_full(self, X, y, rows):
        if self.n_warm < _WARM_UP:
            self.n_warm += 1
            self.recorder.warm_up(lambda: self._take(X, y, rows))
            return
        if self.replay is None and not self._record(X, y, rows):
            self._take(X, y, rows)
            return
        self.rows.copy_(rows)
        self.replay()

    def _record(self, X, y, rows):
        """Record a step; say whether it could be."""
        self.rows = rows.clone()
        try:
            self.replay = self.recorder.record(lambda: self._take(X, y, self.rows))
        except RuntimeError as error:
            self.failed = True
            reason = str(error).splitlines()[0]
            _log.info("Training goes on step by step, without a graph: %s", reason)
        return not self.failed
