"""EffectiveRateDisplay: how far steps turn weights that feed a norm."""

from dataclasses import dataclass

import numpy as np
import torch
from skorch.callbacks import Callback

from sklearn_l2cnn._utils.layer_names import layer_of
from sklearn_l2cnn._utils.scale import scale_has_no_effect
from sklearn_l2cnn.inspection._drawing import draw_layers, panels
from sklearn_l2cnn.inspection._inside import fitted_part, trained_clone


class Watching(Callback):
    """Keep the norm and the learning rate of every weight, epoch by epoch."""

    def on_train_begin(self, net, **kwargs):
        """Forget an earlier training."""
        self.norms_, self.rates_ = [], []

    def on_batch_end(self, net, training=False, **kwargs):
        """Look at the rates of a step: schedules may change them at the end."""
        if training:
            groups = net.optimizer_.param_groups
            self.last_ = {
                id(p): group["lr"] for group in groups for p in group["params"]
            }

    def on_epoch_end(self, net, **kwargs):
        """Keep what the epoch ended with."""
        weights = {
            name: weight
            for name, weight in net.module_.named_parameters()
            if weight.ndim >= 2 and id(weight) in self.last_
        }
        self.norms_.append({n: float(w.detach().norm()) for n, w in weights.items()})
        self.rates_.append({n: float(self.last_[id(w)]) for n, w in weights.items()})


@dataclass(kw_only=True, repr=False, eq=False)
class EffectiveRateDisplay:
    r"""The learning rate that weights in front of a norm have in effect, by epoch.

    A norm takes the scale of such weights out again. A step of SGD then turns them by a
    gradient that is the smaller the larger they are: what counts is
    :math:`\eta / \|W\|^2` (van Laarhoven, 2017), and with optimizers that divide the
    gradient by its own size, as Adam does, :math:`\eta / \|W\|`. L2 keeps the norm
    small, and so the effective rate large: that is what `alpha` does to these layers.

    Create it with :meth:`from_estimator`.

    Parameters
    ----------
    rates : ndarray of shape (n_epochs, n_layers)
        The effective learning rates at the end of every epoch.

    layer_names : list of str of length n_layers
        The layers whose weights feed a norm.

    squared : bool, default=True
        Whether the rates are divided by the squares of the norms, as for SGD, and not
        by the norms.

    Attributes
    ----------
    ax_ : matplotlib Axes

    figure_ : matplotlib Figure

    lines_ : list of matplotlib Line2D

    See Also
    --------
    LearningRateDisplay : The loss while the learning rate grows.

    References
    ----------
    van Laarhoven, T. (2017). L2 regularization versus batch and weight normalization.
    arXiv:1706.05350.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from torch import nn
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.inspection import EffectiveRateDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images[:200], digits.target[:200]
    >>> network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
    ...                         nn.Flatten(), nn.Linear(288, 10))
    >>> clf = L2CNNClassifier(architecture=network, max_epochs=3, random_state=0)
    >>> display = EffectiveRateDisplay.from_estimator(clf, X, y)
    >>> display.layer_names, display.rates.shape
    (['0'], (3, 1))
    """

    rates: np.ndarray
    layer_names: list
    squared: bool = True

    @classmethod
    def from_estimator(cls, estimator, X, y, *, ax=None, line_kw=None):
        """Train a clone of a classifier, and draw the effective rates of its layers.

        Parameters
        ----------
        estimator : L2CNNClassifier or Pipeline
            It, or the last step of a pipeline. It need not be fitted, and stays as it
            is, with its weights and its random state.
        X, y : array-like
            What it would be fitted to.
        ax, line_kw
            As in :meth:`plot`.

        Returns
        -------
        display : EffectiveRateDisplay
        """
        watching = Watching()
        probe = trained_clone(estimator, X, y, watching)
        clf = fitted_part(probe, ["image_shape_"], "a fitted L2CNNClassifier")
        height, width, depth = clf.image_shape_
        net = clf.net_
        image = torch.zeros(1, depth, height, width, dtype=net.dtype, device=net.device)
        names = [
            name
            for name in watching.norms_[0]
            if scale_has_no_effect(clf.module_, [name], image, net.frozen)
        ]
        if not names:
            raise ValueError(
                f"No layer of {type(clf.module_).__name__} feeds a norm: the rate that "
                "its weights have in effect is the learning rate itself. "
                "LearningRateDisplay shows which of these work."
            )
        squared = isinstance(net.optimizer_, torch.optim.SGD)
        rates, norms = (
            np.array([[row[name] for name in names] for row in rows])
            for rows in (watching.rates_, watching.norms_)
        )
        display = cls(
            rates=rates / norms ** (1 + squared),
            layer_names=[layer_of(name) for name in names],
            squared=squared,
        )
        return display.plot(ax=ax, line_kw=line_kw)

    def plot(self, *, ax=None, line_kw=None):
        """Draw the effective rates over the epochs.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None creates a figure.
        line_kw : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot` for every line.

        Returns
        -------
        self : EffectiveRateDisplay
        """
        self.figure_, [self.ax_] = panels(self, ax, 1, (4.6, 3.4))
        epochs = np.arange(1, 1 + len(self.rates))
        looks = {"markevery": max(1, len(epochs) // 10), **(line_kw or {})}
        names = self.layer_names
        self.lines_ = draw_layers(self.ax_, epochs, self.rates, names, **looks)
        power = "^2" if self.squared else ""
        label = rf"learning rate / $\|W\|{power}$"
        self.ax_.set(xlabel="epoch", ylabel=label, yscale="log")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        return self
