"""Grids of small images, which all displays of images use."""

import numpy as np

from sklearn_l2cnn._utils.sklearn_compat import check_matplotlib_support
from sklearn_l2cnn.inspection._drawing import BLUE, GREEN, VERMILLION

# Both are readable with colour vision deficiencies, and in grey.
SIGNED, UNSIGNED = "RdBu_r", "viridis"

# Smallest and largest font size in points, and the width of a letter relative to it.
_FONT_SIZES = 5.5, 9.0
_LETTER_WIDTH = 0.66

# What is left free around curves, as a part of their scale and of their length.
_MARGIN = 0.05


def as_pictures(images):
    """Return images as matplotlib shows them.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, channels)

    Returns
    -------
    pictures : ndarray of shape (n, height, width) or (n, height, width, 3)
        From 0 to 1: uint8 is divided by 255, floats outside of this range are scaled by
        the minimum and maximum of all images. One channel is grey, the last of four is
        left out, any other number except three is averaged.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.inspection._grid import as_pictures
    >>> as_pictures(np.array([[[[0], [51]]]], dtype=np.uint8)).tolist()
    [[[0.0, 0.2]]]
    """
    images = np.asarray(images)
    white = 255.0 if images.dtype == np.uint8 else 1.0
    values = images.astype(np.float64) / white
    low, high = values.min(initial=0), values.max(initial=1 if values.size == 0 else 0)
    if low < 0 or high > 1:
        values = (values - low) / (high - low)
    if values.ndim == 4 and values.shape[3] == 4:
        values = values[..., :3]
    elif values.ndim == 4 and values.shape[3] != 3:
        values = values.mean(axis=3)
    return values


def is_strip(picture):
    """Say whether an image is a row of values, which is drawn as a curve."""
    return picture.shape[0] == 1 and picture.shape[1] > 2


def cell_of(picture, width, height):
    """Return width and height of a cell, in inches: twice as wide for a curve."""
    return (2 * width if is_strip(picture) else width), height


