"""scikit-learn's own callbacks: epochs are tasks of a fit."""

import warnings

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from sklearn_l2cnn import L2CNNClassifier
from tests.training.test_callbacks import quick

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")


class Listener:
    """Remembers tasks; stops after some epochs where asked to."""

    max_propagation_depth = None

    def __init__(self, stop_after=None):
        self.stop_after, self.tasks, self.scores = stop_after, [], []

    def setup(self, estimator, context):
        self.tasks.append("setup")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        self.tasks.append(("begin", context.task_name, context.task_id))
        if isinstance(estimator, L2CNNClassifier):
            assert X is not None and y is not None

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, fitted_estimator=None
    ):
        self.tasks.append(("end", context.task_name, context.task_id))
        if fitted_estimator is not None and context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(X, y))
            self.last = fitted_estimator
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after

    def teardown(self, estimator, context):
        self.tasks.append("teardown")


def test_epochs_are_tasks_of_the_fit(digits):
    X, y = digits
    listener = Listener()
    clf = quick(max_epochs=3).set_callbacks(listener).fit(X, y)
    epochs = [(moment, "epoch", k) for k in range(3) for moment in ("begin", "end")]
    fit = [("begin", "fit", 0), *epochs, ("end", "fit", 0)]
    assert listener.tasks == ["setup", *fit, "teardown"]
    assert listener.scores[-1] == clf.score(X, y)
    assert listener.scores[0] < listener.scores[-1]


def test_scoring_every_epoch_does_not_change_what_is_learnt(digits):
    X, y = digits
    followed = quick(architecture="plain").set_callbacks(Listener()).fit(X, y)
    alone = quick(architecture="plain").fit(X, y)
    assert np.array_equal(followed.predict_proba(X), alone.predict_proba(X))


def test_a_fitted_estimator_of_an_epoch_stays_as_it_was(digits):
    X, y = digits
    listener = Listener(stop_after=2)
    quick(max_epochs=2).set_callbacks(listener).fit(X, y)
    assert listener.last.score(X, y) == listener.scores[-1]


def test_a_callback_that_asks_to_stop_stops_the_epochs(digits, recwarn):
    X, y = digits
    clf = quick(max_epochs=9).set_callbacks(Listener(stop_after=2)).fit(X, y)
    assert clf.n_epochs_ == 2
    assert not recwarn.list


def test_scoring_monitor(digits):
    X, y = digits
    monitor = callback.ScoringMonitor(scoring="accuracy")
    clf = quick(max_epochs=4).set_callbacks(monitor)
    clf.fit(X, y, sample_weight=np.ones(300))
    log = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert [row["task_id"] for row in log] == [0, 1, 2, 3]
    assert log[-1]["accuracy"] == clf.score(X, y)


def test_progress_bar(digits, capsys):
    X, y = digits
    quick(max_epochs=3).set_callbacks(callback.ProgressBar()).fit(X, y)
    assert "L2CNNClassifier - fit" in capsys.readouterr().out


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_one_display_for_search_candidate_fold_and_epoch(digits, capsys, n_jobs):
    X, y = digits
    search = GridSearchCV(quick(max_epochs=2), {"alpha": [0, 1]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X, y)
    shown = capsys.readouterr().out
    assert "GridSearchCV - fit" in shown
    assert shown.count("L2CNNClassifier - fit") >= 4
    assert "100%" in shown


def test_callbacks_are_followed_through_a_search(digits):
    X, y = digits
    listener = Listener()
    search = GridSearchCV(quick(max_epochs=2), {"alpha": [0, 1]}, cv=2)
    search.set_callbacks(listener).fit(X, y)
    ends = [task for task in listener.tasks if task[:2] == ("end", "epoch")]
    assert len(ends) == 2 * (2 * 2 + 1)  # epochs x (candidates x folds + refit)


def test_teardown_runs_after_an_error(digits):
    X, y = digits
    listener = Listener()
    clf = quick(lr=1e30, optimizer="sgd").set_callbacks(listener)
    with pytest.raises(ValueError, match="diverged"):
        clf.fit(X, y)
    assert listener.tasks[-1] == "teardown"
    assert not [name for name in vars(clf) if name.endswith("_")]
    assert "_callback_fit_ctx" not in vars(clf)


def test_callbacks_of_scikit_learn_belong_to_set_callbacks(digits):
    with pytest.raises(TypeError, match="given to set_callbacks"):
        quick([Listener()]).fit(*digits)


def test_no_deprecation_is_provoked(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick().set_callbacks(Listener()).fit(*digits)
