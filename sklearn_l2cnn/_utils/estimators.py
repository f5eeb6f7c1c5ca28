"""What all estimators share: documentation, pickles, parameters of parameters."""

import copy
import inspect
import sys
import warnings
from contextlib import contextmanager

from sklearn.base import clone

from sklearn_l2cnn._utils.sklearn_compat import clone_parametrized

_RELEASE = "_sklearn_l2cnn_version"


def release():
    """Return the version of this package."""
    return sys.modules["sklearn_l2cnn"].__version__


class EstimatorMixin:
    """Link pictures in notebooks to the documentation, and name the release in pickles.

    scikit-learn fills in the public module and the name of the class, as the pages of
    the reference are named, and shows what a parameter means only where there is an
    address. A class of another package, derived from one of these, has none.

    A pickle of another release may lack parameters: they take their defaults, with a
    warning.
    """

    _doc_link_module = "sklearn_l2cnn"
    _doc_link_template = (
        "https://sklearn-l2cnn.github.io/sklearn-l2cnn/generated/"
        "{estimator_module}.{estimator_name}.html"
    )

    def __getstate__(self):
        return {**super().__getstate__(), _RELEASE: release()}

    def __setstate__(self, state):
        state = dict(state)
        written_by = state.pop(_RELEASE, None)
        parameters = inspect.signature(type(self)).parameters
        missing = [name for name in parameters if name not in state]
        if missing:
            by = f"sklearn_l2cnn {written_by}" if written_by else "an earlier release"
            warnings.warn(
                f"{type(self).__name__} was pickled by {by}; this is {release()}. "
                f"{', '.join(missing)}: these parameters take their defaults. Where "
                "something fails, load it with the release that wrote it, and save it "
                "with sklearn_l2cnn.persistence.save, whose files later releases read.",
                UserWarning,
                stacklevel=2,
            )
        super().__setstate__({n: parameters[n].default for n in missing} | state)


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


_TOGETHER = "Its arguments go with it, in a search too: "
# What to give instead of a parameter that has no parameters of its own.
_ADVICE = {
    "augment": "Give it something that has: augment=Augmentation() of "
    "sklearn_l2cnn.augmentation for augment__rotate.",
    "callbacks": "Give a callback a name: callbacks=[('stop', EarlyStopping())] for "
    "callbacks__stop__patience.",
    "architecture": f"{_TOGETHER}architecture="
    "functools.partial(make_network, width=8).",
    "optimizer": f"{_TOGETHER}optimizer="
    "functools.partial(torch.optim.Adam, betas=(0.9, 0.99)).",
}


class ParametersMixin(EstimatorMixin):
    """Parameters that have parameters: estimators, transforms, callbacks with a name.

    Transforms of torchvision have a `get_params` that means something else, with which
    scikit-learn's own methods fail.
    """

    def get_params(self, deep=True):
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include those of parameters that are estimators, and of what is
            named in a list of pairs.

        Returns
        -------
        params : dict
        """
        params = super().get_params(deep=False)
        if deep:
            for name, value in list(params.items()):
                params |= _inner_params(name, value)
                for key, inner in _named(value).items():
                    params[f"{name}__{key}"] = inner
                    params |= _inner_params(f"{name}__{key}", inner)
        return params

    def set_params(self, **params):
        """Set the parameters of this estimator.

        Parameters
        ----------
        **params : dict
            Parameters; ``<parameter>__<name>`` is one of a parameter that has its own,
            such as ``augment__rotate`` where `augment` is an ``Augmentation``, and
            ``callbacks__<name>__<parameter>`` one of a callback that has a name;
            ``callbacks__<name>=None`` leaves it out.

        Returns
        -------
        self : object
        """
        own = {key: value for key, value in params.items() if "__" not in key}
        inner = {key: value for key, value in params.items() if "__" in key}
        super().set_params(**own)
        # a callback before the parameters that it is to have
        for key in sorted(inner, key=lambda key: key.count("__")):
            name, _, rest = key.partition("__")
            held = getattr(self, name, None)
            if name not in self.get_params(deep=False) or hasattr(held, "set_params"):
                super().set_params(**{key: inner[key]})
            elif rest.partition("__")[0] in _named(held):
                setattr(self, name, _with_named(held, rest, inner[key], key))
            else:
                raise ValueError(_not_settable(key, name, held))
        return self

    def __sklearn_clone__(self):
        params = self.get_params(deep=False)
        foreign = [name for name, value in params.items() if _is_foreign(value)]
        try:
            return self._cloned(params, foreign)
        except (TypeError, ValueError, RuntimeError):
            # callbacks have attributes that are no arguments of their constructors
            more = [name for name in params if not _can_be_cloned(params[name])]
            return self._cloned(params, {*foreign, *more})

    def _cloned(self, params, foreign):
        """Return a clone; foreign parameters are copied with all that is in them."""
        plain = copy.copy(self)
        for name in foreign:
            setattr(plain, name, None)
        twin = clone_parametrized(plain)
        for name in foreign:
            try:
                setattr(twin, name, copy.deepcopy(params[name]))
            except Exception as error:  # whatever others' objects raise
                message = _not_copied(self, name, params[name], error)
                raise TypeError(message) from error
        return twin


def _inner_params(name, value):
    """Return the parameters of a parameter, by the names that set_params takes."""
    if not hasattr(value, "set_params") or isinstance(value, type):
        return {}
    return {f"{name}__{key}": inner for key, inner in value.get_params().items()}


def _named(value):
    """Return what has a name in a list of pairs, by name."""
    if not isinstance(value, list | tuple):
        return {}
    pairs = (item for item in value if isinstance(item, list | tuple))
    return {
        pair[0]: pair[1]
        for pair in pairs
        if len(pair) == 2 and isinstance(pair[0], str)
    }


def _with_named(items, path, value, key):
    """Return a list of pairs in which what a path means has a value.

    The list of the user stays as it is; an object in it is told of its parameter.
    """
    name, _, inner = path.partition("__")
    held = _named(items)[name]
    if inner and (isinstance(held, type) or not hasattr(held, "set_params")):
        raise ValueError(
            f"{key!r} cannot be set: {name!r} is {held!r}, which has no parameters "
            "before it is made. Give an instance."
        )
    if inner:
        held.set_params(**{inner: value})
        return items
    return [
        (name, value) if isinstance(item, list | tuple) and item[0] == name else item
        for item in items
    ]


def _not_settable(key, name, held):
    inside = key.split("__")[1]
    lacks = f"nothing named {inside!r}" if _named(held) else "no parameters of its own"
    return (
        f"{key!r} cannot be set: {name} is {held!r}, which has {lacks}. "
        f"{_ADVICE.get(name, '')}".rstrip()
    )


def _can_be_cloned(value):
    try:
        clone(value, safe=False)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def _not_copied(estimator, name, value, error):
    advice = "Give something that copy.deepcopy can copy."
    if name == "callbacks":
        advice = (
            "Give what makes the callback in every fit: a class, or a function without "
            "arguments, as callbacks=[make_callback]."
        )
    return (
        f"{type(estimator).__name__} cannot be copied, as searches and "
        f"cross-validation do, since {name}={value!r} cannot: {error}. {advice}"
    )


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
