"""Callbacks of our own: rates, early stopping, scikit-learn's callbacks as epochs."""

import copy
import math

from skorch.callbacks import Callback

try:  # scikit-learn 1.9 has callbacks of its own
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:
        """Stands in where scikit-learn has no callbacks: no ``set_callbacks``."""


class BestWeights(Callback):
    """Stop when the validation accuracy stalls, and end with the best epoch's weights.

    Parameters
    ----------
    patience : int
        Epochs in a row without an improvement of more than `tol` that end training.
    tol : float
    """

    def __init__(self, patience, tol):
        self.patience = patience
        self.tol = tol

    def on_train_begin(self, net, **kwargs):
        """Forget earlier trainings."""
        self.best_ = -float("inf")
        self.misses_ = 0
        self.state_ = None

    def on_epoch_end(self, net, **kwargs):
        """Keep the weights of a new best epoch; stop after too many others."""
        score = net.history[-1, "valid_acc"]
        self.misses_ = 0 if score > self.best_ + self.tol else self.misses_ + 1
        if score > self.best_:
            self.best_ = score
            self.state_ = copy.deepcopy(net.module_.state_dict())
        if self.misses_ >= self.patience:
            raise KeyboardInterrupt  # this is how a callback stops a skorch net

    def on_train_end(self, net, **kwargs):
        """Go back to the best epoch and let go of the copy."""
        if self.state_ is not None:
            net.module_.load_state_dict(self.state_)
            self.state_ = None


class CosineRate(Callback):
    r"""Lower the learning rate over the epochs along half a cosine.

    Epoch k of n, counted from 0, has the rate
    :math:`\frac{lr}{2} (1 + \cos(\pi k / n))`: the first the whole of it, the last
    nearly nothing, so that training ends in a minimum instead of beside it.

    Parameters
    ----------
    epochs : int
    """

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_begin(self, net, **kwargs):
        """Count anew."""
        self.epoch_ = 0

    def on_epoch_begin(self, net, **kwargs):
        """Set and record the rate of this epoch."""
        angle = math.pi * self.epoch_ / self.epochs
        rate = net.lr * 0.5 * (1 + math.cos(angle))
        net.history.record("event_lr", rate)
        self._set(net, rate)
        self.epoch_ += 1

    def on_train_end(self, net, **kwargs):
        """Give back the whole rate, to whatever goes on from here."""
        self._set(net, net.lr)

    @staticmethod
    def _set(net, rate):
        for group in net.optimizer_.param_groups:
            group["lr"] = rate


class EpochTasks(Callback):
    """Report every epoch to scikit-learn's callbacks as a task of the fit.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
        Of the fit.
    estimator : estimator
    data : dict
        ``X``, ``y`` and ``metadata`` as the callbacks want them.
    fitted_attributes : callable
        From the net to the attributes that make a copy of the estimator a fitted one.
    """

    def __init__(self, context, estimator, data, fitted_attributes):
        self.context = context
        self.estimator = estimator
        self.data = data
        self.fitted_attributes = fitted_attributes

    def on_epoch_begin(self, net, **kwargs):
        """Begin the task."""
        self.task_ = self.context.subcontext(task_name="epoch")
        self.task_.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def on_epoch_end(self, net, **kwargs):
        """End the task, and the training where a callback asks for it."""
        stop = self.task_.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.fitted_attributes(net),
            **self.data,
        )
        if stop:
            raise KeyboardInterrupt
