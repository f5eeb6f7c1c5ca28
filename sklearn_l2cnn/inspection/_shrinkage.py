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
    panels,
    sorted_path,
)
from sklearn_l2cnn.inspection._inside import fitted_part


@dataclass(kw_only=True, repr=False, eq=False)
class ShrinkageDisplay:
    """Norms of the layers against alpha, and a histogram of the weights.

    The histogram is of the absolute values, on a logarithmic axis. Values smaller than
    a ten-thousandth of the largest, including zeros, are counted at its left end.

    Create it with :meth:`from_estimator` from a fitted
    :class:`~sklearn_l2cnn.L2CNNClassifierCV`, or with :meth:`from_estimators` from
    several classifiers, fitted with several alphas.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        In ascending order.

    norms : ndarray of shape (n_alphas, n_layers)
        Norms of the weights.

    layer_names : list of str of length n_layers
        Names of the layers.

    weights : list of ndarray
        All weights of each network whose histogram is drawn.

    weight_alphas : list of float
        The alphas of these networks.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The panel of the norms and, if there are weights, that of the histogram.

    figure_ : matplotlib Figure

    norm_lines_ : list of matplotlib Line2D

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
    weights: list
    weight_alphas: list

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, bins=60):
        """Draw the norms of a fitted search over alpha.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`~sklearn_l2cnn.L2CNNClassifierCV`, or a pipeline or search
            that ends in one. The histogram is of the network that was refitted with
            the chosen alpha: no other is kept.
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
        weights, alphas = [], []
        if hasattr(cv, "module_"):
            weights = [_flat(_weights(cv))]
            alphas = [float(cv.alpha_)]
        display = cls(**path, weights=weights, weight_alphas=alphas)
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
        shown = np.unique(np.linspace(0, len(parts) - 1, 4).round().astype(int))
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
            The axes for the norms and, optionally, for the histogram; None creates a
            figure.
        bins : int, default=60
            Number of bins of the histogram.

        Returns
        -------
        self : ShrinkageDisplay
        """
        n_panels = 1 + bool(self.weights)
        self.figure_, self.axes_ = panels(self, ax, n_panels, (4.6, 3.4), fewest=1)
        self.norm_lines_ = draw_norms(self, self.axes_[0])
        self.histograms_ = []
        if len(self.axes_) == 2:
            self._draw_histograms(self.axes_[1], bins)
        return self

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


def _weights(clf):
    weights = layer_weights(clf.module_)
    return {name: on_host(weight.double()) for name, weight in weights.items()}


def _flat(weights):
    return np.concatenate([weight.ravel() for weight in weights.values()])
