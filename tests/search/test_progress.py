"""What a search tells on its way: in lines, and to scikit-learn's callbacks."""

import re

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from sklearn_l2cnn import L2CNNClassifierCV
from sklearn_l2cnn._utils.turns import Turn
from tests.conftest import quick, tiny

ALPHAS = [1e-3, 1.0, 0.1]
WAYS = {
    "stacked": {},
    "warm": {"path": "warm"},
    "one by one": {"accumulate": 2},
    "warm, one by one": {"accumulate": 2, "path": "warm"},
}


def quick_search(**parameters):
    defaults = {"cv": 2, "architecture": tiny, "max_epochs": 2, "random_state": 0}
    return L2CNNClassifierCV(ALPHAS, **(defaults | parameters))


# -- lines ----------------------------------------------------------------------------


def test_a_stacked_search_tells_its_networks_and_the_time_left(some, capsys):
    clf = quick_search(verbose=1).fit(*some)
    start, net, *epochs, refit, again, one, two = capsys.readouterr().out.splitlines()
    assert start == "Fitting 2 folds for each of 3 alphas, totalling 6 networks"
    assert net.startswith("device ") and again.startswith("device ")
    pattern = r"epoch [12]/2, (\d) of 6 networks \(alpha 0.001 to 1\), (.*?): train_"
    found = [re.match(pattern, line).groups() for line in epochs]
    assert sum(int(n) for n, _ in found) == 6 * 2
    assert all(re.fullmatch(r"about \d+ s left", left) for _, left in found[:-1])
    assert found[-1][1].startswith("took ")
    assert refit == f"Refitting on all images with alpha={clf.alpha_}"
    assert one.startswith("epoch 1/2: ") and two.startswith("epoch 2/2: ")


@pytest.mark.parametrize("path", ["independent", "warm"])
def test_a_search_one_by_one_tells_alpha_and_fold(some, capsys, path):
    quick_search(verbose=1, accumulate=2, path=path).fit(*some)
    lines = [line for line in capsys.readouterr().out.splitlines() if "of 6" in line]
    pattern = r"network (\d) of 6, alpha=(\S+), fold (\d), epoch (\d)/2: train_.*"
    found = [re.fullmatch(pattern, line).groups() for line in lines]
    assert len(set(found)) == len(found) == 6 * 2
    assert {(float(alpha), fold) for _, alpha, fold, _ in found} == {
        (alpha, fold) for alpha in ALPHAS for fold in "01"
    }
    order = sorted({(number, alpha) for number, alpha, _, _ in found})
    expected = ALPHAS if path == "independent" else sorted(ALPHAS, reverse=True)
    assert [float(alpha) for _, alpha in order] == 2 * expected
    assert re.search(r", about \d+ s left$", lines[0])
    assert re.search(r", took \d+ s$", lines[-1])


def test_a_search_prints_nothing_unless_asked(some, capfd):
    quick_search().fit(*some)
    assert capfd.readouterr() == ("", "")


# -- callbacks of scikit-learn --------------------------------------------------------


@pytest.fixture
def callback():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")


class Listener:
    """Remembers tasks; asks some to stop."""

    def __init__(self, stops=lambda context: False):
        self.stops, self.tasks, self.fitted = stops, [], []

    def setup(self, estimator, context):
        self.tasks.append("setup")

    def teardown(self, estimator, context):
        self.tasks.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        assert type(estimator) is L2CNNClassifierCV
        self.tasks.append(("begin", *described(context)))

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, fitted_estimator=None
    ):
        self.tasks.append(("end", *described(context)))
        if fitted_estimator is not None:
            self.fitted.append((described(context), fitted_estimator.score(X, y)))
        return self.stops(context)


def described(context):
    parent = None if context.parent is None else context.parent.task_name
    return context.task_name, context.task_id, parent


