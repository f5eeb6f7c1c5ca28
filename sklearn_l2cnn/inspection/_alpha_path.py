"""AlphaPathDisplay: scores, norms and losses over the strength of the penalty."""

from dataclasses import dataclass

import numpy as np

from sklearn_l2cnn.inspection._drawing import (
    BLUE,
    HELD_OUT,
    MAIN,
    OTHER,
    PURPLE,
    VERMILLION,
    add_legend,
    alpha_places,
    draw_norms,
    panels,
    set_alpha_axis,
    set_log_y,
    sorted_path,
)
from sklearn_l2cnn.inspection._inside import fitted_part


def last_finite(curves):
    """Return the last finite value of every curve, nan if there is none.

    Parameters
    ----------
    curves : ndarray of shape (..., n_epochs)

    Examples
    --------
    >>> from numpy import array, nan
    >>> from sklearn_l2cnn.inspection._alpha_path import last_finite
    >>> last_finite(array([[3.0, 2.0, nan], [nan, nan, nan]]))
    array([ 2., nan])
    """
    latest_first = np.asarray(curves, dtype=float)[..., ::-1]
    places = np.isfinite(latest_first).argmax(axis=-1, keepdims=True)
    values = np.take_along_axis(latest_first, places, axis=-1)[..., 0]
    return np.where(np.isfinite(values), values, np.nan)


