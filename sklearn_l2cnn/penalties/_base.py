"""What all penalties have in common."""


class Penalty:
    """Base of the penalties: they show and compare their parameters.

    Attributes
    ----------
    by_filter : bool
        Whether value, gradient and proximal step treat every filter or unit by itself.
        Then the weights of many networks, one after the other, are one weight to it,
        and a search over alpha trains these networks as one.
    """

    by_filter = True

    def __repr__(self):
        own = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({own})"

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self):
        return hash((type(self), *vars(self).values()))


def rows_of(weight):
    """Return a weight as a matrix with a row for every filter or unit."""
    return weight.flatten(1) if weight.ndim > 1 else weight.reshape(-1, 1)
