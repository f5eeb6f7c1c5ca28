"""SaliencyDisplay: images, and under them the pixels that speak for a class."""

import numpy as np

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn.inspection._grid import (
    SIGNED,
    UNSIGNED,
    Grid,
    as_pictures,
    draw_image,
    signed_limit,
)
from sklearn_l2cnn.inspection._inside import look_inside
from sklearn_l2cnn.inspection._maps import METHODS, saliency

# What methods are called beside their row, and what they are measured in.
_NAMES = {
    "gradient": ("gradient", "slope"),
    "integrated_gradients": ("integrated\ngradients", "logit added"),
    "grad_cam": ("Grad-CAM", "map, weighted"),
    "occlusion": ("occlusion", "logit lost"),
}


class SaliencyDisplay:
    """Images, and maps of the pixels that speak for a class in each of them.

    :meth:`from_estimator` makes one by :func:`saliency`, of one method or of several.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, 3)
        As the network sees them, from 0 to 1.

    maps : dict from str to ndarray of shape (n, height, width)
        By the names of the methods. Maps with negative values are drawn in colours that
        diverge from 0, others in colours that rise from it.

    labels : list of str of length n, default=None
        What is written over the images.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_rows, n_columns)
        A row of images, one of maps for each method, and so on where `n_columns` is
        less than n; with `overlay` there is no row of images alone.

    figure_ : matplotlib Figure

    colorbars_ : list of matplotlib Colorbar
        One for every method; empty without `colorbar`.

    See Also
    --------
    saliency : The maps as an array, and what the methods mean.

    Examples
    --------
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.datasets import make_shapes
    >>> from sklearn_l2cnn.inspection import SaliencyDisplay
    >>> shapes = make_shapes(200, size=8, random_state=0)
    >>> clf = L2CNNClassifier(max_epochs=3, random_state=0)
    >>> clf = clf.fit(shapes.images, shapes.target)
    >>> display = SaliencyDisplay.from_estimator(
    ...     clf, shapes.images[:4], method=["gradient", "occlusion"])
    >>> display.maps["occlusion"].shape, display.axes_.shape
    ((4, 8, 8), (3, 4))
    """

    def __init__(self, images, maps, labels=None):
        self.images = images
        self.maps = maps
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        method="integrated_gradients",
        baseline="black",
        n_steps=32,
        layer=None,
        patch=None,
        stride=None,
        ax=None,
        **kwargs,
    ):
        """Work out the maps of some images and draw them.

        Parameters
        ----------
        estimator : estimator
            Fitted: an ``L2CNNClassifier``, a pipeline that ends in one, a refitted
            search over one.
        X : array-like
            Images or rows, as for ``estimator.predict``. A few: every one is a column.
        y : array-like of shape (n,) or label, default=None
            The class that is explained, for every image or for all. None is the one
            that the network predicts.
        method : str or list of str, default="integrated_gradients"
            One or more of the methods of :func:`saliency`.
        baseline, n_steps, layer, patch, stride
            As for :func:`saliency`.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            As for :meth:`plot`.
        **kwargs
            For :meth:`plot`.

        Returns
        -------
        display : SaliencyDisplay
        """
        methods = [method] if isinstance(method, str) else list(method)
        if not methods or not set(methods) <= set(METHODS):
            raise ValueError(
                f"method={method!r}; one or more of "
                f"{', '.join(map(repr, METHODS))} were expected."
            )
        inside = look_inside(estimator)
        images = inside.images(X)
        # what comes out of the earlier steps goes straight to the classifier
        classifier, seen = inside.classifier, inside.as_given(images)
        options = {"baseline": baseline, "n_steps": n_steps, "layer": layer}
        options |= {"patch": patch, "stride": stride}
        probabilities = on_host(classifier.predict_proba(seen))
        classes = on_host(classifier.classes_)
        explained = classes[probabilities.argmax(axis=1)] if y is None else on_host(y)
        maps = {
            name: saliency(classifier, seen, explained, method=name, **options)
            for name in methods
        }
        explained = np.broadcast_to(explained, len(images))
        places = (classes == explained[:, np.newaxis]).argmax(axis=1)
        sure = probabilities[np.arange(len(images)), places]
        labels = [
            f"{label}, {share:.2f}"
            for label, share in zip(explained.tolist(), sure, strict=True)
        ]
        display = cls(as_pictures(images), maps, labels)
        return display.plot(ax=ax, **kwargs)

    def plot(self, *, ax=None, n_columns=None, overlay=False, colorbar=True):
        """Draw the images, and the maps of every method under them.

        Parameters
        ----------
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Whose place the images take; None makes a figure.
        n_columns : int, default=None
            How many images stand side by side; None is all, but at most 8.
        overlay : bool, default=False
            Whether the maps lie over the images, in grey, rather than on their own.
        colorbar : bool, default=True
            Whether the scale of every method is drawn to its right. All maps of a
            method have the same one; the few values beyond it, half a per cent, have
            the colour of its end.

        Returns
        -------
        display : SaliencyDisplay
        """
        n, above = len(self.images), 0 if overlay else 1
        n_columns = n_columns or min(n, 8)
        n_blocks, height = -(-n // n_columns), above + len(self.maps)
        beside = 0.65 * colorbar + 0.3 * (len(self.maps) > 1)
        shape = n_blocks * height, n_columns
        grid = Grid("SaliencyDisplay.plot", shape, ax, beside=beside)
        self.axes_, self.figure_, self.colorbars_ = grid.axes, grid.figure, []
        # from (block, row, column) to (row, image)
        blocks = grid.axes.reshape(n_blocks, height, n_columns)
        cells = blocks.swapaxes(0, 1).reshape(height, -1)
        for cell in cells[:, n:].ravel():
            cell.set_visible(False)
        if not overlay:
            for cell, picture in zip(cells[0, :n], self.images, strict=True):
                draw_image(cell, picture)
        if self.labels is not None:
            grid.label(cells[0, :n], self.labels)
        signed = False
        for row, (method, maps) in zip(cells[above:], self.maps.items(), strict=True):
            shown, extend = self._draw_maps(row[:n], maps, overlay)
            signed = bool((maps < 0).any())
            if colorbar:
                unit = _NAMES.get(method, (None, None))[1]
                self.colorbars_.append(grid.scale(shown, row, unit, extend))
        names = [_NAMES.get(method, (method,))[0] for method in self.maps]
        if len(names) == 1:
            name, meaning = names[0].replace("\n", " "), "what matters for the class"
            if signed:
                meaning = "red speaks for the class, blue against it"
            grid.title(f"{name}\n{meaning}")
        else:
            sides = cells[above:, ::n_columns]
            grid.label_rows(sides.ravel(), np.repeat(names, n_blocks).tolist())
        return self

    def _draw_maps(self, cells, maps, overlay):
        """Draw the maps of one method, all of them on one scale."""
        limit, extend = signed_limit(maps)
        signed = bool((maps < 0).any())
        scale = {"cmap": SIGNED, "vmin": -limit, "vmax": limit}
        if not signed:
            scale = {"cmap": UNSIGNED, "vmin": 0, "vmax": limit}
            extend = "max" if extend == "both" else extend
        for cell, picture, values in zip(cells, self.images, maps, strict=True):
            if overlay:
                grey = picture if picture.ndim == 2 else picture.mean(axis=2)
                draw_image(cell, grey)
                # what says nothing lets the image show through
                strength = np.clip(np.abs(values) / limit, 0, 1) ** 0.5
                scale["alpha"] = 0.85 * strength
            shown = draw_image(cell, values, **scale)
        if overlay:
            shown = _opaque(shown)
        return shown, extend


def _opaque(image):
    """Return what a colour bar is drawn of, without the transparency of an image."""
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(norm=image.norm, cmap=image.cmap)
