"""Timing several ways of doing one thing so that their ratios mean something.

The machines are shared: absolute seconds say little. All ways run in one process, in
turn, forwards and backwards (A B C C B A ...), and what is reported is the median of
the ratios within a round, with the quartiles. One way runs twice under two names, the
control pair: where it differs from itself by more than 5%, there is no verdict.
"""

import gc
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import NamedTuple

CONTROL = "the same again"
TOLERANCE = 0.05


class Ratio(NamedTuple):
    """Median of paired ratios, with the quartiles."""

    median: float
    low: float
    high: float

    def __str__(self):
        digits = ".2f" if self.median >= 0.1 else ".2g"
        median, low, high = (format(part, digits) for part in self)
        return f"{median} ({low} to {high})"


class Figure(NamedTuple):
    """A number that was seen, and what is wanted of it.

    Attributes
    ----------
    what : str
    value : Ratio or float
    wanted : float, default=None
    at_least : bool, default=True
        Whether `wanted` is a least or a most.
    quiet : bool, default=True
        Whether the control pair agreed.
    note : str, default=""
    """

    what: str
    value: object
    wanted: float = None
    at_least: bool = True
    quiet: bool = True
    note: str = ""

    @property
    def verdict(self):
        """Say in a word whether the value reaches what is wanted."""
        if self.wanted is None:
            return ""
        if not self.quiet:
            return "no verdict (noisy)"
        value = getattr(self.value, "median", self.value)
        reached = value >= self.wanted if self.at_least else value <= self.wanted
        return "reached" if reached else "NOT reached"


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
        # next to each other, as two ways that are to be compared should be
        pair = {control: ways.pop(control)}
        ways = {**pair, CONTROL: pair[control], **ways}
    seconds = {name: [] for name in ways}
    results = {}
    for name in turns(ways, repeats):
        taken, results[name] = timed(ways[name])
        seconds[name].append(taken)
    return seconds, results


def turns(names, rounds):
    """Yield all names in every round, forwards and backwards in turn."""
    names = list(names)
    for k in range(rounds):
        yield from names if k % 2 == 0 else names[::-1]


def timed(call):
    """Return the seconds that a call takes, and what it returns."""
    gc.collect()
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def memory(of="VmHWM"):
    """Return the bytes of memory of this process, on Linux.

    Parameters
    ----------
    of : {"VmHWM", "VmRSS"}, default="VmHWM"
        The most that there were, or those that there are. The ``ru_maxrss`` of
        `resource` is no such thing: a process inherits it from the one that starts it.

    Returns
    -------
    size : int
    """
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(of))


def in_new_process(code):
    """Run code in a new process; return the numbers it prints."""
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return tuple(map(float, found.stdout.split()))


def ratio(seconds, slow, fast):
    """Compare two ways round by round."""
    pairs = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
    if len(pairs) < 2:
        return Ratio(pairs[0], pairs[0], pairs[0])
    low, _, high = statistics.quantiles(pairs, n=4, method="inclusive")
    return Ratio(statistics.median(pairs), low, high)


def control_pair(seconds, control):
    """Return how far a way is from itself, and whether that is near enough."""
    apart = ratio(seconds, CONTROL, control)
    return apart, abs(apart.median - 1) <= TOLERANCE


@contextmanager
def no_waits():
    """Let torch raise where the host waits for the device."""
    import torch

    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
