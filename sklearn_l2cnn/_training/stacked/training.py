"""The training of a stack: its networks learn what each would learn by itself."""

import math
from contextlib import ExitStack
from typing import NamedTuple

import torch

from sklearn_l2cnn._training.batches import TrainingTensors
from sklearn_l2cnn._training.callbacks import own_hooks
from sklearn_l2cnn._training.divergence import (
    Diverged,
    check_epoch,
    check_kept,
    norms_of,
)
from sklearn_l2cnn._training.kept import restore, state_with_callbacks, tell
from sklearn_l2cnn._training.net_state import recall
from sklearn_l2cnn._training.records import (
    drop_unfinished_epoch,
    record_training,
    record_validation,
)
from sklearn_l2cnn._training.regularization import (
    total_value,
)
from sklearn_l2cnn._training.shards import whole_gradient
from sklearn_l2cnn._training.stacked.batches import (
    FoldBatches,
    side_by_side,
    training_batches,
)
from sklearn_l2cnn._training.stacked.network import (
    StackedNetwork,
    why_not_stacked,
)
from sklearn_l2cnn._training.stacked.objective import (
    StackedLoss,
    StackedRegularization,
)
from sklearn_l2cnn._training.stacked.optimizer import stacked_optimizer
from sklearn_l2cnn._training.step import EagerSteps
from sklearn_l2cnn._utils.devices import read
from sklearn_l2cnn._utils.seeds import draw_seeds

_OPTIMIZERS = (torch.optim.Adam, torch.optim.SGD)


def why_one_by_one(net):
    """Say why a net has to be trained by itself; None where a stack can have it.

    Parameters
    ----------
    net : Net
        Initialised.
    """
    own = [name for name, _ in net.callbacks_ if name != "epoch_timer"]
    optimizer, penalty = type(net.optimizer_), net.objective.penalty
    by_filter = penalty is None or getattr(penalty, "by_filter", False)
    reasons = {
        f"callbacks follow it: {', '.join(own)}": own,
        "layers have learning rates of their own": isinstance(net.lr, dict),
        f"precision is {net.lower}": net.lower is not None,
        "parts of it are frozen": net.frozen.parts,
        "gradients of several batches are added up": net.accumulate > 1,
        "functions of the user vary its images": net.augment and net.augment.functions,
        f"the optimizer is {optimizer.__name__}": optimizer not in _OPTIMIZERS,
        f"the penalty is {penalty!r}, which has no by_filter=True": not by_filter,
        "activity_alpha is set": net.objective.activity_alpha,
    }
    found = (reason for reason, applies in reasons.items() if applies)
    return next(found, None) or why_not_stacked(net.module_)


class Member(NamedTuple):
    """A network of a stack.

    Attributes
    ----------
    net : Net
    first, last : list of (name, callback)
        As for `Net.train`.
    dropout_seed : int
    data : TrainingTensors
        Of its fold.
    """

    net: object
    first: list
    last: list
    dropout_seed: int
    data: TrainingTensors


