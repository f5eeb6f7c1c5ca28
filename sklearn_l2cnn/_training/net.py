"""The skorch net: loss, penalty, one epoch, and how training ends."""

import copy
import math

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import EpochTimer, PrintLog

from sklearn_l2cnn._training.batches import OrderedBatches, ShuffledBatches
from sklearn_l2cnn._training.forward import logits_of, pixel_map
from sklearn_l2cnn._training.runtime import move, torch_threads
from sklearn_l2cnn._training.step import Steps, mean_loss

# What a net knows only while it trains.
_OF_A_TRAINING = ("valid_", "steps_")


class Diverged(ValueError):
    """Training left the finite numbers."""


class Net(NeuralNetClassifier):
    r"""A skorch net whose loss is the weighted cross-entropy plus a penalty.

    Its data are resident tensors: ``X`` is a dict of ``"images"`` and, unless all weigh
    1, ``"weight"``, on the device already, and ``y`` the labels as integers. For a
    batch ``B`` of images it descends

    .. math:: \frac{1}{|B|} \sum_{i \in B} s_i \ell_i + \alpha\,\Omega(\theta),

    the weights :math:`s_i` having mean 1 over the training set, so that the expectation
    over batches is the objective itself.

    Parameters
    ----------
    module : torch.nn.Module
    objective : Objective
        What is minimised beside the data loss.
    mean, scale : ndarray of shape (channels,)
        What uint8 images are standardised with.
    dtype : torch.dtype
        Of the parameters of the module.
    lower : torch.dtype or None
        What products are computed in instead, if not in `dtype`.
    generator : numpy.random.RandomState
        Draws the order of the rows in every epoch.
    frozen : Frozen
        What is not trained.
    augment : Plan or None
        How batches are varied in training.
    n_classes : int
    **kwargs
        As for :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        module,
        *,
        objective,
        mean,
        scale,
        dtype,
        lower,
        generator,
        frozen,
        augment,
        n_classes,
        **kwargs,
    ):
        super().__init__(
            module, criterion=torch.nn.CrossEntropyLoss, train_split=None, **kwargs
        )
        self.objective = objective
        self.mean = mean
        self.scale = scale
        self.dtype = dtype
        self.lower = lower
        self.generator = generator
        self.frozen = frozen
        self.augment = augment
        self.n_classes = n_classes

    # -- what skorch asks a net for ---------------------------------------------------

    @property
    def _default_callbacks(self):
        # The scores are recorded by run_single_epoch, from sums kept on the device.
        printed = [("print_log", PrintLog())] if self.verbose else []
        return [("epoch_timer", EpochTimer()), *printed]

    def check_data(self, X, y):
        """Do nothing: the estimator has validated both."""

    def get_iterator(self, dataset, training=False):
        """Return the batches of an epoch."""
        if training:
            return ShuffledBatches(dataset, self.batch_size, self.generator)
        return OrderedBatches(dataset, self.batch_size)

    def infer(self, x, **fit_params):
        """Return the logits of a batch of images."""
        images = x["images"] if isinstance(x, dict) else x
        if "steps_" in vars(self):
            return self.steps_.logits(images)
        return logits_of(images, self.module_, self.pixels(), self.lower)

    def pixels(self):
        """Return gain and shift that standardise uint8 images, on the device."""
        return pixel_map(self.mean, self.scale, self.dtype, torch.device(self.device))

    def get_split_datasets(self, X, y=None, **fit_params):
        """Return the training data and the validation data that `train` was given."""
        return self.get_dataset(X, y), vars(self).get("valid_")

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the mean of weight times cross-entropy over a batch."""
        weight = X.get("weight") if isinstance(X, dict) else None
        smoothing = self.objective.label_smoothing
        return mean_loss(y_pred, y_true.to(y_pred.device), weight, smoothing)

    # -- one step, one epoch ----------------------------------------------------------

    def train_step_single(self, batch, **fit_params):
        """Leave the gradient of the objective in the parameters.

        Returns the data loss and, as ``"loss"``, the objective, where anybody looks at
        it: callbacks of batches, and optimizers that search along a line.
        """
        if not self.module_.training:
            self._set_training(True)
        data_loss, logits = self.steps_.add_gradient(batch)
        loss = data_loss
        if not self.steps_.lean:
            loss = data_loss + self.steps_.penalty()
        return {"loss": loss, "data_loss": data_loss, "y_pred": logits}

    def train_step(self, batch, **fit_params):
        """Take a step as skorch does, and what belongs to it before and after."""
        step = {}
        take = super().train_step
        self.steps_.rule.step(lambda: step.update(take(batch, **fit_params)))
        return step

    def _set_training(self, training=True):
        """Put the network in training mode, except for what is frozen, or out of it."""
        super()._set_training(training)
        self.frozen.keep(self.module_)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run one epoch over the batches and record its means in the history."""
        if iterator is None:
            return
        self.steps_.begin_epoch()
        recorded = self.steps_.recorded if training else None
        if recorded is not None:
            self.notify("on_batch_begin", batch=None, training=True)
            total = recorded.epoch(iterator, self.steps_.prepare)
            n_rows, n_batches = len(iterator.dataset), len(iterator)
        else:
            sums = self._eager_epoch(iterator, training, prefix, step_fn)
            total, correct, n_rows, n_batches = sums
        self.history.record(f"{prefix}_batch_count", n_batches)
        if training:
            self.steps_.end_epoch()
            self._record_training(total / n_rows, self.steps_.penalty_of_epoch(n_rows))
        else:
            self._record_best("valid_loss", total / n_rows, smaller=True)
            self._record_best("valid_acc", correct / n_rows, smaller=False)

    def _eager_epoch(self, iterator, training, prefix, step_fn):
        """Return summed loss, summed hits, rows and batches of an epoch."""
        notify = self.steps_.batches_are_heard
        total, correct = torch.zeros((2, 1), device=self.device, dtype=torch.float64)
        n_rows = n_batches = 0
        for batch in iterator:
            if notify or not n_batches:  # skorch's histories have a batch an epoch
                self.notify("on_batch_begin", batch=batch, training=training)
            if training:
                self.steps_.prepare()
            step = step_fn(batch)
            X, y = batch
            total.add_(step.get("data_loss", step["loss"]), alpha=len(y))
            if not training:
                hits = step["y_pred"].argmax(dim=1) == y
                correct += (hits * X["weight"] if "weight" in X else hits).sum()
            if notify:
                self.history.record_batch(f"{prefix}_loss", step["loss"].item())
                self.history.record_batch(f"{prefix}_batch_size", len(y))
                self.notify("on_batch_end", batch=batch, training=training, **step)
            n_rows += len(y)
            n_batches += 1
        return float(total), float(correct), n_rows, n_batches

    def _record_training(self, data_loss, penalty):
        self.history.record("train_data_loss", data_loss)
        self.history.record("train_penalty", penalty)
        self._record_best("train_loss", data_loss + penalty, smaller=True)

    def _record_best(self, name, value, smaller):
        """Record a score, and whether it is the best so far, as skorch's callbacks."""
        earlier = [row[name] for row in self.history[:-1] if name in row]
        best = not earlier or (
            value < min(earlier) if smaller else value > max(earlier)
        )
        self.history.record(name, value)
        self.history.record(f"{name}_best", best)

    # -- the loop ---------------------------------------------------------------------

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train for some epochs, until a callback stops it or the loss is not finite.

        Parameters
        ----------
        X : dict of Tensor
        y : Tensor
        epochs : int, default=None
            None means ``max_epochs``.
        **fit_params
            Ignored; weights and validation data come by other ways.
        """
        train, valid = self.get_split_datasets(X, y)
        datasets = {"dataset_train": train, "dataset_valid": valid}
        batches = self.get_iterator(train, training=True)
        valid_batches = None if valid is None else self.get_iterator(valid)
        step = self.steps_.lean_step if self.steps_.lean else self.train_step
        for _ in range(self.max_epochs if epochs is None else epochs):
            self.notify("on_epoch_begin", **datasets)
            self._set_training(True)
            self.run_single_epoch(batches, True, "train", step)
            self._check_finite()
            self._validate(valid_batches)
            self.notify("on_epoch_end", **datasets)
        return self

    def _validate(self, batches):
        with torch_threads(1):  # which products are cut where is a matter of threads
            self.run_single_epoch(batches, False, "valid", self.validation_step)

    def train(self, X, y, *, epochs, valid=None, guests=(), threads=1):
        """Train for some epochs with callbacks and validation data of this call alone.

        Parameters
        ----------
        X : dict of Tensor
        y : Tensor
        epochs : int
        valid : tuple (X, y), default=None
        guests : sequence of (name, callback)
            Called after the callbacks of the net.
        threads : int, default=1
            How many may work on a batch; the numbers do not depend on it.

        Returns
        -------
        interrupted : bool
            Whether the user interrupted; what was learnt until then is kept.
        """
        if not self.initialized_:
            self.initialize()
        self.unpark()
        own = self.callbacks_
        self.callbacks_ = [*own, *guests]
        self.valid_ = None if valid is None else self.get_dataset(*valid)
        if self.augment is not None and self.augment.alternates:
            X = {**X, "mirrored": torch.rand(len(y), device=y.device) < 0.5}
        try:
            with Steps(self, X, threads) as steps:
                vars(self)["steps_"] = steps
                return self._train(X, y, epochs)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise self.single_image(len(y)) from error
        finally:
            # Nothing of this call stays behind: no data on the device, no threads, no
            # reference into the parameters, which would not survive a pickle.
            self.callbacks_ = own
            for name in _OF_A_TRAINING:
                vars(self).pop(name, None)

    def single_image(self, n_rows):
        """Return the error that says why a batch norm needs two images."""
        return ValueError(
            "A batch of a single image has no variance for the batch norm of this "
            f"architecture: n_samples={n_rows} distinct images, "
            f"batch_size={self.batch_size}. Two images and a batch size of 2 are "
            "the least; networks without batch norm, such as 'plain', take one."
        )

    def unpark(self):
        """Bring network and optimizer to the device, if they are parked."""
        move(self.module_, self.optimizer_, torch.device(self.device))

    def park(self):
        """Leave the device to others: network and optimizer wait on the CPU."""
        device = torch.device(self.device)
        if device.type == "cuda":
            move(self.module_, self.optimizer_, torch.device("cpu"))
            with torch.cuda.device(device):
                torch.cuda.empty_cache()

    def _train(self, X, y, epochs):
        self.stopped_by_callback_ = interrupted = False
        try:
            self.notify("on_train_begin", X=X, y=y)
            self.fit_loop(X, y, epochs=epochs)
        except KeyboardInterrupt:
            # skorch's callbacks raise it as well, to stop
            interrupted = not self.stopped_by_callback_
        if len(self.history) and "train_loss" not in self.history[-1]:
            del self.history[-1]  # of an epoch that was cut short
        self.notify("on_train_end", X=X, y=y)
        return interrupted

    def notify(self, method_name, **cb_kwargs):
        """Call a hook of every callback, of the others too where one asks to stop."""
        getattr(self, method_name)(self, **cb_kwargs)
        stop = False
        for name, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **cb_kwargs)
            except KeyboardInterrupt:
                stop = True
            except KeyError as error:
                if "history" not in str(error) or not len(self.history):
                    raise
                raise ValueError(_missing_score(name, error, self.history)) from error
        if stop:
            self.stopped_by_callback_ = True
            raise KeyboardInterrupt

    def _check_finite(self):
        """Raise where the loss or a parameter is not a finite number any more."""
        norms = torch._foreach_norm([p.detach() for p in self.module_.parameters()])
        finite = math.isfinite(self.history[-1, "train_loss"]) and all(
            math.isfinite(norm) for norm in norms
        )
        if not finite:
            raise Diverged(
                f"Training diverged in epoch {len(self.history)}: the loss is "
                f"{self.history[-1, 'train_loss']} (data loss "
                f"{self.history[-1, 'train_data_loss']}, penalty "
                f"{self.history[-1, 'train_penalty']}). Lower lr (it is {self.lr:g}), "
                "lower alpha if the penalty is what grows, keep standardize=True, or "
                "look for extreme pixels or sample weights."
            )

    # -- copies -----------------------------------------------------------------------

    def __getstate__(self):
        # skorch keeps what it was given beside what it trains: here that is one object,
        # and a pickle would hold it twice. Threads and data of a training stay here.
        state = {**super().__getstate__(), "module": None}
        return {name: state[name] for name in state if name not in _OF_A_TRAINING}

    def __setstate__(self, state):
        super().__setstate__(state)
        vars(self)["module"] = self.module_

    def snapshot(self):
        """Return a net with a copy of the network, for looking at while this trains."""
        twin = object.__new__(type(self))
        own = {k: value for k, value in vars(self).items() if k not in _OF_A_TRAINING}
        vars(twin).update(own)
        vars(twin)["module_"] = copy.deepcopy(self.module_)
        return twin

    def training_state(self):
        """Copy all that a step of training changes."""
        return copy.deepcopy(
            (
                self.module_.state_dict(),
                self.optimizer_.state_dict(),
                self.generator.get_state(),
                self.mean,
                self.scale,
                len(self.history),
            )
        )

    def restore(self, state):
        """Go back to what `training_state` returned."""
        module, optimizer, generator, self.mean, self.scale, n_epochs = state
        self.module_.load_state_dict(module)
        self.optimizer_.load_state_dict(optimizer)
        self.generator.set_state(generator)
        del self.history[n_epochs:]


def _missing_score(name, error, history):
    """Say what a callback lacks that asks the history for a score nobody records."""
    return (
        f"The callback {name!r} asks for a score that this training does not record: "
        f"{error.args[0]} Scores of a validation set ('valid_loss', 'valid_acc') need "
        "early_stopping=True, or X_val and y_val in fit; others need a scoring "
        f"callback before this one. Recorded are {sorted(history[-1])}."
    )
