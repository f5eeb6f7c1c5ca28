"""How many epochs a fit takes, and how it is told when to end."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn._training.batches import auto_epochs
from tests.conftest import quick, tiny


@pytest.mark.parametrize(
    "n, batch_size, epochs",
    [(1, 32, 250), (32, 32, 250), (100, 32, 63), (400, 32, 20), (60_000, 128, 20)],
)
def test_auto_is_twenty_epochs_or_250_steps(n, batch_size, epochs):
    assert auto_epochs(n, batch_size) == epochs


@pytest.mark.parametrize("options, epochs", [({}, 63), ({"batch_size": 100}, 250)])
def test_a_fit_takes_as_many(digits, options, epochs):
    X, y = digits
    fixed = quick(max_epochs=epochs, **options).fit(X[:100], y[:100])
    clf = quick(max_epochs="auto", **options).fit(X[:100], y[:100])
    assert clf.n_epochs_ == len(clf.loss_curve_) == epochs
    # the same learning rates, too: they fall over these epochs
    assert np.array_equal(clf.predict_proba(X), fixed.predict_proba(X))
    clf.set_params(warm_start=True).fit(X[:200], y[:200])
    assert clf.n_epochs_ == epochs + auto_epochs(200, clf.net_.batch_size)
    assert clf.partial_fit(X, y).n_epochs_ == 1 + epochs + auto_epochs(
        200, options.get("batch_size", 32)
    )


def test_auto_is_the_default_of_both():
    assert L2CNNClassifier().max_epochs == L2CNNClassifierCV().max_epochs == "auto"


@pytest.mark.parametrize("n_jobs, batch_size", [(None, 25), (None, 50)])
def test_folds_of_several_sizes_take_their_own(digits, n_jobs, batch_size):
    X, y = digits
    rows = np.arange(120)
    cv = [(rows[:50], rows[100:]), (rows[:100], rows[100:])]
    options = {"architecture": tiny, "batch_size": batch_size, "random_state": 0}
    search = L2CNNClassifierCV(alphas=[0, 1e-3], cv=cv, **options)
    search.fit(X[:120], y[:120])
    expected = [auto_epochs(n, batch_size) for n in (50, 100)]
    found = np.isfinite(search.losses_path_).sum(axis=2)
    assert search.losses_path_.shape == (2, 2, max(expected))
    assert found.tolist() == [expected, expected]
    for k, (train, test) in enumerate(cv):
        alone = L2CNNClassifier(1e-3, **options).fit(X[train], y[train])
        score = search.cv_results_[f"split{k}_test_score"][1]
        assert alone.score(X[test], y[test]) == pytest.approx(score, abs=0.11)


def test_the_validation_loss_is_there_by_epoch(digits):
    X, y = digits
    clf = quick().fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    losses = [row["valid_loss"] for row in clf.net_.history]
    assert clf.validation_loss_curve_ == losses and len(losses) == 3
    expected = log_loss(y[200:], clf.predict_proba(X[200:]))
    assert losses[-1] == pytest.approx(expected, rel=1e-5)
    assert quick().fit(X, y).validation_loss_curve_ is None


def test_no_patience_at_all_and_endless_patience(digits):
    X, y = digits
    options = {"early_stopping": True, "max_epochs": 12, "lr": 1e-9}
    assert quick(n_iter_no_change=2, **options).fit(X, y).n_epochs_ == 3
    assert quick(n_iter_no_change=np.inf, **options).fit(X, y).n_epochs_ == 12
