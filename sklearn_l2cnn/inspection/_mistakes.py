"""MistakesDisplay: the images that a classifier is most certain and wrong about."""

import numpy as np
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_consistent_length

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._data.images import as_images, ndim_of
from sklearn_l2cnn.inspection._grid import Grid, as_pictures, columns_for, draw_image
from sklearn_l2cnn.inspection._inside import look_inside


class MistakesDisplay:
    """The mistakes of a classifier as images, the most confident first.

    :meth:`from_estimator` makes one of any fitted classifier of images,
    :meth:`from_predictions` one of labels or probabilities.

    Parameters
    ----------
    images : ndarray of shape (n_mistakes, height, width) or \
            (n_mistakes, height, width, 3)
        What was taken for something else, from 0 to 1.

    true_labels : ndarray of shape (n_mistakes,)
        What they are.

    predicted_labels : ndarray of shape (n_mistakes,)
        What they were taken for.

    confidences : ndarray of shape (n_mistakes,), default=None
        Probabilities that the predicted labels were given.

    indices : ndarray of shape (n_mistakes,), default=None
        Which images of all they are.

    n_images : int, default=None
        How many there were in all, right ones included.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_rows, n_columns)

    figure_ : matplotlib Figure

    See Also
    --------
    sklearn.metrics.ConfusionMatrixDisplay : How many of which are taken for which.

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

    def __init__(
        self,
        images,
        true_labels,
        predicted_labels,
        confidences=None,
        indices=None,
        n_images=None,
    ):
        self.images = images
        self.true_labels = true_labels
        self.predicted_labels = predicted_labels
        self.confidences = confidences
        self.indices = indices
        self.n_images = n_images

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
            What they are.
        images : array-like of shape (n, height, width[, channels]), default=None
            What to show. None is X itself where it is an array of images, else what
            comes to the network out of the earlier steps of a pipeline.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            As for :meth:`plot`.
        **kwargs
            For :meth:`plot`.

        Returns
        -------
        display : MistakesDisplay
        """
        if images is None:
            images = _shown(estimator, X)
        if hasattr(estimator, "predict_proba"):
            predicted, classes = estimator.predict_proba(X), estimator.classes_
        else:
            predicted, classes = estimator.predict(X), None
        return cls.from_predictions(
            y, predicted, images=images, classes=classes, ax=ax, **kwargs
        )

    @classmethod
    def from_predictions(
        cls, y_true, y_pred, *, images, classes=None, ax=None, **kwargs
    ):
        """Find the mistakes in predictions and draw them.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            What the images are.
        y_pred : array-like of shape (n,) or (n, n_classes)
            Labels that were predicted, or probabilities. Of labels alone nobody knows
            how confident they are: their mistakes stay in the order of the images.
        images : array-like of shape (n, height, width[, channels])
            The images, of any numbers; also channels first, where the number of
            channels tells so.
        classes : array-like of shape (n_classes,), default=None
            The labels of the columns of probabilities. None is the distinct values of
            `y_true`, sorted.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            As for :meth:`plot`.
        **kwargs
            For :meth:`plot`.

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
        _refuse_mixed(y_true, y_pred)
        wrong = np.flatnonzero(y_true != y_pred)
        if confidences is not None:
            wrong = wrong[np.argsort(-confidences[wrong], kind="stable")]
            confidences = confidences[wrong]
        display = cls(
            as_pictures(images)[wrong],
            y_true[wrong],
            y_pred[wrong],
            confidences,
            wrong,
            len(y_true),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, *, ax=None, n_images=16, n_columns=None):
        """Draw the mistakes with what they are and what they were taken for.

        Parameters
        ----------
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Whose place the images take; None makes a figure.
        n_images : int, default=16
            How many mistakes at most.
        n_columns : int, default=None
            How many stand side by side; None makes a grid wider than high.

        Returns
        -------
        display : MistakesDisplay
        """
        n = min(n_images, len(self.images))
        n_columns = n_columns or columns_for(n, ax)
        shape = max(1, -(-n // n_columns)), n_columns
        grid = Grid("MistakesDisplay.plot", shape, ax, cell=(1.3, 1.5), lines=2)
        self.axes_, self.figure_ = grid.axes, grid.figure
        cells = grid.axes.ravel()
        for cell, picture in zip(cells[:n], self.images, strict=False):
            draw_image(cell, picture)
        for cell in cells[n:]:
            cell.set_visible(False)
        grid.label(cells[:n], [self._words(k) for k in range(n)])
        grid.title(self._title(n))
        return self

    def _words(self, k):
        sure = "" if self.confidences is None else f", {self.confidences[k]:.2f}"
        return f"true {self.true_labels[k]}\npred. {self.predicted_labels[k]}{sure}"

    def _title(self, n):
        total = len(self.images)
        among = "" if self.n_images is None else f" among {self.n_images} images"
        if not total:
            return f"no mistakes{among}"
        which = "" if n == total else f"{n} of "
        order = ", the most confident first" if self.confidences is not None else ""
        return f"{which}{total} mistake{'s' * (total > 1)}{among}{order}"


def _refuse_mixed(y_true, y_pred):
    """Raise where labels are of kinds of which none is ever equal to another."""
    if not len(y_true):
        return
    try:
        unique_labels(y_true, y_pred)
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise ValueError(
            f"Labels like {y_true.tolist()[0]!r}, what images are, cannot be compared "
            f"with those like {y_pred.tolist()[0]!r}, what they were taken for: "
            f"{reason}. Pass labels of the kind that the classifier was fitted to."
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


def _shown(estimator, X):
    """Return X where it is an array of images, else what comes to the network."""
    values = X if hasattr(X, "dtype") or isinstance(X, list | tuple) else np.asarray(X)
    if ndim_of(values) in (3, 4):
        try:
            shape = np.shape(values)[1:]
            return as_images(values, image_shape=shape if len(shape) == 3 else None)
        except ValueError:
            pass  # a list of images of many sizes, for a reader
    try:
        inside = look_inside(estimator)
    except TypeError as error:
        raise TypeError(
            "X is no array of images that could be shown, and there is no network that "
            "gets one. Pass images=, of shape (n, height, width) or (n, height, width, "
            "channels)."
        ) from error
    return inside.images(X)


def _channels_last(images):
    """Return images of four dimensions with their channels at the end."""
    if images.ndim not in (3, 4):
        raise ValueError(
            f"images has shape {images.shape}; (n, height, width) or (n, height, "
            "width, channels) was expected."
        )
    few = 1, 3, 4
    if images.ndim == 4 and images.shape[1] in few and images.shape[3] not in few:
        return images.transpose(0, 2, 3, 1)
    return images
