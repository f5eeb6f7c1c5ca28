"""Any callback of skorch: used as it is in a fit, copied where an estimator is."""

import copy
import functools
import pickle
import re
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LoadInitState,
    LRScheduler,
    PassthroughScoring,
    ProgressBar,
    TrainEndCheckpoint,
    Unfreezer,
)

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from tests import conftest
from tests.conftest import SmallNet


def quick(callbacks=None, **parameters):
    return conftest.quick(**{"max_epochs": 5, "callbacks": callbacks, **parameters})


def test_early_stopping_of_skorch(digits):
    X, y = digits
    mine = EarlyStopping(patience=2, threshold=10.0)
    clf = quick([mine], max_epochs=20).fit(X, y, X_val=X, y_val=y)
    assert clf.n_epochs_ == 3
    assert mine.misses_ == 2


def test_a_callback_that_stops_is_no_interrupt(digits, recwarn):
    X, y = digits
    quick([EarlyStopping("train_loss", patience=1, threshold=10.0)]).fit(X, y)
    assert not recwarn.list


def test_learning_rate_schedule(digits):
    X, y = digits
    mine = LRScheduler("StepLR", step_size=2, gamma=0.1)
    clf = quick([("schedule", mine)], lr=0.01).fit(X, y)
    rates = clf.net_.history[:, "event_lr"]
    np.testing.assert_allclose(rates, [1e-2, 1e-2, 1e-3, 1e-3, 1e-4])
    assert mine.lr_scheduler_.last_epoch == 5


def test_without_a_scheduler_adam_anneals_and_gives_the_rate_back(digits):
    X, y = digits
    clf = quick(lr=0.01).fit(X, y)
    expected = 0.005 * (1 + np.cos(np.pi * np.arange(5) / 5))
    np.testing.assert_allclose(clf.net_.history[:, "event_lr"], expected)
    clf.partial_fit(X, y)
    assert clf.net_.optimizer_.param_groups[0]["lr"] == 0.01
    assert "event_lr" not in clf.net_.history[-1]


@pytest.mark.parametrize(
    "optimizer, lr_schedule, anneals",
    [
        ("adam", "auto", True),
        ("sgd", "auto", False),
        (torch.optim.Adam, "auto", False),
        ("adam", None, False),
        ("sgd", "cosine", True),
        ("sgd", "onecycle", True),
        ("sgd", "plateau", True),
        ("adamw", "auto", True),
    ],
)
def test_which_fits_anneal(digits, optimizer, lr_schedule, anneals):
    clf = quick(optimizer=optimizer, lr_schedule=lr_schedule).fit(*digits)
    assert ("event_lr" in clf.net_.history[-1]) == anneals


class Rates(Callback):
    """Record the rate of every step."""

    def on_train_begin(self, net, **kwargs):
        self.rates_ = []

    def on_batch_end(self, net, training, **kwargs):
        if training:
            self.rates_.append(net.optimizer_.param_groups[0]["lr"])


def test_one_cycle(digits):
    X, y = digits
    clf = quick([Rates()], lr=0.5, lr_schedule="onecycle", max_epochs=4, batch_size=30)
    clf.fit(X, y)
    rates = np.array(clf.net_.callbacks_[-1][1].rates_)
    assert len(rates) == 40 and rates.argmax() == 8 and rates[8] == 0.5
    np.testing.assert_allclose(rates[0], 0.5 / 25)
    np.testing.assert_allclose(np.diff(rates[:9]), (0.5 - 0.5 / 25) / 8)
    np.testing.assert_allclose(rates[24], 0.25)  # half way down
    assert (np.diff(rates[8:]) < 0).all() and rates[-1] < 0.002
    # the same without anybody who listens, and the whole rate again afterwards
    silent = clone(clf).set_params(callbacks=None).fit(X, y)
    assert silent.loss_curve_ == clf.loss_curve_
    assert silent.net_.optimizer_.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("validated", [False, True])
