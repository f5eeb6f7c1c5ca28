"""Fitting an L2CNNClassifier: from what the user gave to its fitted attributes."""

import copy
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import unique_labels

from sklearn_l2cnn._data.arrays import on_host, tensor_to_numpy
from sklearn_l2cnn._data.canonical import canonical_set
from sklearn_l2cnn._data.pixels import merge_statistics, unit_of
from sklearn_l2cnn._data.validation import check_images, check_targets, encode_labels
from sklearn_l2cnn._estimator._assembly import (
    Material,
    Seen,
    equipped,
    gather,
    guests_of,
    loaded,
    publish,
    statistics_of,
    update_net,
)
from sklearn_l2cnn._training.callbacks import EpochTasks
from sklearn_l2cnn._training.runtime import isolated, resolve_device
from sklearn_l2cnn._utils.seeds import draw_seeds


def fit(clf, X, y, sample_weight, validation):
    """Fit the classifier anew, or on from its last weights with ``warm_start``.

    Parameters
    ----------
    clf : L2CNNClassifier
    X, y, sample_weight : array-like
    validation : tuple (X_val, y_val, sample_weight_val)

    Returns
    -------
    clf : L2CNNClassifier
    """
    device = resolve_device(clf.device)
    earlier = vars(clf).get("net_") if clf.warm_start else None
    material = gather(clf, X, y, sample_weight, validation, goes_on=earlier is not None)
    task, guests = _begin_task(clf, X, y, sample_weight)
    guests += guests_of(clf)
    net = equipped(clf, material, device, earlier)
    if earlier is not None:
        net.history.extend(copy.deepcopy(list(earlier.history)))
    done = len(net.history)
    data = loaded(clf, net, material)
    _train(net, data, epochs=clf.max_epochs, guests=guests)
    finish(clf, net, done)
    if task is not None:
        task.call_on_fit_task_end(
            estimator=clf,
            reconstruction_attributes={},
            **_task_data(X, y, sample_weight),
        )
    return clf


def finish(clf, net, done):
    """Make a trained net that of the classifier; `done` epochs were earlier."""
    net.park()
    clf.net_ = net
    _record(clf, done)


def partial_fit(clf, X, y, classes, sample_weight):
    """Train the classifier for one epoch on more images.

    Parameters
    ----------
    clf : L2CNNClassifier
    X, y, classes, sample_weight : array-like

    Returns
    -------
    clf : L2CNNClassifier
    """
    first = "net_" not in vars(clf)
    known = _check_classes(clf, classes, first)
    images = check_images(clf, X, first=first)
    y, weight = check_targets(clf, X, y, sample_weight, images=images)
    data = canonical_set(images, encode_labels(y, weight, known, "y"), weight)
    statistics, mass = statistics_of(data), data.class_mass(len(known))
    if first:
        clf._seen_ = Seen(known, unit_of(images), mass, statistics)
    else:
        clf._seen_ = clf._seen_._replace(
            class_mass=clf._seen_.class_mass + mass,
            statistics=merge_statistics(clf._seen_.statistics, statistics),
        )
    publish(clf, X)
    if first:
        device = resolve_device(clf.device)
        seed, _, order_seed = draw_seeds(clf.random_state, 3)
        net = equipped(clf, Material(data, None, seed, order_seed), device)
    else:
        net = clf.net_
    before = net.training_state()
    try:
        update_net(clf, net)
        _train(net, loaded(clf, net, Material(data)), epochs=1)
    except BaseException:
        net.restore(before)
        raise
    clf.net_ = net
    _record(clf, len(net.history))
    return clf


def _check_classes(clf, classes, first):
    """Return the classes of the first call to partial_fit; later ones must agree."""
    if classes is None:
        if first:
            raise ValueError(
                "classes must be passed on the first call to partial_fit: all labels "
                "that will ever come, for example np.unique(y) of the whole data."
            )
        return clf._seen_.classes
    classes = on_host(unique_labels(tensor_to_numpy(classes)))
    if not first and not np.array_equal(classes, clf._seen_.classes):
        raise ValueError(
            f"classes={classes.tolist()} is not the same as on the last call to "
            f"partial_fit or fit, was: {clf._seen_.classes.tolist()}. Leave it out, or "
            "fit a new estimator."
        )
    return classes


def _train(net, data, *, epochs, guests=()):
    """Train a net on what was loaded, with a warning where the user interrupts."""
    done = len(net.history)
    with isolated(data.seed, torch.device(net.device)) as threads:
        interrupted = net.train(
            data.X,
            data.y,
            epochs=epochs,
            valid=data.valid,
            guests=guests,
            threads=threads,
        )
    if interrupted:
        warnings.warn(
            f"Training was interrupted after {len(net.history) - done} of {epochs} "
            "epochs; what was learnt so far is kept. To go on, call fit again with "
            "warm_start=True, or partial_fit.",
            ConvergenceWarning,
            stacklevel=2,
        )


def _record(clf, done):
    """Set the attributes that tell how training went; `done` epochs were earlier."""
    history = clf.net_.history
    clf.n_epochs_ = len(history)
    clf.loss_curve_ = [row["train_loss"] for row in history]
    clf.data_loss_curve_ = [row["train_data_loss"] for row in history]
    clf.penalty_curve_ = [row["train_penalty"] for row in history]
    scores = [row["valid_acc"] for row in history[done:] if "valid_acc" in row]
    clf.validation_scores_ = scores or None
    clf.best_validation_score_ = max(scores, default=None)
    clf.best_epoch_ = 1 + scores.index(max(scores)) if scores else None


def _task_data(X, y, sample_weight):
    """Return the data of a fit as scikit-learn's callbacks want them."""
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    return {"X": X, "y": y, "metadata": metadata}


def _begin_task(clf, X, y, sample_weight):
    """Tell scikit-learn's callbacks, where there are any, that a fit begins.

    Returns
    -------
    task : sklearn.callback.CallbackContext or None
    guests : list
        The skorch callback that reports the epochs, named, or nothing.
    """
    if not hasattr(clf, "_skl_callbacks"):
        return None, []
    data = _task_data(X, y, sample_weight)
    task = clf._init_callback_context(max_subtasks=clf.max_epochs)
    task.call_on_fit_task_begin(estimator=clf, **data)
    reporter = EpochTasks(task, clf, data, lambda net: {"net_": net.snapshot()})
    return task, [("epoch_tasks", reporter)]
