"""ShrinkageDisplay: the effect of the penalty on the weights."""

from dataclasses import dataclass

import numpy as np

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._utils.layer_names import layer_weights
from sklearn_l2cnn.inspection._drawing import (
    COLOURS,
    DASHES,
    add_legend,
    check_on_axis,
    draw_norms,
    line_style,
    panels,
    set_log_y,
    sorted_path,
)
from sklearn_l2cnn.inspection._grid import fitted
from sklearn_l2cnn.inspection._inside import fitted_part

# Width that there is for the name of a layer, in inches.
_NAME = 0.55


@dataclass(kw_only=True, repr=False, eq=False)
class ShrinkageDisplay:
    """Norms of the layers against alpha, and what alphas do to layers or to weights.

    Create it with :meth:`from_estimator` from a fitted
    :class:`~sklearn_l2cnn.L2CNNClassifierCV`, or with :meth:`from_estimators` from
    several classifiers, fitted with several alphas.

    A search keeps the norms of all its alphas. Its second panel has a curve over the
    layers for some of them: the norm of a layer by that with the smallest alpha, so
    that layers can be compared.

    That of classifiers is a histogram of the absolute values of the weights, on a
    logarithmic axis. Values smaller than a ten-thousandth of the largest, including
    zeros, are counted at its left end.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        In ascending order.

    norms : ndarray of shape (n_alphas, n_layers)
        Norms of the weights.

    layer_names : list of str of length n_layers
        Names of the layers.

    weights : list of ndarray, default=()
        All weights of each network whose histogram is drawn.

    weight_alphas : list of float, default=()
        The alphas of these networks.

    alpha : float, default=None
        The alpha that was chosen.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The panel of the norms and, if there are several alphas, that of the layers or
        of the histogram.

    figure_ : matplotlib Figure

    norm_lines_ : list of matplotlib Line2D

    layer_lines_ : list of matplotlib Line2D
        One for each alpha in the panel of the layers.

    histograms_ : list of matplotlib StepPatch

    See Also
    --------
    AlphaPathDisplay : The norms together with scores and losses.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.inspection import ShrinkageDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images[:100], digits.target[:100]
    >>> fitted = [L2CNNClassifier(alpha, max_epochs=2, random_state=0).fit(X, y)
    ...           for alpha in (0, 0.1, 10)]
    >>> display = ShrinkageDisplay.from_estimators(fitted)
    >>> display.layer_names, bool((display.norms[0] > display.norms[2]).all())
    (['conv1', 'conv2', 'dense1', 'logits'], True)
    """

    alphas: np.ndarray
    norms: np.ndarray
    layer_names: list
    weights: list = ()
    weight_alphas: list = ()
    alpha: float | None = None

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, bins=60):
        """Draw the norms of a fitted search over alpha.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`~sklearn_l2cnn.L2CNNClassifierCV`, or a pipeline or search
            that ends in one. The layers are compared for at most four alphas, from the
            smallest to the largest, and for the chosen one.
        ax, bins
            As in :meth:`plot`.

        Returns
        -------
        display : ShrinkageDisplay
        """
        cv = fitted_part(
            estimator,
            ["norms_path_", "alphas_", "layer_names_"],
            "a fitted L2CNNClassifierCV",
            "One network shows no shrinkage, and GridSearchCV keeps no more than the "
            "best one. Either L2CNNClassifierCV(alphas) searches the same grid and "
            "records the norms; or fit one classifier for every alpha and pass the "
            "list to from_estimators.",
        )
        _, path = sorted_path(cv)
        display = cls(**path, alpha=getattr(cv, "alpha_", None))
        return display.plot(ax=ax, bins=bins)

    @classmethod
    def from_estimators(cls, estimators, *, ax=None, bins=60):
        """Draw the weights of classifiers that differ in alpha.

        Parameters
        ----------
        estimators : list of estimators
            Fitted :class:`~sklearn_l2cnn.L2CNNClassifier` with networks of the same
            layers, or pipelines or searches that end in one. The histogram is of at
            most four of them, from the smallest alpha to the largest.
        ax, bins
            As in :meth:`plot`.

        Returns
        -------
        display : ShrinkageDisplay
        """
        if hasattr(estimators, "fit"):
            raise TypeError(
                f"from_estimators takes a list of fitted classifiers, got "
                f"{type(estimators).__name__}. Pass an L2CNNClassifierCV to "
                "from_estimator."
            )
        expected = "a fitted L2CNNClassifier"
        parts = [fitted_part(one, ["module_"], expected) for one in estimators]
        if not parts:
            raise ValueError("estimators is empty; one for each alpha was expected.")
        alphas = check_on_axis([part.alpha for part in parts])
        order = np.argsort(alphas, kind="stable")
        layers = [_weights(parts[k]) for k in order]
        if len({tuple(one) for one in layers}) > 1:
            raise ValueError(
                "The estimators have networks of different layers: "
                f"{' and '.join(sorted({', '.join(one) for one in layers}))}. Fit them "
                "with the same architecture."
            )
        norms = [[np.linalg.norm(w) for w in one.values()] for one in layers]
        shown = _spread(len(parts))
        display = cls(
            alphas=alphas[order],
            norms=np.array(norms),
            layer_names=list(layers[0]),
            weights=[_flat(layers[k]) for k in shown],
            weight_alphas=alphas[order][shown].tolist(),
        )
        return display.plot(ax=ax, bins=bins)

    def plot(self, *, ax=None, bins=60):
        """Draw both panels.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of two, default=None
            The axes for the norms and, optionally, for the other panel; None creates a
            figure.
        bins : int, default=60
            Number of bins of the histogram.

        Returns
        -------
        self : ShrinkageDisplay
        """
        n_panels = 1 + (bool(self.weights) or len(self.alphas) > 1)
        self.figure_, self.axes_ = panels(self, ax, n_panels, (4.6, 3.4), fewest=1)
        self.norm_lines_ = draw_norms(self, self.axes_[0])
        self.layer_lines_, self.histograms_ = [], []
        if len(self.axes_) == 2 and self.weights:
            self._draw_histograms(self.axes_[1], bins)
        elif len(self.axes_) == 2:
            self._draw_layers(self.axes_[1])
        return self

    def _draw_layers(self, ax):
        """Draw the norms of some alphas by those of the smallest, over the layers."""
        places = np.arange(len(self.layer_names))
        start = np.where(self.norms[0] > 0, self.norms[0], np.nan)
        chosen = np.flatnonzero(self.alphas == self.alpha)
        for n, k in enumerate(np.union1d(_spread(len(self.alphas)), chosen)):
            label = f"{'chosen:' if k in chosen else 'alpha'} {self.alphas[k]:.3g}"
            values = self.norms[k] / start
            self.layer_lines_ += ax.plot(places, values, label=label, **line_style(n))
        most = max(1, int(ax.bbox.width / ax.figure.dpi / _NAME))
        shown = places[:: -(-len(places) // most)]
        size, names = fitted([self.layer_names[k] for k in shown], _NAME)
        ax.set_xticks(shown, names, fontsize=size)
        ax.set(xlabel="layer", ylabel="relative norm")
        set_log_y(ax, np.concatenate([line.get_ydata() for line in self.layer_lines_]))
        add_legend(ax)

    def _draw_histograms(self, ax, bins):
        sizes = [np.abs(weights) for weights in self.weights]
        largest = max(size.max() for size in sizes) or 1.0
        edges = np.geomspace(largest / 1e4, largest, bins + 1)
        for k, (size, alpha) in enumerate(zip(sizes, self.weight_alphas, strict=True)):
            counts, _ = np.histogram(size.clip(edges[0], edges[-1]), edges)
            looks = {"color": COLOURS[k % len(COLOURS)], "ls": DASHES[k % len(DASHES)]}
            label = f"alpha {alpha:.3g}"
            steps = ax.stairs(counts / len(size), edges, label=label, lw=1.6, **looks)
            self.histograms_.append(steps)
        ax.set(xscale="log", xlabel="absolute value", ylabel="share of weights")
        add_legend(ax)


def _spread(n):
    """Return at most four positions of n, from the first to the last."""
    return np.unique(np.linspace(0, n - 1, 4).round().astype(int))


def _weights(clf):
    weights = layer_weights(clf.module_)
    return {name: on_host(weight.double()) for name, weight in weights.items()}


def _flat(weights):
    return np.concatenate([weight.ravel() for weight in weights.values()])