@dataclass(kw_only=True, repr=False, eq=False)
class AlphaPathDisplay:
    """Score, norms of the layers and losses, over the strength of the penalty.

    Create it with :meth:`from_estimator` from a fitted
    :class:`~sklearn_l2cnn.L2CNNClassifierCV`. Three panels share a logarithmic axis of
    alpha, on which 0 is set apart:

    - the mean score over the folds, with a band of one standard deviation to either
      side, the chosen alpha and, if it differs, the best. An alpha with a failed fold
      has no mean, and is marked by a cross at the edge;
    - the norm of the weights of every layer;
    - the data loss at the end of training, on the training data and on the held-out
      images, each a mean over the folds. With early stopping, the latter are its own
      validation data; losses that training did not compute are missing.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        In ascending order.

    scores : ndarray of shape (n_alphas, n_folds)
        Held-out scores; nan where training failed.

    norms : ndarray of shape (n_alphas, n_layers)
        Norms of the weights.

    layer_names : list of str of length n_layers
        Names of the layers.

    train_losses : ndarray of shape (n_alphas, n_folds)
        Data losses at the end of training.

    validation_losses : ndarray of shape (n_alphas, n_folds)
        Data losses on held-out images; nan where they were not recorded.

    alpha : float, default=None
        The chosen alpha.

    score_name : str, default="score"
        Label of the axis of the scores.

    Attributes
    ----------
    mean_scores, score_deviations : ndarray of shape (n_alphas,)
        Mean and standard deviation over the folds.

    best : float or None
        The alpha of the best mean score.

    axes_ : ndarray of matplotlib Axes of shape (3,)

    figure_ : matplotlib Figure

    score_line_, train_line_, validation_line_ : matplotlib Line2D

    score_band_ : matplotlib PolyCollection or None
        None for one fold.

    norm_lines_ : list of matplotlib Line2D

    See Also
    --------
    ShrinkageDisplay : The norms together with a histogram of the weights.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifierCV
    >>> from sklearn_l2cnn.inspection import AlphaPathDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images[:100], digits.target[:100]
    >>> clf = L2CNNClassifierCV([0, 0.01, 1], cv=2, max_epochs=1, random_state=0)
    >>> display = AlphaPathDisplay.from_estimator(clf.fit(X, y))
    >>> display.scores.shape, display.alpha == clf.alpha_
    ((3, 2), True)
    """

    alphas: np.ndarray
    scores: np.ndarray
    norms: np.ndarray
    layer_names: list
    train_losses: np.ndarray
    validation_losses: np.ndarray
    alpha: float | None = None
    score_name: str = "score"

    @property
    def mean_scores(self):
        """Mean score of every alpha over the folds, nan if a fold has none."""
        return self.scores.mean(axis=1)

    @property
    def score_deviations(self):
        """Standard deviation of the scores of every alpha over the folds."""
        return self.scores.std(axis=1)

    @property
    def best(self):
        """The alpha of the best mean score, None if no alpha has one."""
        means = self.mean_scores
        if np.isnan(means).all():
            return None
        return float(self.alphas[np.nanargmax(means)])

    @classmethod
    def from_estimator(cls, estimator, *, metric=None, ax=None):
        """Draw the path of a fitted search over alpha.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`~sklearn_l2cnn.L2CNNClassifierCV`, or a pipeline or search
            that ends in one.
        metric : str, default=None
            Name of the score to draw; None is the only one, or the one of `refit`.
        ax
            As in :meth:`plot`.

        Returns
        -------
        display : AlphaPathDisplay
        """
        cv = fitted_part(
            estimator,
            ["norms_path_", "losses_path_", "cv_results_"],
            "a fitted L2CNNClassifierCV",
            "GridSearchCV only keeps the best network: "
            "L2CNNClassifierCV(alphas) searches the same grid and records the path.",
        )
        metric = _chosen_metric(cv, metric)
        train_losses = last_finite(cv.losses_path_)
        folds = range(train_losses.shape[1])
        columns = [cv.cv_results_[f"split{k}_test_{metric}"] for k in folds]
        order, path = sorted_path(cv)
        display = cls(
            **path,
            scores=np.column_stack(columns).astype(float)[order],
            train_losses=train_losses[order],
            validation_losses=last_finite(cv.validation_losses_path_)[order],
            alpha=getattr(cv, "alpha_", None),
            score_name=_axis_label(cv, metric),
        )
        return display.plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the three panels.

        Parameters
        ----------
        ax : array-like of three matplotlib Axes, default=None
            The axes to draw in; None creates a figure.

        Returns
        -------
        self : AlphaPathDisplay
        """
        self.figure_, self.axes_ = panels(self, ax, 3, (4, 3.4))
        places = alpha_places(self.alphas)
        self._draw_scores(self.axes_[0], places)
        self.norm_lines_ = draw_norms(self, self.axes_[1])
        self._draw_losses(self.axes_[2], places)
        for panel in self.axes_[1:]:
            self._mark(panel, self.alpha, VERMILLION, ":")
        return self

    def _draw_scores(self, ax, places):
        means, spread = self.mean_scores, self.score_deviations
        n_folds = self.scores.shape[1]
        folds = f"mean, {n_folds} folds" if n_folds > 1 else "one fold"
        [self.score_line_] = ax.plot(places, means, label=folds, **MAIN)
        self.score_band_ = None
        if n_folds > 1:
            self.score_band_ = ax.fill_between(
                places, means - spread, means + spread, color=BLUE, alpha=0.35, lw=1
            )
        failed = np.isnan(means)
        if failed.any():
            at_the_edge = {"transform": ax.get_xaxis_transform(), "label": "failed"}
            heights = np.full(failed.sum(), 0.03)
            colour = ax.xaxis.label.get_color()
            ax.plot(places[failed], heights, "x", color=colour, **at_the_edge)
        self._mark(ax, self.alpha, VERMILLION, ":", "chosen")
        if self.best != self.alpha:
            self._mark(ax, self.best, PURPLE, "--", "best")
        set_alpha_axis(ax, self.alphas, self.score_name)
        add_legend(ax)

    def _draw_losses(self, ax, places):
        lines = []
        for losses, name, style in (
            (self.train_losses, "trained on", OTHER),
            (self.validation_losses, "held out", HELD_OUT),
        ):
            means = losses.mean(axis=1)
            if np.isnan(means).all():
                name += ": not recorded"
            lines += ax.plot(places, means, label=name, **style)
        self.train_line_, self.validation_line_ = lines
        set_alpha_axis(ax, self.alphas, "data loss")
        set_log_y(ax, np.concatenate([line.get_ydata() for line in lines]))
        add_legend(ax)

    def _mark(self, ax, alpha, colour, dashes, name=None):
        if alpha is not None:
            place = alpha_places(np.append(self.alphas, alpha))[-1]
            label = name and f"{name}: {alpha:.3g}"
            ax.axvline(place, color=colour, linestyle=dashes, label=label)


def _chosen_metric(cv, metric):
    """Return the name of the score to draw."""
    start = "mean_test_"
    names = [key[len(start) :] for key in cv.cv_results_ if key.startswith(start)]
    chosen = metric
    if metric is None:
        chosen = names[0] if len(names) == 1 else cv.refit
    if chosen not in names:
        raise ValueError(
            f"metric={metric!r} is none of the scores of this search: "
            f"{', '.join(map(repr, names))}. Name one of them."
        )
    return chosen


def _axis_label(cv, metric):
    if metric != "score":
        return metric
    scoring = getattr(cv, "scoring", None) or "accuracy"
    return scoring if isinstance(scoring, str) else "score"
