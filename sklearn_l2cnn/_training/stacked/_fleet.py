"""Many networks of one shape trained as one: what each would learn alone, in one go."""

import math

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sklearn_l2cnn._training.batches import batch_bounds
from sklearn_l2cnn._training.net import Diverged
from sklearn_l2cnn._training.stacked._fleet_batches import (
    FoldBatches,
    validation_chunks,
)
from sklearn_l2cnn._training.stacked._rule import StackRule, why_no_rule
from sklearn_l2cnn._training.stacked.network import Stack, signature, why_not

_OWN_CALLBACKS = ("epoch_timer", "print_log")


class Member:
    """A network on its way through a fleet.

    Parameters
    ----------
    net : Net
        Initialised.
    guests : sequence of (name, callback)
        Called after the callbacks of the net, in this training alone.
    seed : sequence of int
        Of what dropout draws, the same in whatever company.

    Attributes
    ----------
    error : ValueError or None
        Why its training ended without a result.
    """

    def __init__(self, net, guests, seed):
        self.net = net
        self.guests = guests
        self.seed = seed
        self.error = None

    def generator(self):
        """Return a new generator for its dropout."""
        seed = np.random.SeedSequence(self.seed).generate_state(1, np.uint64)[0]
        device = torch.device(self.net.device)
        return torch.Generator(device).manual_seed(int(seed >> np.uint64(1)))


def why_no_fleet(net, guests):
    """Say why a net has to be trained by itself; None where a fleet can hold it."""
    own = [name for name, _ in net.callbacks_ if name not in _OWN_CALLBACKS]
    strange = [name for name, _ in guests if name == "epoch_tasks"]
    if own or strange:
        return f"callbacks listen to it: {', '.join(own + strange)}"
    if net.lower is not None:
        return f"precision is {net.lower}"
    if net.frozen.parts:
        return "parts of it are frozen"
    if net.augment is not None and net.augment.functions:
        return "functions of the user vary its images"
    return why_no_rule(net.objective, net.optimizer_) or why_not(net.module_)


def kind_of(net, fold):
    """Return what nets have in common that can be in one fleet."""
    steps = len(batch_bounds(len(fold.y), net.batch_size))
    return signature(net.module_), steps, net.batch_size, fold.valid is None