def test_a_plateau_is_that_of_torch(digits, validated):
    # a penalty that grows while nothing is learnt: plateaus of every kind
    X, y = digits
    validation = {"X_val": X[200:], "y_val": y[200:]} if validated else {}
    clf = quick(
        lr=0.5,
        optimizer="sgd",
        lr_schedule="plateau",
        max_epochs=30,
        batch_size=10,
    )
    clf.fit(X[:200], y[:200], **validation)
    history = clf.net_.history
    losses = history[:, "valid_loss" if validated else "train_loss"]
    parameter = torch.nn.Parameter(torch.zeros(()))
    reference = torch.optim.SGD([parameter], lr=0.5)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        reference, factor=0.1, patience=3
    )
    rates = []
    for loss in losses:
        rates.append(reference.param_groups[0]["lr"])
        plateau.step(loss)
    assert len(set(rates)) > 1, "the rate was never lowered"
    np.testing.assert_allclose(history[:, "event_lr"], rates, rtol=1e-12)
    # what is recorded is what was used, and the whole rate is back afterwards
    assert clf.net_.optimizer_.param_groups[0]["lr"] == 0.5


def test_a_batchwise_schedule(digits):
    X, y = digits
    schedule = LRScheduler("CyclicLR", base_lr=0.01, max_lr=0.1, step_every="batch")
    clf = quick([schedule], optimizer="sgd").fit(X, y)
    batches = clf.net_.history[0, "batches", :, "event_lr"]
    assert len(set(batches)) > 1


def test_checkpoint(digits, tmp_path):
    X, y = digits
    checkpoint = Checkpoint(monitor="train_loss_best", dirname=str(tmp_path))
    clf = quick([checkpoint]).fit(X, y)
    assert {path.name for path in tmp_path.iterdir()} == {
        "params.pt",
        "optimizer.pt",
        "criterion.pt",
        "history.json",
    }
    last = clf.predict_proba(X)
    for parameter in clf.module_.parameters():
        parameter.data.zero_()
    clf.net_.load_params(checkpoint=clf.net_.callbacks_[-1][1])
    assert np.array_equal(clf.predict_proba(X), last)


def test_a_net_is_pickled_while_it_trains(digits, tmp_path):
    X, y = digits
    place = tmp_path / "net.pickle"
    checkpoint = Checkpoint(
        monitor=None, f_pickle=place.name, dirname=str(tmp_path), event_name=None
    )
    clf = L2CNNClassifier(max_epochs=2, callbacks=[checkpoint], random_state=0)
    clf.fit(X, y)
    back = pickle.loads(place.read_bytes())
    for one, other in zip(
        back.module_.parameters(), clf.module_.parameters(), strict=True
    ):
        assert torch.equal(one, other)


class Listener(Callback):
    """Hear of everything and do nothing."""

    def on_batch_begin(self, net, **kwargs):
        pass

    def on_batch_end(self, net, **kwargs):
        pass

    def on_grad_computed(self, net, **kwargs):
        pass


@pytest.mark.parametrize("architecture", ["plain", SmallNet])
@pytest.mark.parametrize("weighted", [False, True])
def test_listening_changes_no_bit(digits, architecture, weighted):
    X, y = digits
    weight = 1.0 + np.arange(len(y)) % 3 if weighted else None
    results = []
    for callbacks in (None, [Listener()]):
        clf = L2CNNClassifier(
            architecture=architecture,
            batch_size=128,
            max_epochs=2,
            early_stopping=True,
            callbacks=callbacks,
            random_state=0,
        ).fit(X, y, sample_weight=weight)
        results.append(clf)
    assert np.array_equal(*(clf.predict_proba(X) for clf in results))
    assert results[0].loss_curve_ == results[1].loss_curve_
    assert "train_loss" in results[1].net_.history[-1, "batches", 0]


