"""Ridge around the weights that training starts from."""

from sklearn_l2cnn.penalties._l2 import L2


class L2SP(L2):
    r"""Ridge towards the start: :math:`\frac{1}{2} \|W - W_0\|^2` (L2-SP).

    :math:`W_0` are the weights that were loaded, or those of a module; of weights that
    were drawn at random, such as those of a new last layer, it is 0, as with
    :class:`L2`. A pretrained network so keeps what it knows (Li, Grandvalet and
    Davoine, 2018), where L2 pulls its weights towards 0.

    The methods see :math:`W - W_0`, which is what `from_start` says.

    References
    ----------
    Li, X., Grandvalet, Y. and Davoine, F. (2018). Explicit inductive bias for transfer
    learning with convolutional networks. ICML, arXiv:1802.01483.

    Examples
    --------
    >>> from sklearn_l2cnn.penalties import L2SP
    >>> L2SP().from_start
    True
    """

    from_start = True