class Fleet:
    """Train networks of one kind together.

    Parameters
    ----------
    members : list of Member
    places : list of int
        Which fold each of them learns from; those of one fold stand together.
    folds : list of Fold
    stopped : threading.Event
        Ends the training with a KeyboardInterrupt.
    """

    def __init__(self, members, places, folds, stopped):
        self.stopped = stopped
        self.members, self.places = list(members), list(places)
        self.folds = folds
        self.batches = self.stack = None

    # -- the loop ---------------------------------------------------------------------

    def train(self, epochs):
        """Train for so many epochs; what became of each is in the members and nets."""
        everybody = [
            (member, member.net.callbacks_, place)
            for member, place in zip(self.members, self.places, strict=True)
        ]
        try:
            for member, _, place in everybody:
                net, fold = member.net, self.folds[place]
                net.unpark()
                own = [both for both in net.callbacks_ if both[0] != "print_log"]
                net.callbacks_ = [*own, *member.guests]
                net.stopped_by_callback_ = False
                net.notify("on_train_begin", X=fold.X, y=fold.y)
            self._form(self.members, [m.generator() for m in self.members], None)
            for _ in range(epochs):
                self._leave(self._begin_epoch())
                if self.members:
                    self._train_epoch()
                    leaving = self._end_epoch()
                    self._print()
                    self._leave(leaving)
                if not self.members:
                    break
            self._leave(range(len(self.members)))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            for member, place in zip(self.members, self.places, strict=True):
                member.error = member.net.single_image(len(self.folds[place].y))
                member.error.__cause__ = error
        finally:
            if self.members and self.stack is not None:
                self.stack.release()
            for member, callbacks, _ in everybody:
                member.net.callbacks_ = callbacks

    def _form(self, members, generators, memory):
        """Stack the networks of members, and what belongs to a stack."""
        nets = [member.net for member in members]
        self.stack = Stack([n.module_ for n in nets], self.places, generators)
        self.rule = StackRule(self.stack, nets, memory)
        self.hooks = [
            (hook, net)
            for net in nets
            for _, called in net.callbacks_
            if (hook := getattr(called, "before_step", None)) is not None
        ]
        kept = list(dict.fromkeys(self.places))
        if self.batches is None:
            first = [nets[self.places.index(place)] for place in kept]
            folds = [self.folds[place] for place in kept]
            self.batches = FoldBatches(folds, first, nets[0].batch_size)
        else:
            self.batches.keep([self.present.index(place) for place in kept])
        self.present = kept

    def _begin_epoch(self):
        """Let callbacks begin an epoch; return the positions of those that stop."""
        leaving = []
        for k, member in enumerate(self.members):
            net = member.net
            try:
                net.notify("on_epoch_begin", dataset_train=None, dataset_valid=None)
                net.notify("on_batch_begin", batch=None, training=True)
            except KeyboardInterrupt:
                leaving.append(k)
        return leaving

    def _train_epoch(self):
        stack, rule, index = self.stack, self.rule, self.stack.index
        smoothing = rule.objective.label_smoothing
        total = torch.zeros(stack.size, dtype=torch.float64, device=index.device)
        rule.follow_rates()
        for batch in self.batches:
            if self.stopped.is_set():
                raise KeyboardInterrupt
            if self.hooks:
                for hook, net in self.hooks:
                    hook(net)
                rule.follow_rates()
            ragged = self.batches.ragged(batch, index)
            logits = stack.logits(batch.images, True, ragged)
            losses = stack_losses(logits, batch.labels, batch.shares, index, smoothing)
            for parameter in stack.parameters:
                parameter.grad = None
            losses.sum().backward()
            rule.step()
            counts = batch.counts[0]
            if ragged is not None:
                counts = ragged.counts
            total.add_(losses.detach() * counts)
        stack.count_steps()
        self._record(total.tolist())

    def _record(self, totals):
        penalties = self.rule.values()
        for member, place, total, penalty in zip(
            self.members, self.places, totals, penalties, strict=True
        ):
            net = member.net
            net.history.record("train_batch_count", len(self.batches.steps))
            net._record_training(total / len(self.folds[place].y), penalty)

    def _end_epoch(self):
        """Watch and let callbacks end the epoch; return the positions that leave."""
        leaving = []
        for k, member in enumerate(self.members):
            try:
                member.net._check_finite()
            except Diverged as error:
                member.error = error
                leaving.append(k)
        self._validate()
        for k, member in enumerate(self.members):
            if member.error is not None:
                continue
            try:
                member.net.notify(
                    "on_epoch_end", dataset_train=None, dataset_valid=None
                )
            except KeyboardInterrupt:
                leaving.append(k)
            finally:
                last = member.net.history[-1]  # its share of an epoch of all
                last["dur"] = last["dur"] / len(self.members)
        return leaving

    def _validate(self):
        folds = [self.folds[place] for place in self.present]
        if folds[0].valid is None:
            return
        index = self.stack.index
        loss, correct = torch.zeros(
            (2, self.stack.size), dtype=torch.float64, device=index.device
        )
        smoothing = self.rule.objective.label_smoothing
        with torch.no_grad():
            for images, labels, shares in validation_chunks(folds, self.batches.pixels):
                logits = self.stack.logits(images, False)
                labels, shares = labels[index], shares[index]
                loss += stack_losses(logits, labels, shares, index, smoothing)
                correct += ((logits.argmax(dim=1) == labels) * shares).sum(dim=1)
        for member, place, lost, hits in zip(
            self.members, self.places, loss.tolist(), correct.tolist(), strict=True
        ):
            net, n = member.net, len(self.folds[place].valid[1])
            net.history.record("valid_batch_count", math.ceil(n / net.batch_size))
            net._record_best("valid_loss", lost / n, smaller=True)
            net._record_best("valid_acc", hits / n, smaller=False)

    def _print(self):
        """Print a line for all, where each alone would have printed its own."""
        nets = [member.net for member in self.members]
        if not nets[0].verbose:
            return
        parts = [f"epoch {len(nets[0].history)}, {len(nets)} networks"]
        for name in ("train_loss", "valid_loss", "valid_acc"):
            values = [net.history[-1][name] for net in nets if name in net.history[-1]]
            if values:
                parts.append(f"{name} {min(values):.4f} to {max(values):.4f}")
        print(": ".join([parts[0], ", ".join(parts[1:])]))

    def _leave(self, leaving):
        """Let members go that have ended, and close the ranks of the others."""
        leaving = set(leaving)
        if not leaving:
            return
        self.stack.release()
        for k in leaving:
            member = self.members[k]
            net, fold = member.net, self.folds[self.places[k]]
            if len(net.history) and "train_loss" not in net.history[-1]:
                del net.history[-1]
            if member.error is None:
                net.notify("on_train_end", X=fold.X, y=fold.y)
        kept = [k for k in range(len(self.members)) if k not in leaving]
        generators = [self.stack.generators[k] for k in kept]
        self.members = [self.members[k] for k in kept]
        self.places = [self.places[k] for k in kept]
        if kept:
            self._form(self.members, generators, self.rule.memory(kept))


def stack_losses(logits, labels, shares, index, smoothing):
    """Return the summed share times cross-entropy of every network.

    Parameters
    ----------
    logits : Tensor of shape (K, n_classes, n)
    labels : Tensor of shape (folds or K, n) or (folds or K, n, n_classes)
    shares : Tensor of shape (folds or K, n)
    index : Tensor of int64 of shape (K,)
        Of the fold of each network.
    smoothing : float

    Returns
    -------
    losses : Tensor of shape (K,)
    """
    if labels.ndim == 3:
        labels = labels.transpose(1, 2)
    if len(labels) < len(index):
        labels, shares = labels[index], shares[index]
    losses = cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return (losses * shares).sum(dim=1)
