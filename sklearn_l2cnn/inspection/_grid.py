"""Grids of small images, which all pictures of images are drawn with."""

import numpy as np

from sklearn_l2cnn._data.pixels import as_float64
from sklearn_l2cnn._utils.sklearn_compat import check_matplotlib_support

# Both are told apart by all eyes, and in grey.
SIGNED, UNSIGNED = "RdBu_r", "viridis"

# Sizes of letters in points, and how wide a letter is against its size.
_LETTERS = 5.5, 9.0
_WIDTH = 0.66


def as_pictures(images):
    """Return images as what a screen shows.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, channels)

    Returns
    -------
    pictures : ndarray of shape (n, height, width) or (n, height, width, 3)
        From 0 to 1: uint8 counts as that, and so do floats that are; others are scaled
        by the least and the largest of all images together. One channel is grey, of
        four the last is left out, of any other number but three the mean is shown.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.inspection._grid import as_pictures
    >>> as_pictures(np.array([[[[0], [51]]]], dtype=np.uint8)).tolist()
    [[[0.0, 0.2]]]
    """
    values = as_float64(np.asarray(images))
    low, high = values.min(initial=0), values.max(initial=1 if values.size == 0 else 0)
    if low < 0 or high > 1:
        values = (values - low) / (high - low)
    if values.ndim == 4 and values.shape[3] == 4:
        values = values[..., :3]
    elif values.ndim == 4 and values.shape[3] != 3:
        values = values.mean(axis=3)
    return values


def columns_for(n_images, ax=None):
    """Return how many columns of a grid leave most room for square images.

    Parameters
    ----------
    n_images : int
    ax : matplotlib Axes, Figure or SubFigure, default=None
        What the grid will fill; None is a new figure, twice as wide as high.

    Examples
    --------
    >>> from sklearn_l2cnn.inspection._grid import columns_for
    >>> [columns_for(n) for n in (0, 1, 3, 9, 64)]
    [1, 1, 3, 5, 13]
    """
    aspect = 2.0 if ax is None else ax.bbox.width / ax.bbox.height

    def room(n_columns):
        n_rows = -(-n_images // n_columns)
        return min(aspect / n_columns, 1 / (1.25 * n_rows))  # words stand above

    return max(range(1, max(1, n_images) + 1), key=room, default=1) if n_images else 1


class Grid:
    """Axes in rows and columns, without frames, in a figure or in a part of one.

    Parameters
    ----------
    caller : str
        Who draws, for messages.
    shape : tuple of int
        Rows and columns.
    ax : matplotlib Axes, Figure or SubFigure, default=None
        Whose place the grid takes; None makes a figure.
    cell : tuple of float, default=(1.2, 1.2)
        Width and height of a cell of a new figure, in inches.
    lines : int, default=1
        Of text over the cells, which need room where no layout engine makes it.
    beside : float, default=0.0
        What scales and names of rows will need of the width, in inches.

    Attributes
    ----------
    axes : ndarray of Axes of shape `shape`
    figure : matplotlib Figure
        The whole.
    part : matplotlib Figure or SubFigure
        What the grid fills.
    """

    def __init__(self, caller, shape, ax=None, *, cell=(1.2, 1.2), lines=1, beside=0.0):
        check_matplotlib_support(caller)
        import matplotlib.pyplot as plt

        if ax is None:
            n_rows, n_columns = shape
            # a title and a scale need room, however few images there are
            size = max(3.6, cell[0] * n_columns + 0.8), cell[1] * n_rows + 0.6
            self.part = plt.figure(figsize=size, layout="constrained")
        elif hasattr(ax, "get_subplotspec"):
            self.part = _in_the_place_of(ax)
        else:
            self.part = ax
        self._beside = beside
        self.figure = self.part
        while self.figure is not self.figure.figure:
            self.figure = self.figure.figure
        spaced = {}
        if self.figure.get_layout_engine() is None:
            spaced = _spaces(self.part.bbox.height / self.figure.dpi, shape[0], lines)
        self.axes = self.part.subplots(*shape, squeeze=False, gridspec_kw=spaced)
        for one in self.axes.flat:
            one.set_xticks([])
            one.set_yticks([])
            one.spines[:].set_visible(False)
            one.set_facecolor("none")

    @property
    def cell_width(self):
        """Width of a cell in inches."""
        width = self.part.bbox.width / self.figure.dpi - self._beside
        # the names of a neighbour's axes may take some of a part's width
        share = 0.95 if self.part is self.figure else 0.82
        return share * max(0.1, width) / self.axes.shape[1]

    @property
    def cell_height(self):
        """Height of a cell in inches."""
        return 0.7 * self.part.bbox.height / self.figure.dpi / self.axes.shape[0]

    def title(self, words):
        """Write a title over the whole, in as small letters as it needs."""
        width = self.part.bbox.width / self.figure.dpi
        size, [words] = fitted([words], 0.98 * width, most=11.0)
        self.part.suptitle(words, fontsize=size)

    def label(self, axes, texts):
        """Write texts over cells, in one size of letters that lets all fit."""
        size, texts = fitted(texts, self.cell_width)
        for one, text in zip(axes, texts, strict=True):
            one.set_title(text, fontsize=size, pad=2.5)

    def label_rows(self, axes, texts):
        """Write texts to the left of rows, along their sides, in one size."""
        size, texts = fitted(texts, self.cell_height)
        for one, text in zip(axes, texts, strict=True):
            one.set_ylabel(text, fontsize=size)

    def scale(self, shown, axes, label=None, extend="neither"):
        """Draw the scale of colours of some cells to their right."""
        place = {"shrink": 0.9, "pad": 0.02, "panchor": False}  # all stay in line
        bar = self.part.colorbar(shown, ax=list(np.ravel(axes)), extend=extend, **place)
        bar.ax.tick_params(labelsize=7)
        bar.outline.set_visible(False)
        if label:
            bar.set_label(label, fontsize=7)
        return bar


def _spaces(height, n_rows, lines):
    """Return where a grid begins and what is between its rows, for words over cells."""
    words, title = 1.4 * lines * _LETTERS[1] / 72, 20 / 72
    top = max(0.5, 1 - (words + title) / height)
    cell = (top - 0.1) * height / n_rows
    return {"top": top, "hspace": 0.1 + words / max(0.1, cell - words), "wspace": 0.1}


def _in_the_place_of(ax):
    """Return a part of a figure that lies where axes lie, which are not drawn."""
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            "ax does not lie in a grid, so that there is no room to divide; one of "
            "plt.subplots() was expected, a figure, or None for a new figure."
        )
    ax.set_axis_off()
    figure = ax.get_figure()
    return figure.add_subfigure(place)


