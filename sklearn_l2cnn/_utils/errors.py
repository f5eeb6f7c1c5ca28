"""What an error says, for the messages of others."""


def first_line(error):
    r"""Return the first line of an error's message, or its kind if it has none.

    Examples
    --------
    >>> from sklearn_l2cnn._utils.errors import first_line
    >>> first_line(ValueError("too large\nat this place")), first_line(KeyError())
    ('too large', 'KeyError')
    """
    return [*str(error).splitlines(), type(error).__name__][0]
