"""What a training prints with verbose=1."""

import re

import pytest
from skorch.callbacks import EpochScoring, PrintLog

from sklearn_l2cnn._training import progress
from tests.conftest import quick

NUMBER = r"[\d.e+-]+"


@pytest.fixture
def clock(monkeypatch):
    """Let every look at the clock take a minute."""
    times = iter(range(0, 10**6, 60))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(times))


def test_a_fit_tells_what_it_trains_and_then_every_epoch(digits, capsys):
    X, y = digits
    quick(verbose=1).fit(X, y)
    first, *lines = capsys.readouterr().out.splitlines()
    n_parameters = 4 * 10 + 10 * (4 * 64 + 1)
    assert first.startswith("device ")
    assert first.endswith(
        f", {n_parameters:,} parameters, batch size 32, 10 steps an epoch"
    )
    for k, line in enumerate(lines, start=1):
        left = r"took \d+ s" if k == 3 else r"about \d+ s left"
        losses = f"train_data_loss {NUMBER}, train_loss {NUMBER}"
        assert re.fullmatch(f"epoch {k}/3: {losses}, {left}", line)
    assert len(lines) == 3


def test_nothing_printed_is_in_colour(digits, capsys):
    quick(verbose=1).fit(*digits)
    assert "\x1b" not in capsys.readouterr().out


def test_scores_of_validation_and_of_callbacks_are_told(digits, capsys):
    X, y = digits
    scoring = EpochScoring("f1_macro", name="f1", on_train=True, use_caching=False)
    clf = quick(verbose=1, callbacks=[scoring])
    clf.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    last = clf.net_.history[-1]
    line = capsys.readouterr().out.splitlines()[-1]
    for name in ("valid_loss", "valid_acc", "f1"):
        assert f" {name} {last[name]:.4g}," in line
    assert "best" not in line and "event" not in line


def test_the_time_that_is_left(digits, capsys, clock):
    quick(verbose=1, max_epochs=4).fit(*digits)
    lines = capsys.readouterr().out.splitlines()[1:]
    left = [line.rpartition(", ")[2] for line in lines]
    assert left == ["about 3 min left", "about 2 min left", "about 60 s left"] + [
        "took 4 min"
    ]


def test_later_calls_go_on_counting_and_tell_once_what_is_trained(digits, capsys):
    X, y = digits
    clf = quick(verbose=1, max_epochs=1).fit(X, y)
    clf.partial_fit(X, y)
    clf.set_params(warm_start=True, max_epochs=2).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert ["device" in line for line in lines] == [True] + 4 * [False]
    starts = [line.partition(":")[0] for line in lines[1:]]
    assert starts == ["epoch 1/1", "epoch 2/2", "epoch 3/4", "epoch 4/4"]


def test_a_log_of_the_users_own_is_his(digits, capsys):
    log = PrintLog()
    log.set_params(sink=print)
    quick(verbose=1, callbacks=[log]).fit(*digits)
    assert "-------" in capsys.readouterr().out
