"""Fitting an L2CNNClassifier: from what the user gave to its fitted attributes."""

import copy
import inspect
import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import unique_labels

from sklearn_l2cnn._arrays import (
    give_back,
    holds_numbers,
    is_dispatched,
    on_host,
    same_kind,
    sorted_unique,
    tensor_to_numpy,
)
from sklearn_l2cnn._inputs import check_images
from sklearn_l2cnn._pixels import channel_statistics, merge_statistics, unit_of
from sklearn_l2cnn._validation import (
    check_continues,
    check_penalty,
    check_strengths,
    check_targets,
    check_validation_data,
    copied_callbacks,
    encode_labels,
    holds_scheduler,
)
from sklearn_l2cnn.architectures import build_network, compute_dtype
from sklearn_l2cnn.augmentation import plan_for, views_for
from sklearn_l2cnn.penalties import L1, L2, ElasticNet, Group
from sklearn_l2cnn.training import (
    BestWeights,
    CosineRate,
    EpochTasks,
    Net,
    Objective,
    OneCycleRate,
    PlateauRate,
    auto_batch_size,
    canonical_set,
    class_factors,
    draw_seeds,
    freeze,
    frozen_anew,
    held_out,
    isolated,
    lowered_dtype,
    normalized_weights,
    resident,
    resolve_device,
)

_OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.Adam,  # decoupled, which is the difference
    "sgd": torch.optim.SGD,
}
_RATES = {"cosine": CosineRate, "onecycle": OneCycleRate, "plateau": PlateauRate}
_PENALTIES = {"l1": L1, "l2": L2, "group": Group}


class Seen(NamedTuple):
    """What an estimator knows of all images that it was fitted to, on the host.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    unit : tuple
        `unit_of` the first images.
    class_mass : ndarray of shape (n_classes,)
        Summed sample weights of every class.
    statistics : tuple (weight, mean, variance)
        Of the pixels, by channel.
    """

    classes: np.ndarray
    unit: tuple
    class_mass: np.ndarray
    statistics: tuple


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
    if earlier is not None:
        before = clf._seen_.classes, clf.image_shape_
    images = check_images(clf, X, first=True)
    y, weight = check_targets(clf, X, y, sample_weight, images=images)
    classes = on_host(sorted_unique(y[same_kind(weight > 0, y)]))
    if earlier is not None:
        check_continues(*before, classes, clf.image_shape_)
    data = canonical_set(images, encode_labels(y, weight, classes, "y"), weight)
    mass = data.class_mass(len(classes))
    seed, split_seed, order_seed = draw_seeds(clf.random_state, 3)
    data, valid = _validation_set(clf, data, classes, validation, split_seed)
    clf._seen_ = Seen(classes, unit_of(images), mass, _statistics(data))
    _publish(clf, X)
    task, guests = _begin_task(clf, X, y, sample_weight)
    guests += _rate_schedule(clf)
    if clf.early_stopping:
        guests.append(("best_weights", BestWeights(clf.n_iter_no_change, clf.tol)))
    with isolated(seed, device):
        if earlier is None:
            network = new_network(clf, clf.image_shape_, len(classes))
        else:
            network = copy.deepcopy(earlier.module_)
            earlier.frozen.thaw(network)
        net = _new_net(clf, network, device, order_seed)
    if earlier is not None:
        net.history.extend(copy.deepcopy(list(earlier.history)))
    done = len(net.history)
    _train(clf, net, data, valid=valid, epochs=clf.max_epochs, guests=guests)
    net.park()
    clf.net_ = net
    _record(clf, done)
    if task is not None:
        task.call_on_fit_task_end(
            estimator=clf,
            reconstruction_attributes={},
            **_task_data(X, y, sample_weight),
        )
    return clf


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
    statistics, mass = _statistics(data), data.class_mass(len(known))
    if first:
        clf._seen_ = Seen(known, unit_of(images), mass, statistics)
    else:
        clf._seen_ = clf._seen_._replace(
            class_mass=clf._seen_.class_mass + mass,
            statistics=merge_statistics(clf._seen_.statistics, statistics),
        )
    _publish(clf, X)
    if first:
        device = resolve_device(clf.device)
        seed, _, order_seed = draw_seeds(clf.random_state, 3)
        with isolated(seed, device):
            network = new_network(clf, clf.image_shape_, len(known))
            net = _new_net(clf, network, device, order_seed)
    else:
        net = clf.net_
    before = net.training_state()
    try:
        _update_net(clf, net)
        _train(clf, net, data, epochs=1)
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


def _validation_set(clf, data, classes, validation, seed):
    """Return what is trained on and what is validated on, None for no validation."""
    given = check_validation_data(clf, *validation)
    if given is not None:
        images, y, weight = given
        labels = encode_labels(y, weight, classes, "y_val")
        return data, canonical_set(images, labels, weight)
    if not clf.early_stopping:
        return data, None
    generator = np.random.RandomState(seed)
    train, valid = held_out(data.labels, clf.validation_fraction, generator)
    return data.take(train), data.take(valid)


def _statistics(data):
    """Return total weight, mean and variance of the pixels of a set of images."""
    # normalised, so that a constant factor on the weights does not show in the bits
    weight = normalized_weights(data.weight)
    return float(data.weight.sum()), *channel_statistics(data.images, data.rows, weight)


