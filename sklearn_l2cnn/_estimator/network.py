"""The net of a fit, and its data on the device."""

import copy

import numpy as np
import torch

from sklearn_l2cnn._data.weights import class_factors, normalized_weights
from sklearn_l2cnn._estimator.optimizers import check_optimizer, optimizer_parameters
from sklearn_l2cnn._estimator.parameters import learning_rate, objective_of
from sklearn_l2cnn._training.averaging import AveragedWeights
from sklearn_l2cnn._training.batches import (
    TrainingTensors,
    auto_batch_size,
    auto_epochs,
    resident,
)
from sklearn_l2cnn._training.callbacks import BestWeights
from sklearn_l2cnn._training.freezing import freeze
from sklearn_l2cnn._training.net import Net
from sklearn_l2cnn._training.rates import (
    CosineRate,
    OneCycleRate,
    PlateauRate,
    holds_scheduler,
)
from sklearn_l2cnn._training.runtime import isolated, lowered_dtype
from sklearn_l2cnn._utils.layers import compute_dtype
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.architectures._states import starts_of
from sklearn_l2cnn.augmentation import plan_for, views_for

# What a new network is made by.
NETWORK_PARAMETERS = ("architecture", "dropout", "pretrained")

_RATES = {"cosine": CosineRate, "onecycle": OneCycleRate, "plateau": PlateauRate}


def build_net(clf, data, device, start=None, parts=1):
    """Return an initialised net for the data of a fit.

    Parameters
    ----------
    clf : L2CNNClassifier
    data : TrainingData
    device : torch.device
    start : Net, default=None
        Whose network is copied; None makes a new one.
    parts : int, default=1
        In how many the gradient of a batch is added up.

    Returns
    -------
    net : Net
    """
    if start is None:
        return wrapped(clf, *drawn_network(clf, data, device), data, device, parts)
    network = copy.deepcopy(start.module_)
    start.frozen.let(network, trained=True)
    # or it is on a path of alphas
    starts = starts_for(clf, network) if clf.warm_start else start.starts
    return wrapped(clf, network, starts, data, device, parts)


def drawn_network(clf, data, device):
    """Return the network that a fit begins with, and what its weights start from.

    Parameters
    ----------
    clf : L2CNNClassifier
    data : TrainingData
    device : torch.device

    Returns
    -------
    network : torch.nn.Module
    starts : dict of Tensor or None
    """
    shape = data.summary.info.image_shape, len(data.summary.classes)

    def again():
        with isolated(data.seed ^ 1, torch.device("cpu")):
            return new_network(clf, *shape)

    with isolated(data.seed, device):
        network = new_network(clf, *shape)
        return network, starts_for(clf, network, again)


def wrapped(clf, network, starts, data, device, parts=1):
    """Wrap a network into an initialised net.

    Parameters
    ----------
    clf : L2CNNClassifier
    network : torch.nn.Module
        It is taken, not copied.
    starts : dict of Tensor or None
    data : TrainingData
    device : torch.device
    parts : int, default=1
        In how many the gradient of a batch is added up.

    Returns
    -------
    net : Net
    """
    with isolated(data.seed, device):
        net = _new_net(clf, network, data, device, parts, starts).initialize()
    check_optimizer(net.optimizer_, clf.optimizer, net.module_, net.lr)
    return net


def new_network(clf, image_shape, n_classes):
    """Initialise the network that a fit begins with, from the global generators."""
    height, width, depth = image_shape
    return build_network(
        clf.architecture,
        (depth, height, width),
        n_classes,
        dropout=clf.dropout,
        pretrained=clf.pretrained,
    )


def check_network(clf, what):
    """Raise where a network is trained further that the parameters would not make.

    Parameters
    ----------
    clf : L2CNNClassifier
        Fitted.
    what : str
        What trains it further.
    """
    made_by, now = clf.net_.made_by, vars(clf)
    changed = [
        name
        for name, value in made_by.items()
        if now[name] is not value and now[name] != value
    ]
    if not changed:
        return
    summary = clf._summary_
    with isolated(0, torch.device("cpu")):
        new = new_network(clf, summary.info.image_shape, len(summary.classes))
    if "pretrained" not in changed and repr(new) == repr(clf.module_):
        return  # a function that was defined again, for example
    wanted = ", ".join(f"{name}={now[name]!r}" for name in changed)
    before = ", ".join(f"{name}={made_by[name]!r}" for name in changed)
    raise ValueError(
        f"{what} cannot go on with {wanted}: the network was made with {before}. Set "
        "that again, or fit a new network, with warm_start=False."
    )