def test_checkpoint_on_validation_loads_the_best(digits, tmp_path):
    X, y = digits
    checkpoint = Checkpoint(dirname=str(tmp_path), load_best=True)
    clf = quick([checkpoint], max_epochs=4).fit(X, y, X_val=X, y_val=y)
    assert clf.net_.history[:, "valid_loss_best"] == [True] * 4


@pytest.mark.parametrize("use_caching", [True, False])
@pytest.mark.parametrize("on_train", [True, False])
def test_epoch_scoring(digits, on_train, use_caching):
    X, y = digits
    scoring = EpochScoring(
        "accuracy",
        name="acc",
        lower_is_better=False,
        on_train=on_train,
        use_caching=use_caching,
    )
    clf = quick([scoring]).fit(X, y, X_val=X[:90], y_val=y[:90])
    scores = clf.net_.history[:, "acc"]
    assert len(scores) == 5 and scores[-1] > scores[0]
    if not on_train:
        # the same to rounding: ours is a weighted mean
        np.testing.assert_allclose(scores, clf.validation_scores_, rtol=1e-6)
    elif not use_caching:
        assert scores[-1] == pytest.approx(clf.score(X, y))


def test_scores_of_skorch_do_not_change_what_is_learnt(digits):
    X, y = digits
    scoring = [
        EpochScoring("accuracy", on_train=True, use_caching=False),
        BatchScoring("accuracy", on_train=True, name="batch_acc"),
    ]
    assert np.array_equal(
        quick(scoring).fit(X, y).predict_proba(X), quick().fit(X, y).predict_proba(X)
    )


def test_progress_bar_of_skorch(digits, capsys):
    X, y = digits
    quick([ProgressBar(detect_notebook=False)], max_epochs=2).fit(X, y)
    shown = capsys.readouterr().err
    # a bar for every epoch, of its ten batches
    assert len(re.findall(r"\b0/10 \[", shown)) == 2


def test_gradient_clipping(digits):
    X, y = digits
    clipped = quick([GradientNormClipping(1e-9)], optimizer="sgd", momentum=0).fit(X, y)
    free = quick(optimizer="sgd", momentum=0, max_epochs=1).fit(X, y)
    assert (
        np.ptp(clipped.loss_curve_)
        < 1e-4
        < clipped.loss_curve_[0] - free.loss_curve_[0] + 1
    )


class Recorder(Callback):
    """Counts what it is called for."""

    def __init__(self):
        self.calls = []

    def on_train_begin(self, net, **kwargs):
        self.calls.append("train_begin")

    def on_epoch_end(self, net, **kwargs):
        self.calls.append("epoch_end")

    def on_batch_end(self, net, batch, training, **kwargs):
        self.calls.append("batch_end" if training else "valid_batch_end")

    def on_grad_computed(self, net, named_parameters, **kwargs):
        assert all(p.grad is not None for _, p in named_parameters)
        self.calls.append("grad")

    def on_train_end(self, net, **kwargs):
        self.calls.append("train_end")


def test_every_hook_of_the_users_own_object_is_called(digits):
    X, y = digits
    mine = Recorder()
    clf = quick([mine], max_epochs=2).fit(X, y, X_val=X[:40], y_val=y[:40])
    epoch = ["grad", "batch_end"] * 10 + ["valid_batch_end"] * 2 + ["epoch_end"]
    assert mine.calls == ["train_begin", *epoch, *epoch, "train_end"]
    assert clf.callbacks == [mine] and ("Recorder", mine) in clf.net_.callbacks_


def test_a_function_makes_a_callback_in_every_fit(digits):
    made = []

    def make():
        made.append(Recorder())
        return made[-1]

    clf = quick([make, ("named", make)], max_epochs=2)
    clf.fit(*digits)
    clf.fit(*digits)
    assert len(made) == 4
    assert all(each.calls.count("epoch_end") == 2 for each in made)
    assert dict(clf.net_.callbacks_)["named"] is made[3]