def _pixels(clf):
    """Return mean and scale of the channels, which images are standardised with."""
    _, mean, variance = clf._seen_.statistics
    if not clf.standardize:
        return np.zeros(len(mean)), np.ones(len(mean))
    return mean, np.sqrt(np.where(variance > 0, variance, 1.0))


def _publish(clf, X):
    """Set the attributes that say what was seen, as arrays of the namespace of X."""
    mean, scale = (torch.from_numpy(part) for part in _pixels(clf))
    clf.channel_mean_, clf.channel_scale_ = give_back(mean, X), give_back(scale, X)
    clf.classes_ = clf._seen_.classes
    if is_dispatched(X) and holds_numbers(clf.classes_):
        clf.classes_ = give_back(torch.from_numpy(clf.classes_), X)


def new_network(clf, image_shape, n_classes):
    """Draw the network that a fit begins with, from the global generators."""
    height, width, depth = image_shape
    return build_network(
        clf.architecture,
        (depth, height, width),
        n_classes,
        dropout=clf.dropout,
        pretrained=clf.pretrained,
    )


def penalty_of(clf):
    """Return the penalty as an object, or None."""
    penalty = clf.penalty
    if penalty == "elasticnet":
        return ElasticNet(clf.l1_ratio)
    if isinstance(penalty, str):
        return _PENALTIES[penalty]()
    if penalty is not None:
        check_penalty(penalty)
    return penalty


def _objective(clf):
    """Return what is minimised beside the data loss."""
    penalty = penalty_of(clf)
    check_strengths(clf.alpha, "alpha")
    check_strengths(clf.activity_alpha, "activity_alpha")
    views_for(clf.tta)
    return Objective(
        penalty=penalty,
        alpha=clf.alpha,
        penalize=clf.penalize,
        decoupled=clf.decoupled or clf.optimizer == "adamw",
        activity_alpha=clf.activity_alpha,
        activity_layers=clf.activity_layers,
        max_norm=clf.max_norm,
        label_smoothing=clf.label_smoothing,
        gradient_clip=clf.gradient_clip,
    )


def _new_net(clf, network, device, order_seed):
    """Wrap a network into an initialised skorch net."""
    optimizer = clf.optimizer
    options = {}
    if optimizer in _OPTIMIZERS:
        options["optimizer__fused"] = True  # one call for all parameters
        optimizer = _OPTIMIZERS[optimizer]
        if optimizer is torch.optim.Adam and device.type == "cuda":
            options["optimizer__capturable"] = True  # its step can be in a graph
    if "momentum" in inspect.signature(optimizer).parameters:
        options["optimizer__momentum"] = clf.momentum
    mean, scale = _pixels(clf)
    frozen = freeze(network, clf.freeze)
    net = Net(
        network,
        objective=_objective(clf),
        mean=mean,
        scale=scale,
        dtype=compute_dtype(network),
        lower=lowered_dtype(clf.precision, device),
        generator=np.random.RandomState(order_seed),
        frozen=frozen,
        augment=plan_for(clf.augment),
        n_classes=len(clf._seen_.classes),
        optimizer=optimizer,
        lr=clf.lr,
        max_epochs=clf.max_epochs,
        classes=np.arange(len(clf._seen_.classes)),
        callbacks=copied_callbacks(clf.callbacks),
        verbose=int(clf.verbose),
        device=str(device),
        **options,
    )
    return net.initialize()


def _rate_schedule(clf):
    """Return the callback that changes the learning rate, named, or nothing."""
    schedule = clf.lr_schedule
    if schedule == "auto":
        anneals = clf.optimizer in ("adam", "adamw") and not holds_scheduler(
            clf.callbacks
        )
        schedule = "cosine" if anneals else None
    return [(schedule, _RATES[schedule](clf.max_epochs))] if schedule else []


def _update_net(clf, net):
    """Let a net that goes on follow the parameters that may change on the way."""
    net.objective = _objective(clf)
    net.frozen = frozen_anew(net.module_, net.frozen, clf.freeze)
    net.augment = plan_for(clf.augment)
    net.mean, net.scale = _pixels(clf)
    net.lower = lowered_dtype(clf.precision, torch.device(net.device))
    if net.lr != clf.lr:
        net.set_params(lr=clf.lr)


def _train(clf, net, data, *, epochs, valid=None, guests=()):
    """Train a net on a set of images, with a warning where the user interrupts."""
    device = torch.device(net.device)
    pixels = net.mean, net.scale, net.dtype, device
    seen = clf._seen_
    factors = class_factors(clf.class_weight, seen.classes, seen.class_mass)
    factors = same_kind(factors, data.weight)
    weight = normalized_weights(data.weight * factors[data.labels])
    if valid is not None:
        # scored as it is learnt: what class_weight asks for is not stopped too early
        factors = same_kind(factors, valid.weight)
        valid_weight = normalized_weights(valid.weight * factors[valid.labels])
        valid = resident(valid, valid_weight, *pixels)
    auto = clf.batch_size == "auto"
    net.batch_size = auto_batch_size(len(weight)) if auto else int(clf.batch_size)
    done = len(net.history)
    [seed] = draw_seeds(net.generator, 1)
    with isolated(seed, device) as threads:
        interrupted = net.train(
            *resident(data, weight, *pixels),
            epochs=epochs,
            valid=valid,
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
