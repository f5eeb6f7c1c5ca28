"""Timing several ways of doing one thing so that their ratios mean something.

The machines are shared: absolute seconds say little. All ways run in one process, in
turn, forwards and backwards (A B C C B A ...), and what is reported is the median of
the ratios within a round, with the quartiles. One way runs twice under two names, the
control pair: where it differs from itself by more than 5%, there is no verdict.
"""

import gc
import statistics
import time
from typing import NamedTuple

CONTROL = "the same again"
TOLERANCE = 0.05


class Ratio(NamedTuple):
    """Median of paired ratios, with the range between the quartiles."""

    median: float
    low: float
    high: float

    def __str__(self):
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def interleaved(ways, repeats, control=None):
    """Time every way `repeats` times, in turn.

    Parameters
    ----------
    ways : dict of callable
        Name to a function without arguments.
    repeats : int
    control : str, default=None
        The way that runs a second time in every round, as `CONTROL`.

    Returns
    -------
    seconds : dict of list of float
        Of the same length for every way.
    results : dict
        What the last call of each returned.
    """
    ways = dict(ways)
    if control is not None:
        ways[CONTROL] = ways[control]
    seconds = {name: [] for name in ways}
    results = {}
    names = list(ways)
    for k in range(repeats):
        for name in names if k % 2 == 0 else names[::-1]:
            gc.collect()
            start = time.perf_counter()
            results[name] = ways[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds, results


def ratio(seconds, slow, fast):
    """Compare two ways round by round."""
    pairs = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
    if len(pairs) < 2:
        return Ratio(pairs[0], pairs[0], pairs[0])
    low, _, high = statistics.quantiles(pairs, n=4, method="inclusive")
    return Ratio(statistics.median(pairs), low, high)


def quiet(seconds, control):
    """Say whether the control pair agrees, and how far it is apart."""
    apart = ratio(seconds, CONTROL, control)
    return abs(apart.median - 1) <= TOLERANCE, apart


def verdict(found, wanted, at_least, is_quiet):
    """Say in a word whether a ratio reaches what is wanted of it."""
    if not is_quiet:
        return "no verdict (noisy)"
    reached = found.median >= wanted if at_least else found.median <= wanted
    return "reached" if reached else "NOT reached"
