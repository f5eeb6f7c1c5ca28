"""One fit: from what the user gave to the fitted attributes."""

import copy
import warnings
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import EfficiencyWarning
from sklearn.utils.multiclass import unique_labels

from sklearn_l2cnn._data.arrays import give_back_numbers, on_host, without_namespace
from sklearn_l2cnn._data.validation import check_continues, check_labelled_images
from sklearn_l2cnn._estimator.checkpoints import (
    check_checkpoint,
    checkpoints_of,
    given_to_ranks,
)
from sklearn_l2cnn._estimator.convergence import (
    warn_if_patience_is_too_long,
    warn_of_the_end,
)
from sklearn_l2cnn._estimator.data import (
    DataSummary,
    labelled_set,
    seeded,
    training_data,
)
from sklearn_l2cnn._estimator.network import (
    build_net,
    check_network,
    epochs_of,
    fit_callbacks,
    net_parameters,
    on_device,
    starts_for,
)
from sklearn_l2cnn._estimator.parameters import learning_rate
from sklearn_l2cnn._training.callbacks import EpochTasks
from sklearn_l2cnn._training.checkpoint import written
from sklearn_l2cnn._training.decay import timescale, warn_of_norms
from sklearn_l2cnn._training.freezing import freeze
from sklearn_l2cnn._training.progress import EpochLines
from sklearn_l2cnn._training.ranks import ALONE, ranks_of_process
from sklearn_l2cnn._training.rates import follow_net
from sklearn_l2cnn._training.records import quality_of
from sklearn_l2cnn._training.runtime import isolated
from sklearn_l2cnn._utils.devices import (
    BatchTooLarge,
    devices_for,
    free_memory,
    recover_memory,
)
from sklearn_l2cnn._utils.estimators import set_attributes
from sklearn_l2cnn._utils.sklearn_compat import callback_context
from sklearn_l2cnn._utils.turns import Turn, turn_on


class Fitted(NamedTuple):
    """What a fit ends with.

    Attributes
    ----------
    summary : DataSummary
    net : Net
    """

    summary: DataSummary
    net: object


def fit(clf, X, y, sample_weight, validation):
    """Fit a new network, or train the last one further with ``warm_start``.

    Parameters
    ----------
    clf : L2CNNClassifier
    X, y, sample_weight : array-like
    validation : tuple (X_val, y_val, sample_weight_val)

    Returns
    -------
    attributes : dict
        The fitted attributes by name.
    """
    check_checkpoint(clf)
    ranks = ranks_of_process()
    with ranks.quiet():
        return _fit(clf, X, y, sample_weight, validation, ranks)


def _fit(clf, X, y, sample_weight, validation, ranks):
    devices = devices_for(clf.device, ranks.local)
    earlier = vars(clf).get("net_") if clf.warm_start else None
    labelled = check_labelled_images(clf, X, y, sample_weight)
    if earlier is not None:
        before, after = clf._summary_, labelled
        shapes = before.info.image_shape, after.info.image_shape
        check_continues(before.classes, shapes[0], after.classes(), shapes[1])
        check_network(clf, "warm_start=True")
    data = training_data(clf, labelled, validation)
    labelled = labelled._replace(survey=None)  # of millions of images it is large
    warn_if_patience_is_too_long(clf)
    task, callbacks = _begin_task(clf, data, labelled)
    callbacks += lines(clf) if ranks.is_first else []
    fitted = train_network(clf, data, devices, earlier, callbacks, ranks)
    warn_of_the_end(clf, fitted)
    attributes = attributes_of(clf, fitted, labelled.origin)
    if task is not None:
        task.call_on_fit_task_end(
            estimator=clf, reconstruction_attributes=attributes, **labelled.given
        )
    return attributes


def refuse_unknown(clf, unknown):
    """Raise a TypeError for arguments that ``fit`` does not have."""
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise TypeError(
            f"{type(clf).__name__}.fit() got an unexpected keyword argument "
            f"{names}. It takes X, y and sample_weight; data to validate on are X_val "
            "and y_val, with sample_weight_val if wanted. All else is a parameter of "
            f"the constructor: {type(clf).__name__}(max_epochs=10)."
        )