class Locked(Callback):
    """It holds what cannot be copied, as a writer of TensorBoard does."""

    def __init__(self):
        self.lock = threading.Lock()


@pytest.mark.parametrize("search", ["grid", "own"])
def test_what_cannot_be_copied_is_used_in_a_fit_and_explained_in_a_search(some, search):
    X, y = some
    clf = quick([Locked()], max_epochs=2).fit(X, y)
    grid = GridSearchCV(clf, {"alpha": [0, 1]}, cv=2)
    own = L2CNNClassifierCV([0.0, 1.0], cv=2, max_epochs=2, callbacks=[Locked()])
    search = grid if search == "grid" else own
    with pytest.raises(TypeError, match=r"cannot be copied.*Locked.*\[make_callback\]"):
        search.fit(X, y)
    grid.set_params(estimator__callbacks=[Locked])
    own.set_params(callbacks=[lambda: Locked()])
    search.fit(X, y)


@pytest.mark.parametrize("copying", [clone, copy.deepcopy])
def test_a_copy_has_callbacks_of_its_own(some, copying):
    mine = Recorder()  # whose attributes are no parameters, so that it has no clone
    copied = copying(quick([("r", mine), EarlyStopping("train_loss")]))
    copied.fit(*some)
    assert mine.calls == [] and len(copied.callbacks[0][1].calls) > 5


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.long
def test_a_search_leaves_the_users_object_alone(some, n_jobs):
    X, y = some
    mine = Recorder()
    parameters = {"max_epochs": 2, "callbacks": [mine], "random_state": 0}
    grid = GridSearchCV(
        L2CNNClassifier(**parameters), {"alpha": [0, 1]}, cv=2, n_jobs=n_jobs
    ).fit(X, y)
    own = L2CNNClassifierCV([0.0, 1.0], cv=2, n_jobs=n_jobs, **parameters).fit(X, y)
    assert mine.calls == []
    for search in (grid, own):
        [used] = search.best_estimator_.callbacks
        assert used.calls.count("epoch_end") == 2


class Pruned(Exception):
    """As Optuna's TrialPruned."""


class Pruning(Callback):
    """As optuna_integration.SkorchPruningCallback: it asks a trial, and raises."""

    def __init__(self, trial, monitor):
        self.trial = trial
        self.monitor = monitor

    def on_epoch_end(self, net, **kwargs):
        self.trial.append(net.history[-1, self.monitor])
        if len(self.trial) == 2:
            raise Pruned


def test_what_a_callback_raises_comes_through(digits):
    trial = []
    clf = quick([Pruning(trial, "valid_acc")], early_stopping=True)
    with pytest.raises(Pruned):
        clf.fit(*digits)
    assert len(trial) == 2 and not hasattr(clf, "net_")


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("policy", ["StepLR", "ExponentialLR", "CosineAnnealingLR"])
def test_schedules_of_torch_go_on_in_a_warm_start(some, policy, optimizer):
    options = {
        "StepLR": {"step_size": 2, "gamma": 0.1},
        "ExponentialLR": {"gamma": 0.5},
        "CosineAnnealingLR": {"T_max": 4},
    }
    schedule = LRScheduler(policy, **options[policy])
    parameters = {"optimizer": optimizer, "callbacks": [schedule], "lr": 0.01}
    clf = quick(max_epochs=2, warm_start=True, **parameters).fit(*some).fit(*some)
    whole = quick(max_epochs=4, **parameters).fit(*some)
    expected = whole.net_.history[:, "event_lr"]
    np.testing.assert_allclose(clf.net_.history[:, "event_lr"], expected)
    clf = quick(**parameters)
    for _ in range(4):
        clf.partial_fit(*some, classes=np.arange(10))
    np.testing.assert_allclose(clf.net_.history[:, "event_lr"], expected)


