"""A training whose state is kept in files, and which goes on from there."""

import torch

from sklearn_l2cnn._training.callback_states import (
    packed,
    recalled,
    remembered_by,
    unpacked,
)
from sklearn_l2cnn._utils.seeds import generator_states, set_generators


class KeptTraining:
    """The training of a net, of which the state after every epoch is kept, if at all.

    Parameters
    ----------
    net : Net
    data : TrainingTensors
    own : sequence of (name, callback)
        Callbacks of the package whose attributes belong to the state.
    checkpoint : Checkpoint or None
        None keeps nothing.
    ranks : Ranks
        Who train it: the state that the first has kept is that of all.
    """

    def __init__(self, net, data, own, checkpoint, ranks):
        self.net = net
        self.data = data
        self.own = own
        self.checkpoint = checkpoint
        self.ranks = ranks
        self.device = torch.device(net.device)
        self.ended = False

    def resume(self, epochs):
        """Go on from what is kept; return how many of the epochs are done.

        Parameters
        ----------
        epochs : int
            Of the whole training.
        """
        state = None if self.checkpoint is None else self.checkpoint.read()
        state = self.ranks.from_first(state)
        if state is None:
            return 0
        net, done = self.net, state["epochs"]
        restore(net, self.own, state)
        set_generators(self.device, state["generators"])
        if done % 2:
            self.data.turn_sides()
        tell(net, done)
        self.ended = state["ended"]
        return epochs if self.ended else done

    def write(self, epoch):
        """Keep the state after an epoch."""
        if self.checkpoint is not None:
            self.checkpoint.write(self._state(epoch, False), epoch)

    def end(self):
        """Keep the state that the training ends with, without what optimizers remember.

        Callbacks have not heard of the end yet, and will again where it is loaded.
        """
        if self.checkpoint is not None and not self.ended:
            state = self._state(len(self.net.history) - self.net.n_earlier_, True)
            state["optimizer"] = {**state["optimizer"], "state": {}}
            self.checkpoint.write(state)

    def _state(self, epoch, ended):
        return {
            **state_with_callbacks(self.net, self.own),
            "generators": generator_states(self.device),
            "epochs": epoch,
            "ended": ended,
        }


def state_with_callbacks(net, own):
    """Return the state of a training and what its callbacks remember.

    Parameters
    ----------
    net : Net
    own : sequence of (name, callback)

    Returns
    -------
    state : dict
        Of plain values and tensors, all there is in files.
    """
    of_user = bool(net.callbacks)  # which may have recorded anything
    return {
        **net.training_state(),
        "history": [] if of_user else [dict(row) for row in net.history_],
        "callbacks": remembered_by(own),
        "yours": packed(net) if of_user else None,
    }


def restore(net, own, state):
    """Go on with a net and its callbacks from what `state_with_callbacks` returned."""
    if state["yours"] is None:
        net.history_[:] = state["history"]
    else:
        unpacked(state["yours"], net)
    net.restore(state)
    recalled(own, state["callbacks"])


def tell(net, n_epochs):
    """Tell the callbacks that report a training that so many epochs are done."""
    for _, called in net.all_callbacks_:
        hook = getattr(called, "on_resume", None)
        if hook is not None:
            hook(net, n_epochs)