class StackedTraining:
    """Networks of one shape on their way through one training.

    Parameters
    ----------
    members : list of Member
        Those of a fold one after the other, which differ as `objective` says.
    told : callable, default=None
        ``told(nets, epochs, n_leaving)`` prints a line after every epoch.
    checkpoint : Checkpoint, default=None
        Where the state of the training is kept, and taken from if it is there.
    """

    def __init__(self, members, told=None, checkpoint=None):
        self.told = told
        self.checkpoint = checkpoint
        self.nets = [member.net for member in members]
        self.callbacks = [(member.first, member.last) for member in members]
        self.errors = [None] * len(members)
        # folds of one stack have as many batches, and with them as many epochs
        self.epochs = self.nets[0].max_epochs
        # the same order of rows and random numbers in a fold, as one by one
        folds, self.fold_of = {}, []
        for net, *_, data in members:
            [seed] = draw_seeds(net.generator, 1)
            if id(data) not in folds:
                folds[id(data)] = FoldBatches(net, data, seed)
            self.fold_of.append(folds[id(data)])
        device = torch.device(self.nets[0].device)
        self.generators = [
            torch.Generator(device).manual_seed(member.dropout_seed)
            for member in members
        ]

    def stages(self, stopped, pauses=()):
        """Train the networks, in stages.

        Parameters
        ----------
        stopped : threading.Event
            Ends the training with a KeyboardInterrupt.
        pauses : list of int, default=()
            After how many epochs a stage ends, ascending.

        Yields
        ------
        epoch : int
            How many were taken so far. What is sent back are the positions of networks
            that end here.
        """
        self.active = list(range(len(self.nets)))
        self.network = None
        with ExitStack() as stack:
            stack.callback(self._release)
            for k, net in enumerate(self.nets):
                net.to_device()
                stack.enter_context(net.called(*self.callbacks[k]))
                net.begin(self.fold_of[k].data)
            epochs = self.epochs
            done, memory = self._resume()
            if self.active:
                self._stack(memory)
            for epoch in range(done, epochs):
                self._leave(self._notify_all("on_epoch_begin", self.active))
                if not self.active:
                    break
                self._leave(self._end_epoch(self._train_epoch(stopped), epochs))
                self._keep(epoch + 1, epochs)
                if epoch + 1 in pauses:
                    ending = yield epoch + 1
                    self._leave([k for k in self.active if k in ending])
            self._leave(self.active)

    def epochs_left(self):
        """Return how many epochs are still to come, of networks that are trained."""
        done = (
            len(self.nets[k].history) - self.nets[k].n_earlier_ for k in self.active
        )
        return self.epochs - next(done, self.epochs)

    def _keep(self, epoch, epochs):
        """Keep the state after an epoch: in the last file if none is left to train."""
        if self.checkpoint is None:
            return
        ended = epoch == epochs or not self.active
        memory = {} if ended else self._memory(range(len(self.active)))
        state = {
            "nets": [
                state_with_callbacks(net, first)
                for net, (first, _) in zip(self.nets, self.callbacks, strict=True)
            ],
            "memory": memory,
            "active": self.active,
            "errors": [None if error is None else str(error) for error in self.errors],
            "generators": [generator.get_state() for generator in self.generators],
            "folds": [fold.state() for fold in dict.fromkeys(self.fold_of)],
            "epochs": epoch,
        }
        self.checkpoint.write(state, None if ended else epoch)

    def _resume(self):
        """Go on from what is kept.

        Returns
        -------
        done : int
            How many epochs were trained before.
        memory : dict
            For `_stack`.
        """
        state = None if self.checkpoint is None else self.checkpoint.read()
        if state is None:
            return 0, {}
        done = state["epochs"]
        for net, (first, _), own in zip(
            self.nets, self.callbacks, state["nets"], strict=True
        ):
            restore(net, first, own)
            tell(net, done)
        for generator, own in zip(self.generators, state["generators"], strict=True):
            generator.set_state(own)
        for fold, own in zip(dict.fromkeys(self.fold_of), state["folds"], strict=True):
            fold.restore(own, done)
        self.errors = [text and Diverged(text) for text in state["errors"]]
        self.active = state["active"]
        return done, state["memory"]

    def _release(self):
        if self.active and self.network is not None:
            self.network.release()

    def _stack(self, memory):
        """Stack the networks that are still trained.

        Parameters
        ----------
        memory : dict
            The state of the optimizer, by position of the parameter.
        """
        nets = [self.nets[k] for k in self.active]
        generators = [self.generators[k] for k in self.active]
        of_nets = [self.fold_of[k] for k in self.active]
        self.folds = list(dict.fromkeys(of_nets))
        self.owners = [self.folds.index(fold) for fold in of_nets]
        owners = torch.tensor(self.owners, device=nets[0].device)
        modules = [net.module_ for net in nets]
        self.network = StackedNetwork(modules, generators, owners)
        trained = [p for p in self.network.parameters if p.requires_grad]
        self.optimizer = stacked_optimizer(nets, trained)
        if memory:
            own = self.optimizer.state_dict()["param_groups"]
            recall(self.optimizer, {"state": memory, "param_groups": own})
        self.regularization = StackedRegularization(nets, trained, self.optimizer)
        smoothing = self.regularization.objective.label_smoothing
        self.loss = StackedLoss(self.network, smoothing)
        self.steps = EagerSteps(
            self.loss, whole_gradient, self.regularization, with_objective=False
        )
        self.hooks = [hook for net in nets for hook in own_hooks(net, "before_step")]

    def _notify(self, name, k):
        data = self.fold_of[k].data
        self.nets[k].notify(name, X=data.X, y=data.y)

    def _notify_all(self, name, positions):
        """Call a hook of some networks; return the positions of those that stop."""
        leaving = []
        for k in positions:
            net = self.nets[k]
            try:
                net.notify(name, dataset_train=None, dataset_valid=None)
                if name == "on_epoch_begin":
                    net.notify("on_batch_begin", batch=None, training=True)
            except KeyboardInterrupt:
                leaving.append(k)
        return leaving

    def _train_epoch(self, stopped):

        def prepare():
            if stopped.is_set():
                raise KeyboardInterrupt
            for hook in self.hooks:
                hook()
            self.regularization.follow_rates()

        batches = training_batches(self.folds, self.owners)
        losses = self.steps.epoch(batches, prepare)
        self.network.count_steps()
        for k in self.active:
            for hook in own_hooks(self.nets[k], "after_steps"):
                hook()
        return losses

    def _end_epoch(self, losses, epochs):
        """Validate and let callbacks end the epoch; return the positions that leave."""
        nets = [self.nets[k] for k in self.active]
        penalties = [
            total_value(net.objective.penalty, groups, net.device)
            for net, groups in zip(nets, self.regularization.of_nets, strict=True)
        ]
        means, penalties, scores, *norms = read(
            losses.means(),
            torch.stack(penalties),
            self._validate(),
            *(norms_of(net) for net in nets),
        )
        totals, scores = losses.totals(means), scores.sum(axis=0)
        for k, *numbers in zip(
            self.active, totals, penalties, norms, scores, strict=True
        ):
            self._record(k, *numbers)
        finite = [k for k in self.active if self.errors[k] is None]
        leaving = self._notify_all("on_epoch_end", finite)
        for k in finite:  # its share of an epoch of all
            self.nets[k].history[-1]["dur"] /= len(self.active)
        leaving = [k for k in self.active if k in leaving or k not in finite]
        if self.told is not None:
            self.told(nets, epochs, len(leaving))
        return leaving

    def _record(self, k, total, penalty, norms, scores):
        net, data = self.nets[k], self.fold_of[k].data
        net.history.record("train_batch_count", len(self.fold_of[k]))
        record_training(net.history, float(total) / len(data.y), float(penalty))
        self._check(k, check_epoch, net.history, norms, net.module_, net.lr)
        if data.valid is not None:
            n = len(data.valid[1])
            net.history.record("valid_batch_count", math.ceil(n / net.batch_size))
            record_validation(net.history, *(scores / n).tolist())

    def _check(self, k, check, *arguments):
        """Keep what a check raises as the end of a network."""
        try:
            check(*arguments)
        except Diverged as error:
            self.errors[k] = error

    def _validate(self):
        """Return the summed losses and what is right, of shape (n_chunks, K, 2)."""
        if self.folds[0].data.valid is None:
            return torch.zeros(0, len(self.active), 2, device=self.nets[0].device)
        scores = []
        self.network.training = False
        with torch.no_grad():
            chunks = zip(*(fold.validation() for fold in self.folds), strict=True)
            for images, labels, weight in map(side_by_side, chunks):
                losses, logits = self.loss(images, labels, weight)
                hits = logits.argmax(dim=1) == self.loss.of_networks(labels)
                if weight is not None:
                    hits = hits * self.loss.of_networks(weight)
                scores.append(torch.stack([losses, hits.sum(dim=1)], dim=1))
        self.network.training = True
        return torch.stack(scores)

    def _leave(self, leaving):
        """Release networks that have ended, and stack the others again."""
        if not leaving:
            return
        self.network.release()
        for k in leaving:
            net = self.nets[k]
            net.generator.set_state(self.fold_of[k].order.get_state())
            drop_unfinished_epoch(net.history)
            if self.errors[k] is None:
                self._notify("on_train_end", k)
                self._check(k, check_kept, net, self.fold_of[k].data)
        kept = [place for place, k in enumerate(self.active) if k not in leaving]
        memory = self._memory(kept)
        self.active = [self.active[place] for place in kept]
        if self.active:
            self._stack(memory)

    def _memory(self, kept):
        """Return the state of the optimizer for some of the networks.

        Parameters
        ----------
        kept : list of int
            Their places in the stack.
        """

        def rows(value):
            if not isinstance(value, torch.Tensor) or not value.ndim:
                return value
            chunks = value.chunk(self.network.size)
            return torch.cat([chunks[place] for place in kept])

        return {
            k: {name: rows(value) for name, value in state.items()}
            for k, p in enumerate(self.steps.regularization.trained)
            if kept and (state := self.optimizer.state.get(p))
        }
