"""What a fit is made of: its material in canonical form, and a net for it."""

import copy
import inspect
from typing import NamedTuple

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import (
    give_back_numbers,
    on_host,
    same_kind,
    sorted_unique,
)
from sklearn_l2cnn._data.canonical import canonical_set, normalized_weights
from sklearn_l2cnn._data.pixels import channel_statistics, unit_of
from sklearn_l2cnn._data.validation import (
    check_continues,
    check_images,
    check_targets,
    check_validation_data,
    encode_labels,
)
from sklearn_l2cnn._data.weights import class_factors, held_out
from sklearn_l2cnn._estimator.parameters import (
    check_penalty,
    check_strengths,
    copied_callbacks,
    holds_scheduler,
)
from sklearn_l2cnn._training.batches import auto_batch_size, resident
from sklearn_l2cnn._training.callbacks import (
    BestWeights,
    CosineRate,
    OneCycleRate,
    PlateauRate,
)
from sklearn_l2cnn._training.freezing import freeze, frozen_anew
from sklearn_l2cnn._training.net import Net
from sklearn_l2cnn._training.regularization import Objective
from sklearn_l2cnn._training.runtime import isolated, lowered_dtype
from sklearn_l2cnn._training.stacked._fleet_batches import Fold
from sklearn_l2cnn._utils.layers import compute_dtype
from sklearn_l2cnn._utils.seeds import draw_seeds
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.augmentation import plan_for, views_for
from sklearn_l2cnn.penalties import L1, L2, ElasticNet, Group

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


class Material(NamedTuple):
    """What a fit learns from and is watched on, and the seeds of what is random.

    Attributes
    ----------
    data : ImageSet
    valid : ImageSet or None
    seed : int
        Of the weights of a new network.
    order_seed : int
        Of the order of the images and of what is drawn in training.
    """

    data: object
    valid: object = None
    seed: object = None
    order_seed: object = None


def gather(clf, X, y, sample_weight, validation, goes_on=False):
    """Bring what a fit is given to its canonical form, and publish what it is.

    Parameters
    ----------
    clf : L2CNNClassifier
    X, y, sample_weight, validation
        As for `fit`.
    goes_on : bool, default=False
        Whether the network of an earlier fit must suit the images and labels.

    Returns
    -------
    material : Material
    """
    if goes_on:
        before = clf._seen_.classes, clf.image_shape_
    images = check_images(clf, X, first=True)
    y, weight = check_targets(clf, X, y, sample_weight, images=images)
    classes = on_host(sorted_unique(y[same_kind(weight > 0, y)]))
    if goes_on:
        check_continues(*before, classes, clf.image_shape_)
    data = canonical_set(images, encode_labels(y, weight, classes, "y"), weight)
    mass = data.class_mass(len(classes))
    seed, split_seed, order_seed = draw_seeds(clf.random_state, 3)
    data, valid = _validation_set(clf, data, classes, validation, split_seed)
    clf._seen_ = Seen(classes, unit_of(images), mass, statistics_of(data))
    publish(clf, X)
    return Material(data, valid, seed, order_seed)


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


def statistics_of(data):
    """Return total weight, mean and variance of the pixels of a set of images."""
    # normalised, so that a constant factor on the weights does not show in the bits
    weight = normalized_weights(data.weight)
    return float(data.weight.sum()), *channel_statistics(data.images, data.rows, weight)


def pixels_of(estimator):
    """Return mean and scale of the channels, which images are standardised with."""
    if not estimator.standardize:
        depth = estimator.image_shape_[2]
        return np.zeros(depth), np.ones(depth)
    _, mean, variance = estimator._seen_.statistics
    return mean, np.sqrt(np.where(variance > 0, variance, 1.0))


def publish(clf, X):
    """Set the attributes that say what was seen, as arrays of the namespace of X."""
    mean, scale = pixels_of(clf)
    clf.channel_mean_ = give_back_numbers(mean, X)
    clf.channel_scale_ = give_back_numbers(scale, X)
    clf.classes_ = give_back_numbers(clf._seen_.classes, X)


def equipped(clf, material, device, start=None):
    """Return an initialised net.

    Parameters
    ----------
    clf : L2CNNClassifier
    material : Material
    device : torch.device
    start : Net, default=None
        Whose network is copied; None makes a new one.

    Returns
    -------
    net : Net
    """
    with isolated(material.seed, device):
        if start is None:
            network = new_network(clf, clf.image_shape_, len(clf._seen_.classes))
        else:
            network = copy.deepcopy(start.module_)
            start.frozen.thaw(network)
        return _new_net(clf, network, device, material.order_seed)


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
    mean, scale = pixels_of(clf)
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


def guests_of(clf):
    """Return the callbacks that a fit of its own has: the rate's, and of stopping."""
    guests = _rate_schedule(clf)
    if clf.early_stopping:
        guests.append(("best_weights", BestWeights(clf.n_iter_no_change, clf.tol)))
    return guests


def _rate_schedule(clf):
    """Return the callback that changes the learning rate, named, or nothing."""
    schedule = clf.lr_schedule
    if schedule == "auto":
        anneals = clf.optimizer in ("adam", "adamw") and not holds_scheduler(
            clf.callbacks
        )
        schedule = "cosine" if anneals else None
    return [(schedule, _RATES[schedule](clf.max_epochs))] if schedule else []


def update_net(clf, net):
    """Let a net that goes on follow the parameters that may change on the way."""
    net.objective = _objective(clf)
    net.frozen = frozen_anew(net.module_, net.frozen, clf.freeze)
    net.augment = plan_for(clf.augment)
    net.mean, net.scale = pixels_of(clf)
    net.lower = lowered_dtype(clf.precision, torch.device(net.device))
    if net.lr != clf.lr:
        net.set_params(lr=clf.lr)


def loaded(clf, net, material):
    """Put what a net learns from on its device, as a Fold; tell it its batch size."""
    data, valid = material.data, material.valid
    pixels = net.mean, net.scale, net.dtype, torch.device(net.device)
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
    [seed] = draw_seeds(net.generator, 1)
    return Fold(*resident(data, weight, *pixels), valid, seed)
