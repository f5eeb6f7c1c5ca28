"""Which values are black and which are white, in images of more than 8 bits."""

import math
import warnings
from typing import NamedTuple

# White in images of floats, and of integers of 8, 10, 12, 14 and 16 bits. Scanners and
# cameras store the bits between 8 and 16 in files and arrays of 16.
_WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_USUAL = (1.0, 255.0, 65535.0)


class Window(NamedTuple):
    """The values that become black and white.

    Attributes
    ----------
    black, white : float
    """

    black: float
    white: float

    def shares(self, values):
        """Return floats, an array or a tensor, as shares of white from 0 to 1."""
        black, white = self
        if math.isinf(white - black):  # halves are far enough from the largest number
            values, black, white = values / 2, black / 2, white / 2
        return ((values - black) / (white - black)).clip(0, 1)

    def __str__(self):
        return f"black={self.black:g} and white={self.white:g}"


class Levels(NamedTuple):
    """The values of images, and what they were taken for.

    Attributes
    ----------
    low, high : float
    window : Window
    """

    low: float
    high: float
    window: Window


def window_of(low, high, black=None, white=None, least=1.0):
    """Return the window of values from `low` to `high`.

    Parameters
    ----------
    low, high : float
    black, white : float, default=None
        As the user gave them. None is 0 for black, or the lowest value where there are
        negative ones; and for white that of the fewest bits that have all values, or
        the highest value.
    least : float, default=1.0
        The least white to find.

    Returns
    -------
    window : Window

    Examples
    --------
    >>> from sklearn_l2cnn._data.windows import window_of
    >>> window_of(0, 4000), window_of(-1000, 3000, white=400)
    (Window(black=0.0, white=4095.0), Window(black=-1000.0, white=400.0))
    """
    if black is None:
        black = min(float(low), 0.0)
        black = black if white is None or black < white else white - 1.0
    if white is None:
        whites = _WHITES if black >= 0 else ()
        fitting = (w for w in whites if w >= max(high, least) and w > black)
        white = next(fitting, max(float(high), black + 1.0))
    return Window(float(black), float(white))


def warn_about_windows(levels, black=None, white=None, stacklevel=2):
    """Warn where windows that were found may not be those that were meant.

    Parameters
    ----------
    levels : list of Levels
    black, white : float, default=None
        As the user gave them: what is given needs no warning.
    stacklevel : int, default=2
    """
    if not levels:
        return
    low, high = min(one.low for one in levels), max(one.high for one in levels)
    found, wanted = {one.window for one in levels}, window_of(low, high, black, white)
    unusual = (black is None and wanted.black != 0) or (
        white is None and wanted.white not in _USUAL
    )
    if low == high or (found == {wanted} and not unusual):
        return
    taken = "; ".join(map(str, sorted(found)[:3])) + " ..." * (len(found) > 3)
    warnings.warn(
        f"Values from {low:g} to {high:g} were taken as grey between {taken}. Say "
        f"which are black and white: ImageReader(black={wanted.black:g}, "
        f"white={wanted.white:g}), with dtype='float32' for more levels of grey than "
        "the 256 of uint8.",
        UserWarning,
        stacklevel=stacklevel + 1,
    )
