"""What a training prints where it is asked to: losses, and how long it still takes."""

import threading
import time
from numbers import Real

from skorch.callbacks import Callback

from sklearn_l2cnn._training.batches import batch_bounds
from sklearn_l2cnn._training.decay import timescale
from sklearn_l2cnn._training.streaming import is_streamed
from sklearn_l2cnn._utils.layer_names import text_of

# Of many networks, several are trained at a time, in threads.
_telling = threading.Lock()


class Pace:
    """How far a training is, and about how long it still takes.

    Parameters
    ----------
    total : float
        Epochs of all that is trained.
    """

    def __init__(self, total):
        self.total = total
        self.done = 0
        self.start = time.perf_counter()

    def advance(self, n_done=1, n_dropped=0):
        """Count epochs that are done, and those that are not to come any more."""
        self.done += n_done
        self.total -= n_dropped

    def __str__(self):
        passed = time.perf_counter() - self.start
        if self.done >= self.total:
            return f"took {duration(passed)}"
        return f"about {duration(passed * (self.total / self.done - 1))} left"


def duration(seconds):
    """Return a time as it is said, in two digits.

    Examples
    --------
    >>> from sklearn_l2cnn._training.progress import duration
    >>> [duration(seconds) for seconds in (0.1, 12.3, 250, 9000)]
    ['1 s', '12 s', '4 min', '2.5 h']
    """
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    if seconds < 99.5 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def tell(line):
    """Print a line at once: who waits for it may read from a pipe."""
    print(line, flush=True)


def tell_net(net, X):
    """Print what a net is trained on: device, parameters, batches, where images are.

    Parameters
    ----------
    net : Net
    X : Resident
        Its training data.
    """
    n_parameters = sum(parameter.numel() for parameter in net.module_.parameters())
    n_steps = len(batch_bounds(len(X), net.batch_size))
    where = f", images from {X.images.name}" if is_streamed(X.images) else ""
    tell(
        f"device {net.device}, {n_parameters:,} parameters, batch size "
        f"{net.batch_size}, {n_steps} step{'s'[: n_steps > 1]} an epoch{where}"
    )


def tell_ranks(ranks, steps):
    """Print how several ranks share a training, if there are several.

    Parameters
    ----------
    ranks : Ranks
    steps : EagerSteps
    """
    if ranks.size == 1 or not ranks.is_first:
        return
    how = "each takes its shards of every batch"
    if steps.whole is not None:
        how = f"each computes every batch as a whole, for {steps.whole}"
    tell(f"{ranks.size} ranks, {how}")


def told_scores(row):
    """Return what is told of an epoch, by name: its losses and its scores.

    Parameters
    ----------
    row : dict
        Of a history of skorch, in which callbacks may have recorded scores too.
    """
    silent = "epoch", "dur", "train_penalty"  # what the two losses differ by
    return {
        name: value
        for name, value in row.items()
        if isinstance(value, Real)
        and name not in silent
        and not name.startswith("event_")
        and not name.endswith(("_best", "_batch_count"))
    }


class EpochLines(Callback):
    """Print a line for every epoch, and before the first what is trained.

    Parameters
    ----------
    epochs : int, default=None
        None is as many as the net is to take.
    name : str, default=""
        Of the network, at the start of its lines.
    n_after : float, default=0
        Epochs of other networks that have to be waited for after these.
    heading : bool, default=True
        Whether to tell what is trained.
    """

    def __init__(self, epochs=None, name="", n_after=0, heading=True):
        self.epochs = epochs
        self.name = name
        self.n_after = n_after
        self.heading = heading

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        """Tell what is trained, and start to count."""
        epochs = self.epochs or net.max_epochs
        self.pace_ = Pace(epochs + self.n_after)
        self.last_ = len(net.history) + epochs
        if self.heading and not len(net.history):
            tell_net(net, X)
            epochs = timescale(net, len(batch_bounds(len(X), net.batch_size)))
            if epochs is not None:
                tell(f"{self.name}weights forget over {text_of(epochs)} epochs")

    def on_resume(self, net, n_epochs):
        """Tell that the training goes on, and do not wait for what is done."""
        self.pace_.advance(0, n_epochs)
        where = f"epoch {len(net.history)}/{self.last_}"
        tell(f"{self.name}goes on from its checkpoint, after {where}")

    def on_epoch_end(self, net, **kwargs):
        """Tell how it went."""
        self.pace_.advance()
        scores = told_scores(net.history[-1])
        told = "".join(f"{name} {value:.4g}, " for name, value in scores.items())
        tell(f"{self.name}epoch {len(net.history)}/{self.last_}: {told}{self.pace_}")


def tell_stack(pace, n_all, nets, epochs, n_leaving):
    """Print a line for an epoch of networks that are trained as one.

    Parameters
    ----------
    pace : Pace
        Of all networks.
    n_all : int
        How many these are.
    nets : list of Net
        Those of the stack.
    epochs : int
        Of each.
    n_leaving : int
        How many of the stack this was the last epoch of.
    """
    rows = [told_scores(net.history[-1]) for net in nets]
    scores = [f"{name} {_range([row[name] for row in rows])}" for name in rows[0]]
    alphas = [net.objective.alpha for net in nets]
    which = f"{len(nets)} of {n_all} networks"
    if all(isinstance(alpha, Real) for alpha in alphas):  # not one for each layer
        which += f" (alpha {_range(alphas)})"
    epoch = len(nets[0].history)
    with _telling:
        pace.advance(len(nets), n_leaving * (epochs - epoch))
        tell(f"epoch {epoch}/{epochs}, {which}, {pace}: {', '.join(scores)}")


def _range(values):
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low} to {high}"
