"""Which checkpoint belongs to a fit: what its training depends on names the file."""

import os
from pathlib import Path

import torch

from sklearn_l2cnn._data.pixels import in_chunks
from sklearn_l2cnn._training.checkpoint import Checkpoint
from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn._utils.estimators import release
from sklearn_l2cnn._utils.identity import identity

# Parameters that a training does not depend on; of `random_state` the seeds count.
_NO_MATTER = (
    *("checkpoint", "checkpoint_keep", "device", "random_state", "tta", "verbose"),
    "warm_start",
)


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
