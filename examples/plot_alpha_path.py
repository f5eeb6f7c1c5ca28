"""
The whole path of alpha in one fit
==================================

:class:`~sklearn_l2cnn.L2CNNClassifierCV` finds ``alpha`` by cross-validation: it trains
a network for every alpha on every fold, and one with the best alpha on all images. It
records the scores, norms and losses of all networks, and
:class:`~sklearn_l2cnn.inspection.AlphaPathDisplay` draws them. The images are 600 of
the 8 x 8 digits of scikit-learn, because a penalty matters most if data are few.
"""

# %%
# The search: no penalty and seven alphas, five folds, and a small custom network.
# ``one_standard_error`` chooses the largest alpha within one standard error of the best
# score.
from collections import OrderedDict

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from torch import nn

from sklearn_l2cnn import L2CNNClassifierCV
from sklearn_l2cnn.inspection import AlphaPathDisplay

ROWS, EPOCHS = 600, 15

digits = load_digits()
X, y = digits.images[:ROWS], digits.target[:ROWS]


def network(input_shape, n_classes):
    """Build two convolutions, each pooled, and two dense layers."""
    channels, height, width = input_shape
    layers = {
        "conv1": nn.Conv2d(channels, 8, 3, padding=1),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(8, 16, 3, padding=1),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "dense1": nn.Linear(16 * (height // 4) * (width // 4), 64),
        "relu3": nn.ReLU(),
        "logits": nn.Linear(64, n_classes),
    }
    return nn.Sequential(OrderedDict(layers))


clf = L2CNNClassifierCV(
    [0, *np.logspace(-4.5, -1.5, 7)],
    cv=StratifiedKFold(5, shuffle=True, random_state=0),
    one_standard_error=True,
    architecture=network,
    lr=3e-3,
    max_epochs=EPOCHS,
    random_state=0,
)
clf.fit(X, y)

# %%
# The table: the effect of the penalty on the losses, the weights and the accuracy. All
# values are means over the folds, the losses those of the last epoch.
columns = [
    clf.alphas_,
    np.sqrt((clf.norms_path_**2).sum(axis=1)),
    clf.losses_path_[:, :, -1].mean(axis=1),
    clf.validation_losses_path_[:, :, -1].mean(axis=1),
    clf.cv_results_["mean_test_score"],
    clf.cv_results_["std_test_score"],
]
print("  alpha  norm of weights  loss: training  held out   accuracy, held out")
for row in zip(*columns, strict=True):
    print("{:7.2g}  {:15.2f}  {:14.3f}  {:8.3f}   {:.3f} +- {:.3f}".format(*row))
print(f"chosen: alpha={clf.alpha_:.2g}, accuracy {clf.best_score_:.3f}")

# %%
# The picture: the same against alpha, with the norm of each layer.
display = AlphaPathDisplay.from_estimator(clf)
display.figure_.savefig("alpha_path.png", dpi=150)
print("picture: alpha_path.png")