@pytest.mark.parametrize("optimizer", ["sgd", "sgdw", "adam"])
def test_layers_that_are_trained_later_begin_with_their_momentum(some, optimizer):
    X, y = some
    callbacks = [Freezer("0.*"), Unfreezer("0.*", at=3)]
    clf = quick(callbacks, optimizer=optimizer, max_epochs=4).fit(X, y)
    assert np.isfinite(clf.loss_curve_).all()
    clf = quick(optimizer=optimizer, freeze="0").fit(X, y)
    before = clf.module_[0].weight.detach().clone()
    clf.set_params(freeze=None).partial_fit(X, y)
    assert not torch.equal(clf.module_[0].weight, before)


def test_layers_are_unfrozen_one_after_the_other(some):
    looking = Looking()
    callbacks = [
        ("freezer", Freezer("conv*")),
        ("second", Unfreezer("conv2.*", at=2)),
        ("first", Unfreezer("conv1.*", at=3)),
        looking,
    ]
    lr = {"dense*": 1e-3, "*": 1e-4}
    clf = L2CNNClassifier(callbacks=callbacks, lr=lr, max_epochs=4, random_state=0)
    clf.fit(*some)
    moved = [
        {
            layer
            for layer in ("conv1", "conv2", "dense1")
            if not torch.equal(before[f"{layer}.weight"], after[f"{layer}.weight"])
        }
        for before, after in pairwise(looking.weights_)
    ]
    assert moved == [
        {"dense1"},
        {"conv2", "dense1"},
        {"conv1", "conv2", "dense1"},
        {"conv1", "conv2", "dense1"},
    ]


class Looking(Callback):
    """Keep the weights before the training and after each epoch."""

    def on_train_begin(self, net, **kwargs):
        self.weights_ = [copy.deepcopy(net.module_.state_dict())]

    def on_epoch_end(self, net, **kwargs):
        self.weights_.append(copy.deepcopy(net.module_.state_dict()))


def test_momentum_that_starts_from_zero_is_torchs(some):
    X, y = some
    fused = quick(optimizer="sgd").fit(X, y)
    plain = functools.partial(torch.optim.SGD, foreach=False)
    other = quick(optimizer=plain).fit(X, y)
    np.testing.assert_allclose(fused.loss_curve_, other.loss_curve_, rtol=1e-5)


class AtTheEnd(Callback):
    def on_train_end(self, net, **kwargs):
        state = net.module_.state_dict()
        self.weights_ = {name: value.clone() for name, value in state.items()}


def test_a_training_ends_with_the_best_weights_for_callbacks_too(digits):
    mine = AtTheEnd()
    clf = quick(
        [mine], early_stopping=True, lr=0.02, n_iter_no_change=3, max_epochs=30
    ).fit(*digits)
    assert clf.best_epoch_ < clf.n_epochs_
    for name, value in clf.module_.state_dict().items():
        assert torch.equal(mine.weights_[name], value)


def test_partial_fit_follows_other_callbacks(some):
    X, y = some
    one, other, third = Recorder(), Recorder(), Recorder()

    def counts():
        return [each.calls.count("epoch_end") for each in (one, other, third)]

    clf = quick([("a", one), other]).partial_fit(X, y, classes=np.arange(10))
    assert counts() == [1, 1, 0]
    clf.set_params(callbacks__a=None).partial_fit(X, y)
    assert counts() == [1, 2, 0]
    clf.set_params(callbacks=[third]).partial_fit(X, y)
    assert counts() == [1, 2, 1]
    with pytest.raises(TypeError, match="callbacks holds"):
        clf.set_params(callbacks=[1]).partial_fit(X, y)
    clf.set_params(callbacks=[third]).partial_fit(X, y)
    assert counts() == [1, 2, 2] and clf.n_epochs_ == 4


def test_partial_fit_keeps_what_a_function_has_made(some):
    made = []

    def make():
        made.append(Recorder())
        return made[-1]

    clf = quick([make]).partial_fit(*some, classes=np.arange(10))
    clf.partial_fit(*some)
    [recorder] = made
    assert recorder.calls.count("epoch_end") == 2


