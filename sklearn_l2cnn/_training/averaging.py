"""The average of the weights that a training goes through."""

import math

import torch
from skorch.callbacks import Callback


class AveragedWeights(Callback):
    r"""Average the weights over the steps of a training, which goes on without it.

    The network holds the average between two epochs, where it is validated and where
    callbacks look at it, and after the training.

    With a decay d the average after step t is

    .. math:: a_t = a_{t-1} + \max(1 - d, 1 / t) (W_t - a_{t-1}),

    the mean of all steps so far until there are more than 1 / (1 - d), and then an
    exponential average. ``"swa"`` is the mean of the weights at the ends of the epochs
    of the last quarter (stochastic weight averaging). What norms have counted is
    averaged with the weights.

    Parameters
    ----------
    decay : float or "swa"
    epochs : int
        Of the whole training.
    """

    def __init__(self, decay, epochs):
        self.decay = decay
        self.epochs = epochs

    def on_train_begin(self, net, **kwargs):
        """Start with the weights that there are."""
        self.other_ = None  # the average in an epoch, what is trained between two
        self.epoch_ = self.n_averaged_ = 0
        self.in_net_, self.begun_ = False, True

    def on_epoch_begin(self, net, **kwargs):
        """Let training go on with its own weights."""
        self.epoch_ += 1
        if self.other_ is None:  # the first that is taken in counts as a whole
            self.other_ = [tensor.clone() for tensor in _averaged(net)]
        # a checkpoint has it on the CPU
        self.other_ = [tensor.to(net.device) for tensor in self.other_]
        self._put(net, average=False)
        self.begun_ = False

    def before_step(self, net):
        """Take in what the step before has left."""
        if self.begun_ and self.decay != "swa":
            self._take_in(net)
        self.begun_ = True

    def after_steps(self, net):
        """Take in the last step of an epoch, and show the average."""
        first = self.epochs - math.ceil(self.epochs / 4)
        if self.decay != "swa" or self.epoch_ > first:
            self._take_in(net)
            self._put(net, average=True)

    def on_train_end(self, net, **kwargs):
        """End with the average, where the training was interrupted too."""
        self._put(net, average=self.n_averaged_ > 0)
        self.other_ = None

    def _take_in(self, net):
        self.n_averaged_ += 1
        part = 1 / self.n_averaged_
        if self.decay != "swa":
            part = max(1 - self.decay, part)
        with torch.no_grad():
            torch._foreach_lerp_(self.other_, _averaged(net), part)

    def _put(self, net, average):
        """Exchange the weights of the network for the others, if they are not there."""
        if average == self.in_net_:
            return
        self.in_net_ = average
        with torch.no_grad():
            own = _averaged(net)
            copies = [tensor.clone() for tensor in own]
            torch._foreach_copy_(own, self.other_)
            self.other_ = copies


def _averaged(net):
    """Return all tensors of a network that are averaged: those of floats."""
    tensors = *net.module_.parameters(), *net.module_.buffers()
    return [tensor for tensor in tensors if tensor.is_floating_point()]
