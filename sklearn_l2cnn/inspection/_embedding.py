"""EmbeddingDisplay: features in two dimensions, coloured by label."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import check_array, check_consistent_length, get_tags
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn.inspection._drawing import COLOURS, line_style, panels

_RESPONSES = ("transform", "decision_function", "predict_proba")


@dataclass(kw_only=True, repr=False, eq=False)
class EmbeddingDisplay:
    """Features of images in two dimensions, coloured by label.

    Create it with :meth:`from_estimator` from the output of a fitted estimator, or with
    :meth:`from_features` from any features. A transformer of scikit-learn projects them
    to two dimensions.

    Parameters
    ----------
    embedding : ndarray of shape (n, 2)
        Positions of the images.

    labels : ndarray of shape (n,), default=None
        Labels of the images; None draws all points in the same style.

    projection_name : str, default="dimension"
        Labels of the axes, followed by 1 and 2.

    Attributes
    ----------
    ax_ : matplotlib Axes

    figure_ : matplotlib Figure

    scatters_ : list of matplotlib PathCollection
        One for each label, in sorted order.

    texts_ : list of matplotlib Text
        The labels, if they are drawn next to the points.

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

    embedding: np.ndarray
    labels: np.ndarray | None = None
    projection_name: str = "dimension"

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
        """Draw the output of an estimator for images.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer, classifier, or pipeline of such.
        X : array-like
            Images or rows, as the estimator takes them.
        y : array-like of shape (n,), default=None
            Labels of the images.
        response_method : {"auto", "transform", "decision_function", \
                "predict_proba"}, default="auto"
            Method that computes the features. ``"auto"`` is the first of these that the
            estimator has: for a classifier the logits, one for each class.
        projection, label_style, ax, scatter_kw
            As in :meth:`from_features` and :meth:`plot`.

        Returns
        -------
        display : EmbeddingDisplay
        """
        check_is_fitted(estimator)
        features = getattr(estimator, _response(estimator, response_method))(X)
        options = {"projection": projection, "label_style": label_style}
        return cls.from_features(features, y, ax=ax, scatter_kw=scatter_kw, **options)

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
            Further dimensions are flattened.
        y : array-like of shape (n,), default=None
            Labels of the images.
        projection : transformer, default=None
            Its `fit_transform` returns two columns; a clone is fitted, to y as well if
            it requires y. None is ``PCA(2)``.
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
        check_consistent_length(features, y)
        y = None if y is None else np.asarray(y)
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
            The axes to draw in; None creates a figure.
        label_style : {"legend", "direct"} or None, default="legend"
            Whether the labels are in a legend, which is to the right of the points in a
            new figure, or at the median of their points.
        scatter_kw : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.scatter` for every label.

        Returns
        -------
        self : EmbeddingDisplay
        """
        if label_style not in ("legend", "direct", None):
            raise ValueError(
                f"label_style={label_style!r}: 'legend', 'direct' or None was expected."
            )
        self.figure_, [self.ax_] = panels(self, ax, 1, (5.4, 4.2))
        self.scatters_, self.texts_ = [], []
        groups = self._groups()
        for k, (label, points) in enumerate(groups):
            style = line_style(k)
            # points are hollow where colours repeat
            hollow = k // len(COLOURS) % 2
            face = "none" if hollow else style["color"]
            looks = {"facecolor": face, "edgecolor": style["color"]}
            looks |= {"marker": style["marker"], "s": 16, "linewidths": 0.8}
            looks |= scatter_kw or {}
            self.scatters_.append(self.ax_.scatter(*points.T, label=label, **looks))
            if label_style == "direct" and label is not None:
                self._write(label, points)
        if label_style == "legend" and self.labels is not None:
            self._add_legend(len(groups), outside=ax is None)
        name = self.projection_name
        self.ax_.set(xlabel=f"{name} 1", ylabel=f"{name} 2")
        return self

    def _groups(self):
        """Return each label, as text, with its points."""
        if self.labels is None:
            return [(None, self.embedding)]
        labels, which = np.unique(self.labels, return_inverse=True)
        points = [self.embedding[which == k] for k in range(len(labels))]
        return list(zip(map(str, labels), points, strict=True))

    def _write(self, label, points):
        from matplotlib.patheffects import withStroke

        around = withStroke(linewidth=3, foreground=self.ax_.get_facecolor())
        looks = {"ha": "center", "va": "center", "fontweight": "bold"}
        text = self.ax_.text(*np.median(points, axis=0), label, **looks)
        text.set_path_effects([around])
        self.texts_.append(text)

    def _add_legend(self, n, outside):
        place = {"loc": "best"}
        if outside:
            place = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
        columns = 1 + (n - 1) // 14
        self.ax_.legend(fontsize="small", markerscale=1.5, ncols=columns, **place)


def _response(estimator, response_method):
    """Return the name of the method that computes the features."""
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
        f"{type(estimator).__name__} has no {' or '.join(names)}. Pass features to "
        "EmbeddingDisplay.from_features."
    )


def _projected(features, y, projection):
    """Return the features projected to two dimensions."""
    if features.shape[1] < 2:
        raise ValueError(
            "There is one feature, but two dimensions need at least two. The decision "
            "function of two classes is one number: pass the features of a "
            "transformer, or of a layer."
        )
    needs_y = get_tags(projection).target_tags.required
    if needs_y and y is None:
        raise ValueError(f"{type(projection).__name__} needs y to be fitted.")
    found = np.asarray(projection.fit_transform(features, y if needs_y else None))
    if found.shape != (len(features), 2):
        raise ValueError(
            f"{type(projection).__name__} returned an array of shape {found.shape}, "
            "but two columns were expected: set its n_components to 2."
        )
    return found
