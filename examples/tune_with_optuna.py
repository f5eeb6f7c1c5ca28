"""
Tune with Optuna, which ends bad trials early
=============================================

:class:`~sklearn_l2cnn.L2CNNSearchCV` searches by itself, with grids, random candidates
and halving. Optuna draws the next candidate from what the earlier ones came to. A
callback of skorch tells it the score after every epoch, so that it can end a trial that
is behind.

``pip install optuna`` is needed.
"""

# %%
# The callback. ``optuna_integration.SkorchPruningCallback`` is one, too.
import optuna
from sklearn.datasets import load_digits
from skorch.callbacks import Callback

from sklearn_l2cnn import L2CNNClassifier

ROWS, EPOCHS, TRIALS = 500, 8, 12

digits = load_digits()
X, y = digits.images, digits.target


class Report(Callback):
    """Report the validation accuracy, and end the trial where it is behind."""

    def __init__(self, trial):
        self.trial = trial

    def on_epoch_end(self, net, **kwargs):
        """Report an epoch; the exception comes through `fit`."""
        self.trial.report(net.history[-1, "valid_acc"], net.history[-1, "epoch"])
        if self.trial.should_prune():
            raise optuna.TrialPruned


# %%
# The study. A trial is scored on images that the fit holds out.
def objective(trial):
    """Return the best validation accuracy of a fit."""
    clf = L2CNNClassifier(
        alpha=trial.suggest_float("alpha", 1e-5, 1.0, log=True),
        lr=trial.suggest_float("lr", 1e-5, 1e-2, log=True),
        early_stopping=True,
        validation_fraction=0.3,
        callbacks=[Report(trial)],
        max_epochs=EPOCHS,
        random_state=0,
    )
    return clf.fit(X[:ROWS], y[:ROWS]).best_validation_score_


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=3),
)
study.optimize(objective, n_trials=TRIALS)
print("trial  alpha     lr        epochs   accuracy, held out")
for trial in study.trials:
    parameters = "  ".join(f"{value:.2e}" for value in trial.params.values())
    scores = trial.intermediate_values.values()
    print(f"{trial.number:5d}  {parameters}  {len(scores):6d}   {max(scores):.3f}")

# %%
# The best parameters, on all of these images.
best = L2CNNClassifier(**study.best_params, random_state=0).fit(X[:ROWS], y[:ROWS])
print(", ".join(f"{name}={value:.2g}" for name, value in study.best_params.items()))
print(f"accuracy on {len(X) - ROWS} others: {best.score(X[ROWS:], y[ROWS:]):.3f}")