def train_network(clf, data, devices, start=None, callbacks=(), ranks=ALONE):
    """Train a network for all epochs, on the device whose turn it is.

    Parameters
    ----------
    clf : L2CNNClassifier
        Whose parameters count.
    data : TrainingData
    devices : list of torch.device
        Of `devices_for`.
    start : Net, default=None
        Whose network and history this goes on from; None means a new network.
    callbacks : sequence of (name, callback), default=()
    ranks : Ranks, default=ALONE
        Who train it together, all of them with the same data.

    Returns
    -------
    fitted : Fitted
    """

    def train(device):
        with ranks.together():
            return _trained(clf, data, device, start, callbacks, ranks, parts)

    parts = 1
    # a rank that waited for its turn would wait for the others
    alone = ranks.size == 1
    with turn_on(devices) if alone else nullcontext(Turn(devices[0])) as turn:
        while True:
            try:
                return turn.fit(train)
            except BatchTooLarge as error:
                if parts >= error.batch_size:
                    raise
            parts *= 2
            recover_memory(turn.device)
            _warn_of_parts(parts, turn.device)


def _trained(clf, data, device, start, callbacks, ranks, parts):
    """Train a network on a device, from the first epoch or from a checkpoint."""
    net = build_net(clf, data, device, start, parts)
    if start is not None:
        follow_net(net, start)
    sets, seeds = [data.train, data.valid], [data.seed, data.order_seed]
    ranks.check_alike(lambda: given_to_ranks(clf, net, data.summary, sets, seeds))
    tensors = on_device(clf, net, data.summary, data.train, data.valid)
    if start is None:
        with isolated(0, device):
            warn_of_norms(net, tensors.X)
    first, checkpoint = fit_callbacks(clf, net), None
    if ranks.is_first:
        [checkpoint] = checkpoints_of(clf, [[(clf, net, data)]])
    with written([checkpoint]):
        net.train(tensors, net.max_epochs, first, callbacks, checkpoint, ranks)
    net.offload()
    net.begin_memory()
    free_memory(device)
    return Fitted(data.summary, net)


def _warn_of_parts(parts, device):
    warnings.warn(
        f"A batch does not fit into the memory of {device}. Training begins again: the "
        f"gradient of each is added up in {parts} parts, the same but for rounding. "
        "A smaller batch_size needs less memory, and takes other steps.",
        EfficiencyWarning,
        stacklevel=4,
    )


def partial_fit(clf, X, y, classes, sample_weight):
    """Train the network of a classifier for one epoch on more images.

    Parameters
    ----------
    clf : L2CNNClassifier
    X, y, classes, sample_weight : array-like

    Returns
    -------
    attributes : dict
        The fitted attributes by name.
    """
    ranks = ranks_of_process()
    with ranks.quiet():
        return _partial_fit(clf, X, y, classes, sample_weight, ranks)


def _partial_fit(clf, X, y, classes, sample_weight, ranks):
    earlier = vars(clf).get("_summary_")
    known = _check_classes(classes, earlier)
    info = None if earlier is None else earlier.info
    labelled = check_labelled_images(clf, X, y, sample_weight, info)
    train = labelled_set(labelled.survey, labelled.y, labelled.weight, known)
    if earlier is None:
        data = seeded(clf, labelled, known, train)
        device = devices_for(clf.device, ranks.local)[0]
        summary, net = data.summary, build_net(clf, data, device)
    else:
        check_network(clf, "partial_fit")
        summary, net = earlier.with_more(labelled.survey.moments, train), clf.net_
    before, parameters = copy.deepcopy(net.training_state()), net.followed()
    n_epochs = len(net.history)
    try:
        net.frozen.let(net.module_, trained=True)
        net.follow_callbacks(clf.callbacks)
        net.follow(
            lr=learning_rate(clf),
            frozen=freeze(net.module_, clf.freeze),
            starts=net.starts or starts_for(clf, net.module_),
            **net_parameters(clf, summary, train, torch.device(net.device)),
        )
        last = lines(clf, 1) if ranks.is_first else []
        with ranks.together():
            ranks.check_alike(lambda: given_to_ranks(clf, net, summary, [train]))
            tensors = on_device(clf, net, summary, train)
            net.train(tensors, 1, last=last, ranks=ranks)
    except BaseException:
        vars(net).update(parameters)
        net.restore(before)
        del net.history[n_epochs:]
        raise
    return attributes_of(clf, Fitted(summary, net), labelled.origin)


def lines(clf, epochs=None, **how):
    """Return the callback that prints lines, named, where a classifier is to print.

    Parameters
    ----------
    clf : L2CNNClassifier
    epochs : int, default=None
        None is as many as its net is to take.
    **how
        Other parameters of `EpochLines`.
    """
    return [("lines", EpochLines(epochs, **how))] * bool(clf.verbose)


