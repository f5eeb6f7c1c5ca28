"""MistakesDisplay: misclassified images, the most confident predictions first."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_consistent_length

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._data.images import as_images, ndim_of
from sklearn_l2cnn.inspection._grid import (
    Grid,
    as_pictures,
    cell_of,
    draw_image,
    grid_shape,
)
from sklearn_l2cnn.inspection._inside import look_inside


@dataclass(repr=False, eq=False)
class MistakesDisplay:
    """The mistakes of a classifier as images, the most confident first.

    Create it with :meth:`from_estimator` from any fitted classifier of images, or with
    :meth:`from_predictions` from labels or probabilities.

    Parameters
    ----------
    images : ndarray of shape (n_mistakes, height, width) or \
            (n_mistakes, height, width, 3)
        The misclassified images, from 0 to 1.

    true_labels : ndarray of shape (n_mistakes,)
        True labels of the images.

    predicted_labels : ndarray of shape (n_mistakes,)
        Predicted labels of the images.

    confidences : ndarray of shape (n_mistakes,), default=None
        Predicted probabilities of the predicted labels.

    indices : ndarray of shape (n_mistakes,), default=None
        Indices of the misclassified images among all images.

    n_images : int, default=None
        Number of all images, including those classified correctly.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_rows, n_columns)

    figure_ : matplotlib Figure

    See Also
    --------
    sklearn.metrics.ConfusionMatrixDisplay : Counts of true and predicted labels.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.inspection import MistakesDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images, digits.target
    >>> clf = L2CNNClassifier(max_epochs=2, random_state=0).fit(X[:300], y[:300])
    >>> display = MistakesDisplay.from_estimator(clf, X[300:500], y[300:500])
    >>> bool((display.true_labels != display.predicted_labels).all())
    True
    """

    images: np.ndarray
    true_labels: np.ndarray
    predicted_labels: np.ndarray
    confidences: np.ndarray | None = None
    indices: np.ndarray | None = None
    n_images: int | None = None

    @classmethod
    def from_estimator(cls, estimator, X, y, *, images=None, ax=None, **kwargs):
        """Find the mistakes of a classifier and draw them.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier; with `predict_proba` mistakes have a confidence.
        X : array-like
            Images or rows, as for ``estimator.predict``.
        y : array-like of shape (n,)
            True labels.
        images : array-like of shape (n, height, width[, channels]), default=None
            The images to draw. None is X itself if it is an array of images, otherwise
            the output of the steps of a pipeline in front of the network.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            As in :meth:`plot`.
        **kwargs
            Arguments of :meth:`plot`.

        Returns
        -------
        display : MistakesDisplay
        """
        if images is None:
            images = _images_to_draw(estimator, X)
        predict = getattr(estimator, "predict_proba", None) or estimator.predict
        classes = getattr(estimator, "classes_", None)
        return cls.from_predictions(
            y, predict(X), images=images, classes=classes, ax=ax, **kwargs
        )

    @classmethod
    def from_predictions(
        cls, y_true, y_pred, *, images, classes=None, ax=None, **kwargs
    ):
        """Find the mistakes in predictions and draw them.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            True labels.
        y_pred : array-like of shape (n,) or (n, n_classes)
            Predicted labels, or probabilities. Labels have no confidence: their
            mistakes stay in the order of the images.
        images : array-like of shape (n, height, width[, channels])
            The images, of any numbers; also channels first, if the number of channels
            shows it.
        classes : array-like of shape (n_classes,), default=None
            The labels of the columns of probabilities. None is the sorted unique values
            of `y_true`.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            As in :meth:`plot`.
        **kwargs
            Arguments of :meth:`plot`.

        Returns
        -------
        display : MistakesDisplay
        """
        y_true, y_pred = on_host(y_true), on_host(y_pred)
        images = _channels_last(on_host(images))
        check_consistent_length(y_true, y_pred, images)
        confidences = None
        if y_pred.ndim == 2:
            confidences = y_pred.max(axis=1)
            y_pred = _labels(y_pred, y_true, classes)
        _check_comparable(y_true, y_pred)
        wrong = np.flatnonzero(y_true != y_pred)
        if confidences is not None:
            wrong = wrong[np.argsort(-confidences[wrong], kind="stable")]
            confidences = confidences[wrong]
        labels = y_true[wrong], y_pred[wrong]
        images = as_pictures(images)[wrong]
        display = cls(images, *labels, confidences, wrong, len(y_true))
        return display.plot(ax=ax, **kwargs)

    def plot(self, *, ax=None, n_images=16, n_columns=None):
        """Draw the mistakes with their true and predicted labels.

        Parameters
        ----------
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Draw in the place of these axes; None creates a figure.
        n_images : int, default=16
            Largest number of mistakes.
        n_columns : int, default=None
            Number of columns; None makes a grid wider than high.

        Returns
        -------
        display : MistakesDisplay
        """
        n = min(n_images, len(self.images))
        cell = cell_of(self.images[0], 1.3, 1.5) if n else (1.3, 1.5)
        shape = grid_shape(n, n_columns, ax, wide=cell[0] / 1.3)
        grid = Grid(self, shape, ax, cell=cell, lines=2)
        self.axes_, self.figure_ = grid.axes, grid.figure
        cells = grid.first(n)
        for cell, picture in zip(cells, self.images, strict=False):
            draw_image(cell, picture)
        grid.label(cells, [self._label(k) for k in range(n)])
        grid.title(self._title(n))
        return self

    def _label(self, k):
        share = "" if self.confidences is None else f", {self.confidences[k]:.2f}"
        return f"true {self.true_labels[k]}\npred. {self.predicted_labels[k]}{share}"

    def _title(self, n):
        total = len(self.images)
        among = "" if self.n_images is None else f" among {self.n_images} images"
        if not total:
            return f"no mistakes{among}"
        which = "" if n == total else f"{n} of "
        order = ", the most confident first" if self.confidences is not None else ""
        return f"{which}{total} mistake{'s' * (total > 1)}{among}{order}"


def _check_comparable(y_true, y_pred):
    """Raise if true and predicted labels are of types that are never equal."""
    if not len(y_true):
        return
    try:
        unique_labels(y_true, y_pred)
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise ValueError(
            f"True labels like {y_true.tolist()[0]!r} cannot be compared with "
            f"predicted ones like {y_pred.tolist()[0]!r}: {reason}. Pass labels of the "
            "type that the classifier was fitted to."
        ) from error


def _labels(probabilities, y_true, classes):
    """Return the most probable label of every row."""
    classes = np.unique(y_true) if classes is None else on_host(classes)
    if len(classes) != probabilities.shape[1]:
        raise ValueError(
            f"The probabilities have {probabilities.shape[1]} columns, but there are "
            f"{len(classes)} classes: {', '.join(map(str, classes[:10]))}. Pass "
            "classes=, the labels of the columns in their order."
        )
    return classes[probabilities.argmax(axis=1)]


def _images_to_draw(estimator, X):
    """Return X if it is an array of images, else the images that the network gets."""
    if ndim_of(X) in (3, 4):
        try:
            shape = np.shape(X)[1:]
            return as_images(X, image_shape=shape if len(shape) == 3 else None)
        except ValueError:
            pass  # images of many sizes, which a step of the pipeline reads
    try:
        inside = look_inside(estimator)
    except TypeError as error:
        raise TypeError(
            "X is no array of images, and the estimator has no network that gets one. "
            "Pass images=, of shape (n, height, width) or (n, height, width, channels)."
        ) from error
    return inside.images(X)


def _channels_last(images):
    """Return images with their channels in the last dimension."""
    if images.ndim not in (3, 4):
        raise ValueError(
            f"images has shape {images.shape}; (n, height, width) or (n, height, "
            "width, channels) was expected."
        )
    few = 1, 3, 4
    if images.ndim == 4 and images.shape[1] in few and images.shape[3] not in few:
        return images.transpose(0, 2, 3, 1)
    return images
