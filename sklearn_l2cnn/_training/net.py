"""The skorch net: one epoch after another, what is recorded, and how training ends."""

import copy
from contextlib import ExitStack, contextmanager

import torch
from skorch.callbacks import EpochTimer
from skorch.utils import TeeGenerator

from sklearn_l2cnn._training.analysis import check_single_images
from sklearn_l2cnn._training.batches import (
    EpochLosses,
    OrderedBatches,
    Resident,
    ShuffledBatches,
)
from sklearn_l2cnn._training.callbacks import (
    are_the_same,
    callbacks_of,
    followed,
    missing_score,
    own_hooks,
)
from sklearn_l2cnn._training.divergence import check_epoch, check_kept, norms_of
from sklearn_l2cnn._training.forward import network_input
from sklearn_l2cnn._training.kept import KeptTraining
from sklearn_l2cnn._training.net_state import recall
from sklearn_l2cnn._training.predicting_net import PredictingNet, move
from sklearn_l2cnn._training.progress import tell_ranks
from sklearn_l2cnn._training.ranks import ALONE
from sklearn_l2cnn._training.rates import (
    by_rate,
    check_same_layers,
    rates_of,
    set_rates,
    take_back_rates,
)
from sklearn_l2cnn._training.records import (
    drop_unfinished_epoch,
    record_training,
    record_validation,
)
from sklearn_l2cnn._training.regularization import Regularization
from sklearn_l2cnn._training.runtime import isolated, torch_threads
from sklearn_l2cnn._training.step import (
    Listeners,
    summed_loss,
    training_steps,
)
from sklearn_l2cnn._training.validating import end_batch, validated
from sklearn_l2cnn._utils.devices import batches_of, read
from sklearn_l2cnn._utils.seeds import draw_seeds

# What calls to partial_fit may change, see `Net.follow`.
_FOLLOWED = (
    *("lr", "mean", "scale", "objective", "frozen", "augment", "lower", "batch_size"),
    *("threads", "record", "starts", "accumulate"),
)