@pytest.mark.parametrize("search", [False, True])
def test_a_score_may_be_named_as_that_of_validation(some, search):
    scoring = EpochScoring("accuracy", name="valid_acc", on_train=True)
    if search:
        clf = L2CNNClassifierCV([0.0, 1.0], cv=2, max_epochs=2, callbacks=[scoring])
    else:
        clf = quick([scoring])
    clf.fit(*some)
    assert clf.validation_scores_ is None


def brightness(net, X, y):
    """Score by the pixels alone: as an array, by length, shape and rows."""
    assert len(X) == len(y) == X.shape[0]
    assert np.array_equal(net.predict(X[:3]), net.predict(X)[:3])
    return float(np.asarray(X).mean())


@pytest.mark.parametrize("kind", [EpochScoring, BatchScoring])
def test_scorers_see_images(some, kind):
    scoring = kind(brightness, name="brightness", use_caching=False, on_train=True)
    clf = quick([scoring], max_epochs=1, class_weight="balanced").fit(*some)
    # pixels were standardised
    assert abs(clf.net_.history[-1, "brightness"]) < 0.1


def test_scores_of_batches_are_passed_through(some):
    passing = PassthroughScoring("train_batch_size", on_train=True)
    clf = quick([passing]).fit(*some)
    assert clf.net_.history[-1, "train_batch_size"] > 0


class ReadsBatches(Callback):
    def on_epoch_end(self, net, **kwargs):
        self.losses_ = net.history[-1, "batches", :, "train_loss"]


class FollowsBatches(ReadsBatches):
    def on_batch_end(self, net, **kwargs):
        pass


def test_batches_are_recorded_where_a_callback_follows_them(some):
    with pytest.raises(
        ValueError, match="asks for the batches.*Give it an on_batch_end"
    ):
        quick([ReadsBatches()]).fit(*some)
    mine = FollowsBatches()
    quick([mine]).fit(*some)
    assert len(mine.losses_) > 1


def test_a_net_is_pickled_while_callbacks_of_scikit_learn_listen(
    some, tmp_path, capsys
):
    listening = pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")
    checkpoint = Checkpoint(monitor=None, f_pickle="net.pkl", dirname=str(tmp_path))
    clf = quick([checkpoint], max_epochs=2, verbose=1, early_stopping=True)
    clf.set_callbacks(listening.ProgressBar()).fit(*some)
    back = pickle.loads((tmp_path / "net.pkl").read_bytes())
    assert [name for name, _ in back.callbacks_] == ["epoch_timer", "Checkpoint"]


def test_epochs_that_a_callback_loads_are_earlier_ones(some, tmp_path):
    saved = TrainEndCheckpoint(dirname=str(tmp_path))
    each = Checkpoint(monitor=None, dirname=str(tmp_path / "each"))
    parameters = {"early_stopping": True, "architecture": conftest.tiny}
    clf = L2CNNClassifier(max_epochs=5, lr=0.01, callbacks=[saved, each], **parameters)
    clf.fit(*some)
    loading = LoadInitState(saved)
    clf = L2CNNClassifier(max_epochs=3, callbacks=[loading], **parameters).fit(*some)
    assert clf.n_epochs_ == 8 and len(clf.validation_scores_) == 3
    assert clf.best_epoch_ <= 3
    search = L2CNNClassifierCV(
        [0.0, 1e-3],
        cv=2,
        max_epochs=3,
        architecture=conftest.tiny,
        callbacks=[LoadInitState(each)],
    ).fit(*some)
    assert search.losses_path_.shape == (2, 2, 3)
    assert np.isfinite(search.losses_path_).all()


def test_a_trimmed_net_says_that_it_is_not_trained_further(some):
    clf = quick(max_epochs=1).fit(*some)
    clf.net_.trim_for_prediction()
    expected = clf.predict(some[0])
    with pytest.raises(ValueError, match="trim_for_prediction.*Call fit"):
        clf.partial_fit(*some)
    assert np.array_equal(clf.predict(some[0]), expected)


