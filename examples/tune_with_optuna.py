"""
Tune alpha and the learning rate with Optuna, which ends bad trials early
=========================================================================

The callback reports a score after every epoch, and ends a trial that is behind.
"""

import optuna
from optuna_integration import SkorchPruningCallback
from sklearn.datasets import load_digits

from sklearn_l2cnn import L2CNNClassifier

digits = load_digits()
X, y = digits.images, digits.target


def objective(trial):
    """Return the best accuracy on rows that the fit holds out."""
    clf = L2CNNClassifier(
        alpha=trial.suggest_float("alpha", 1e-6, 1e-1, log=True),
        lr=trial.suggest_float("lr", 1e-5, 1e-2, log=True),
        early_stopping=True,
        callbacks=[SkorchPruningCallback(trial, "valid_acc")],
        max_epochs=8,
        random_state=0,
    )
    return clf.fit(X[:1000], y[:1000]).best_validation_score_


study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
)
study.optimize(objective, n_trials=12)
ended = [trial.state.name for trial in study.trials].count("PRUNED")
print(f"{len(study.trials)} trials, {ended} of them ended early")
best = L2CNNClassifier(**study.best_params, random_state=0).fit(X[:1000], y[:1000])
print(f"{study.best_params}: accuracy {best.score(X[1000:], y[1000:]):.3f}")
