"""SaliencyDisplay: images, and maps of the pixels that speak for a class."""

from dataclasses import dataclass

import numpy as np

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn.inspection._grid import (
    Grid,
    as_pictures,
    cell_of,
    colour_scale,
    draw_image,
    is_strip,
)
from sklearn_l2cnn.inspection._inside import look_inside
from sklearn_l2cnn.inspection._maps import METHODS, saliency

# Labels of the rows and of the colour bars of the methods.
_NAMES = {
    "gradient": ("gradient", "slope"),
    "integrated_gradients": ("integrated\ngradients", "logit added"),
    "grad_cam": ("Grad-CAM", "map, weighted"),
    "occlusion": ("occlusion", "logit lost"),
}


@dataclass(repr=False, eq=False)
class SaliencyDisplay:
    """Images, and maps of the pixels that speak for a class in each of them.

    Create it with :meth:`from_estimator`, which calls :func:`saliency` for one method
    or several.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, 3)
        The images, from 0 to 1.

    maps : dict from str to ndarray of shape (n, height, width)
        From names of methods to maps. Maps with negative values are drawn in colours
        that diverge from 0, others in colours that rise from it.

    labels : list of str of length n, default=None
        Texts over the images.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_rows, n_columns)
        A row of images and a row of maps for each method, repeated if `n_columns` is
        less than n; with `overlay` there is no row of images.

    figure_ : matplotlib Figure

    colorbars_ : list of matplotlib Colorbar
        One for each method; empty without `colorbar`, and where images one pixel high
        are drawn as curves, unless with `overlay`.

    See Also
    --------
    saliency : The maps as an array, and definitions of the methods.

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

    images: np.ndarray
    maps: dict
    labels: list | None = None

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
        """Compute the maps of some images and draw them.

        Parameters
        ----------
        estimator : estimator
            A fitted ``L2CNNClassifier``, a pipeline that ends in one, or a refitted
            search over one.
        X : array-like
            Images or rows, as for ``estimator.predict``. A few: each one is a column.
        y : array-like of shape (n,) or label, default=None
            The class to explain, for each image or for all. None is the class that the
            network predicts.
        method : str or list of str, default="integrated_gradients"
            One or more of the methods of :func:`saliency`.
        baseline, n_steps, layer, patch, stride
            As in :func:`saliency`.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            As in :meth:`plot`.
        **kwargs
            Arguments of :meth:`plot`.

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
        # the earlier steps of a pipeline have transformed these already
        classifier, inputs = inside.classifier, inside.transformed(X)
        images = inside.checked(inputs)
        options = {"baseline": baseline, "n_steps": n_steps, "layer": layer}
        options |= {"patch": patch, "stride": stride}
        probabilities = on_host(classifier.predict_proba(inputs))
        classes = on_host(classifier.classes_)
        explained = classes[probabilities.argmax(axis=1)] if y is None else on_host(y)
        maps = {
            name: saliency(classifier, inputs, explained, method=name, **options)
            for name in methods
        }
        explained = np.broadcast_to(explained, len(images)).tolist()
        labels = [
            f"{label}, {row[classes.tolist().index(label)]:.2f}"
            for label, row in zip(explained, probabilities, strict=True)
        ]
        display = cls(as_pictures(images), maps, labels)
        return display.plot(ax=ax, **kwargs)

    def plot(self, *, ax=None, n_columns=None, overlay=False, colorbar=True):
        """Draw the images, and the maps of each method under them.

        Parameters
        ----------
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Draw in the place of these axes; None creates a figure.
        n_columns : int, default=None
            Number of columns; None is one for each image, but at most 8.
        overlay : bool, default=False
            Whether to draw the maps over the images, in grey, instead of under them.
        colorbar : bool, default=True
            Whether to draw the scale of each method to its right. All maps of a method
            share it; the half per cent of the values outside of it have the colour of
            its end.

        Returns
        -------
        display : SaliencyDisplay
        """
        n, above = len(self.images), 0 if overlay else 1
        n_columns = n_columns or min(n, 8)
        n_blocks, height = -(-n // n_columns), above + len(self.maps)
        beside = 0.65 * colorbar + 0.3 * (len(self.maps) > 1)
        cell = cell_of(self.images[0], 1.2, 1.2)
        shape, lines = (n_blocks * height, n_columns), 1 + (len(self.maps) == 1)
        grid = Grid(self, shape, ax, cell=cell, lines=lines, beside=beside)
        self.axes_, self.figure_, self.colorbars_ = grid.axes, grid.figure, []
        # from (block, row, column) to (row, image)
        blocks = grid.axes.reshape(n_blocks, height, n_columns)
        cells = blocks.swapaxes(0, 1).reshape(height, -1)
        for cell in cells[:, n:].ravel():
            cell.set_visible(False)
        for cell, picture in zip(cells[:above, :n].ravel(), self.images, strict=False):
            draw_image(cell, picture)
        if self.labels is not None:
            grid.label(cells[0, :n], self.labels)
        for row, (method, maps) in zip(cells[above:], self.maps.items(), strict=True):
            shown, extend = self._draw_maps(row[:n], maps, overlay)
            if colorbar:
                unit = _NAMES.get(method, (method, ""))[1]
                bar = grid.scale(shown, row, unit, extend)
                self.colorbars_ += [] if bar is None else [bar]
        names = [_NAMES.get(method, (method,))[0] for method in self.maps]
        if len(names) == 1:
            name, meaning = names[0].replace("\n", " "), "what matters for the class"
            if (maps < 0).any():
                meaning = "red speaks for the class, blue against it"
                if not self.colorbars_ and not overlay and is_strip(maps[0]):
                    meaning = "what is above 0 speaks for the class, below against it"
            grid.title(f"{name}\n{meaning}")
        else:
            sides = cells[above:, ::n_columns]
            grid.label_rows(sides.ravel(), np.repeat(names, n_blocks).tolist())
        return self

    def _draw_maps(self, cells, maps, overlay):
        """Draw the maps of one method in one scale of colours."""
        scale, extend = colour_scale(maps, share=99.5)
        for cell, picture, values in zip(cells, self.images, maps, strict=True):
            if overlay:
                grey = picture if picture.ndim == 2 else picture.mean(axis=2)
                draw_image(cell, grey)
                # values near 0 are transparent
                strength = np.clip(np.abs(values) / scale["vmax"], 0, 1) ** 0.5
                scale["alpha"] = 0.85 * strength
            if overlay and is_strip(values):  # points of the curve
                scale["alpha"] = scale["alpha"][0]
                shown = cell.scatter(
                    np.arange(grey.shape[1]), grey[0], 14, values[0], **scale
                )
            else:
                shown = draw_image(cell, values, **scale)
        return shown, extend
