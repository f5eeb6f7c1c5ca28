"""Who is penalised, and how strongly."""

from sklearn_l2cnn._utils.layer_names import by_pattern, layer_of


def filters_of(module):
    """List the parameters that are made of filters or units.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    weights : list of torch.nn.Parameter
        Trainable, floating point, of two or more dimensions: the kernels of
        convolutions and the matrices of dense layers. A parameter that is shared
        between layers counts once.
    """
    return [weight for _, weight in _trainable(module) if weight.ndim >= 2]


def _trainable(module):
    return [
        (name, parameter)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and parameter.is_floating_point()
    ]


def strengths(module, alpha, penalize="weights"):
    """Group the penalised parameters of a network by the strength of their penalty.

    Parameters
    ----------
    module : torch.nn.Module
    alpha : float or mapping
        For all, or ``{pattern of layer names: float}``: the first pattern that means a
        layer decides, and a layer that none means is not penalised.
    penalize : {"weights", "all"} or callable, default="weights"
        ``"weights"`` are the parameters of two or more dimensions; a callable says of
        ``(name, parameter)`` whether it is penalised.

    Returns
    -------
    groups : list of tuple (float, list of torch.nn.Parameter)
        Of positive strength.
    """
    chosen = _chosen(module, penalize)
    if not hasattr(alpha, "items"):
        both = [(alpha, [weight for _, weight in chosen])]
    else:
        layers = [layer_of(name) for name, _ in chosen]
        found = by_pattern(alpha, layers, "alpha")
        both = [
            (
                strength,
                [
                    weight
                    for layer, (_, weight) in zip(layers, chosen, strict=True)
                    if found.get(layer) == pattern
                ],
            )
            for pattern, strength in alpha.items()
        ]
    return [(strength, weights) for strength, weights in both if strength and weights]


def _chosen(module, penalize):
    trainable = _trainable(module)
    if penalize == "all":
        return trainable
    if penalize == "weights":
        return [(name, weight) for name, weight in trainable if weight.ndim >= 2]
    chosen = [(name, weight) for name, weight in trainable if penalize(name, weight)]
    if trainable and not chosen:
        raise ValueError(
            f"penalize={penalize!r} chooses no parameter of "
            f"{', '.join(repr(name) for name, _ in trainable[:40])}. For no penalty, "
            "set alpha=0."
        )
    return chosen
