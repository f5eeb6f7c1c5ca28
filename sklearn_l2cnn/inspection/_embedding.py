"""EmbeddingDisplay: features in the plane, coloured by label."""

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import check_array, check_consistent_length, get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn.inspection._drawing import COLOURS, MARKERS, panels

_RESPONSES = ("transform", "decision_function", "predict_proba")


class EmbeddingDisplay:
    """Features of images in the plane, coloured by label.

    :meth:`from_estimator` makes one of what a fitted estimator makes of images,
    :meth:`from_features` one of any features. They are projected to two dimensions by
    a transformer of scikit-learn.

    Parameters
    ----------
    embedding : ndarray of shape (n, 2)
        Where the images stand.

    labels : ndarray of shape (n,), default=None
        What they are; None leaves all alike.

    projection_name : str, default="dimension"
        What the axes are called.

    Attributes
    ----------
    ax_ : matplotlib Axes

    figure_ : matplotlib Figure

    scatters_ : list of matplotlib PathCollection
        One for every label, in sorted order.

    texts_ : list of matplotlib Text
        The labels, where they are written into the picture.

    See Also
    --------
    sklearn.manifold.TSNE : A projection that keeps neighbours together.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.inspection import EmbeddingDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images[:200], digits.target[:200]
    >>> clf = L2CNNClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> display = EmbeddingDisplay.from_estimator(clf, X, y)
    >>> display.embedding.shape, len(display.scatters_)
    ((200, 2), 10)
    """

    def __init__(self, *, embedding, labels=None, projection_name="dimension"):
        self.embedding = embedding
        self.labels = labels
        self.projection_name = projection_name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        response_method="auto",
        projection=None,
        label_style="legend",
        ax=None,
        scatter_kw=None,
    ):
        """Draw what an estimator makes of images.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer, classifier, or pipeline of such.
        X : array-like
            Images, as the estimator takes them.
        y : array-like of shape (n,), default=None
            Their labels.
        response_method : {"auto", "transform", "decision_function", \
                "predict_proba"}, default="auto"
            Where the features come from. ``"auto"`` is the first of these that the
            estimator has: of a classifier the logits, one for every class.
        projection, label_style, ax, scatter_kw
            As in :meth:`from_features` and :meth:`plot`.

        Returns
        -------
        display : EmbeddingDisplay
        """
        check_is_fitted(estimator)
        features = getattr(estimator, _response(estimator, response_method))(X)
        return cls.from_features(
            features,
            y,
            projection=projection,
            label_style=label_style,
            ax=ax,
            scatter_kw=scatter_kw,
        )

    @classmethod
    def from_features(
        cls,
        features,
        y=None,
        *,
        projection=None,
        label_style="legend",
        ax=None,
        scatter_kw=None,
    ):
        """Draw features.

        Parameters
        ----------
        features : array-like of shape (n, n_features)
            With more dimensions, the rest is flattened.
        y : array-like of shape (n,), default=None
            Their labels.
        projection : transformer, default=None
            Anything with `fit_transform` that gives two columns; a copy is fitted, and
            to y as well where it needs one. None is ``PCA(2)``.
        label_style, ax, scatter_kw
            As in :meth:`plot`.

        Returns
        -------
        display : EmbeddingDisplay
        """
        features = check_array(
            features, ensure_2d=False, allow_nd=True, input_name="features"
        )
        features = features.reshape(len(features), -1)
        if y is not None:
            y = np.asarray(y)
            check_consistent_length(features, y)
        projection = PCA(2) if projection is None else clone(projection)
        display = cls(
            embedding=_projected(features, y, projection),
            labels=y,
            projection_name=type(projection).__name__,
        )
        return display.plot(ax=ax, label_style=label_style, scatter_kw=scatter_kw)

    def plot(self, *, ax=None, label_style="legend", scatter_kw=None):
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        label_style : {"legend", "direct"} or None, default="legend"
            Whether the labels stand in a legend, which is to the right of the points in
            a new figure, or in the middle (the median) of their points.
        scatter_kw : dict, default=None
            More for :meth:`matplotlib.axes.Axes.scatter`, of every label.

        Returns
        -------
        self : EmbeddingDisplay
        """
        if label_style not in ("legend", "direct", None):
            raise ValueError(
                f"label_style={label_style!r}: 'legend', 'direct' or None was expected."
            )
        outside = ax is None
        [self.ax_] = panels(f"{type(self).__name__}.plot", ax, 1, (5.4, 4.2))
        self.figure_ = self.ax_.figure
        self.scatters_, self.texts_ = [], []
        groups = self._groups()
        for k, (label, points) in enumerate(groups):
            colour = COLOURS[k % len(COLOURS)]
            # where colours come a second time, points are hollow
            hollow = k // len(COLOURS) % 2
            looks = {
                "facecolor": "none" if hollow else colour,
                "edgecolor": colour,
                "marker": MARKERS[k % len(MARKERS)],
                "s": 16,
                "linewidths": 0.8,
                **(scatter_kw or {}),
            }
            scatter = self.ax_.scatter(*points.T, label=label, **looks)
            self.scatters_.append(scatter)
            if label_style == "direct" and label is not None:
                self._write(label, points)
        if label_style == "legend" and self.labels is not None:
            self._add_legend(len(groups), outside)
        for axis, k in ((self.ax_.xaxis, 1), (self.ax_.yaxis, 2)):
            axis.set_label_text(f"{self.projection_name} {k}")
        return self

    def _groups(self):
        """Return every label, as text, with its points."""
        if self.labels is None:
            return [(None, self.embedding)]
        labels, which = np.unique(self.labels, return_inverse=True)
        return [
            (str(label), self.embedding[which == k]) for k, label in enumerate(labels)
        ]

    def _write(self, label, points):
        from matplotlib.patheffects import withStroke

        around = withStroke(linewidth=3, foreground=self.ax_.get_facecolor())
        text = self.ax_.text(
            *np.median(points, axis=0),
            label,
            ha="center",
            va="center",
            fontweight="bold",
            path_effects=[around],
        )
        self.texts_.append(text)

    def _add_legend(self, n, outside):
        place = {"loc": "best"}
        if outside:
            place = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
        columns = 1 + (n - 1) // 14
        self.ax_.legend(fontsize="small", markerscale=1.5, ncols=columns, **place)


def _response(estimator, response_method):
    """Return the name of the method that features come from."""
    if response_method not in ("auto", *_RESPONSES):
        raise ValueError(
            f"response_method={response_method!r}: 'auto', "
            f"{', '.join(map(repr, _RESPONSES))} was expected."
        )
    names = _RESPONSES if response_method == "auto" else (response_method,)
    for name in names:
        if hasattr(estimator, name):
            return name
    raise TypeError(
        f"{type(estimator).__name__} has no {' or '.join(names)}. Pass the features "
        "themselves to EmbeddingDisplay.from_features."
    )


def _projected(features, y, projection):
    """Return features in the plane."""
    if features.shape[1] < 2:
        raise ValueError(
            "There is one feature, and a plane needs two at least. The decision "
            "function of two classes is one number: pass the features of a "
            "transformer, or of a layer."
        )
    needs_y = get_tags(projection).target_tags.required
    if needs_y and y is None:
        raise ValueError(f"{type(projection).__name__} needs y to be fitted.")
    given = (features, y) if needs_y else (features,)
    found = np.asarray(projection.fit_transform(*given))
    if found.shape != (len(features), 2):
        raise ValueError(
            f"{type(projection).__name__} gave an array of shape {found.shape}, and "
            f"two columns were expected: set its n_components to 2."
        )
    return found