def starts_for(clf, network, again=None):
    """Return what weights start from, where the penalty asks for that, else None.

    Parameters
    ----------
    clf : L2CNNClassifier
    network : torch.nn.Module
    again : callable, default=None
        Makes it again, of other random numbers; None where it was trained before.
    """
    if not objective_of(clf).from_start:
        return None
    return starts_of(network, None if again is None else again())


def _new_net(clf, network, data, device, parts, starts):
    """Wrap a network into a skorch net."""
    views_for(clf.tta)  # or it raises
    n_classes = len(data.summary.classes)
    return Net(
        network,
        image_shape=data.summary.info.image_shape,
        unit=data.summary.unit,
        dtype=compute_dtype(network),
        generator=np.random.RandomState(data.order_seed),
        frozen=freeze(network, clf.freeze),
        n_classes=n_classes,
        parts=parts,
        starts=starts,
        made_by={name: vars(clf)[name] for name in NETWORK_PARAMETERS},
        lr=learning_rate(clf),
        max_epochs=epochs_of(clf, data.train),
        classes=np.arange(n_classes),
        callbacks=list(clf.callbacks or ()),
        verbose=int(clf.verbose),
        device=str(device),
        **net_parameters(clf, data.summary, data.train, device),
        **optimizer_parameters(clf),
    )


def net_parameters(clf, summary, train, device):
    """Return what a net takes over from the classifier in every call to partial_fit."""
    mean, scale = summary.pixels(clf.standardize)
    return {
        "objective": objective_of(clf),
        "mean": mean,
        "scale": scale,
        "lower": lowered_dtype(clf.precision, device),
        "augment": plan_for(clf.augment),
        "threads": clf.threads,
        "record": clf.cuda_graph,
        "batch_size": _batch_size_of(clf, train),
        "accumulate": int(clf.accumulate),
    }


def epochs_of(clf, train):
    """Return the number of epochs that a fit to a set of images is to take."""
    if clf.max_epochs != "auto":
        return int(clf.max_epochs)
    return auto_epochs(len(train.rows), _batch_size_of(clf, train))


def _batch_size_of(clf, train):
    """Return how many images a step is taken for."""
    size = clf.batch_size
    size = auto_batch_size(len(train.rows)) if size == "auto" else int(size)
    return size * int(clf.accumulate)


def fit_callbacks(clf, net):
    """Return the callbacks of a fit alone: of rates, averages, early stopping."""
    schedule = clf.lr_schedule
    if schedule == "auto":
        own = holds_scheduler(net.callbacks_)
        adaptive = clf.optimizer in ("adam", "adamw")
        schedule = "cosine" if adaptive and not own else None
    callbacks = [(schedule, _RATES[schedule](net.max_epochs))] if schedule else []
    if clf.average is not None:
        averaged = AveragedWeights(clf.average, net.max_epochs)
        callbacks.append(("average", averaged))
    if clf.early_stopping:
        callbacks.append(("best_weights", BestWeights(clf.n_iter_no_change, clf.tol)))
    return callbacks


def on_device(clf, net, summary, train, valid=None):
    """Put the data of a fit on the device of its net.

    Parameters
    ----------
    clf : L2CNNClassifier
    net : Net
    summary : DataSummary
    train : ImageSet
    valid : ImageSet, default=None

    Returns
    -------
    tensors : TrainingTensors
    """
    pixels = net.mean, net.scale, net.dtype, torch.device(net.device)
    factors = class_factors(clf.class_weight, summary.classes, summary.class_mass)

    def tensors(image_set):
        weight = normalized_weights(image_set.weight, factors[image_set.labels])
        return resident(image_set, weight, *pixels)

    X, y = tensors(train)
    # scored as it is learnt: what class_weight asks for is not stopped too early
    return TrainingTensors(X, y, None if valid is None else tensors(valid))
