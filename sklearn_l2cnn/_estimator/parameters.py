"""The parameters of the estimators: what they may be, and the objective they make."""

import math
import os
from collections.abc import Mapping
from numbers import Integral, Real

import torch
from sklearn.metrics import get_scorer_names

from sklearn_l2cnn._estimator.optimizers import DECOUPLED, OPTIMIZERS
from sklearn_l2cnn._training.regularization import Objective
from sklearn_l2cnn._utils.sklearn_compat import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
)
from sklearn_l2cnn.penalties import build_penalty, list_penalties

_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_COUNT = Interval(Integral, 1, None, closed="left")
_SHARE = Interval(Real, 0, 1, closed="left")

CONSTRAINTS = {
    "alpha": [_NOT_NEGATIVE, Mapping],
    "penalty": [StrOptions(set(list_penalties())), HasMethods(["value"]), None],
    "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    "penalize": [StrOptions({"weights", "all"}), callable],
    "activity_alpha": [_NOT_NEGATIVE, Mapping],
    "max_norm": [_POSITIVE, None],
    "dropout": [_SHARE, None],
    "architecture": [str, torch.nn.Module, callable],
    "pretrained": ["boolean", str, os.PathLike],
    "freeze": [str, list, tuple, None],
    "image_shape": [tuple, list, None],
    "channels": [StrOptions({"last", "first"})],
    "standardize": ["boolean"],
    "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
    "lr": [_POSITIVE, Mapping],
    "momentum": [_SHARE],
    "lr_schedule": [StrOptions({"auto", "cosine", "onecycle", "plateau"}), None],
    "batch_size": [StrOptions({"auto"}), _COUNT],
    "accumulate": [_COUNT],
    "average": [StrOptions({"swa"}), Interval(Real, 0, 1, closed="right"), None],
    "max_epochs": [StrOptions({"auto"}), _COUNT],
    "label_smoothing": [_SHARE],
    "gradient_clip": [_POSITIVE, None],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [StrOptions({"auto"}), _COUNT, Options(Real, {math.inf})],
    "tol": [_NOT_NEGATIVE],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "augment": [str, list, tuple, callable, HasMethods(["get_params"]), None],
    "tta": [StrOptions({"flip", "shift"}), list, tuple, None],
    "warm_start": ["boolean"],
    "device": [str, torch.device],
    "precision": [StrOptions({"float32", "bfloat16", "auto"})],
    "threads": [_COUNT, None],
    "cuda_graph": ["boolean"],
    "checkpoint": [str, os.PathLike, None],
    "checkpoint_keep": ["boolean"],
    "callbacks": [list, tuple, None],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
}

# What a search decides itself: it sets the first, and begins with new networks.
NOT_SEARCHED = ("alpha", "warm_start")

SEARCH_CONSTRAINTS = {
    "alphas": [Interval(Integral, 2, None, closed="left"), "array-like"],
    "cv": ["cv_object"],
    "scoring": [StrOptions(set(get_scorer_names())), callable, list, tuple, dict, None],
    "refit": ["boolean", str, callable],
    "one_standard_error": ["boolean"],
    "path": [StrOptions({"independent", "warm"})],
    "n_jobs": [Integral, None],
    **{name: CONSTRAINTS[name] for name in CONSTRAINTS if name not in NOT_SEARCHED},
}


def objective_of(clf):
    """Return what is minimised with the data loss."""
    check_strengths(clf.alpha, "alpha")
    check_strengths(clf.activity_alpha, "activity_alpha")
    return Objective(
        penalty=build_penalty(clf.penalty, vars(clf)),
        alpha=as_floats(clf.alpha),
        penalize=clf.penalize,
        decoupled=clf.optimizer in DECOUPLED,
        activity_alpha=as_floats(clf.activity_alpha),
        max_norm=as_floats(clf.max_norm),
        label_smoothing=as_floats(clf.label_smoothing),
        gradient_clip=as_floats(clf.gradient_clip),
    )


def learning_rate(clf):
    """Return the learning rate, or those of layers, as floats."""
    if isinstance(clf.lr, Mapping):
        _check_layers(clf.lr, "lr", "positive numbers", lambda rate: rate > 0)
    return as_floats(clf.lr)


def as_floats(value):
    """Return a number, or those of a mapping, as floats; None as it is.

    torch takes neither fractions nor whole numbers of more than 64 bits.
    """
    if isinstance(value, Mapping):
        return {key: float(number) for key, number in value.items()}
    return None if value is None else float(value)


# The largest float32, which most networks compute in.
_LARGEST = torch.finfo(torch.float32).max


def check_strengths(value, name):
    """Raise where a number is too large, or a mapping not of layers to strengths."""
    if not isinstance(value, Mapping):
        if value > _LARGEST:
            raise ValueError(
                f"{name}={value!r} is larger than any float32, and a network computes "
                f"in these. At most {_LARGEST:.3g} was expected; 1 is a lot already."
            )
        return
    numbers = f"numbers from 0, which is no penalty, to {_LARGEST:.3g}"
    _check_layers(value, name, numbers, lambda strength: 0 <= strength <= _LARGEST)


def _check_layers(value, name, numbers, allowed):
    """Raise where a mapping is not one of layers to numbers that are allowed."""
    expected = (
        "Something like {'conv1': 0.001, 'dense*': 0.01} was expected: a mapping from "
        f"names of layers, or patterns of them, to {numbers}"
    )
    if not value:
        raise ValueError(f"{name}={{}} is empty. {expected}.")
    for pattern, number in value.items():
        if not isinstance(pattern, str):
            raise ValueError(f"{name} has {pattern!r} as a name. {expected}.")
        is_number = isinstance(number, Real) and not isinstance(number, bool)
        if not is_number or not allowed(number):
            raise ValueError(f"{name} has {pattern!r}: {number!r}. {expected}.")
