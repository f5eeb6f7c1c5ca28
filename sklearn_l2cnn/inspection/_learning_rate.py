"""LearningRateDisplay: the loss while the learning rate grows, step by step."""

import copy
from dataclasses import dataclass

import numpy as np
from skorch.callbacks import Callback

from sklearn_l2cnn.inspection._drawing import HELD_OUT, MAIN, add_legend, panels
from sklearn_l2cnn.inspection._inside import trained_clone

# A loss of so many times the lowest so far shows that steps go too far.
_LOST = 4.0
# Means are over so many steps before and after, a part of all.
_REACH = 1 / 25


class Growing(Callback):
    """Let the learning rate grow with every step, and keep the losses.

    Rates of layers grow alike. The training ends after so many steps, or where the loss
    is several times as large as it was; the network is then what it was before.

    Parameters
    ----------
    low, high : float
        Of the largest rate.
    n_steps : int
    """

    def __init__(self, low, high, n_steps):
        self.low = low
        self.high = high
        self.n_steps = n_steps

    def on_train_begin(self, net, **kwargs):
        """Keep the network, and how the rates of layers are to one another."""
        self.before_ = copy.deepcopy(net.module_.state_dict())
        rates = [group["lr"] for group in net.optimizer_.param_groups]
        self.shares_ = [rate / max(rates) for rate in rates]
        self.rates_, self.losses_ = [], []

    def on_batch_begin(self, net, training=False, **kwargs):
        """Set the rate of the step."""
        if training:
            done = len(self.rates_) / (self.n_steps - 1)
            self.rates_.append(self.low * (self.high / self.low) ** done)
            groups = net.optimizer_.param_groups
            for group, share in zip(groups, self.shares_, strict=True):
                group["lr"] = share * self.rates_[-1]

    def on_batch_end(self, net, training=False, **kwargs):
        """Keep the loss; stop at the end, and where all is lost."""
        if training:
            self.losses_.append(float(kwargs["data_loss"]))
            lost = not self.losses_[-1] <= _LOST * min(self.losses_)
            if lost or len(self.losses_) == self.n_steps:
                raise KeyboardInterrupt  # this is how a callback stops a skorch net

    def on_train_end(self, net, **kwargs):
        """Take back the network."""
        net.module_.load_state_dict(self.before_)


def smoothed(losses, reach):
    """Return the means of losses over the steps within reach of each."""
    ones = np.ones(2 * reach + 1)
    counts = np.convolve(np.ones(len(losses)), ones, mode="same")
    return np.convolve(losses, ones, mode="same") / counts


@dataclass(kw_only=True, repr=False, eq=False)
class LearningRateDisplay:
    """The loss of a training whose learning rate grows with every step.

    Create it with :meth:`from_estimator`. Where the loss falls fastest a learning rate
    works; where it rises again it is too large (Smith, 2017).

    Parameters
    ----------
    rates : ndarray of shape (n_steps,)
        The largest learning rate of each step.

    losses : ndarray of shape (n_steps,)
        Cross-entropy of its batch, before the step.

    Attributes
    ----------
    smoothed_ : ndarray of shape (n_steps,)
        Means of the losses over neighbouring steps.

    steepest_ : float
        The rate at which these fall fastest with the logarithm of the rate, before the
        lowest of them.

    ax_ : matplotlib Axes

    figure_ : matplotlib Figure

    line_ : matplotlib Line2D

    See Also
    --------
    TrainingCurveDisplay : Losses and accuracy of every epoch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.inspection import LearningRateDisplay
    >>> digits = load_digits()
    >>> display = LearningRateDisplay.from_estimator(
    ...     L2CNNClassifier(random_state=0), digits.images, digits.target)
    >>> bool(1e-4 < display.steepest_ < 0.1)
    True
    """

    rates: np.ndarray
    losses: np.ndarray

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, low=1e-6, high=1.0, n_steps=100, ax=None, line_kw=None
    ):
        """Train a clone of a classifier while the learning rate grows, and draw it.

        Parameters
        ----------
        estimator : L2CNNClassifier or Pipeline
            It, or the last step of a pipeline. It need not be fitted, and stays as it
            is, with its weights and its random state.
        X, y : array-like
            What it would be fitted to.
        low, high : float, default=1e-6, 1.0
            The first learning rate and the last; of layers with rates of their own the
            largest.
        n_steps : int, default=100
            Fewer are taken where the loss grows to four times its lowest value.
        ax, line_kw
            As in :meth:`plot`.

        Returns
        -------
        display : LearningRateDisplay
        """
        if not (0 < low < high and n_steps > 1):
            raise ValueError(
                f"low={low!r}, high={high!r}, n_steps={n_steps!r}: rates from low to "
                "high, both positive, in two steps or more were expected."
            )
        growing = Growing(low, high, n_steps)
        parameters = {
            "callbacks": None,
            "max_epochs": n_steps,  # of a step each at least
            "lr_schedule": None,
            "early_stopping": False,
            "average": None,
        }
        trained_clone(estimator, X, y, growing, **parameters)
        display = cls(rates=np.array(growing.rates_), losses=np.array(growing.losses_))
        return display.plot(ax=ax, line_kw=line_kw)

    def plot(self, *, ax=None, line_kw=None):
        """Draw the losses over the learning rate.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None creates a figure.
        line_kw : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot` for the average.

        Returns
        -------
        self : LearningRateDisplay
        """
        reach = max(1, round(_REACH * len(self.losses)))
        self.smoothed_ = smoothed(self.losses, reach)
        self.steepest_ = steepest(self.rates, self.smoothed_, reach)
        self.figure_, [self.ax_] = panels(self, ax, 1, (4.6, 3.4))
        looks = {**HELD_OUT, "linestyle": "", "alpha": 0.4, "markersize": 3}
        self.ax_.plot(self.rates, self.losses, label="of one batch", **looks)
        looks = {**MAIN, "marker": "", **(line_kw or {})}
        [self.line_] = self.ax_.plot(
            self.rates, self.smoothed_, label="mean of neighbours", **looks
        )
        colour = self.ax_.xaxis.label.get_color()
        label = f"falls fastest: {self.steepest_:.2g}"
        self.ax_.axvline(self.steepest_, color=colour, linestyle=":", label=label)
        self.ax_.set_xscale("log")
        first, lowest = self.smoothed_[0], self.smoothed_.min()
        self.ax_.set_ylim(top=max(2 * first - lowest, 1.05 * first))
        self.ax_.set(xlabel="learning rate", ylabel="data loss")
        add_legend(self.ax_)
        return self


def steepest(rates, losses, reach):
    """Return the rate around which losses fall fastest, before the lowest of them."""
    last = int(np.argmin(losses))
    if last < 2 * reach:
        return float(rates[last // 2])
    places = np.log(rates[: last + 1])
    falls = losses[: last + 1 - 2 * reach] - losses[2 * reach : last + 1]
    slopes = falls / (places[2 * reach :] - places[: -2 * reach])
    return float(rates[reach + int(np.argmax(slopes))])