# -- parameters of callbacks, optimizers and networks ---------------------------------


def test_parameters_of_callbacks_with_a_name(digits):
    mine = EarlyStopping("train_loss", patience=1, threshold=10.0)
    clf = quick([("stop", mine), Recorder()], max_epochs=8)
    assert clf.get_params()["callbacks__stop__patience"] == 1
    assert clf.get_params()["callbacks__stop"] is mine
    clf.set_params(callbacks__stop__patience=3)
    assert clf.fit(*digits).n_epochs_ == 4
    # None leaves it out, and its name is kept for another
    given = clf.callbacks
    clf.set_params(callbacks__stop=None)
    assert given[0] == ("stop", mine)
    assert clf.fit(*digits).n_epochs_ == 8
    other = EarlyStopping("train_loss", patience=1, threshold=10.0)
    clf.set_params(callbacks__stop__patience=2, callbacks__stop=other)
    assert clf.fit(*digits).n_epochs_ == 3 and other.patience == 2


@pytest.mark.long
def test_parameters_of_callbacks_are_searched(digits):
    mine = EarlyStopping("train_loss", patience=1, threshold=10.0)
    clf = quick([("stop", mine), ("rate", None)], max_epochs=6)
    rates = [None, LRScheduler("StepLR", step_size=1, gamma=0.1)]
    grid = {"callbacks__stop__patience": [1, 2], "callbacks__rate": rates}
    search = GridSearchCV(clf, grid, cv=2, refit=False).fit(*digits)
    assert len(search.cv_results_["params"]) == 4
    assert mine.patience == 1 and mine.misses_ == 0


def network_of(input_shape, n_classes, width=4):
    depth, height, breadth = input_shape
    flat = torch.nn.Flatten()
    hidden = torch.nn.Linear(depth * height * breadth, width)
    return torch.nn.Sequential(flat, hidden, torch.nn.Linear(width, n_classes))


class Width:
    """A function with parameters, which a search can set."""

    def __init__(self, width=4):
        self.width = width

    def get_params(self, deep=True):
        return {"width": self.width}

    def set_params(self, **params):
        vars(self).update(params)
        return self

    def __call__(self, input_shape, n_classes):
        return network_of(input_shape, n_classes, self.width)


@pytest.mark.parametrize(
    "grid",
    [
        {"architecture": [functools.partial(network_of, width=k) for k in (2, 16)]},
        {"architecture": [Width()], "architecture__width": [2, 16]},
    ],
)
def test_arguments_of_a_network_are_searched(some, grid):
    clf = L2CNNClassifier(max_epochs=5, random_state=0)
    search = GridSearchCV(clf, grid, cv=2).fit(*some)
    assert search.best_estimator_.module_[1].out_features == 16


@pytest.mark.parametrize(
    "optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD]
)
def test_arguments_of_an_optimizer_come_with_it(some, optimizer):
    given = {"momentum": 0.5} if optimizer is torch.optim.SGD else {"betas": (0.8, 0.9)}
    clf = L2CNNClassifier(optimizer=functools.partial(optimizer, **given), max_epochs=2)
    [group] = clone(clf).fit(*some).net_.optimizer_.param_groups
    [(name, value)] = given.items()
    assert group[name] == value
    assert group["fused"], "as with the class itself"


def test_a_learning_rate_has_one_place(some):
    optimizer = functools.partial(torch.optim.SGD, lr=0.5)
    with pytest.raises(ValueError, match=r"lr=0.001 is another. .* give lr=0.5\.$"):
        L2CNNClassifier(optimizer=optimizer).fit(*some)


