"""Which checkpoint belongs to a fit: what its training depends on names the file."""

import os
from numbers import Number
from pathlib import Path

import numpy as np
import torch

from sklearn_l2cnn._data.pixels import in_chunks
from sklearn_l2cnn._data.stored import is_stored
from sklearn_l2cnn._training.checkpoint import Checkpoint
from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn._utils.estimators import release
from sklearn_l2cnn._utils.identity import identity

# Parameters that a training does not depend on; of `random_state` the seeds count.
_NO_MATTER = (
    *("checkpoint", "checkpoint_keep", "device", "random_state", "tta", "verbose"),
    "warm_start",
)


# So many images that are not in memory are looked at once more.
_LOOKED_AT = 64


def check_checkpoint(clf):
    """Make the folder for checkpoints, where a fit is to have some.

    Parameters
    ----------
    clf : L2CNNClassifier or L2CNNClassifierCV
    """
    if clf.checkpoint is None:
        return
    folder = os.fspath(clf.checkpoint)
    if clf.random_state is None:
        raise ValueError(
            f"checkpoint={folder!r} needs a random_state: with random_state=None every "
            "fit draws another network, and none goes on where another has ended. Set "
            "random_state=0, or any other int."
        )
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # of a zero among its characters
        raise ValueError(
            f"checkpoint={folder!r} is not a folder that can be made: "
            f"{first_line(error)}. Give the path of a folder to keep the state of the "
            "training in."
        ) from error


def checkpoints_of(clf, trainings):
    """Return the checkpoint of every training, None where there are to be none.

    Parameters
    ----------
    clf : L2CNNClassifier
        Whose folder counts.
    trainings : list of list of tuple (clf, net, data)
        What each depends on: its networks, as it begins with them. Several of one
        training are trained as one.

    Returns
    -------
    checkpoints : list of Checkpoint or None
    """
    if clf.checkpoint is None:
        return [None] * len(trainings)
    # images are read once, however many networks are trained on them
    found = {id(data): data for members in trainings for *_, data in members}
    known = {key: _identity_of_data(data) for key, data in found.items()}
    return [
        Checkpoint(
            clf.checkpoint,
            identity(
                *(release(), torch.__version__, len(members)),
                *(_identity_of_fit(own, net, known[id(d)]) for own, net, d in members),
            ),
            clf.checkpoint_keep,
        )
        for members in trainings
    ]


def given_to_ranks(clf, net, summary, sets, seeds=()):
    """Return what has to be the same on all ranks of a training, by what it is called.

    Callbacks may be others; of objects only what is plain can be compared for sure. All
    images count, but of those that are not in memory a few, and their statistics.

    Parameters
    ----------
    clf : L2CNNClassifier
    net : Net
        As the training begins with it.
    summary : DataSummary
    sets : list of ImageSet or None
        What it is trained on, and validated on.
    seeds : sequence of int, default=()
        Of a new network and of a new order.

    Returns
    -------
    given : dict of str
    """
    sets = [each for each in sets if each is not None]
    return {
        **{
            f"the parameter {name}": repr(value)
            for name, value in clf.get_params(deep=False).items()
            if name not in (*_NO_MATTER, "callbacks") and _is_plain(value)
        },
        "random_state": identity(seeds, net.generator.get_state()),
        "images": identity(*(_identity_of_images(summary, each) for each in sets)),
        "labels": identity(summary.classes, *(each.labels for each in sets)),
        "weights of images": identity(*(each.weight for each in sets)),
        "weights of the network": identity(dict(net.module_.state_dict())),
        "kinds of device": torch.device(net.device).type,
        "releases of torch": torch.__version__,
    }


def _identity_of_images(summary, image_set):
    if is_stored(image_set.images):
        places = np.linspace(0, len(image_set.rows) - 1, _LOOKED_AT).astype(int)
        few = image_set.images[image_set.rows[np.unique(places)]]
        return identity(len(image_set.rows), few, summary.statistics)
    return identity(*_identities(image_set))


def _is_plain(value):
    if isinstance(value, dict):
        return _is_plain([*value.keys(), *value.values()])
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | Number | None)


def _identity_of_fit(clf, net, of_data):
    parameters = clf.get_params(deep=False)
    matters = {k: v for k, v in parameters.items() if k not in _NO_MATTER}
    kind = torch.device(net.device).type
    history = len(net.history)  # of a net that this one goes on from
    return identity(matters, net.module_, kind, history, of_data)


def _identity_of_data(data):
    sets = [data.train, *([] if data.valid is None else [data.valid])]
    return identity(
        *(data.seed, data.order_seed, *data.summary),
        *((each.labels, each.weight, *_identities(each)) for each in sets),
    )


def _identities(image_set):
    """Yield the identities of the images, chunk by chunk: they may be many."""
    for chunk in in_chunks(image_set.images, image_set.rows):
        yield identity(chunk)
