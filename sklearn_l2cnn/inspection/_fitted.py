"""The part of a fitted estimator that a display draws, and the weights of a network."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._utils.unwrapping import FITTED, unwrap
from sklearn_l2cnn.inspection._drawing import check_on_axis


def fitted_part(estimator, attributes, expected, hint=""):
    """Find the estimator with certain attributes inside pipelines and searches.

    Parameters
    ----------
    estimator : estimator
        An estimator with the attributes, alone or inside pipelines, refitted searches,
        ``FrozenEstimator`` or estimators that keep a fitted one as ``estimator_``.
    attributes : sequence of str
    expected : str
        Name of such an estimator, for error messages.
    hint : str, default=""
        What to do instead, for error messages.

    Returns
    -------
    part : estimator
    """

    def has_attributes(part):
        return all(hasattr(part, name) for name in attributes)

    check_is_fitted(estimator)
    _, part = unwrap(estimator, has_attributes, FITTED)
    if has_attributes(part):
        return part
    if hasattr(part, "cv_results_") and not getattr(part, "refit", True):
        hint = "It was fitted with refit=False and kept no network: set refit=True."
    inside = "" if part is estimator else f", which ends in {type(part).__name__}"
    raise TypeError(
        f"This display is of {expected}, alone or at the end of a pipeline or a "
        f"search; got {type(estimator).__name__}{inside}. {hint}".rstrip()
    )


def sorted_path(cv):
    """Return how the alphas of a search are sorted, and what displays draw of them.

    Parameters
    ----------
    cv : L2CNNClassifierCV

    Returns
    -------
    order : ndarray of int of shape (n_alphas,)
    path : dict
        The arguments `alphas`, `norms` and `layer_names` of a display.
    """
    alphas = check_on_axis(cv.alphas_)
    order = np.argsort(alphas, kind="stable")
    norms = np.asarray(cv.norms_path_)[order]
    names = list(cv.layer_names_)
    return order, {"alphas": alphas[order], "norms": norms, "layer_names": names}
