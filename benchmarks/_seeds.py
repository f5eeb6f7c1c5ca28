"""What the scores of several seeds or draws say of their mean."""

import numpy as np
from scipy.stats import t


def standard_error(values):
    """Return the standard error of the means over the first axis."""
    return np.std(values, axis=0, ddof=1) / len(values) ** 0.5


def half_interval(values):
    """Return half of the 95% interval of the mean, of t."""
    return t.ppf(0.975, len(values) - 1) * standard_error(values)
