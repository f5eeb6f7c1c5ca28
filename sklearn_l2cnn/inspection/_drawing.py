"""Helpers of the line plots: panels, styles, an axis of alpha.

The colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which are
distinct also with colour vision deficiencies; those with most contrast to white and to
black come first. Lines differ in marker as well.
"""

from numbers import Real

import numpy as np

from sklearn_l2cnn._utils.sklearn_compat import check_matplotlib_support

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
DASHES = ("-", "--", "-.", ":")
# The main curve of a panel, the one it is compared with, and that of held-out images.
MAIN = {"color": BLUE, "marker": "o", "markersize": 5}
OTHER = {"color": VERMILLION, "marker": "s", "linestyle": "--", "markersize": 5}
HELD_OUT = {"color": GREEN, "marker": "^", "markersize": 5}

# Width of a tick label of an axis of alpha, in inches.
_LABEL = 0.5


def panels(display, ax, n, size, fewest=None):
    """Return a figure and the axes to draw in: the given ones, or new ones.

    Parameters
    ----------
    display : object
        Its class name is part of error messages.
    ax : matplotlib Axes, array-like of such, or None
    n : int
        Number of panels.
    size : tuple of float
        Width and height of a new panel in inches.
    fewest : int, default=None
        Smallest number of given axes, the others being optional; None is n.

    Returns
    -------
    figure : matplotlib Figure
    axes : ndarray of Axes of shape (n,), or less
    """
    caller = f"{type(display).__name__}.plot"
    check_matplotlib_support(caller)
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(1, n, figsize=(size[0] * n, size[1]), layout="constrained")
    axes = np.ravel(np.asarray(ax, dtype=object))
    if not (fewest or n) <= len(axes) <= n:
        raise ValueError(
            f"{caller} draws {n} panel{'s' * (n > 1)}, but ax holds {len(axes)}. "
            f"Pass the axes of plt.subplots(1, {n}), or ax=None."
        )
    return axes[0].figure, axes


