"""The scores of validation data after an epoch, batch by batch."""

import torch


def validated(net, dataset, follows_batches, ranks):
    """Return the sums of the loss and of what is right in each batch.

    Parameters
    ----------
    net : Net
    dataset : skorch.dataset.Dataset
    follows_batches : bool
        Whether callbacks are called for every batch; then every rank scores all.
    ranks : Ranks
        Who score the batches in turn.

    Returns
    -------
    scores : Tensor of shape (n_batches, 2)
    """
    batches, scores = net.get_iterator(dataset), []
    which = slice(None) if follows_batches else ranks.own
    if not follows_batches:  # skorch's histories have a batch an epoch
        net.notify("on_batch_begin", batch=None, training=False)
    for X, y in batches.some(which):
        if follows_batches:
            net.notify("on_batch_begin", batch=(X, y), training=False)
        step = net.validation_step((X, y))
        hits = step["y_pred"].argmax(dim=1) == y
        correct = (hits if X.weight is None else hits * X.weight).sum()
        scores.append(torch.stack([step["loss"] * len(y), correct]))
        if follows_batches:
            end_batch(net, "valid", (X, y), step)
    net.history.record("valid_batch_count", len(batches))
    if ranks.size == 1 or follows_batches:
        return torch.stack(scores)
    found = torch.zeros((len(batches), 2), dtype=net.dtype, device=net.device)
    if scores:
        found[which] = torch.stack(scores)
    return sum(ranks.gathered(found))  # those of others are 0


def end_batch(net, prefix, batch, step):
    """Record what a batch came to, and call the callbacks that follow batches.

    Parameters
    ----------
    net : Net
    prefix : {"train", "valid"}
    batch : tuple (X, y)
    step : dict
        Its loss and its logits, by skorch's names.
    """
    net.history.record_batch(f"{prefix}_loss", step["loss"].item())
    net.history.record_batch(f"{prefix}_batch_size", len(batch[1]))
    training = prefix == "train"
    net.notify("on_batch_end", batch=batch, training=training, **step)