def fitted(texts, inches, most=_LETTERS[1]):
    """Return a size of letters in points with which texts fit, and the texts.

    Where the smallest letters are too large, lines lose their middle.

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
    size = min(most, max(_LETTERS[0], 72 * inches / (_WIDTH * max(1, longest))))
    room = max(3, int(72 * inches / (_WIDTH * size)))
    return size, ["\n".join(_shortened(line, room) for line in text) for text in lines]


def _shortened(line, room):
    if len(line) <= room:
        return line
    head = room // 2
    return f"{line[:head]}…{line[len(line) - (room - 1 - head) :]}"


def draw_image(ax, picture, **options):
    """Draw a small image, every pixel a square of its own.

    Parameters
    ----------
    ax : matplotlib Axes
    picture : ndarray of shape (height, width) or (height, width, 3)
    **options
        For ``imshow``; grey from 0 to 1 without.
    """
    if not {"cmap", "norm"} & options.keys():
        options = {"cmap": "gray", "vmin": 0, "vmax": 1, **options}
    return ax.imshow(picture, interpolation="nearest", **options)


def signed_limit(values, share=99.5):
    """Return the end of a scale that is symmetric about 0, and whether some lie beyond.

    Parameters
    ----------
    values : ndarray
    share : float, default=99.5
        Per cent of the values that lie within: a few that stand out far would leave
        all others pale.

    Returns
    -------
    limit : float
    extend : {"neither", "both"}
    """
    sizes = np.abs(values)
    largest = float(sizes.max(initial=0))
    limit = float(np.percentile(sizes, share)) if largest else 1.0
    limit = limit or largest
    return limit, "both" if largest > 1.001 * limit else "neither"