@pytest.mark.parametrize("way", WAYS)
def test_every_epoch_of_a_search_is_a_task(callback, some, way):
    listener = Listener()
    clf = quick_search(**WAYS[way]).set_callbacks(listener).fit(*some)
    refits = sum(alpha >= clf.alpha_ for alpha in ALPHAS) if "warm" in way else 1
    search, refit = ("search", 0, "fit"), ("refit-with-best-params", 1, "fit")
    tasks = [
        ("fit", 0, None),
        *(search, refit),
        *(("epoch", k, "search") for k in range(3 * 2 * 2)),
        *(("epoch", k, "refit-with-best-params") for k in range(2 * refits)),
    ]
    assert listener.tasks[0] == "setup" and listener.tasks[-1] == "teardown"
    heard = listener.tasks[1:-1]
    for moment in ("begin", "end"):
        own = [task[1:] for task in heard if task[0] == moment]
        assert sorted(map(str, own)) == sorted(map(str, tasks))
    assert heard[0] == ("begin", "fit", 0, None) and heard[-1][0] == "end"
    assert heard.index(("end", *search)) < heard.index(("begin", *refit))


@pytest.mark.parametrize("make", [quick, quick_search])
def test_a_training_that_starts_again_tells_its_epochs_once(
    callback, some, monkeypatch, make
):
    # as after one that lacked the memory of a device
    def twice(turn, train):
        train(turn.device)
        return train(turn.device)

    monkeypatch.setattr(Turn, "fit", twice)
    told = []

    class Counter(callback.ProgressBar):
        def on_fit_task_end(self, estimator, context):
            told.append(described(context))
            super().on_fit_task_end(estimator, context)

    make(max_epochs=2).set_callbacks(Counter()).fit(*some)
    assert len(set(told)) == len(told)


def test_listening_to_a_search_changes_no_bit(callback, some):
    X, y = some
    heard = quick_search().set_callbacks(Listener()).fit(X, y)
    alone = quick_search().fit(X, y)
    assert np.array_equal(heard.predict_proba(X), alone.predict_proba(X))
    assert np.array_equal(heard.losses_path_, alone.losses_path_)


def test_the_refit_is_followed_as_a_fitted_search(callback, some):
    X, y = some
    listener, monitor = Listener(), callback.ScoringMonitor(scoring="accuracy")
    clf = quick_search().set_callbacks(listener, monitor).fit(X, y)
    tasks = [task[0] for task, _ in listener.fitted]
    assert tasks == ["epoch", "epoch", "fit"]
    for _, score in listener.fitted[1:]:
        assert score == clf.score(X, y)
    log = monitor.get_logs().data
    assert log[-1]["accuracy"] == clf.score(X, y)


@pytest.mark.parametrize("way", ["stacked", "one by one"])
def test_a_callback_can_stop_single_networks(callback, some, way):
    def stops(context):
        # the first epoch of the first alpha in the second fold
        return described(context) == ("epoch", 2, "search")

    clf = quick_search(**WAYS[way]).set_callbacks(Listener(stops)).fit(*some)
    ended = np.isnan(clf.losses_path_).any(axis=2)
    assert ended.tolist() == [[False, True], [False, False], [False, False]]


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize("way", ["stacked", "one by one"])
def test_a_progress_bar_of_a_search(callback, some, capsys, way, n_jobs):
    clf = quick_search(n_jobs=n_jobs, **WAYS[way])
    clf.set_callbacks(callback.ProgressBar()).fit(*some)
    shown = capsys.readouterr().out
    for name in ("fit", "search #0", "refit-with-best-params #1"):
        assert re.search(rf"L2CNNClassifierCV - {name}.*100%", shown)


def test_a_search_within_a_search_is_a_task_of_it(callback, some, capsys):
    outer = GridSearchCV(quick_search(max_epochs=1), {"lr": [1e-3]}, cv=2)
    outer.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(*some)
    shown = capsys.readouterr().out
    assert "GridSearchCV - fit" in shown and "L2CNNClassifierCV - search" in shown


def test_a_search_that_fails_tears_down(callback, some):
    listener = Listener()
    clf = quick_search(lr=1e30, optimizer="sgd").set_callbacks(listener)
    with pytest.raises(ValueError, match="trainings of the search failed"):
        clf.fit(*some)
    assert listener.tasks[-1] == "teardown"
    assert "_callback_fit_ctx" not in vars(clf)
