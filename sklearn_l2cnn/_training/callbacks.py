"""Callbacks of our own: early stopping, scikit-learn's callbacks as epochs.

And what is found out about those of others.
"""

import math
import threading
import traceback
from functools import partial

from skorch.callbacks import Callback, PassthroughScoring

from sklearn_l2cnn._training.batches import auto_patience
from sklearn_l2cnn._training.records import quality_of


class BestWeights(Callback):
    """Stop when the validation accuracy stalls, and end with the best epoch's weights.

    Of epochs with the same accuracy, as a few validation images often give it, the one
    with the lowest validation loss is the best.

    Parameters
    ----------
    patience : int or "auto"
        Epochs in a row without an improvement of more than `tol` that end training.
    tol : float
    """

    def __init__(self, patience, tol):
        self.patience = patience
        self.tol = tol

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Forget earlier trainings."""
        self.patience_ = self.patience
        if self.patience == "auto":
            self.patience_ = auto_patience(len(y), net.batch_size)
        self.reached_, self.misses_ = -math.inf, 0
        self.best_, self.state_ = (-math.inf, -math.inf), None

    def on_epoch_end(self, net, **kwargs):
        """Keep the weights of a new best epoch; stop after too many others."""
        quality = quality_of(net.history[-1])
        improves = quality[0] > self.reached_ + self.tol
        self.misses_ = 0 if improves else self.misses_ + 1
        self.reached_ = max(self.reached_, quality[0])
        if quality > self.best_:
            self.best_ = quality
            # clones: a tensor may be a view of one that holds many networks
            state = net.module_.state_dict()
            self.state_ = {name: tensor.clone() for name, tensor in state.items()}
        if self.misses_ >= self.patience_:
            raise KeyboardInterrupt  # this is how a callback stops a skorch net

    def on_train_end(self, net, **kwargs):
        """Go back to the best epoch and let go of the copy."""
        if self.state_ is not None:
            net.module_.load_state_dict(self.state_)
            self.state_ = None


# Networks are trained in threads; callbacks of scikit-learn hear of one at a time.
_hearing = threading.RLock()


class EpochTasks(Callback):
    """Report every epoch to scikit-learn's callbacks as a task.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
        Of the task that the epochs are a part of.
    estimator : estimator
    data : dict, default=None
        ``X``, ``y`` and ``metadata`` as the callbacks want them.
    fitted_attributes : callable, default=None
        From the net to the attributes that make a copy of the estimator a fitted one.
    first : int, default=None
        Number of the first epoch, in a task whose epochs are of several networks; None
        where they are counted as they come.
    """

    def __init__(
        self, context, estimator, data=None, fitted_attributes=None, first=None
    ):
        self.context = context
        self.estimator = estimator
        self.data = data or {}
        self.fitted_attributes = fitted_attributes
        self.first = first
        self.tasks, self.stops = [], []

    def on_train_begin(self, net, **kwargs):
        """Start from the first epoch, again after a training that lacked memory."""
        self.epoch_ = 0

    def on_resume(self, net, n_epochs):
        """Leave out the epochs of a process that has ended."""
        self.epoch_ = n_epochs
        missing = n_epochs - len(self.tasks)
        self.tasks += [None] * missing
        self.stops += [False] * missing

    def on_epoch_begin(self, net, **kwargs):
        """Begin the task, unless an earlier training has."""
        if self.epoch_ < len(self.tasks):
            return
        number = None if self.first is None else self.first + self.epoch_
        task = self.context.subcontext(task_name="epoch", task_id=number)
        self.tasks.append(task)
        with _hearing:
            task.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def on_epoch_end(self, net, **kwargs):
        """End the task, and the training where a callback asks for it."""
        if self.epoch_ == len(self.stops):
            self.stops.append(self._end(net))
        self.epoch_ += 1
        if self.stops[self.epoch_ - 1]:
            raise KeyboardInterrupt

    def _end(self, net):
        """Tell that the epoch has ended; return whether a callback asks to stop."""
        attributes = None
        if self.fitted_attributes is not None:
            attributes = partial(self.fitted_attributes, net)
        with _hearing:
            return self.tasks[self.epoch_].call_on_fit_task_end(
                estimator=self.estimator,
                reconstruction_attributes=attributes,
                **self.data,
            )


def callbacks_of(callbacks):
    """Return the callbacks of a net: functions are called, None is left out.

    Instances are themselves: what they record, the user has.

    Parameters
    ----------
    callbacks : list or None
        As a classifier has them.

    Returns
    -------
    callbacks : list
        As skorch takes them: instances, classes, and pairs of a name and one of both.
    """
    made = []
    for item in callbacks or ():
        named = isinstance(item, tuple | list) and len(item) == 2
        callback = item[1] if named else item
        if named and callback is None:
            continue
        if callable(callback) and not isinstance(callback, type | Callback):
            callback = callback()
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(_not_a_callback(item, callback))
        made.append((item[0], callback) if named else callback)
    return made


def _not_a_callback(item, callback):
    hint = ""
    if hasattr(callback, "on_fit_task_end"):
        hint = " Callbacks of scikit-learn are given to set_callbacks(...)."
    elif callback is not item and not isinstance(item, tuple | list):
        hint = f" Called, it has returned {callback!r}."
    return (
        "callbacks holds instances or subclasses of skorch.callbacks.Callback, "
        "functions without arguments that return one, or pairs (name, callback), but "
        f"{item!r} was found.{hint}"
    )


def are_the_same(callbacks, others):
    """Say whether two lists hold the same objects by the same names."""

    def parts(items):
        for item in items or ():
            yield from item if isinstance(item, tuple | list) else (item,)

    mine, theirs = list(parts(callbacks)), list(parts(others))
    return len(mine) == len(theirs) and all(
        one is other or (isinstance(one, str) and one == other)
        for one, other in zip(mine, theirs, strict=True)
    )


def followed(callbacks, ranks):
    """Say whether callbacks follow gradients, and whether batches, on any of the ranks.

    Callbacks may be others on another rank, but all of them call at a time.
    """
    to_gradients, *to_batches = (
        listens(callbacks, hook)
        for hook in ("on_grad_computed", "on_batch_begin", "on_batch_end")
    )
    return ranks.agree(to_gradients), ranks.agree(any(to_batches))


def listens(callbacks, hook):
    """Say whether any callback has a hook of its own; most have not.

    One that passes scores of batches through reads them from the history.
    """
    reads = PassthroughScoring if hook == "on_batch_end" else ()
    return any(
        getattr(type(callback), hook, None) is not getattr(Callback, hook)
        or isinstance(callback, reads)
        for _, callback in callbacks
    )


def own_hooks(net, name):
    """Return what callbacks of our own do in a training where skorch has no hook.

    Parameters
    ----------
    net : Net
    name : {"before_step", "after_steps"}
        Before every step, and after those of an epoch, before it is validated.

    Returns
    -------
    hooks : list of callable
    """
    hooks = (getattr(called, name, None) for _, called in net.all_callbacks_)
    return [partial(hook, net) for hook in hooks if hook is not None]


def missing_score(name, error, history):
    """Say which score a callback asked the history for that it does not have.

    None where the error is not one of skorch's history, or where that is empty.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    if frame.f_globals["__name__"] != "skorch.history" or not len(history):
        return None
    recorded = history[-1]
    if any(f"{each!r} was not found" in str(error.args[0]) for each in recorded):
        return (
            f"The callback {name!r} asks for the batches of an epoch: {error.args[0]} "
            "They are recorded where a callback follows them. Give it an on_batch_end, "
            "which may do nothing."
        )
    return (
        f"The callback {name!r} asks for a score that this training does not record: "
        f"{error.args[0]} Scores of a validation set ('valid_loss', 'valid_acc') need "
        "early_stopping=True, or X_val and y_val in the fit of a single classifier; "
        "others need a scoring callback before this one. Recorded are "
        f"{sorted(recorded)}."
    )
