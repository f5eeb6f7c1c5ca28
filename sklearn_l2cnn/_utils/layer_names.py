"""Layers by name: which of them a pattern means, and what each is given."""

from fnmatch import fnmatchcase


def layer_of(parameter_name):
    """Return the name of the layer that a parameter belongs to.

    One that belongs to no layer, but to the network itself, goes by its own name.
    """
    return parameter_name.rpartition(".")[0] or parameter_name


def by_layer(values):
    """Name what belongs to weights after their layers.

    A layer that has several weights goes by their names.

    Parameters
    ----------
    values : dict
        By the names of the weights.

    Examples
    --------
    >>> from sklearn_l2cnn._utils.layer_names import by_layer
    >>> by_layer({"conv1.weight": 1, "lstm.in_weight": 2, "lstm.out_weight": 3})
    {'conv1': 1, 'lstm.in_weight': 2, 'lstm.out_weight': 3}
    """
    layers = [layer_of(name) for name in values]
    return {
        layer if layers.count(layer) == 1 else name: value
        for layer, (name, value) in zip(layers, values.items(), strict=True)
    }


def is_meant(pattern, name):
    """Say whether a pattern means a layer: by its name, or that of a part it lies in.

    Examples
    --------
    >>> from sklearn_l2cnn._utils.layer_names import is_meant
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
