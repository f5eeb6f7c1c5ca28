"""Warnings of trainings that ended too early, or badly, or that nothing could end."""

import math
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_l2cnn._data.weights import class_factors, entropy
from sklearn_l2cnn._training.records import quality_of
from sklearn_l2cnn._utils.layer_names import text_of

# Fewer epochs are a trial, and show no trend.
_FEWEST = 10

# What part of the whole fall of the loss shows that it has not ended.
_SHARE = 0.1

# A data loss of so much of the entropy of the classes shows that nothing is learnt.
_SAME = 0.98

# So many times the loss of a constant prediction no network has that learns.
_FAR = 10


def warn_if_patience_is_too_long(clf):
    """Warn of early stopping that cannot end a training.

    Just as many epochs of patience as there are, or endless patience, say that it is to
    keep the best weights and to end nothing.

    Parameters
    ----------
    clf : estimator
        With the parameters `early_stopping`, `n_iter_no_change` and `max_epochs`.
    """
    patience = clf.n_iter_no_change
    given = "auto" not in (clf.max_epochs, patience) and patience != np.inf
    if clf.early_stopping and given and patience > clf.max_epochs:
        warnings.warn(
            f"early_stopping=True cannot end the training: "
            f"n_iter_no_change={clf.n_iter_no_change} epochs without an improvement do "
            f"not fit into max_epochs={clf.max_epochs}. The weights of the best epoch "
            "are kept all the same. Lower n_iter_no_change, raise max_epochs, or set "
            "both to the same number where that is what is wanted.",
            UserWarning,
            stacklevel=2,
        )


def warn_of_the_end(clf, fitted):
    """Warn where a training should have gone on, or has led nowhere.

    Parameters
    ----------
    clf : L2CNNClassifier
    fitted : Fitted
    """
    rows = fitted.net.history[fitted.net.n_earlier_ :]
    if not rows:
        return
    # with early stopping the weights are those of the best epoch
    kept = max(rows, key=quality_of) if clf.early_stopping else rows[-1]
    loss = kept["train_data_loss"]
    _warn_of_large_loss(clf, loss, fitted.net.n_classes)
    if not _warn_if_still_falling(fitted) and len(rows) >= _FEWEST:
        _warn_if_nothing_is_learnt(clf, loss, fitted.summary)


def _warn_if_still_falling(fitted):
    """Warn where all epochs are done, at a rate as at first, and the loss still falls.

    Return whether it does. A rate that was lowered has brought the training to an end
    of its own.
    """
    history, epochs = fitted.net.history, fitted.net.max_epochs
    rows = history[fitted.net.n_earlier_ :]
    if len(rows) < max(_FEWEST, epochs):
        return False
    if "event_lr" in rows[-1] and rows[-1]["event_lr"] < rows[0]["event_lr"]:
        return False
    third = len(rows) // 3
    losses = np.array([row["train_data_loss"] for row in rows])
    before, last = losses[-2 * third : -third].mean(), losses[-third:].mean()
    # more than epochs differ by chance, and much of all that was learnt
    chance = 2 * np.abs(np.diff(losses[-2 * third :])).mean()
    total = history[0]["train_data_loss"] - losses[-1]
    falls = before - last > max(chance, _SHARE * total)
    if falls:
        warnings.warn(
            f"The data loss was still falling when max_epochs={epochs} was "
            f"reached: its mean over the last third of the epochs is {last:.3g}, over "
            f"the third before {before:.3g}. Raise max_epochs or lr, or let "
            "lr_schedule='cosine' end the training.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return falls


def _warn_of_large_loss(clf, loss, n_classes):
    """Warn where a network that was trained is far worse than one that is constant."""
    constant = math.log(max(2, n_classes))
    if loss > _FAR * constant:
        warnings.warn(
            f"Training ended with a data loss of {loss:.3g}; that of a network that "
            f"gives every class the same probability is {constant:.3g}. Lower lr (it "
            f"is {text_of(clf.lr)}), set gradient_clip, or look for extreme pixels or "
            "sample weights.",
            ConvergenceWarning,
            stacklevel=4,
        )


def _warn_if_nothing_is_learnt(clf, loss, summary):
    """Warn where a network is as good as the best one that is constant."""
    mass = summary.class_mass * class_factors(
        clf.class_weight, summary.classes, summary.class_mass
    )
    constant = entropy(mass)
    if _SAME * constant <= loss <= _FAR * constant:
        warnings.warn(  # of the same text every time, so that a search prints one
            "The network has learnt nothing: its data loss is that of the best "
            "constant prediction, the entropy of the classes. Lower lr or alpha, look "
            "for extreme pixels, or at whether the labels belong to the images.",
            ConvergenceWarning,
            stacklevel=4,
        )