def line_style(k):
    """Return a colour, a marker and dashes for the k-th line."""
    return {
        "color": COLOURS[k % len(COLOURS)],
        "marker": MARKERS[k % len(MARKERS)],
        "linestyle": DASHES[k // len(COLOURS) % len(DASHES)],
        "markersize": 5,
    }


def depth_styles(n):
    """Return a style for each of n layers; colours of many layers show the depth."""
    if n <= len(COLOURS):
        return [line_style(k) for k in range(n)]
    from matplotlib import colormaps

    # without the ends of the map: one is invisible on black, the other on white
    colours = colormaps["viridis"](np.linspace(0.3, 0.8, n))
    return [{"color": colour, "linestyle": "-", "marker": "."} for colour in colours]


def check_on_axis(alphas):
    """Return alphas as an array; raise if one is a mapping from layers to strengths."""
    for alpha in alphas:
        if not isinstance(alpha, Real):
            raise TypeError(
                f"alpha={alpha!r} has no place on an axis: one number for all layers "
                "was expected. The constructor of the display takes any numbers as "
                "alphas."
            )
    return np.asarray(alphas, dtype=float)


def sorted_path(cv):
    """Return how the alphas of a search are sorted, and what displays draw of them.

    Parameters
    ----------
    cv : L2CNNClassifierCV

    Returns
    -------
    order : ndarray of int of shape (n_alphas,)
    path : dict
        The arguments `alphas`, `norms` and `layer_names` of a display.
    """
    alphas = check_on_axis(cv.alphas_)
    order = np.argsort(alphas, kind="stable")
    norms = np.asarray(cv.norms_path_)[order]
    names = list(cv.layer_names_)
    return order, {"alphas": alphas[order], "norms": norms, "layer_names": names}


def alpha_places(alphas):
    """Return the positions of alphas on a logarithmic axis: 0 a step below the others.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        Non-negative.

    Returns
    -------
    places : ndarray of shape (n_alphas,)
        Positive.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.inspection._drawing import alpha_places
    >>> alpha_places(np.array([0, 0.5, 2])).tolist()
    [0.125, 0.5, 2.0]
    """
    alphas = np.asarray(alphas, dtype=float)
    positive = np.unique(alphas[alphas > 0])
    if not len(positive):
        return np.ones(len(alphas))
    step = positive[1] / positive[0] if len(positive) > 1 else 10.0
    # a step like the first, but long enough that tick labels do not overlap
    step = max(np.clip(step, 2, 10), (positive[-1] / positive[0]) ** 0.16)
    return np.where(alphas > 0, alphas, positive[0] / step)


def alpha_ticks(alphas, most):
    """Choose the ticks of an axis of alpha and their labels.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
    most : int
        Largest number of labels in addition to that of 0.

    Returns
    -------
    places : list of float
    labels : list of str
    """
    alphas = np.asarray(alphas, dtype=float)
    positive = np.unique(alphas[alphas > 0])
    places, labels = [], []
    if (alphas == 0).any():
        places.append(float(alpha_places(alphas)[alphas == 0][0]))
        labels.append("0")
    if not len(positive):
        return places, labels
    low, high = np.log10(positive[[0, -1]])
    decades = np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
    if len(decades) > 1:
        every = int(np.ceil(len(decades) / most))
        # not the first one next to a 0, unless all are labelled
        decades = decades[every - 1 if places else 0 :: every]
        places += [float(10.0**decade) for decade in decades]
        labels += [f"$10^{{{decade:.0f}}}$" for decade in decades]
    else:
        chosen = positive[:: int(np.ceil(len(positive) / most))]
        places += chosen.tolist()
        labels += [f"{alpha:g}" for alpha in chosen]
    return places, labels


def set_alpha_axis(ax, alphas, ylabel):
    """Make the x-axis of a panel a logarithmic axis of alpha, with a break before 0."""
    from matplotlib.ticker import NullLocator

    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(NullLocator())
    inches = ax.bbox.width / ax.figure.dpi
    ax.set_xticks(*alpha_ticks(alphas, most=int(np.clip(inches / _LABEL, 2, 6))))
    ax.set(xlabel="alpha", ylabel=ylabel)
    places = np.unique(alpha_places(alphas))
    # the same limits in all panels, also if one has no data at an end
    margin = (places[-1] / places[0]) ** 0.05 if len(places) > 1 else 3.0
    ax.set_xlim(places[0] / margin, places[-1] * margin)
    if (np.asarray(alphas) == 0).any() and len(places) > 1:
        # a slash across the axis
        slash = {"marker": [(-1, -2), (1, 2)], "markersize": 8, "linestyle": "none"}
        slash |= {"transform": ax.get_xaxis_transform(), "clip_on": False}
        colour = ax.xaxis.label.get_color()
        ax.plot([np.sqrt(places[0] * places[1])], [0], mec=colour, **slash)


def set_log_y(ax, values):
    """Make the y-axis logarithmic if all values are positive and vary enough.

    Returns
    -------
    logarithmic : bool
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values) or (values <= 0).any() or values.max() < 4 * values.min():
        return False
    ax.set_yscale("log")
    if values.max() < 100 * values.min():  # too few powers of ten to label
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    return True


def add_legend(ax, **more):
    """Add a legend above a panel, where it covers no data."""
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
    spaces = {"handlelength": 1.8, "columnspacing": 1.2}
    ax.legend(fontsize="small", frameon=False, **place, **spaces, **more)


def draw_norms(display, ax):
    """Draw the norm of every layer over alpha.

    Parameters
    ----------
    display : object
        With `alphas`, `norms` and `layer_names`.
    ax : matplotlib Axes

    Returns
    -------
    lines : list of matplotlib Line2D of length n_layers
    """
    places, norms = alpha_places(display.alphas), display.norms
    lines = draw_layers(ax, places, norms, display.layer_names)
    set_alpha_axis(ax, display.alphas, "norm of weights")
    set_log_y(ax, norms)
    return lines


def draw_layers(ax, places, values, layer_names, **more):
    """Draw a line for every layer, with a legend: of many layers the first and last.

    Parameters
    ----------
    ax : matplotlib Axes
    places : ndarray of shape (n,)
    values : ndarray of shape (n, n_layers)
    layer_names : list of str of length n_layers
    **more
        Keyword arguments of every line.

    Returns
    -------
    lines : list of matplotlib Line2D of length n_layers
    """
    names = [f"layer {name}" if name.isdigit() else name for name in layer_names]
    lines = [
        ax.plot(places, own, label=name, **style | more)[0]
        for own, name, style in zip(
            values.T, names, depth_styles(len(names)), strict=True
        )
    ]
    if len(lines) > len(COLOURS):
        labels = [names[0], f"... {names[-1]}, {len(lines)} layers"]
        add_legend(ax, handles=[lines[0], lines[-1]], labels=labels)
    else:
        add_legend(ax)
    return lines
