"""Displays of one layer: its output for an image, and its kernels."""

from dataclasses import dataclass

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._utils.surroundings import undisturbed
from sklearn_l2cnn._utils.trace import at_rest, chosen_layer, layer_outputs
from sklearn_l2cnn.inspection._grid import (
    Grid,
    as_pictures,
    cell_of,
    colour_scale,
    draw_image,
    grid_shape,
    is_strip,
)
from sklearn_l2cnn.inspection._inside import look_inside
from sklearn_l2cnn.inspection._mosaic import Mosaic


@dataclass(repr=False, eq=False)
class ActivationDisplay:
    """The output of a layer of the network for one image: its maps, side by side.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, 3)
        The image, from 0 to 1.

    activations : ndarray of shape (n_maps, height, width) or (n_units,)
        The output of the layer.

    layer : str, default=""
        Name of the layer.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_rows, n_columns)
        The first shows the image.

    figure_ : matplotlib Figure

    colorbar_ : matplotlib Colorbar or None
        The scale of all maps; None where they are one pixel high, and drawn as curves.

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

    image: np.ndarray
    activations: np.ndarray
    layer: str = ""

    @classmethod
    @undisturbed()
    def from_estimator(cls, estimator, X, *, layer=0, row=0, ax=None, **kwargs):
        """Run the network on an image and draw the output of a layer.

        Parameters
        ----------
        estimator : estimator
            A fitted ``L2CNNClassifier``, a pipeline that ends in one, or a refitted
            search over one.
        X : array-like
            Images or rows, as for ``estimator.predict``.
        layer : str or int, default=0
            Name of the layer, or its index in the order in which the layers run.
        row : int, default=0
            Index of the image in X.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            As in :meth:`plot`.
        **kwargs
            Arguments of :meth:`plot`.

        Returns
        -------
        display : ActivationDisplay
        """
        inside = look_inside(estimator)
        name = chosen_layer(inside.layers(), layer)[0]
        images = inside.images(X)
        if not -len(images) <= row < len(images):
            raise ValueError(f"row={row}, but there are {len(images)} images in X.")
        image, module = images[row][np.newaxis], inside.module
        with at_rest(module), torch.no_grad():
            _, outputs = layer_outputs(module, inside.network_input(image), [name])
        output = on_host(outputs[name][0].to(torch.float64))
        if output.ndim == 2:  # attention outputs a row for each patch
            output = output[np.newaxis]
        display = cls(as_pictures(images)[row], output, name)
        return display.plot(ax=ax, **kwargs)

    def plot(self, *, ax=None, n_maps=32, n_columns=None):
        """Draw the image and the maps.

        Parameters
        ----------
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Draw in the place of these axes; None creates a figure.
        n_maps : int, default=32
            Largest number of maps; the first ones are drawn.
        n_columns : int, default=None
            Number of columns; None makes a grid wider than high.

        Returns
        -------
        display : ActivationDisplay
        """
        maps = np.asarray(self.activations)
        units = maps.ndim == 1
        if units:  # of a dense layer, drawn line by line as one map
            maps = _in_lines(maps)[np.newaxis]
        n = min(n_maps, len(maps))
        cell = cell_of(self.image, 1.2, 1.2)
        shape = grid_shape(n + 1, n_columns, ax, wide=cell[0] / cell[1])
        grid = Grid(self, shape, ax, cell=cell, beside=0.5)
        self.axes_, self.figure_ = grid.axes, grid.figure
        cells = grid.first(n + 1)
        draw_image(cells[0], self.image)
        scale, _ = colour_scale(maps[:n])
        for cell, values in zip(cells[1:], maps, strict=False):
            shown = draw_image(cell, values, **scale)
        off = [not np.nan_to_num(values).any() for values in maps[:n]]
        names = [f"{k}: all 0" if dark else str(k) for k, dark in enumerate(off)]
        grid.label(cells, ["image", *(["units"] if units else names)])
        self.colorbar_ = grid.scale(shown, grid.axes, "output")
        what = f"{len(self.activations)} {'units' if units else 'maps'}"
        if n < len(maps):
            what = f"the first {n} of {what}"
        grid.title(f"layer {self.layer!r}: {what}")
        return self


@dataclass(repr=False, eq=False)
class FilterDisplay:
    """The kernels of a convolution as small images.

    Kernels of one channel are grey, with 0 in the middle; those of three are in colour,
    grey where all three are 0. With any other number of channels, a filter is a row of
    small images, one for each channel. Kernels one pixel high are drawn as curves, all
    in one scale. Filters that are zero, as an L1 or a group penalty makes them, are
    crossed out.

    Parameters
    ----------
    kernels : ndarray of shape (n_filters, n_channels, height, width)
        The weights of the layer.

    layer : str, default=""
        Name of the layer.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (1, 1)
        All kernels are in the same.

    figure_ : matplotlib Figure

    colorbar_ : matplotlib Colorbar or None
        The scale of all kernels; None for three channels, and for curves.

    zero_ : ndarray of bool of shape (n_filters,)
        Mask of the filters that are zero.

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

    kernels: np.ndarray
    layer: str = ""

    @classmethod
    @undisturbed()
    def from_estimator(cls, estimator, *, layer=0, ax=None, **kwargs):
        """Draw the kernels of a convolution of a fitted network.

        Parameters
        ----------
        estimator : estimator
            A fitted ``L2CNNClassifier``, a pipeline that ends in one, or a refitted
            search over one.
        layer : str or int, default=0
            Name of the convolution, or its index among the convolutions in the order
            in which they run.
        ax : matplotlib Axes, Figure or SubFigure, default=None
            As in :meth:`plot`.
        **kwargs
            Arguments of :meth:`plot`.

        Returns
        -------
        display : FilterDisplay
        """
        layers = look_inside(estimator).layers()
        convolutions = [entry for entry in layers if _has_kernels(entry[1])]
        if not convolutions:
            raise ValueError(
                "This network has no convolution, and so no kernels: its layers are "
                f"{', '.join(repr(entry[0]) for entry in layers)}."
            )
        name, found, _ = chosen_layer(convolutions, layer, kind="convolution")
        kernels = on_host(found.weight.detach().to(torch.float64))
        return cls(kernels, name).plot(ax=ax, **kwargs)

    def plot(self, *, ax=None, n_filters=64, n_channels=16, n_columns=None):
        """Draw the kernels.

        Parameters
        ----------
        ax : matplotlib Axes, Figure or SubFigure, default=None
            Draw in the place of these axes; None creates a figure.
        n_filters, n_channels : int, default=64, 16
            Largest numbers of filters, and of channels of each; the first ones are
            drawn. If a filter is a row, a quarter as many filters.
        n_columns : int, default=None
            Number of columns for kernels of one or of three channels; None makes a
            grid wider than high.

        Returns
        -------
        display : FilterDisplay
        """
        kernels = np.asarray(self.kernels)
        self.zero_ = ~kernels.any(axis=(1, 2, 3))
        total, depth = kernels.shape[:2]
        strips = is_strip(kernels[0, 0])
        in_rows = depth not in (1, 3) or (depth == 3 and strips)
        n = min(total, -(-n_filters // 4) if in_rows else n_filters)
        limit = float(np.abs(kernels[:n]).max()) or 1.0
        zeros = np.flatnonzero(self.zero_[:n]).tolist()
        if in_rows:
            pictures = kernels[:n, :n_channels]
            crossed = [(k, c) for k in zeros for c in range(pictures.shape[1])]
        else:
            shape = grid_shape(n, n_columns, ax, wide=2 if strips else 1)
            pictures = _arranged(kernels[:n], shape, limit)
            crossed = [divmod(k, shape[1]) for k in zeros]
        n_rows, n_shown = pictures.shape[:2]
        size = cell_of(kernels[0, 0], 0.7, 0.7)
        whole = size[0] * n_shown, size[1] * n_rows
        grid = Grid(self, (1, 1), ax, cell=whole, lines=in_rows, beside=0.6)
        self.axes_, self.figure_, self.colorbar_ = grid.axes, grid.figure, None
        mosaic = Mosaic(grid.axes[0, 0], pictures, limit)
        if in_rows:
            mosaic.number(grid.parts_of_cell(n_shown, n_rows))
        mosaic.cross_out(crossed)
        title = self._title(n, n_shown if in_rows else None)
        if strips:
            title += f", {-limit:.2g} to {limit:.2g}"
        elif depth != 3:
            self.colorbar_ = grid.scale(mosaic.shown, grid.axes, "weight")
        grid.title(title)
        return self

    def _title(self, n, n_channels):
        total, depth = self.kernels.shape[:2]
        text = f"layer {self.layer!r}: "
        text += f"{total} filters" if n == total else f"{n} of {total} filters"
        if n_channels is not None:
            part = "" if n_channels == depth else f"{n_channels} of "
            text += f" (rows) of {part}{depth} channels"
        if self.zero_.any():
            text += f", {self.zero_.sum()} zero (crossed out)"
        return text


def _has_kernels(layer):
    return getattr(getattr(layer, "weight", None), "ndim", 0) == 4


def _in_lines(values):
    """Return values as lines of a picture about as wide as high, nan at its end."""
    width = int(np.ceil(np.sqrt(len(values))))
    lines = np.full((-(-len(values) // width), width), np.nan)
    lines.ravel()[: len(values)] = values
    return lines


def _arranged(kernels, shape, limit):
    """Return kernels in rows and columns, nan at the end; of three channels as colours.

    Parameters
    ----------
    kernels : ndarray of shape (n, n_channels, height, width)
    shape : tuple of int
    limit : float
        The largest absolute value.
    """
    pictures = kernels[:, 0]
    if kernels.shape[1] == 3:
        pictures = 0.5 + kernels.transpose(0, 2, 3, 1) / (2 * limit)
    board = np.full((shape[0] * shape[1], *pictures.shape[1:]), np.nan)
    board[: len(pictures)] = pictures
    return board.reshape(*shape, *pictures.shape[1:])
