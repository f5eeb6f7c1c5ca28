"""What the parameters of the estimators may be."""

import os
from collections.abc import Mapping
from numbers import Integral, Real

import torch
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_POSITIVE = Interval(Real, 0, None, closed="neither")
_COUNT = Interval(Integral, 1, None, closed="left")
_SHARE = Interval(Real, 0, 1, closed="left")

CONSTRAINTS = {
    "alpha": [_NOT_NEGATIVE, Mapping],
    "penalty": [
        StrOptions({"l2", "l1", "elasticnet", "group"}),
        HasMethods(["value"]),
        None,
    ],
    "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    "penalize": [StrOptions({"weights", "all"}), callable],
    "decoupled": ["boolean"],
    "activity_alpha": [_NOT_NEGATIVE, Mapping],
    "activity_layers": [StrOptions({"last", "all"})],
    "max_norm": [_POSITIVE, None],
    "dropout": [_SHARE, None],
    "architecture": [str, torch.nn.Module, callable],
    "pretrained": ["boolean", str, os.PathLike],
    "freeze": [str, list, tuple, None],
    "image_shape": [tuple, list, None],
    "channels": [StrOptions({"last", "first"})],
    "standardize": ["boolean"],
    "optimizer": [StrOptions({"adam", "adamw", "sgd"}), callable],
    "lr": [_POSITIVE],
    "momentum": [_SHARE],
    "lr_schedule": [StrOptions({"auto", "cosine", "onecycle", "plateau"}), None],
    "batch_size": [StrOptions({"auto"}), _COUNT],
    "max_epochs": [_COUNT],
    "label_smoothing": [_SHARE],
    "gradient_clip": [_POSITIVE, None],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [_COUNT],
    "tol": [_NOT_NEGATIVE],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "augment": [str, list, tuple, callable, HasMethods(["get_params"]), None],
    "tta": [StrOptions({"flip", "shift"}), list, tuple, None],
    "warm_start": ["boolean"],
    "device": [str, torch.device],
    "precision": [StrOptions({"float32", "bfloat16", "auto"})],
    "callbacks": [list, tuple, None],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
}

# What a search decides itself: it sets the first, and begins with new networks.
NOT_SEARCHED = ("alpha", "warm_start")

SEARCH_CONSTRAINTS = {
    "alphas": [Interval(Integral, 2, None, closed="left"), "array-like"],
    "cv": ["cv_object"],
    "scoring": [
        StrOptions(set(get_scorer_names())),
        callable,
        list,
        tuple,
        dict,
        None,
    ],
    "refit": ["boolean", str, callable],
    "one_standard_error": ["boolean"],
    "path": [StrOptions({"independent", "warm"})],
    "n_jobs": [Integral, None],
    **{name: CONSTRAINTS[name] for name in CONSTRAINTS if name not in NOT_SEARCHED},
}
