"""Names of layers, and the layers that a pattern means."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

# Layers that an error message lists.
_MOST_LISTED = 40


def layer_of(parameter_name):
    """Return the name of the layer that a parameter belongs to.

    A parameter of the network itself, in no layer, stands for itself.
    """
    return parameter_name.rpartition(".")[0] or parameter_name


def layer_weights(module):
    """Return the weights of a network, the parameters of two or more dimensions.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    weights : dict of Tensor
        From the names of layers to their weights, without gradients. The weights of a
        layer that has several keep their own names.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_l2cnn._utils.layer_names import layer_weights
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(5, 4))
    >>> {name: tuple(weight.shape) for name, weight in layer_weights(network).items()}
    {'0': (2, 1, 3, 3), '2': (4, 5)}
    >>> [*layer_weights(nn.LSTM(2, 3))]
    ['weight_ih_l0', 'weight_hh_l0']
    """
    weights = {name: w.detach() for name, w in module.named_parameters() if w.ndim >= 2}
    layers = [layer_of(name) for name in weights]
    return {
        layer if layers.count(layer) == 1 else name: weight
        for layer, (name, weight) in zip(layers, weights.items(), strict=True)
    }


def is_meant(pattern, name):
    """Say whether a pattern matches the name of a layer, or of a module around it.

    Examples
    --------
    >>> from sklearn_l2cnn._utils.layer_names import is_meant
    >>> [is_meant(p, "layer1.0.conv1") for p in ("layer1", "*.conv1", "conv1", "lay*")]
    [True, True, False, True]
    """
    parts = name.split(".")
    modules = (".".join(parts[:k]) for k in range(1, len(parts) + 1))
    return any(fnmatchcase(module, pattern) for module in modules)


def text_of(value):
    """Return a number, or those of a mapping from patterns, in words.

    Examples
    --------
    >>> from sklearn_l2cnn._utils.layer_names import text_of
    >>> text_of(0.001), text_of({"fc": 0.1, "*": 1e-4})
    ('0.001', "0.1 for 'fc', 0.0001 for '*'")
    """
    if not isinstance(value, Mapping):
        return f"{value:g}"
    return ", ".join(f"{number:g} for {pattern!r}" for pattern, number in value.items())


def by_pattern(patterns, names, what):
    """Find the first pattern that means each layer; raise if a pattern means none.

    Parameters
    ----------
    patterns : iterable of str
        As in :mod:`fnmatch`: ``"conv1"``, ``"conv*"``, ``"layer[12]"``.
    names : iterable of str
        Names of all layers.
    what : str
        Name of the parameter with the patterns, for error messages.

    Returns
    -------
    found : dict
        From names of layers to patterns, without the layers that no pattern means.
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
        reason = "means no layer"
        if any(is_meant(pattern, name) for name in names):
            reason = "means only layers that a pattern before it means already"
        listed = ", ".join(map(repr, names[:_MOST_LISTED]))
        if len(names) > _MOST_LISTED:
            listed += f" and {len(names) - _MOST_LISTED} more"
        raise ValueError(f"{what}: {pattern!r} {reason}. The layers are {listed}.")
    return found
