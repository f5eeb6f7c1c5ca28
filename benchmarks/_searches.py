"""A search over alpha, as it is compared: what is searched, and the ways to do it."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from torch import nn

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn.datasets import load_mnist

FUSED, GRID, SKORCH = "L2CNNClassifierCV", "GridSearchCV", "GridSearchCV of skorch"


class Problem(NamedTuple):
    """Images ``(n, height, width)`` as uint8, and what is searched on them."""

    name: str
    X: np.ndarray
    y: np.ndarray
    epochs: int
    n_alphas: int = 8
    n_folds: int = 5
    batch_size: int = 32
    lr: float = 1e-3
    seed: int = 0
    device: str = "cpu"

    @property
    def alphas(self):
        return np.logspace(-5, -2, self.n_alphas).tolist()

    @property
    def folds(self):
        return StratifiedKFold(self.n_folds, shuffle=True, random_state=0)

    def network(self):
        """Build the network with the weights that everybody starts from."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            height, width = self.X.shape[1:]
            return nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(16 * (height // 4) * (width // 4), 64),
                nn.ReLU(),
                nn.Linear(64, 10),
            )

    def parameters(self):
        """Return the parameters of our estimators."""
        return {
            "architecture": self.network(),
            "lr": self.lr,
            "lr_schedule": None,
            "batch_size": self.batch_size,
            "max_epochs": self.epochs,
            "device": self.device,
            "random_state": self.seed,
        }


def digits(options, **recipe):
    """All digits of scikit-learn, or 300 of them."""
    X, y = load_digits(return_X_y=True)
    X = (X.reshape(-1, 8, 8) * 15).astype(np.uint8)
    small = {"n_alphas": 2, "n_folds": 2, "epochs": 1}
    recipe = ({"epochs": 20} if options.full else small) | recipe
    n = len(X) if options.full else 300
    return Problem("digits", X[:n], y[:n], device=options.device, **recipe)


def mnist(options, **recipe):
    """5,000 images of MNIST, or 300 of them."""
    n = 5000 if options.full else 300
    X, y = load_mnist(options.data, return_X_y=True)
    small = {"n_alphas": 2, "n_folds": 2, "epochs": 1}
    recipe = ({"epochs": 5} if options.full else small) | recipe
    X = np.ascontiguousarray(X[:n].reshape(n, 28, 28))
    return Problem("MNIST", X, y[:n].astype(np.int64), device=options.device, **recipe)


def problems(options, **recipe):
    """Yield the problems there are images for."""
    yield digits(options, **recipe)
    if options.data:
        yield mnist(options, **recipe)


def fused(problem, n_jobs=1, **more):
    """Search with the estimator that does it by itself."""
    return L2CNNClassifierCV(
        problem.alphas,
        cv=problem.folds,
        n_jobs=n_jobs,
        **(problem.parameters() | more),
    ).fit(problem.X, problem.y)


def grid(problem, n_jobs=1, scoring=None, **more):
    """Search with GridSearchCV over our classifier."""
    return GridSearchCV(
        L2CNNClassifier(**(problem.parameters() | more)),
        {"alpha": problem.alphas},
        cv=problem.folds,
        scoring=scoring,
        n_jobs=n_jobs,
    ).fit(problem.X, problem.y)


def skorch(problem, n_jobs=1):
    """Search with GridSearchCV over stock skorch, as its documentation shows.

    The images are float32, standardised beforehand. Adam's weight decay, which is what
    is searched, is one on all parameters, biases too: that is its default. Batches come
    in an order of its own.
    """
    from skorch import NeuralNetClassifier

    pixels = problem.X[:, None].astype(np.float32)
    pixels = (pixels - pixels.mean()) / pixels.std()
    net = NeuralNetClassifier(
        problem.network(),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=problem.lr,
        max_epochs=problem.epochs,
        batch_size=problem.batch_size,
        train_split=None,
        iterator_train__shuffle=True,
        device=problem.device,
        verbose=0,
    )
    return GridSearchCV(
        net,
        {"optimizer__weight_decay": problem.alphas},
        cv=problem.folds,
        n_jobs=n_jobs,
    ).fit(pixels, problem.y)


WAYS = {FUSED: fused, GRID: grid, SKORCH: skorch}
