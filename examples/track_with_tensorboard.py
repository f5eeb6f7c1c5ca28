"""
Follow the fits of a search in TensorBoard
==========================================

Each fit writes its losses to a folder of its own, `runs/...`.
"""

# %%
# A function makes the callback in every fit, as a search cannot copy an open file.
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import TensorBoard
from torch.utils.tensorboard import SummaryWriter

from sklearn_l2cnn import L2CNNClassifier

RUNS = Path("runs")


def tensorboard():
    """Write each fit to the next folder."""
    return TensorBoard(SummaryWriter(RUNS / f"{len(list(RUNS.glob('*'))):02d}"))


digits = load_digits()
X, y = digits.images[:600], digits.target[:600]
clf = L2CNNClassifier(
    callbacks=[tensorboard], early_stopping=True, max_epochs=10, random_state=0
)
search = GridSearchCV(clf, {"alpha": [1e-4, 1e-2, 1]}, cv=2).fit(X, y)
print(f"best: alpha={search.best_params_['alpha']:g}, {search.best_score_:.3f}")
print(f"{len(list(RUNS.iterdir()))} fits; to see them: tensorboard --logdir {RUNS}")
