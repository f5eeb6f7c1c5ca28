"""What errors say."""

import torch


def first_line(error):
    r"""Return the first line of an error's message, or its kind if it has none.

    Examples
    --------
    >>> from sklearn_l2cnn._utils.errors import first_line
    >>> first_line(ValueError("too large\nat this place")), first_line(KeyError())
    ('too large', 'KeyError')
    """
    return [*str(error).splitlines(), type(error).__name__][0]


def check_finite(values, what):
    """Raise where numbers that come out of a network are not finite.

    Parameters
    ----------
    values : Tensor
    what : str
        What they are, in the plural.
    """
    # a sum is finite, without a copy, unless there is something to find or it overflows
    if not torch.isfinite(values.sum()) and not torch.isfinite(values).all():
        raise ValueError(
            f"{what} are not finite: the network has gone astray, or the pixels are "
            "far beyond those of its training. Fit again with a lower lr, or divide "
            "the pixels by a constant."
        )