class Net(PredictingNet):
    r"""A skorch net whose loss is the weighted cross-entropy plus a penalty.

    A classifier trains it, on `Resident` data. For a batch ``B`` of images it descends

    .. math:: \frac{1}{|B|} \sum_{i \in B} s_i \ell_i + \alpha\,\Omega(\theta),

    the weights :math:`s_i` having mean 1 over the training set, so that the expectation
    over batches is the objective itself.

    Parameters
    ----------
    module : torch.nn.Module
    objective : Objective
        What is minimised with the data loss.
    generator : numpy.random.RandomState
        Draws the seed of every training and the order of the rows in every epoch.
    frozen : Frozen
        What is not trained.
    augment : Plan or None
        How batches are varied in training.
    n_classes : int
    made_by : dict
        The parameters of a classifier that the module was made by.
    threads : int, default=None
        How many work on a batch; None is torch's number.
    record : bool, default=True
        Whether steps on CUDA are recorded once and replayed.
    parts : int, default=1
        In how many the gradient of a batch is added up on a device, for want of memory.
    accumulate : int, default=1
        In how many the gradient of a batch is added up because the user says so.
    starts : dict of Tensor, default=None
        What parameters started from, by name, for a penalty on the way from there.
    **kwargs
        As for `PredictingNet`.
    """

    def __init__(
        self,
        module,
        *,
        objective,
        generator,
        frozen,
        augment,
        n_classes,
        made_by,
        threads=None,
        record=True,
        parts=1,
        accumulate=1,
        starts=None,
        **kwargs,
    ):
        super().__init__(module, **kwargs)
        self.objective = objective
        self.generator = generator
        self.frozen = frozen
        self.augment = augment
        self.n_classes = n_classes
        self.made_by = made_by
        self.threads = threads
        self.record = record
        self.parts = parts
        self.accumulate = accumulate
        self.starts = starts
        self.n_earlier_, self.interrupted_, self.all_callbacks_ = 0, None, None
        self.ranks_ = ALONE

    # -- what skorch asks a net for ---------------------------------------------------

    @property
    def _default_callbacks(self):
        # The scores are recorded by run_single_epoch, from sums kept on the device;
        # what is printed is a matter of each training.
        return [("epoch_timer", EpochTimer())]

    def initialize_callbacks(self):
        """Make the callbacks of the net from what the user has given."""
        given = self.callbacks
        self.callbacks = callbacks_of(given)
        try:
            return super().initialize_callbacks()
        finally:
            self.callbacks = given

    def get_iterator(self, dataset, training=False):
        """Return the batches of an epoch."""
        if training:
            return ShuffledBatches(dataset, self.batch_size, self.generator)
        return OrderedBatches(dataset, self.batch_size)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the mean of weight times cross-entropy over a batch."""
        weight = X.weight if isinstance(X, Resident) else None
        labels = y_true.to(y_pred.device)
        smoothing = self.objective.label_smoothing
        return summed_loss(y_pred, labels, weight, smoothing) / len(labels)

    def _set_training(self, training=True):
        """Put the network in training mode, except for what is frozen, or out of it."""
        super()._set_training(training)
        self.frozen.keep(self.module_)

    def get_params_for_optimizer(self, prefix, named_parameters):
        """Give every layer the rate that is meant for it."""
        named = list(named_parameters)
        groups, options = super().get_params_for_optimizer(prefix, named)
        if isinstance(self.lr, dict):
            options |= {"lr": max(self.lr.values())}  # of no group
            return (by_rate(named, self.lr),), options
        return groups, options

    # -- one training -----------------------------------------------------------------

    def train(self, data, epochs, first=(), last=(), checkpoint=None, ranks=ALONE):
        """Train for some epochs, with callbacks of this training alone.

        Where the user interrupts, what was learnt until then is kept, and
        `interrupted_` says after how many epochs; it is None elsewhere.

        Parameters
        ----------
        data : TrainingTensors
        epochs : int
        first, last : sequence of (name, callback)
            Called before those of the net, and after them. What the first remember
            belongs to the state of the training.
        checkpoint : Checkpoint, default=None
            Where that state is kept, and taken from if it is there.
        ranks : Ranks, default=ALONE
            Who train it together, the first of which alone has a checkpoint.
        """
        self.to_device()
        self.bring_memory()
        [seed] = draw_seeds(self.generator, 1)
        device = torch.device(self.device)
        with (
            isolated(seed, device, self.threads) as threads,
            self.called(first, last, ranks),
        ):
            data = data.with_sides(self.augment)
            kept = KeptTraining(self, data, first, checkpoint, ranks)
            with batches_of(self.batch_size):
                self._train(data, epochs, threads, kept)

    @contextmanager
    def called(self, first, last=(), ranks=ALONE):
        """Call more callbacks than the net has, before them and after them.

        Where one of them asks to stop, it stops on all ranks.
        """
        self.all_callbacks_ = [*first, *self.callbacks_, *last]
        self.ranks_ = ranks
        try:
            yield
        finally:
            self.all_callbacks_, self.ranks_ = None, ALONE

    def _train(self, data, epochs, threads, kept):
        self.check_batches(data)
        self.stopped_by_callback_, self.interrupted_ = False, None
        to_gradients, to_batches = followed(self.all_callbacks_, self.ranks_)
        on_gradient = self._on_gradient if to_gradients else None
        listeners = Listeners(on_gradient, to_batches)
        train = self.get_dataset(data.X, data.y)
        valid = None if data.valid is None else self.get_dataset(*data.valid)
        try:
            self.begin(data)
            done = kept.resume(epochs)
            with ExitStack() as stack:
                trained, begun = None, {"dataset_train": train, "dataset_valid": valid}
                for epoch in range(done, epochs):
                    self.notify("on_epoch_begin", **begun)
                    self._set_training(True)
                    # a callback may have frozen a layer, or given it another strength
                    which = [p.requires_grad for p in self.module_.parameters()]
                    now = which, self.objective
                    if now != trained:
                        stack.close()
                        steps = self._steps(data.X, threads, listeners)
                        steps, trained = stack.enter_context(steps), now
                        if self.verbose and epoch == done and not self.n_earlier_:
                            tell_ranks(self.ranks_, steps)
                    self._epoch(steps, train, valid, listeners.to_batches)
                    data.turn_sides()
                    if epoch + 1 < epochs:
                        kept.write(epoch + 1)
        except KeyboardInterrupt:
            drop_unfinished_epoch(self.history)
            # skorch's callbacks raise it as well, to stop
            if not self.stopped_by_callback_:
                self.interrupted_ = len(self.history) - self.n_earlier_
        if self.interrupted_ is None:
            kept.end()
        self.notify("on_train_end", X=data.X, y=data.y)
        if self.interrupted_ is None:
            check_kept(self, data)

    def begin(self, data):
        """Tell the callbacks, which may load a history of earlier epochs.

        A schedule of torch that goes on begins with its last step, once more.
        """
        self.n_earlier_ = len(self.history)
        rates = [group["lr"] for group in self.optimizer_.param_groups]
        self.notify("on_train_begin", X=data.X, y=data.y)
        if self.n_earlier_:
            take_back_rates(self.callbacks_, self.optimizer_, rates)
        self.n_earlier_ = len(self.history)

    def _steps(self, X, threads, listeners):
        return training_steps(
            self.module_,
            self.regularization(),
            pixels=self.pixels(),
            lower=self.lower,
            X=X,
            batch_size=self.batch_size,
            threads=threads,
            record=self.record,
            parts=self.parts,
            accumulate=self.accumulate,
            augment=self.augment,
            n_classes=self.n_classes,
            listeners=listeners,
            ranks=self.ranks_,
        )

    def regularization(self):
        """Return what acts on the weights in every step."""
        trained = [p for p in self.module_.parameters() if p.requires_grad]
        groups = self.objective.groups(self.module_, self.starts)
        return Regularization(self.objective, groups, trained, self.optimizer_)

    def _on_gradient(self, batch):
        named = TeeGenerator(self.get_all_learnable_params())
        self.notify(
            "on_grad_computed", named_parameters=named, batch=batch, training=True
        )

    def _epoch(self, steps, train, valid, follows_batches):
        losses = self._train_epoch(steps, train, follows_batches)
        self._equalize()
        for hook in own_hooks(self, "after_steps"):
            hook()
            self._equalize()
        scores = torch.zeros(0, 2, device=self.device)
        if valid is not None:
            # which products are cut where depends on the number of threads
            with torch_threads(1):
                scores = validated(self, valid, follows_batches, self.ranks_)
        means, penalty, norms, scores = read(
            losses.means(), steps.regularization.value(), norms_of(self), scores
        )
        totals = losses.totals(means.reshape(len(means), -1))
        data_loss, *activity = (totals / len(train)).tolist()
        record_training(self.history, data_loss, sum(activity, float(penalty)))
        check_epoch(self.history, norms, self.module_, self.lr)
        if valid is not None:
            means = scores.sum(axis=0) / len(valid)
            record_validation(self.history, *means.tolist())
        self.notify("on_epoch_end", dataset_train=train, dataset_valid=valid)

    def _equalize(self):
        if self.ranks_.size > 1:  # the processors of others may round otherwise
            self.ranks_.equalize([*self.module_.parameters(), *self.module_.buffers()])

    def _train_epoch(self, steps, dataset, follows_batches):
        batches = self.get_iterator(dataset, training=True)
        hooks = own_hooks(self, "before_step")

        def prepare():
            if not self.module_.training:  # a callback may have looked at predictions
                self._set_training(True)
            for hook in hooks:
                hook()

        if follows_batches:
            losses = self._followed_epoch(steps, batches, prepare)
        else:
            # skorch's histories have a batch an epoch
            self.notify("on_batch_begin", batch=None, training=True)
            losses = steps.epoch(batches, prepare)
        self.history.record("train_batch_count", len(batches))
        return losses

    def _followed_epoch(self, steps, batches, prepare):
        """Take the steps of an epoch, and call the callbacks of batches."""
        found = EpochLosses()
        for X, y in batches:
            self.notify("on_batch_begin", batch=(X, y), training=True)
            prepare()
            losses, logits, loss = steps.take(X, y)
            found.add(losses, len(y))
            step = {"loss": loss, "data_loss": losses.reshape(-1)[0], "y_pred": logits}
            end_batch(self, "train", (X, y), step)
        return found

    def notify(self, method_name, **cb_kwargs):
        """Call a hook of every callback, of the others too where one asks to stop."""
        getattr(self, method_name)(self, **cb_kwargs)
        stop = False
        for name, callback in self.all_callbacks_ or self.callbacks_:
            try:
                getattr(callback, method_name)(self, **cb_kwargs)
            except KeyboardInterrupt:
                stop = True
            except KeyError as error:
                message = missing_score(name, error, self.history)
                if message is None:
                    raise
                raise ValueError(message) from error
        if self.ranks_.agree(stop):
            self.stopped_by_callback_ = True
            raise KeyboardInterrupt

    def check_batches(self, data):
        """Raise where a batch norm would have the variance of a single number."""
        if len(data.y) > 1 and self.batch_size > 1:  # no batch is a single image then
            return
        self._set_training(True)
        image = network_input(data.X.images[:1], *self.pixels())
        check_single_images(self.module_, image, len(data.y), self.batch_size)

    # -- devices and copies -----------------------------------------------------------

    def bring_memory(self):
        """Bring what the optimizer remembers to where the network is."""
        if torch.device(self.device).type != "cpu" and self.optimizer_.state:
            # by torch's own rules: some counts of steps stay on the CPU
            recall(self.optimizer_, self.optimizer_.state_dict())

    def offload(self):
        """Let network and optimizer wait on the CPU."""
        move(self.module_, torch.device("cpu"))
        self.bring_memory()

    def begin_memory(self):
        """Let the optimizer forget what it remembers, but not its rates."""
        rates = self.optimizer_.state_dict()["param_groups"]
        self.initialize_optimizer()
        new = self.optimizer_.state_dict()
        self.optimizer_.load_state_dict({**new, "param_groups": rates})

    def snapshot(self):
        """Return a net with a copy of the network, for looking at while this trains."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), module_=copy.deepcopy(self.module_))
        return twin

    def follow(self, *, lr, **parameters):
        """Go on with other parameters of the constructor, and another learning rate."""
        check_same_layers(lr, self.lr)
        vars(self).update(parameters)
        if self.lr != lr:
            self.lr = lr
            set_rates(self.optimizer_, rates_of(self))

    def follow_callbacks(self, callbacks):
        """Go on with other callbacks, where these are others."""
        if are_the_same(self.callbacks, callbacks):
            return
        before, self.callbacks = self.callbacks, list(callbacks or ())
        try:
            self.initialize_callbacks()
        except BaseException:
            self.callbacks = before
            raise

    def training_state(self):
        """Return what a training changes, as it is, but for history and callbacks."""
        if self.optimizer_ is None:
            raise ValueError(
                "net_.trim_for_prediction() has taken away what training goes on from. "
                "Call fit."
            )
        return {
            "module": self.module_.state_dict(),
            "trained": [p.requires_grad for p in self.module_.parameters()],
            "optimizer": self.optimizer_.state_dict(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state):
        """Go back, or on, to what `training_state` returned."""
        self.module_.load_state_dict(state["module"])
        parameters = self.module_.parameters()
        for parameter, trained in zip(parameters, state["trained"], strict=True):
            parameter.requires_grad_(trained)
        recall(self.optimizer_, state["optimizer"])
        self.generator.set_state(state["generator"])

    def followed(self):
        """Return what calls to partial_fit may change, by name."""
        return {name: getattr(self, name) for name in _FOLLOWED}
