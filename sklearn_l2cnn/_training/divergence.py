"""Numbers that are not finite: in a training, and in what a network says of images."""

import numpy as np
import torch

from sklearn_l2cnn._data.pixels import largest_magnitude
from sklearn_l2cnn._utils.layer_names import text_of

# The network that is kept is tried on so many images.
_LOOKED_AT = 64
# So many names, or rows, are said.
_SAID = 5


class Diverged(ValueError):
    """Training left the finite numbers."""


def norms_of(net):
    """Return the norms of all parameters of a net, as a tensor."""
    norms = torch._foreach_norm([p.detach() for p in net.module_.parameters()])
    return torch.stack([norm.to(net.dtype) for norm in norms])


def check_epoch(history, norms, module, lr):
    """Raise where the loss of the last epoch, or the norm of a weight, is not finite.

    Parameters
    ----------
    history : skorch.history.History
    norms : ndarray of shape (n_parameters,)
        Of the parameters, after the last step of the epoch.
    module : torch.nn.Module
    lr : float
    """
    row, bad = history[-1], ~np.isfinite(norms)
    if not np.isfinite(row["train_loss"]):
        what = (
            f"the loss is {row['train_loss']} (data loss {row['train_data_loss']}, "
            f"penalty {row['train_penalty']})"
        )
    elif bad.any():
        names = [name for name, _ in module.named_parameters()]
        said = _listed([repr(names[k]) for k in bad.nonzero()[0]])
        what = (
            f"after its last step the norm of {said} is not finite (the loss was "
            f"{row['train_loss']:g} before)"
        )
    else:
        return
    raise _diverged(history, what, lr)


def check_kept(net, data):
    """Raise where the network that a training ends with gives images no finite logits.

    The loss of an epoch is that of its steps, before each of them; finite weights may
    be so large that sums over them are not; and with early stopping others are kept.

    Parameters
    ----------
    net : Net
        Trained. Its network is put into evaluation mode.
    data : TrainingTensors
        Some of the images are looked at, of those to validate on if there are such.
    """
    X, _ = data.valid or (data.X, data.y)
    places = np.linspace(0, len(X) - 1, min(len(X), _LOOKED_AT)).astype(int)
    rows = torch.from_numpy(places).to(X.images.device)
    # a training has the memory for as many as in a batch
    chunks = rows.split(min(net.batch_size, _LOOKED_AT))
    lost = [
        without_probabilities(net.evaluation_step((X.take(chunk), None)))
        for chunk in chunks
    ]
    n_lost = int(torch.cat(lost).sum())
    if n_lost:
        what = (
            f"the network that it ends with gives {n_lost} of {len(rows)} images that "
            "were looked at logits that are not finite"
        )
        raise _diverged(net.history, what, net.lr)


def _diverged(history, what, lr):
    return Diverged(
        f"Training diverged in epoch {len(history)}: {what}. Lower lr (it is "
        f"{text_of(lr)}), lower alpha if the penalty is what grows, keep "
        "standardize=True, or look for extreme pixels or sample weights."
    )


def without_probabilities(logits):
    """Say for which images logits make no probabilities: nan, or infinite ones.

    One class may be ruled out by minus infinity, but not all of them.

    Parameters
    ----------
    logits : Tensor of shape (n, n_classes)

    Returns
    -------
    lost : Tensor of bool of shape (n,)
    """
    return ~logits.logsumexp(dim=1).isfinite()


def rows_without_probabilities(logits):
    """Return the rows of `without_probabilities`, as a tensor of int."""
    if logits.sum().isfinite():  # as a rule, and found out at once
        return torch.empty(0, dtype=torch.int64, device=logits.device)
    return without_probabilities(logits).nonzero()[:, 0]


def check_lost(rows, images):
    """Raise where a network gives images logits that make no probabilities.

    Parameters
    ----------
    rows : Tensor of int
        Of these images.
    images : Tensor of shape (n, height, width, channels)
        As they were given, before they are standardised.
    """
    rows = rows.tolist()
    if rows:
        raise ValueError(
            f"The network gives {len(rows)} of {len(images)} images logits that are "
            f"not finite, row {_listed(map(str, rows))}: their pixels are as large as "
            f"{largest_magnitude(images[rows]):.3g}. Divide them by a constant if they "
            "do not count as those of the training did, or fit again with a lower lr."
        )


def _listed(items):
    items = list(items)
    more = f" and {len(items) - _SAID} more" if len(items) > _SAID else ""
    return ", ".join(items[:_SAID]) + more
