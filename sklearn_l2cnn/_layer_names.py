"""Layers by name: which of them a pattern means, and what each is given."""

from fnmatch import fnmatchcase


def layer_of(parameter_name):
    """Return the name of the layer that a parameter belongs to.

    One that belongs to no layer, but to the network itself, goes by its own name.
    """
    return parameter_name.rpartition(".")[0] or parameter_name


def names_of_weights(parameter_names):
    """Name weights after their layers; a layer that has several, after themselves.

    Examples
    --------
    >>> from sklearn_l2cnn._layer_names import names_of_weights
    >>> names_of_weights(["conv1.weight", "lstm.in_weight", "lstm.out_weight"])
    ['conv1', 'lstm.in_weight', 'lstm.out_weight']
    """
    layers = [layer_of(name) for name in parameter_names]
    return [
        layer if layers.count(layer) == 1 else name
        for layer, name in zip(layers, parameter_names, strict=True)
    ]


def is_meant(pattern, name):
    """Say whether a pattern means a layer: by its name, or that of a part it lies in.

    Examples
    --------
    >>> from sklearn_l2cnn._layer_names import is_meant
    >>> [is_meant(p, "layer1.0.conv1") for p in ("layer1", "*.conv1", "conv1", "lay*")]
    [True, True, False, True]
    """
    parts = name.split(".")
    wholes = (".".join(parts[:k]) for k in range(1, len(parts) + 1))
    return any(fnmatchcase(whole, pattern) for whole in wholes)


def by_pattern(patterns, names, what):
    """Find the first pattern that means each layer; every pattern must mean some.

    Parameters
    ----------
    patterns : iterable of str
        As in :mod:`fnmatch`: ``"conv1"``, ``"conv*"``, ``"layer[12]"``.
    names : iterable of str
        Of all layers there are.
    what : str
        The parameter that the patterns come from, for messages.

    Returns
    -------
    found : dict
        From the names of layers to patterns; layers that no pattern means are missing.
    """
    patterns, names = list(patterns), list(dict.fromkeys(names))
    found = {}
    for name in names:
        for pattern in patterns:
            if is_meant(pattern, name):
                found[name] = pattern
                break
    for pattern in patterns:
        if pattern in found.values():
            continue
        if any(is_meant(pattern, name) for name in names):
            reason = "means only layers that a pattern before it means already"
        else:
            reason = "means no layer"
        raise ValueError(
            f"{what}: {pattern!r} {reason}. The layers are {_listed(names)}."
        )
    return found


def _listed(names):
    most = 40
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
