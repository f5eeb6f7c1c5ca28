"""What is read before it is asked for."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

from sklearn_l2cnn._utils.surroundings import compute_alone

# Results that wait beyond those that are in work.
_WAITING = 2


def ahead(function, items, threads):
    """Yield what a function makes of items, in order; threads are a few ahead.

    An error is raised where its result would be. No more is begun once the caller has
    stopped asking.

    Parameters
    ----------
    function : callable
    items : iterable
    threads : int

    Examples
    --------
    >>> from sklearn_l2cnn._utils.ahead import ahead
    >>> list(ahead(abs, [-1, 2, -3], threads=2))
    [1, 2, 3]
    """
    pool = ThreadPoolExecutor(threads, "l2cnn-ahead", initializer=compute_alone)
    begun = deque()
    try:
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) == threads + _WAITING:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
