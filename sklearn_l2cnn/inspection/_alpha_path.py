"""AlphaPathDisplay: scores, norms and losses over the strength of the penalty."""

from itertools import count, takewhile

import numpy as np

from sklearn_l2cnn.inspection._drawing import (
    BLUE,
    GREEN,
    PURPLE,
    VERMILLION,
    add_legend,
    alpha_places,
    draw_norms,
    panels,
    set_alpha_axis,
    set_log_y,
)
from sklearn_l2cnn.inspection._fitted import fitted_part, sorted_path


def last_finite(curves):
    """Return the last finite value of every curve, nan where there is none.

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
    curves = np.asarray(curves, dtype=float)
    there = np.isfinite(curves)
    last = curves.shape[-1] - 1 - there[..., ::-1].argmax(axis=-1)
    values = np.take_along_axis(curves, last[..., None], axis=-1)[..., 0]
    return np.where(there.any(axis=-1), values, np.nan)


class AlphaPathDisplay:
    """Score, norms of the layers and losses, over the strength of the penalty.

    :meth:`from_estimator` makes one of a fitted
    :class:`~sklearn_l2cnn.L2CNNClassifierCV`. Three panels share a logarithmic axis of
    alpha, on which 0 stands apart:

    - the mean score over the folds, with a band of their standard deviation to either
      side, the alpha that was chosen and, where that is another, the best. An alpha
      with a fold that has no score has no mean, and is marked by a cross at the edge;
    - the norm of the weights of every layer;
    - the data loss at the end of training, of the images that were trained on and of
      those that were held out, each a mean over the folds. With early stopping they
      are those that it holds out itself; what is not watched is not recorded.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        In ascending order.

    scores : ndarray of shape (n_alphas, n_folds)
        Held-out scores; nan where training failed.

    norms : ndarray of shape (n_alphas, n_layers)
        Norms of the weights.

    layer_names : list of str of length n_layers
        What the layers are called.

    train_losses : ndarray of shape (n_alphas, n_folds)
        Data losses at the end of training.

    validation_losses : ndarray of shape (n_alphas, n_folds)
        The same of images that were held out; nan where nobody watched.

    alpha : float, default=None
        The one that was chosen.

    score_name : str, default="score"
        What the score is called.

    Attributes
    ----------
    mean_scores, score_deviations : ndarray of shape (n_alphas,)
        Over the folds.

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
    ShrinkageDisplay : The norms beside a histogram of the weights.

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

    def __init__(
        self,
        *,
        alphas,
        scores,
        norms,
        layer_names,
        train_losses,
        validation_losses,
        alpha=None,
        score_name="score",
    ):
        self.alphas = alphas
        self.scores = scores
        self.norms = norms
        self.layer_names = layer_names
        self.train_losses = train_losses
        self.validation_losses = validation_losses
        self.alpha = alpha
        self.score_name = score_name

    @property
    def mean_scores(self):
        """Mean score of every alpha over the folds, nan where a fold has none."""
        return self.scores.mean(axis=1)

    @property
    def score_deviations(self):
        """Standard deviation of the scores of every alpha over the folds."""
        return self.scores.std(axis=1)

    @property
    def best(self):
        """The alpha of the best mean score, None where no alpha has one."""
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
            Of several scores, which to draw; None is the one that `refit` names.
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
            "GridSearchCV keeps no more than the best network: "
            "L2CNNClassifierCV(alphas) searches the same grid and records the path.",
        )
        metric = _chosen_metric(cv, metric)
        results = cv.cv_results_
        keys = (f"split{k}_test_{metric}" for k in count())
        columns = [results[key] for key in takewhile(results.__contains__, keys)]
        order, path = sorted_path(cv)
        display = cls(
            **path,
            scores=np.column_stack(columns).astype(float)[order],
            train_losses=last_finite(cv.losses_path_)[order],
            validation_losses=last_finite(cv.validation_losses_path_)[order],
            alpha=getattr(cv, "alpha_", None),
            score_name=_name_of(cv, metric),
        )
        return display.plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the three panels.

        Parameters
        ----------
        ax : array-like of three matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        self : AlphaPathDisplay
        """
        self.axes_ = panels(f"{type(self).__name__}.plot", ax, 3, (4, 3.4))
        self.figure_ = self.axes_[0].figure
        places = alpha_places(self.alphas)
        self._draw_scores(self.axes_[0], places)
        self.norm_lines_ = draw_norms(
            self.axes_[1], self.alphas, self.norms, self.layer_names
        )
        self._draw_losses(self.axes_[2], places)
        for panel in self.axes_[1:]:
            self._mark(panel, self.alpha, VERMILLION, ":")
        return self

    def _draw_scores(self, ax, places):
        means, spread = self.mean_scores, self.score_deviations
        n_folds = self.scores.shape[1]
        folds = f"mean, {n_folds} folds" if n_folds > 1 else "one fold"
        [self.score_line_] = ax.plot(
            places, means, marker="o", markersize=5, color=BLUE, label=folds
        )
        self.score_band_ = None
        if n_folds > 1:
            self.score_band_ = ax.fill_between(
                places, means - spread, means + spread, color=BLUE, alpha=0.35, lw=1
            )
        failed = np.isnan(means)
        if failed.any():
            ax.plot(
                places[failed],
                np.full(failed.sum(), 0.03),
                transform=ax.get_xaxis_transform(),
                linestyle="none",
                marker="x",
                color=ax.xaxis.label.get_color(),
                label="failed",
            )
        if self.alpha is not None:
            label = f"chosen: {self.alpha:.3g}"
            self._mark(ax, self.alpha, VERMILLION, ":", label)
        if self.best is not None and self.best != self.alpha:
            self._mark(ax, self.best, PURPLE, "--", f"best: {self.best:.3g}")
        set_alpha_axis(ax, self.alphas)
        ax.set_ylabel(self.score_name)
        add_legend(ax, 2)

    def _draw_losses(self, ax, places):
        lines = []
        for losses, name, colour, marker, dashes in (
            (self.train_losses, "trained on", VERMILLION, "s", "--"),
            (self.validation_losses, "held out", GREEN, "^", "-"),
        ):
            means = losses.mean(axis=1)
            if np.isnan(means).all():
                name += ": not recorded"
            lines += ax.plot(
                places,
                means,
                marker=marker,
                markersize=5,
                color=colour,
                linestyle=dashes,
                label=name,
            )
        self.train_line_, self.validation_line_ = lines
        set_alpha_axis(ax, self.alphas)
        set_log_y(ax, np.concatenate([line.get_ydata() for line in lines]))
        ax.set_ylabel("data loss")
        add_legend(ax, 2)

    def _mark(self, ax, alpha, colour, dashes, label=None):
        if alpha is not None:
            place = alpha_places(np.append(self.alphas, alpha))[-1]
            ax.axvline(place, color=colour, linestyle=dashes, label=label)


def _chosen_metric(cv, metric):
    """Return the score to draw, one of those that were taken."""
    there = [
        key.removeprefix("mean_test_")
        for key in cv.cv_results_
        if key.startswith("mean_test_")
    ]
    if metric is None and len(there) == 1:
        return there[0]
    if metric is None and cv.refit in there:
        return cv.refit
    if metric in there:
        return metric
    raise ValueError(
        f"metric={metric!r} is none of the scores that were taken: "
        f"{', '.join(map(repr, there))}. Name one of them."
    )


def _name_of(cv, metric):
    """Return how the score is called on the axis."""
    if metric != "score":
        return metric
    scoring = getattr(cv, "scoring", None)
    if scoring is None:
        return "accuracy"
    return scoring if isinstance(scoring, str) else "score"
