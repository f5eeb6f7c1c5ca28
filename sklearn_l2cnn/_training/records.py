"""What the history of a net has of an epoch, in skorch's names."""


def record_training(history, data_loss, penalty):
    """Record what an epoch of training came to.

    Parameters
    ----------
    history : skorch.history.History
    data_loss, penalty : float
    """
    history.record("train_data_loss", data_loss)
    history.record("train_penalty", penalty)
    _record_best(history, "train_loss", data_loss + penalty, smaller=True)


def record_validation(history, loss, accuracy):
    """Record the scores of the validation data.

    Parameters
    ----------
    history : skorch.history.History
    loss, accuracy : float
    """
    _record_best(history, "valid_loss", loss, smaller=True)
    _record_best(history, "valid_acc", accuracy, smaller=False)


def quality_of(row):
    """Return by what an epoch is better than another: its accuracy, then its loss."""
    return row["valid_acc"], -row["valid_loss"]


def _record_best(history, name, value, smaller):
    """Record a score, and whether it is the best so far, as skorch's callbacks do."""
    earlier = [row[name] for row in history[:-1] if name in row]
    best = not earlier or (value < min(earlier) if smaller else value > max(earlier))
    history.record(name, value)
    history.record(f"{name}_best", best)


def drop_unfinished_epoch(history):
    """Take an epoch out of a history that was cut short."""
    if len(history) and "train_loss" not in history[-1]:
        del history[-1]
