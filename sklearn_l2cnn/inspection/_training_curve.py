"""TrainingCurveDisplay: losses and accuracy of every epoch."""

from dataclasses import dataclass

import numpy as np

from sklearn_l2cnn.inspection._drawing import (
    HELD_OUT,
    MAIN,
    OTHER,
    add_legend,
    panels,
    set_log_y,
)
from sklearn_l2cnn.inspection._inside import fitted_part


@dataclass(kw_only=True, repr=False, eq=False)
class TrainingCurveDisplay:
    """Data loss, penalty and validation accuracy of every epoch.

    Create it with :meth:`from_estimator` from a fitted classifier.

    Parameters
    ----------
    data_loss : ndarray of shape (n_epochs,)
        Mean cross-entropy in every epoch.

    penalty : ndarray of shape (n_epochs,)
        Penalty at the end of every epoch.

    validation_scores : ndarray of shape (n_validated,), default=None
        Accuracy on the validation data in the last epochs, those of the last fit; None
        without validation data.

    best_epoch : int, default=None
        The epoch of the best validation score, counted from 1 over all epochs.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The panel of the losses and, with validation data, that of the accuracy.

    figure_ : matplotlib Figure

    loss_line_, penalty_line_, validation_line_ : matplotlib Line2D
        `validation_line_` is None without validation data.

    See Also
    --------
    AlphaPathDisplay : Scores, norms and losses over the strength of the penalty.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.inspection import TrainingCurveDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images[:200], digits.target[:200]
    >>> clf = L2CNNClassifier(
    ...     max_epochs=3, early_stopping=True, n_iter_no_change=2, random_state=0)
    >>> display = TrainingCurveDisplay.from_estimator(clf.fit(X, y))
    >>> display.data_loss.shape, len(display.axes_)
    ((3,), 2)
    """

    data_loss: np.ndarray
    penalty: np.ndarray
    validation_scores: np.ndarray | None = None
    best_epoch: int | None = None

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, line_kw=None):
        """Draw the training curves of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`~sklearn_l2cnn.L2CNNClassifier`, or a pipeline or search
            that ends in one.
        ax, line_kw
            As in :meth:`plot`.

        Returns
        -------
        display : TrainingCurveDisplay
        """
        clf = fitted_part(
            estimator,
            ["data_loss_curve_", "penalty_curve_", "validation_scores_"],
            "a fitted L2CNNClassifier",
        )
        scores, best = clf.validation_scores_, clf.best_epoch_
        if scores is not None:
            best += len(clf.data_loss_curve_) - len(scores)
            scores = np.asarray(scores)
        display = cls(
            data_loss=np.asarray(clf.data_loss_curve_),
            penalty=np.asarray(clf.penalty_curve_),
            validation_scores=scores,
            best_epoch=best,
        )
        return display.plot(ax=ax, line_kw=line_kw)

    def plot(self, *, ax=None, line_kw=None):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of two, default=None
            The axes for the losses and, optionally, for the accuracy; None creates a
            figure.
        line_kw : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot` for every line.

        Returns
        -------
        self : TrainingCurveDisplay
        """
        n_panels = 1 + (self.validation_scores is not None)
        self.figure_, self.axes_ = panels(self, ax, n_panels, (4.6, 3.4), fewest=1)
        epochs = np.arange(1, 1 + len(self.data_loss))
        style = {"markevery": max(1, len(epochs) // 10), **(line_kw or {})}
        self._draw_losses(self.axes_[0], epochs, style)
        self.validation_line_ = None
        if len(self.axes_) == 2:
            self._draw_validation(self.axes_[1], epochs, style)
        for panel in self.axes_:
            if self.best_epoch is not None:
                colour = panel.xaxis.label.get_color()
                label = f"best epoch: {self.best_epoch}"
                panel.axvline(self.best_epoch, color=colour, linestyle=":", label=label)
            panel.set_xlabel("epoch")
            panel.xaxis.get_major_locator().set_params(integer=True)
            add_legend(panel)
        return self

    def _draw_losses(self, ax, epochs, style):
        logarithmic = False
        if self.data_loss.max() > 4 * self.data_loss.min():  # a flat curve is linear
            losses = [self.data_loss, self.penalty[self.penalty != 0]]
            logarithmic = set_log_y(ax, np.concatenate(losses))
        looks = {**MAIN, **style}
        [self.loss_line_] = ax.plot(epochs, self.data_loss, label="data loss", **looks)
        label = _penalty_label(self.penalty, logarithmic)
        looks = {**OTHER, **style}
        [self.penalty_line_] = ax.plot(epochs, self.penalty, label=label, **looks)
        ax.set_ylabel("loss in training")

    def _draw_validation(self, ax, epochs, style):
        scores, looks = self.validation_scores, {**HELD_OUT, **style}
        last = epochs[len(epochs) - len(scores) :]
        [self.validation_line_] = ax.plot(last, scores, label="validation", **looks)
        ax.set_ylabel("accuracy")


def _penalty_label(penalty, logarithmic):
    """Return the name of the penalty, with what a logarithmic axis hides of it."""
    if not penalty.any():
        return f"penalty (0{', not drawn' if logarithmic else ' throughout'})"
    return "penalty (0s not drawn)" if logarithmic and 0 in penalty else "penalty"
