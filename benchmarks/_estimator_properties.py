"""What must be true of every call of an estimator, whatever it is given."""

import hashlib
import random
import traceback
import warnings
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

DOCUMENTED = ValueError, TypeError, NotFittedError, FileNotFoundError
_PACKAGE = Path(__file__).parents[1] / "sklearn_l2cnn"
_LIBRARIES = "sklearn", "skorch", "joblib"


class Finding(AssertionError):
    """A property that does not hold."""


def world():
    """Return all global state that a call must leave as it was, by name."""
    return {
        "random": random.getstate(),
        "numpy's generator": _digest(np.random.get_state()[1])
        + str(np.random.get_state()[2:]),
        "torch's generator": _digest(torch.get_rng_state().numpy()),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.empty(0).device,
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "cache of autocast": torch.is_autocast_cache_enabled(),
        "determinism": torch.are_deterministic_algorithms_enabled(),
        "errors of numpy": tuple(sorted(np.geterr().items())),
        "configuration of scikit-learn": tuple(sorted(sklearn.get_config().items())),
        "filters of warnings": tuple(map(str, warnings.filters)),
    }


def _digest(array):
    return hashlib.sha1(np.ascontiguousarray(array).tobytes()).hexdigest()


def check_world(before):
    """Raise where a call has changed global state."""
    after = world()
    changed = [name for name in before if after[name] != before[name]]
    if changed:
        raise Finding(f"global state has changed: {', '.join(changed)}")


def content(value):
    """Return what is in an array of the caller, to see that it does not change."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return _digest(value)
    if isinstance(value, torch.Tensor) and value.layout == torch.strided:
        if value.is_nested or value.is_meta or value.dtype == torch.bfloat16:
            return None
        return _digest(value.detach().resolve_neg().numpy())
    return None


def check_error(error):
    """Raise where an error is none that this package means to raise.

    It has a documented type and a message, and is raised by a statement of the package,
    or by the libraries that it hands an argument to: not by an operation of torch,
    numpy or Python that was not expected to fail.
    """
    text, kind = str(error), type(error).__name__
    if not isinstance(error, DOCUMENTED):
        raise Finding(f"{kind} is no documented error: {_place(error)}: {text[:200]}")
    if len(text) < 10:
        raise Finding(f"{kind} says nothing: {_place(error)}: {text!r}")
    frame = _frames(error)[-1]
    file = Path(frame.filename)
    if file.is_relative_to(_PACKAGE):
        meant = (frame.line or "").startswith("raise")
    else:
        # a function that a case gives may raise what it likes
        meant = file.parent == Path(__file__).parent or any(
            name in file.parts for name in _LIBRARIES
        )
    if not meant:
        raise Finding(f"{kind} was not meant: {_place(error)}: {text[:200]}")


def _frames(error):
    return traceback.extract_tb(error.__traceback__)


def _place(error):
    """Return the last place in the package, and the last of all."""
    frames = _frames(error)
    own = [f for f in frames if Path(f.filename).is_relative_to(_PACKAGE)]
    places = dict.fromkeys(
        f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"
        for frame in (*own[-1:], frames[-1])
    )
    return " > ".join(places)


def is_fitted(estimator):
    """Say whether an estimator is fitted, and that all of it is or nothing."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        half = [n for n in vars(estimator) if n.endswith("_") and not n.endswith("__")]
        if half:
            raise Finding(f"half fitted: {', '.join(half)}") from None
        return False
    return True


def check_result(method, result, estimator, n):
    """Raise where the result of a call is none.

    Parameters
    ----------
    method : str
    result : object
    estimator : estimator
    n : int or None
        How many images it is of.
    """
    if method == "score":
        if not np.isfinite(result):
            raise Finding(f"score is {result}")
        return
    if method in ("fit", "partial_fit"):
        if result is not estimator:
            raise Finding(f"{method} returns {type(result).__name__}")
        check_fitted(estimator)
        return
    values = np.asarray(result)
    if n is not None and len(values) != n:
        raise Finding(f"{method} returns {len(values)} rows of {n} images")
    if method == "predict":
        known = np.isin(values, np.asarray(estimator.classes_))
        if not known.all():
            raise Finding(f"predict returns {values[~known][:3]}, none of the classes")
        return
    if values.dtype.kind not in "fiub":
        raise Finding(f"{method} returns {values.dtype}")
    allows_infinity = method in ("predict_log_proba", "decision_function")
    bad = np.isnan(values) if allows_infinity else ~np.isfinite(values.astype(float))
    if bad.any():
        raise Finding(f"{method} returns {values[bad][:3]}")
    if method == "predict_proba":
        sums = values.sum(axis=1)
        if (values < 0).any() or (abs(sums - 1) > 1e-4).any():
            raise Finding(f"probabilities sum to {sums.min()} to {sums.max()}")
        if values.shape[1] != len(estimator.classes_):
            raise Finding(f"probabilities of {values.shape[1]} classes")


def check_fitted(estimator):
    """Raise where fitted attributes are not finite."""
    for name in ("loss_curve_", "data_loss_curve_", "penalty_curve_", "channel_mean_"):
        values = getattr(estimator, name, None)
        if values is not None and not np.isfinite(np.asarray(values)).all():
            raise Finding(f"{name} is {values}")
    for name in ("pixel_importances_",):
        values = getattr(estimator, name, None)
        if values is not None and not np.isfinite(np.asarray(values)).all():
            raise Finding(f"{name} is not finite")