@pytest.mark.parametrize(
    "key, callbacks, message",
    [
        ("optimizer__betas", None, r"optimizer=functools.partial\(torch.optim.Adam, "),
        ("architecture__width", None, r"functools.partial\(make_network, width=8\)"),
        ("callbacks__stop__patience", None, "Give a callback a name: "),
        ("callbacks__EarlyStopping__patience", [EarlyStopping()], "Give a callback a"),
        ("callbacks__x", [("stop", EarlyStopping())], "has nothing named 'x'"),
        ("callbacks__stop__patience", [("stop", EarlyStopping)], "Give an instance"),
        ("callbacks__stop__x", [("stop", EarlyStopping())], "Valid parameters are"),
        ("alpha__x", None, "alpha is 0.0001, which has no parameters of its own.$"),
        ("architectur__x", None, "Invalid parameter 'architectur'"),
    ],
)
@pytest.mark.parametrize("kind", [L2CNNClassifier, L2CNNClassifierCV])
def test_what_cannot_be_set_says_what_to_give(kind, key, callbacks, message):
    if key.startswith("alpha") and kind is L2CNNClassifierCV:
        message = "Invalid parameter 'alpha'"
    with pytest.raises(ValueError, match=message):
        kind(callbacks=callbacks).set_params(**{key: 1})


def test_other_callbacks_hear_of_the_epoch_in_which_one_stops(digits):
    X, y = digits
    stop = EarlyStopping("train_loss", patience=1, threshold=10.0)
    clf = quick([stop, Recorder()]).fit(X, y)
    recorder = dict(clf.net_.callbacks_)["Recorder"]
    assert recorder.calls.count("epoch_end") == clf.n_epochs_ == 2


def test_callbacks_run_in_partial_fit(digits):
    X, y = digits
    clf = quick([Recorder]).partial_fit(X, y, classes=np.arange(10)).partial_fit(X, y)
    recorder = dict(clf.net_.callbacks_)["Recorder"]
    assert recorder.calls.count("epoch_end") == 2


def test_a_callback_without_its_score_is_told_what_to_do(digits):
    X, y = digits
    with pytest.raises(
        ValueError, match="(?s)'EarlyStopping' asks for.*early_stopping=True"
    ):
        quick([EarlyStopping()]).fit(X, y)


@pytest.mark.parametrize(
    "wrong", [[1], ["EarlyStopping"], [("a", "b")], [object], [lambda: 1]]
)
def test_what_is_no_callback_is_named(digits, wrong):
    with pytest.raises(TypeError, match="callbacks holds instances or subclasses"):
        quick(wrong).fit(*digits)


@pytest.mark.long
def test_callbacks_travel_with_clone_pickle_and_search(digits):
    X, y = digits
    clf = quick([LRScheduler("StepLR", step_size=2)], max_epochs=2)
    clf = pickle.loads(pickle.dumps(clone(clf).fit(X, y)))
    assert "event_lr" in clf.net_.history[-1]
    GridSearchCV(clf, {"alpha": [0, 1]}, cv=2, n_jobs=2).fit(X, y)


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_freezer_of_skorch_freezes(digits, optimizer, at):
    X, y = digits
    freezer = Freezer("0.*", at=at)
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, net, **kwargs):
            kept.append(net.module_[0].weight.detach().clone())

    clf = quick([freezer, Keep()], optimizer=optimizer, alpha=0.1)
    before = clf.fit(X, y).module_[3].weight.detach().clone()
    moved = [not torch.equal(a, b) for a, b in pairwise(kept)]
    assert moved == [k + 2 < at for k in range(4)]
    assert not torch.equal(clf.module_[3].weight, before * 0)


def test_unfreezer_of_skorch_lets_train(digits):
    X, y = digits
    clf = quick([Unfreezer("0.*", at=3)], freeze="0")
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, net, **kwargs):
            kept.append(net.module_[0].weight.detach().clone())

    clf.set_params(callbacks=[*clf.callbacks, Keep()]).fit(X, y)
    moved = [not torch.equal(a, b) for a, b in pairwise(kept)]
    assert moved == [False, True, True, True]
