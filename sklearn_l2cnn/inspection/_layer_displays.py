"""Displays of one layer: what it gives out for an image, and its kernels."""

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._utils.trace import at_rest, chosen_layer, layer_outputs
from sklearn_l2cnn.inspection._grid import (
    SIGNED,
    UNSIGNED,
    Grid,
    as_pictures,
    columns_for,
    draw_image,
)
from sklearn_l2cnn.inspection._inside import look_inside


class ActivationDisplay:
    """What a layer of the network gives out for one image: its maps, side by side.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, 3)
        As the network sees it, from 0 to 1.

    activations : ndarray of shape (n_maps, height, width) or (n_units,)
        What the layer gives out.

    layer : str, default=""
        What the layer is called.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_rows, n_columns)
        The first shows the image.

    figure_ : matplotlib Figure

    colorbar_ : matplotlib Colorbar
        The scale, which all maps share.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.inspection import ActivationDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images[:200], digits.target[:200]
    >>> clf = L2CNNClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> display = ActivationDisplay.from_estimator(clf, X[:1], layer="relu1")
    >>> display.activations.shape
    (32, 8, 8)
    """

    def __init__(self, image, activations, layer=""):
        self.image = image
        self.activations = activations
        self.layer = layer

    @classmethod
    def from_estimator(cls, estimator, X, *, layer=0, row=0, ax=None, **kwargs):
        """Run the network on an image and draw what a layer gives out.

        Parameters
        ----------
        estimator : estimator
            Fitted: an ``L2CNNClassifier``, a pipeline that ends in one, a refitted
            search over one.
        X : array-like
            Images or rows, as for ``estimator.predict``.
        layer : str or int, default=0
            The layer, by name or by number in the order in which the layers run.
        row : int, default=0
            Which image of X.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            As for :meth:`plot`.
        **kwargs
            For :meth:`plot`.

        Returns
        -------
        display : ActivationDisplay
        """
        inside = look_inside(estimator)
        name = chosen_layer(inside.layers(), layer)[0]
        images = inside.images(X)
        if not -len(images) <= row < len(images):
            raise ValueError(f"row={row}, but there are {len(images)} images in X.")
        image = images[row][np.newaxis]
        module = inside.module
        with at_rest(module), torch.no_grad():
            _, outputs = layer_outputs(module, inside.network_input(image), [name])
        output = on_host(outputs[name][0].to(torch.float64))
        if output.ndim == 2:  # of attention, a row for every patch
            output = output[np.newaxis]
        display = cls(as_pictures(images)[row], output, name)
        return display.plot(ax=ax, **kwargs)

    def plot(self, *, ax=None, n_maps=32, n_columns=None):
        """Draw the image and the maps.

        Parameters
        ----------
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Whose place the pictures take; None makes a figure.
        n_maps : int, default=32
            How many maps at most, the first ones.
        n_columns : int, default=None
            How many stand side by side; None makes a grid wider than high.

        Returns
        -------
        display : ActivationDisplay
        """
        maps = np.asarray(self.activations)
        rows = maps.ndim == 1
        if rows:  # the units of a dense layer, line by line
            maps = _in_lines(maps)[np.newaxis]
        n = min(n_maps, len(maps))
        n_columns = n_columns or columns_for(n + 1, ax)
        shape = -(-(n + 1) // n_columns), n_columns
        grid = Grid("ActivationDisplay.plot", shape, ax, beside=0.5)
        self.axes_, self.figure_ = grid.axes, grid.figure
        cells = grid.axes.ravel()
        draw_image(cells[0], self.image)
        scale = _scale_of(maps[:n])
        for cell, values in zip(cells[1 : n + 1], maps, strict=False):
            shown = draw_image(cell, values, **scale)
        for cell in cells[n + 1 :]:
            cell.set_visible(False)
        off = [not np.nan_to_num(values).any() for values in maps[:n]]
        names = [f"{k}: all 0" if dark else str(k) for k, dark in enumerate(off)]
        grid.label(cells[: n + 1], ["image", *(["units"] if rows else names)])
        self.colorbar_ = grid.scale(shown, grid.axes)
        what = f"{len(self.activations)} {'units' if rows else 'maps'}"
        if n < len(maps):
            what = f"the first {n} of {what}"
        grid.title(f"layer {self.layer!r}: {what}")
        return self


class FilterDisplay:
    """The kernels of a convolution as small images.

    Kernels of one channel are grey, 0 in the middle; those of three are in colour, grey
    where all three are 0. Of any other number a row of small images is one filter, one
    for every channel that it looks at. Filters that are zero throughout, as an L1 or a
    group penalty leaves them, are crossed out.

    Parameters
    ----------
    kernels : ndarray of shape (n_filters, n_channels, height, width)
        The weights of the layer.

    layer : str, default=""
        What the layer is called.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_rows, n_columns)

    figure_ : matplotlib Figure

    colorbar_ : matplotlib Colorbar or None
        The scale, which all kernels share; None for colours.

    zero_ : ndarray of bool of shape (n_filters,)
        Which filters are zero throughout.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.inspection import FilterDisplay
    >>> digits = load_digits()
    >>> X, y = digits.images[:200], digits.target[:200]
    >>> clf = L2CNNClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> display = FilterDisplay.from_estimator(clf)
    >>> display.layer, display.kernels.shape, int(display.zero_.sum())
    ('conv1', (32, 1, 3, 3), 0)
    """

    def __init__(self, kernels, layer=""):
        self.kernels = kernels
        self.layer = layer

    @classmethod
    def from_estimator(cls, estimator, *, layer=0, ax=None, **kwargs):
        """Draw the kernels of a convolution of a fitted network.

        Parameters
        ----------
        estimator : estimator
            Fitted: an ``L2CNNClassifier``, a pipeline that ends in one, a refitted
            search over one.
        layer : str or int, default=0
            The convolution, by name or by number among the convolutions, in the order
            in which they run.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            As for :meth:`plot`.
        **kwargs
            For :meth:`plot`.

        Returns
        -------
        display : FilterDisplay
        """
        layers = look_inside(estimator).layers()
        convolutions = [
            entry
            for entry in layers
            if getattr(getattr(entry[1], "weight", None), "ndim", 0) == 4
        ]
        if not convolutions:
            raise ValueError(
                "This network has no convolution, so that there are no kernels to "
                f"show: its layers are {', '.join(repr(entry[0]) for entry in layers)}."
            )
        name, found, _ = chosen_layer(convolutions, layer, kind="convolution")
        kernels = on_host(found.weight.detach().to(torch.float64))
        return cls(kernels, name).plot(ax=ax, **kwargs)

    def plot(self, *, ax=None, n_filters=64, n_channels=16, n_columns=None):
        """Draw the kernels.

        Parameters
        ----------
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Whose place the pictures take; None makes a figure.
        n_filters, n_channels : int, default=64, 16
            How many filters, and channels of each, at most: the first ones. Where a
            filter is a row, a quarter as many filters.
        n_columns : int, default=None
            How many kernels of one or of three channels stand side by side.

        Returns
        -------
        display : FilterDisplay
        """
        kernels = np.asarray(self.kernels)
        self.zero_ = ~kernels.any(axis=(1, 2, 3))
        total, depth = kernels.shape[:2]
        in_rows = depth not in (1, 3)
        n = min(total, -(-n_filters // 4) if in_rows else n_filters)
        limit = float(np.abs(kernels[:n]).max()) or 1.0
        if in_rows:
            shape = n, min(depth, n_channels)
        else:
            n_columns = n_columns or columns_for(n, ax)
            shape = -(-n // n_columns), n_columns
        grid = Grid(
            "FilterDisplay.plot", shape, ax, cell=(0.7, 0.7), lines=0, beside=0.6
        )
        self.axes_, self.figure_, self.colorbar_ = grid.axes, grid.figure, None
        if in_rows:
            for line, kernel, zero in zip(grid.axes, kernels, self.zero_, strict=False):
                for cell, values in zip(line, kernel, strict=False):
                    shown = draw_image(cell, values, cmap="gray", **_about_0(limit))
                    _cross_out(cell, zero)
            grid.label_rows(grid.axes[:, 0], map(str, range(n)))
            grid.label(grid.axes[0], map(str, range(shape[1])))
        else:
            for k, cell in enumerate(grid.axes.flat):
                if k >= n:
                    cell.set_visible(False)
                    continue
                values = kernels[k, 0]
                if depth == 3:
                    values = 0.5 + kernels[k].transpose(1, 2, 0) / (2 * limit)
                shown = draw_image(cell, values, cmap="gray", **_about_0(limit))
                _cross_out(cell, self.zero_[k])
        if depth != 3:
            self.colorbar_ = grid.scale(shown, grid.axes, "weight")
        grid.title(self._title(n, shape[1] if in_rows else depth))
        return self

    def _title(self, n, n_channels):
        total, depth = self.kernels.shape[:2]
        words = f"layer {self.layer!r}: "
        words += f"{total} filters" if n == total else f"{n} of {total} filters"
        if depth not in (1, 3):
            part = "" if n_channels == depth else f"{n_channels} of "
            words += f" (rows) of {part}{depth} channels"
        if self.zero_.any():
            words += f", {self.zero_.sum()} zero (crossed out)"
        return words


def _about_0(limit):
    return {"vmin": -limit, "vmax": limit}


def _scale_of(maps):
    """Return the colours of maps: rising from 0, or diverging from it."""
    limit = float(np.nanmax(np.abs(maps), initial=0)) or 1.0
    if np.nanmin(maps, initial=0) < 0:
        return {"cmap": SIGNED, **_about_0(limit)}
    return {"cmap": UNSIGNED, "vmin": 0, "vmax": limit}


def _in_lines(values):
    """Put numbers into lines of a picture about as wide as high, nan at its end."""
    width = int(np.ceil(np.sqrt(len(values))))
    lines = np.full((-(-len(values) // width), width), np.nan)
    lines.ravel()[: len(values)] = values
    return lines


def _cross_out(ax, zero):
    """Cross out a cell that is zero."""
    if zero:
        corners = {"transform": ax.transAxes, "color": "#D55E00", "linewidth": 1.2}
        ax.plot([0, 1], [0, 1], **corners)
        ax.plot([0, 1], [1, 0], **corners)