def grid_shape(n_images, n_columns=None, ax=None, wide=1):
    """Return rows and columns of a grid.

    Parameters
    ----------
    n_images : int
    n_columns : int, default=None
        None is the number that makes square images largest.
    ax : matplotlib Axes, Figure or SubFigure, default=None
        The place of the grid; None is a new figure, twice as wide as high.
    wide : float, default=1
        Width of an image by its height.

    Examples
    --------
    >>> from sklearn_l2cnn.inspection._grid import grid_shape
    >>> [grid_shape(n) for n in (0, 1, 3, 9, 64)]
    [(1, 1), (1, 1), (1, 3), (2, 5), (5, 13)]
    """
    aspect = 2.0 if ax is None else ax.bbox.width / ax.bbox.height

    def room(n_columns):
        n_rows = -(-n_images // n_columns)
        return min(aspect / (wide * n_columns), 1 / (1.25 * n_rows))  # text above

    n_columns = n_columns or max(range(1, n_images + 1), key=room, default=1)
    return max(1, -(-n_images // n_columns)), n_columns


class Grid:
    """Axes in rows and columns, without frames, in a figure or in a part of one.

    Parameters
    ----------
    display : object
        Its class name is part of error messages.
    shape : tuple of int
        Rows and columns.
    ax : matplotlib Axes, Figure or SubFigure, default=None
        The place of the grid; None creates a figure.
    cell : tuple of float, default=(1.2, 1.2)
        Width and height of a cell of a new figure, in inches.
    lines : int, default=1
        Lines of text over the cells, for figures without a layout engine.
    beside : float, default=0.0
        Width that colour bars and names of rows need, in inches.

    Attributes
    ----------
    axes : ndarray of Axes of shape `shape`
    figure : matplotlib Figure
        The whole figure.
    part : matplotlib Figure or SubFigure
        The part of the figure that the grid fills.
    """

    def __init__(
        self, display, shape, ax=None, *, cell=(1.2, 1.2), lines=1, beside=0.0
    ):
        check_matplotlib_support(f"{type(display).__name__}.plot")
        import matplotlib.pyplot as plt

        if ax is None:
            n_rows, n_columns = shape
            # a title and a colour bar need room, however few images there are
            size = max(3.6, cell[0] * n_columns + 0.8), cell[1] * n_rows + 0.6
            self.part = plt.figure(figsize=size, layout="constrained")
        elif hasattr(ax, "get_subplotspec"):
            self.part = _subfigure_at(ax)
        else:
            self.part = ax
        self.figure = self.part.figure
        self._width, self._height = self.part.bbox.size / self.figure.dpi
        # labels of other axes of the figure may take some of the width
        share = 0.95 if self.part is self.figure else 0.82
        self._cell_width = share * max(0.1, self._width - beside) / shape[1]
        spaced = {}
        if self.figure.get_layout_engine() is None:
            spaced = _spaces(self._height, shape[0], lines)
        bare = {"xticks": [], "yticks": [], "frame_on": False}
        self.axes = self.part.subplots(
            *shape, squeeze=False, gridspec_kw=spaced, subplot_kw=bare
        )

    def parts_of_cell(self, n_columns, n_rows):
        """Return width and height, in inches, of parts of a cell."""
        height = 0.8 * self._height / self.axes.shape[0]
        return self._cell_width / n_columns, height / n_rows

    def first(self, n):
        """Return the first n cells, row by row, and hide the others."""
        for cell in self.axes.flat[n:]:
            cell.set_visible(False)
        return self.axes.flat[:n]

    def title(self, text):
        """Write a title over the grid, in a font size in which it fits."""
        size, [text] = fitted([text], 0.98 * self._width, most=11.0)
        self.part.suptitle(text, fontsize=size)

    def label(self, axes, texts):
        """Write texts over cells, in one font size in which all fit."""
        size, texts = fitted(texts, self._cell_width)
        for one, text in zip(axes, texts, strict=True):
            one.set_title(text, fontsize=size, pad=2.5)

    def label_rows(self, axes, texts):
        """Write texts to the left of rows, vertically, in one font size."""
        size, texts = fitted(texts, 0.7 * self._height / self.axes.shape[0])
        for one, text in zip(axes, texts, strict=True):
            one.set_ylabel(text, fontsize=size)

    def scale(self, shown, axes, label="", extend="neither"):
        """Draw the colour bar of some cells to their right.

        That of curves is to the left of the first of them, and None is returned.
        """
        if not hasattr(shown, "get_clim"):
            limits = low, high = shown.axes.get_ylim()
            first = next(ax for ax in np.ravel(axes) if ax.get_ylim() == limits)
            margin = _MARGIN / (1 + 2 * _MARGIN) * (high - low)
            low = low + margin if low + 2 * margin < 0 else 0.0
            first.set_yticks([low, high - margin])
            first.yaxis.set_major_formatter("{x:.2g}")
            first.tick_params(labelsize=7, length=2)
            first.set_ylabel(label, fontsize=7)
            return None
        place = {"shrink": 0.9, "pad": 0.02, "panchor": False}  # cells stay aligned
        bar = self.part.colorbar(shown, ax=axes, extend=extend, **place)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)
        bar.set_label(label, fontsize=7)
        return bar


def _spaces(height, n_rows, lines):
    """Return the margins of a grid that leave room for the texts over its cells."""
    text, title = 1.4 * lines * _FONT_SIZES[1] / 72, 20 / 72
    top = max(0.5, 1 - (text + title) / height)
    cell = (top - 0.1) * height / n_rows
    return {"top": top, "hspace": 0.1 + text / max(0.1, cell - text), "wspace": 0.1}


def _subfigure_at(ax):
    """Return a new subfigure in the place of axes, which are not drawn."""
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            "ax does not lie in a grid, so its place cannot be divided; axes of "
            "plt.subplots(), a figure, or None for a new figure was expected."
        )
    ax.set_axis_off()
    return ax.get_figure().add_subfigure(place)


def fitted(texts, inches, most=_FONT_SIZES[1]):
    """Return a font size in points in which texts fit, and the texts.

    Lines that are too long for the smallest size lose their middle.

    Examples
    --------
    >>> from sklearn_l2cnn.inspection._grid import fitted
    >>> fitted(["cat", "dog"], inches=1)
    (9.0, ['cat', 'dog'])
    >>> fitted(["a golden retriever of age"], inches=1)
    (5.5, ['a golden …er of age'])
    """
    lines = [str(text).splitlines() or [""] for text in texts]
    longest = max((len(line) for text in lines for line in text), default=1)
    letters = 72 * inches / _LETTER_WIDTH  # that fit, times their size
    size = min(most, max(_FONT_SIZES[0], letters / max(1, longest)))
    room = max(3, int(letters / size))
    return size, ["\n".join(_shortened(line, room) for line in text) for text in lines]


def text_width(text, size):
    """Return about how wide a text is in a font size, in inches."""
    return _LETTER_WIDTH * size * len(text) / 72


def _shortened(line, room):
    if len(line) <= room:
        return line
    head = room // 2
    return f"{line[:head]}…{line[len(line) - (room - 1 - head) :]}"


def draw_image(ax, picture, *, cmap="gray", vmin=0, vmax=1, **options):
    """Draw a small image, each pixel as a square, or a strip as a curve.

    Parameters
    ----------
    ax : matplotlib Axes
    picture : ndarray of shape (height, width) or (height, width, 3)
    cmap, vmin, vmax, **options
        For ``imshow``; by default grey from 0 to 1.

    Returns
    -------
    shown : matplotlib AxesImage or, of a strip, Line2D
    """
    if is_strip(picture):
        return _draw_curve(ax, picture[0], vmin, vmax)
    options |= {"cmap": cmap, "vmin": vmin, "vmax": vmax, "interpolation": "nearest"}
    return ax.imshow(picture, **options)


def _draw_curve(ax, values, low, high):
    """Draw the values of a strip; those of three channels in their colours."""
    if low < 0:
        ax.axhline(0, color=ax.xaxis.label.get_color(), linewidth=0.4)
    colours = (BLUE,) if values.ndim == 1 else (VERMILLION, GREEN, BLUE)
    for curve, colour in zip(np.atleast_2d(values.T), colours, strict=True):
        [shown] = ax.plot(curve, color=colour, linewidth=1.0)
    margin, beside = _MARGIN * (high - low), _MARGIN * len(values)
    ax.set(xlim=(-beside, len(values) + beside), ylim=(low - margin, high + margin))
    return shown


def colour_scale(values, share=100):
    """Choose colours that diverge from 0, or rise from it if no value is negative.

    Parameters
    ----------
    values : ndarray
        All that have the scale in common.
    share : float, default=100
        Percentage of the values inside of the scale: a few outliers would make all
        others pale.

    Returns
    -------
    options : dict
        For `draw_image`.
    extend : {"neither", "max", "both"}
        The ends of the scale that values exceed.
    """
    values = np.nan_to_num(values)
    sizes = np.abs(values)
    limit = float(np.percentile(sizes, share)) or float(sizes.max()) or 1.0
    options, ends = {"cmap": UNSIGNED, "vmin": 0, "vmax": limit}, "max"
    if values.min() < 0:
        options, ends = {"cmap": SIGNED, "vmin": -limit, "vmax": limit}, "both"
    return options, ends if sizes.max() > 1.001 * limit else "neither"
