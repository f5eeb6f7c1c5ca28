"""Many small images or curves in one picture: axes for each would take seconds."""

import math

import numpy as np

from sklearn_l2cnn.inspection._drawing import BLUE, VERMILLION
from sklearn_l2cnn.inspection._grid import fitted, is_strip, text_width

# Height of a row of curves, in those of its largest value to either side.
_ROW = 1.15


class Mosaic:
    """Images of one size in rows and columns, in one pair of axes.

    Parameters
    ----------
    ax : matplotlib Axes
    pictures : ndarray of shape (n_rows, n_columns, height, width) or \
            (n_rows, n_columns, height, width, 3)
        Strips one pixel high are drawn as curves about 0. nan is left out.
    limit : float
        The largest absolute value, unless they are in colour.

    Attributes
    ----------
    shown : matplotlib AxesImage or LineCollection
    """

    def __init__(self, ax, pictures, limit):
        self.ax = ax
        self.shape = n_rows, n_columns = pictures.shape[:2]
        self.curves = is_strip(pictures[0, 0])
        # the gaps between images are one pixel wide
        self.width = pictures.shape[3] + 1
        self.height = _ROW if self.curves else pictures.shape[2] + 1
        if self.curves:
            self.shown = self._draw_curves(pictures[:, :, 0] / (2 * limit))
            ax.set_xlim(-0.5, n_columns * self.width - 1.5)
            ax.set_ylim(self.height * (n_rows - 0.5), -self.height / 2)
        else:
            scale = {"cmap": "gray", "vmin": -limit, "vmax": limit}
            board = _side_by_side(pictures)
            self.shown = ax.imshow(board, interpolation="nearest", **scale)

    def _draw_curves(self, values):
        from matplotlib.collections import LineCollection

        rows, columns, x = np.indices(values.shape)
        x = x + self.width * columns
        middle = self.height * rows
        colour = self.ax.xaxis.label.get_color()
        for heights, looks in (
            (np.where(np.isnan(values), np.nan, middle), {"colors": colour, "lw": 0.3}),
            (middle - values, {"colors": BLUE, "lw": 1.2}),
        ):
            points = np.stack([x, heights], axis=-1).reshape(-1, values.shape[2], 2)
            drawn = self.ax.add_collection(LineCollection(points, **looks))
        return drawn

    def number(self, inches):
        """Write numbers to rows and columns, as many as fit.

        Parameters
        ----------
        inches : tuple of float
            Width and height that there is for an image.
        """
        width, height = inches
        if not self.curves:  # pixels are squares
            pixel = min(width / self.width, height / self.height)
            width, height = pixel * self.width, pixel * self.height
        middle = 0 if self.curves else self.height / 2 - 1
        _number(self.ax.yaxis, self.shape[0], middle, self.height, 2 * height)
        self.ax.xaxis.tick_top()
        _number(self.ax.xaxis, self.shape[1], self.width / 2 - 1, self.width, width)

    def cross_out(self, places):
        """Cross out images.

        Parameters
        ----------
        places : list of tuple (row, column)
        """
        x, y = [], []
        for row, column in places:
            left, top = column * self.width - 0.5, row * self.height - 0.5
            right, bottom = left + self.width - 1, top + self.height - 1
            if self.curves:
                bottom = top + 1
            x += [left, right, np.nan, left, right, np.nan]
            y += [top, bottom, np.nan, bottom, top, np.nan]
        limits = self.ax.get_xlim(), self.ax.get_ylim()
        self.ax.plot(x, y, color=VERMILLION, linewidth=1.2)
        self.ax.set(xlim=limits[0], ylim=limits[1])


def _number(axis, n, first, step, inches):
    """Write a number to each image along an axis, or to every k-th where it is narrow.

    Parameters
    ----------
    axis : matplotlib Axis
    n : int
    first, step : float
        Where the middle of the first is, and how far the others are apart.
    inches : float
        The room there is for a number.
    """
    font, _ = fitted([n], inches)
    every = max(1, math.ceil(text_width(f"{n} ", font) / inches))
    numbers = np.arange(0, n, every)
    font, texts = fitted(numbers, every * inches)
    axis.set_ticks(first + step * numbers, texts, fontsize=font)
    axis.set_tick_params(length=0)


def _side_by_side(pictures):
    """Return one image of many, with gaps that are transparent."""
    n_rows, n_columns, height, width, *colours = pictures.shape
    empty = np.nan
    if colours:
        opaque = ~np.isnan(pictures[..., :1])
        pictures = np.concatenate([np.nan_to_num(pictures), opaque], axis=-1)
        colours, empty = [4], 0.0
    board = np.full((n_rows, height + 1, n_columns, width + 1, *colours), empty)
    board[:, :height, :, :width] = pictures.swapaxes(1, 2)
    board = board.reshape(n_rows * (height + 1), n_columns * (width + 1), *colours)
    return board[:-1, :-1]
