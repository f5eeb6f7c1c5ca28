"""Where the documentation of an estimator is, for its picture in a notebook."""

import copy
import inspect
from contextlib import contextmanager
from pathlib import Path

from sklearn_l2cnn._utils.sklearn_compat import clone_parametrized


class DocumentationMixin:
    """Link the picture of an estimator in a notebook to its docstring.

    scikit-learn asks for an address, puts it behind a question mark and behind the name
    of every parameter, and only where there is one shows what a parameter means. The
    docstring lies in the file that the class was loaded from: that is the address. A
    class of another package, derived from one of these, has none.
    """

    _doc_link_module = "sklearn_l2cnn"
    _doc_link_template = "{address}"

    def _doc_link_url_param_generator(self):
        try:
            path = Path(inspect.getsourcefile(type(self))).resolve()
        except (OSError, TypeError):  # no file: an archive, an interpreter
            return {"address": ""}
        return {"address": path.as_uri() if path.is_file() else ""}


def set_attributes(estimator, attributes):
    """Set fitted attributes by name; columns without names have no `feature_names_in_`.

    Parameters
    ----------
    estimator : estimator
    attributes : dict

    Returns
    -------
    estimator : estimator
        The same.
    """
    for name, value in attributes.items():
        setattr(estimator, name, value)
    if vars(estimator).get("feature_names_in_") is None:
        vars(estimator).pop("feature_names_in_", None)
    return estimator


def features_of(fitted):
    """Return the fitted attributes that tell the form of the input, by name."""
    names = "n_features_in_", "feature_names_in_"
    return {name: getattr(fitted, name, None) for name in names}


class ParametersMixin(DocumentationMixin):
    """Parameters that may be transforms of torchvision.

    Those have a `get_params` that means something else, with which scikit-learn's own
    methods fail.
    """

    def get_params(self, deep=True):
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include those of parameters that are estimators.

        Returns
        -------
        params : dict
        """
        params = super().get_params(deep=False)
        if deep:
            for name, value in list(params.items()):
                if hasattr(value, "set_params") and not isinstance(value, type):
                    for key, inner in value.get_params().items():
                        params[f"{name}__{key}"] = inner
        return params

    def set_params(self, **params):
        """Set the parameters of this estimator.

        Parameters
        ----------
        **params : dict
            Parameters; ``<parameter>__<name>`` is one of a parameter that has its own,
            such as ``augment__rotate`` where `augment` is an ``Augmentation``.

        Returns
        -------
        self : object
        """
        for key in params:
            name, dots, _ = key.partition("__")
            value = params.get(name, getattr(self, name, self))
            if dots and not hasattr(value, "set_params"):
                raise ValueError(
                    f"{key!r} cannot be set: {name} is {value!r}, which has no "
                    "parameters of its own. Give it something that has first, as "
                    "augment=Augmentation() of sklearn_l2cnn.augmentation for "
                    "augment__rotate."
                )
        return super().set_params(**params)

    def __sklearn_clone__(self):
        params = self.get_params(deep=False)
        foreign = {k: v for k, v in params.items() if _is_foreign(v)}
        plain = copy.copy(self)
        for name in foreign:
            setattr(plain, name, None)
        twin = clone_parametrized(plain)
        for name, value in foreign.items():
            setattr(twin, name, copy.deepcopy(value))
        return twin


def _is_foreign(value):
    """Say whether a value has parameters, but not those of an estimator."""
    if isinstance(value, list | tuple):
        return any(map(_is_foreign, value))
    mine, scikit_learns = hasattr(value, "get_params"), hasattr(value, "set_params")
    return mine and not scikit_learns and not isinstance(value, type)


@contextmanager
def all_or_nothing(estimator):
    """Leave the fitted attributes as they were where what is inside raises."""
    before = fitted_attributes(estimator)
    try:
        yield
    except BaseException:
        for name in fitted_attributes(estimator):
            delattr(estimator, name)
        vars(estimator).update(before)
        raise


def fitted_attributes(estimator):
    """Return what an estimator has learnt, by name: all that ends in ``_``."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and not name.startswith("__")
    }
