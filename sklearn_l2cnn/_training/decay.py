"""What a strength of L2 means: over how many epochs, and in front of norms."""

import warnings

from sklearn_l2cnn._training.forward import network_input
from sklearn_l2cnn._training.rates import rates_of
from sklearn_l2cnn._utils.layer_names import layer_of
from sklearn_l2cnn._utils.scale import scale_has_no_effect
from sklearn_l2cnn.penalties import L2


def timescale(net, n_steps):
    r"""Return over how many epochs decoupled L2 lets weights forget.

    A weight is then an exponential average of the optimizer's updates, over
    :math:`1 / (lr\,\alpha)` steps (Wang and Aitchison, 2024).

    Parameters
    ----------
    net : Net
        Initialised.
    n_steps : int
        Steps in an epoch, at the learning rate that a training begins with.

    Returns
    -------
    epochs : float, dict of float or None
        By the names of layers where they differ; None where no L2 is decoupled.
    """
    if not (net.objective.decoupled and isinstance(net.objective.penalty, L2)):
        return None
    groups = zip(net.optimizer_.param_groups, rates_of(net), strict=True)
    rates = {id(p): rate for group, rate in groups for p in group["params"]}
    names = {id(p): layer_of(name) for name, p in net.module_.named_parameters()}
    found = {
        names[id(weight)]: 1 / (rates[id(weight)] * group.alpha * n_steps)
        for group in net.objective.groups(net.module_, net.starts)
        for weight in group.weights
    }
    values = set(found.values())
    return values.pop() if len(values) == 1 else found or None


def warn_of_norms(net, X):
    """Warn where all that is penalised feeds norms, which take its scale out again.

    Parameters
    ----------
    net : Net
        Initialised.
    X : Resident
        The training data.
    """
    layers = [type(layer).__name__ for layer in net.module_.modules()]
    if not any("norm" in name.lower() for name in layers):
        return
    image = network_input(X.images[:1], *net.pixels())
    groups = net.objective.groups(net.module_, net.starts)
    weights = {id(weight) for group in groups for weight in group.weights}
    named = net.module_.named_parameters()
    names = [name for name, weight in named if id(weight) in weights]
    if names and scale_has_no_effect(net.module_, names, image, net.frozen):
        warnings.warn(
            "Every layer that is penalised feeds a norm, which takes the scale of its "
            "weights out again: L2 then sets how far a step turns the weights, an "
            "effective learning rate, and not what the network can represent (van "
            "Laarhoven, 2017; Zhang et al., 2018). To penalise what the norms leave, "
            "let alpha mean the last layer too, or take penalize='all', which includes "
            "the scales of the norms.",
            UserWarning,
            stacklevel=2,
        )
