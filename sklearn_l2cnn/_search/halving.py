"""Successive halving: candidates that are behind end early."""

import math

import numpy as np


class Halving:
    """Which candidates of a search go on, after some of their epochs.

    After the part ``factor ** -r`` of its epochs, for r from the largest down to 1, the
    best of all candidates go on, one in `factor` of them.

    Parameters
    ----------
    factor : int
    n_candidates : int
    n_folds : int
    n_epochs : int
        The fewest that a candidate takes.
    metric : str or None
        The one that decides, of several.

    Attributes
    ----------
    n_rungs : int
        How often candidates end early.
    rung : int
        How often they have, so far.
    reached : ndarray of int of shape (n_candidates,)
        How often each has gone on.
    """

    def __init__(self, factor, n_candidates, n_folds, n_epochs, metric=None):
        self.factor = factor
        self.n_folds = n_folds
        self.metric = metric
        smaller = min(n_candidates, n_epochs)
        self.n_rungs = 0
        while factor ** (self.n_rungs + 1) <= smaller:
            self.n_rungs += 1
        self.reached = np.zeros(n_candidates, dtype=int)
        self.begin()

    def begin(self):
        """Take all candidates in, again where another device has to train them."""
        self.rung = 0
        self.reached[:] = 0

    def pauses(self, epochs):
        """Return after which of so many epochs candidates may end."""
        parts = (self.factor**rung for rung in range(self.n_rungs, 0, -1))
        return [math.ceil(epochs / part) for part in parts]

    def is_alive(self, k):
        """Say whether a candidate has gone on so far."""
        return self.reached[k] == self.rung

    def go_on(self, scores):
        """Let the best candidates go on.

        Parameters
        ----------
        scores : dict of list of float
            By position, of every fold that a candidate was trained on.
        """
        means = {
            k: np.mean(own) if len(own) == self.n_folds else math.nan
            for k, own in scores.items()
        }
        known = [k for k, mean in means.items() if not math.isnan(mean)]
        best = sorted(known, key=lambda k: (-means[k], k))
        self.reached[best[: math.ceil(len(scores) / self.factor)]] += 1
        self.rung += 1

    def let_through(self, k):
        """Take note that a candidate is trained to the end, whatever its scores."""
        self.reached[k] = self.n_rungs

    def score_of(self, measured):
        """Return the score that decides, of what was measured of a network."""
        if not isinstance(measured.score, dict):
            return measured.score
        if self.metric in measured.score:
            return measured.score[self.metric]
        raise ValueError(
            f"There are several metrics, {[*measured.score]}, and halving does not "
            "know which of them says who goes on. Name it as refit."
        )