def _check_classes(classes, earlier):
    """Return the classes of the first call to partial_fit; later ones must agree."""
    if classes is None:
        if earlier is None:
            raise ValueError(
                "classes must be passed on the first call to partial_fit: all labels "
                "that will ever come, for example np.unique(y) of the whole data."
            )
        return earlier.classes
    classes = without_namespace(classes)
    shape = np.shape(classes)
    if len(shape) != 1 or not shape[0]:
        raise ValueError(
            f"classes has shape {shape}; all labels that will ever come were expected, "
            "of shape (n_classes,), for example np.unique(y) of the whole data."
        )
    classes = on_host(unique_labels(classes))
    if earlier is not None and not np.array_equal(classes, earlier.classes):
        raise ValueError(
            f"classes={classes.tolist()} is not the same as on the last call to "
            f"partial_fit or fit, was: {earlier.classes.tolist()}. Leave it out, or "
            "fit a new estimator."
        )
    return classes


def end_fit(estimator, attributes):
    """Set fitted attributes; raise KeyboardInterrupt where the user has interrupted.

    So scripts and searches end, and a notebook keeps what was learnt.

    Parameters
    ----------
    estimator : estimator
    attributes : dict
        By name, with ``net_`` where a network was trained.

    Returns
    -------
    estimator : estimator
        The same.
    """
    set_attributes(estimator, attributes)
    raise_interrupt(attributes.get("net_"))
    return estimator


def raise_interrupt(net):
    """Raise KeyboardInterrupt where the user has interrupted the training of a net."""
    if net is None or net.interrupted_ is None:
        return
    error = KeyboardInterrupt()
    error.add_note(
        f"Training was interrupted after {net.interrupted_} epochs. An estimator whose "
        "own fit this was keeps what was learnt, and predicts. To go on, call fit "
        "again with warm_start=True, or partial_fit."
    )
    raise error


def attributes_of(clf, fitted, origin):
    """Return the fitted attributes of a classifier, by name.

    Parameters
    ----------
    clf : L2CNNClassifier
        Whose parameters count.
    fitted : Fitted
    origin : array
        Of the namespace, and on the device, that arrays among them are to have.
    """
    history = fitted.net.history
    rows = history[fitted.net.n_earlier_ :]
    rows = [row for row in rows if "valid_batch_count" in row]
    scores = [row["valid_acc"] for row in rows]
    losses = [row["valid_loss"] for row in rows]
    return {
        **_summary_attributes(clf, fitted.summary, origin),
        "net_": fitted.net,
        "n_epochs_": len(history),
        "timescale_": timescale(fitted.net, history[-1]["train_batch_count"])
        if history
        else None,
        "loss_curve_": [row["train_loss"] for row in history],
        "data_loss_curve_": [row["train_data_loss"] for row in history],
        "penalty_curve_": [row["train_penalty"] for row in history],
        "validation_scores_": scores or None,
        "validation_loss_curve_": losses or None,
        "best_validation_score_": max(scores, default=None),
        "best_epoch_": 1 + rows.index(max(rows, key=quality_of)) if rows else None,
    }


def _summary_attributes(clf, summary, origin):
    mean, scale = summary.pixels(clf.standardize)
    return {
        "_summary_": summary,
        **summary.info.attributes(),
        "classes_": give_back_numbers(summary.classes, origin),
        "channel_mean_": give_back_numbers(mean, origin),
        "channel_scale_": give_back_numbers(scale, origin),
    }


def _begin_task(clf, data, labelled):
    """Tell scikit-learn's callbacks, where there are any, that a fit begins.

    Returns
    -------
    task : sklearn.callback.CallbackContext or None
    callbacks : list
        The skorch callback that reports the epochs, named, or nothing.
    """
    task = callback_context(clf, epochs_of(clf, data.train))
    if task is None:
        return None, []
    task.call_on_fit_task_begin(estimator=clf, **labelled.given)
    attributes = attributes_of_epoch(clf, data.summary, labelled.origin)
    return task, [("epoch_tasks", EpochTasks(task, clf, labelled.given, attributes))]


def attributes_of_epoch(clf, summary, origin):
    """Return what makes fitted attributes of a net that is trained further."""
    known = _summary_attributes(clf, summary, origin)
    return lambda net: {**known, "net_": net.snapshot()}
