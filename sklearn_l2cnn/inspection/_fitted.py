"""From what a user has fitted to the estimator that a picture is of."""

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._utils.layer_names import by_layer


def fitted_part(estimator, attributes, wanted, hint=""):
    """Find the estimator with certain attributes inside pipelines and searches.

    Parameters
    ----------
    estimator : estimator
        One with the attributes, a pipeline whose last step is such, a search whose
        `best_estimator_` is, or another estimator whose `estimator_` is; or these
        inside each other.
    attributes : list of str
        By which it is known.
    wanted : str
        What it is, for messages.
    hint : str, default=""
        What to do, for whoever has none.

    Returns
    -------
    part : estimator
    """
    check_is_fitted(estimator)
    _, part = unwrapped(estimator, attributes)
    if not _has(part, attributes):
        raise TypeError(_refusal(estimator, part, wanted, hint))
    return part


def unwrapped(estimator, attributes):
    """Go into an estimator until something has certain attributes, or to its heart.

    Parameters
    ----------
    estimator : estimator
        Maybe a pipeline, a search, a ``FrozenEstimator`` or another estimator that
        keeps what it fitted as ``estimator_``; or these inside each other.
    attributes : sequence of str

    Returns
    -------
    steps : tuple of transformer
        That data pass on the way.
    part : object
    """
    steps, part = (), estimator
    while not _has(part, attributes):
        if hasattr(part, "best_estimator_"):
            part = part.best_estimator_
        elif isinstance(part, Pipeline):
            check_is_fitted(part)
            before, part = part.steps[:-1], part.steps[-1][1]
            steps += tuple(s for _, s in before if s not in (None, "passthrough"))
        elif hasattr(part, "estimator_"):
            part = part.estimator_
        elif type(part).__name__ == "FrozenEstimator":
            part = part.estimator
        else:
            break
    return steps, part


def _has(part, attributes):
    return all(hasattr(part, name) for name in attributes)


def _refusal(estimator, part, wanted, hint):
    if hasattr(part, "cv_results_") and not getattr(part, "refit", True):
        hint = (
            "It was fitted with refit=False and has kept no network: refit=True does."
        )
    inside = "" if part is estimator else f", which ends in {type(part).__name__}"
    return (
        f"This picture is of {wanted}, alone or as the end of a pipeline or a search; "
        f"got {type(estimator).__name__}{inside}. {hint}".rstrip()
    )


def layer_weights(module):
    """Return the weights of a network, the parameters of two or more dimensions.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    weights : dict of ndarray
        From the names of layers to their weights.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_l2cnn.inspection._fitted import layer_weights
    >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(5, 4))
    >>> {name: weight.shape for name, weight in layer_weights(network).items()}
    {'0': (2, 1, 3, 3), '2': (4, 5)}
    """
    return by_layer(
        {
            name: parameter.detach().cpu().double().numpy()
            for name, parameter in module.named_parameters()
            if parameter.ndim >= 2
        }
    )
