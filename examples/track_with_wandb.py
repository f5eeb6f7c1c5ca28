"""
Log a fit to Weights & Biases, offline
======================================

What is logged stays in the folder `wandb`; without ``mode="offline"`` it goes to the
server.
"""

import wandb
from sklearn.datasets import load_digits
from skorch.callbacks import WandbLogger

from sklearn_l2cnn import L2CNNClassifier

digits = load_digits()
X, y = digits.images, digits.target

# %%
# Every epoch is logged by the callback, what the fit ends with by hand.
with wandb.init(project="digits", mode="offline") as run:
    clf = L2CNNClassifier(
        callbacks=[WandbLogger(run)],
        early_stopping=True,
        max_epochs=10,
        random_state=0,
    )
    clf.fit(X[:1000], y[:1000])
    run.config.update({"alpha": clf.alpha, "lr": clf.lr})
    run.summary["accuracy"] = clf.score(X[1000:], y[1000:])
    print(f"accuracy {run.summary['accuracy']:.3f} after {clf.n_epochs_} epochs")
