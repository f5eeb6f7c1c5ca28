"""One dense layer is a convex problem: scikit-learn's solvers find the same answer."""

import math

import numpy as np
import pytest
import sklearn
import torch
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.utils.fixes import parse_version
from torch import nn

from sklearn_l2cnn import L2CNNClassifier

N, WIDTH, CLASSES = 200, 12, 3


@pytest.fixture(scope="module")
def strips():
    """Standardised rows, three classes that depend on the first four numbers."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(N, WIDTH))
    X = (X - X.mean(0)) / X.std(0)
    scores = 2 * X[:, :4] @ rng.normal(size=(4, CLASSES))
    return X, (scores + rng.gumbel(size=scores.shape)).argmax(1)


def softmax(input_shape, n_classes):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(input_shape), n_classes)
    ).double()


class Logistic(nn.Module):
    """Two classes by one number, as linear models have it: the first logit is 0."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.linear = nn.Linear(math.prod(input_shape), 1).double()

    def forward(self, images):
        score = self.linear(images.flatten(1))
        return torch.cat([torch.zeros_like(score), score], dim=1)


def solved(X, y, **parameters):
    """Train until nothing moves, on the rows as they are."""
    defaults = {
        "standardize": False,
        "optimizer": "sgd",
        "lr": 0.4,
        "batch_size": N,
        "max_epochs": 1500,
        "random_state": 0,
    }
    clf = L2CNNClassifier(**(defaults | parameters)).fit(X, y)
    layer = clf.module_[1] if isinstance(clf.module_, nn.Sequential) else None
    layer = clf.module_.linear if layer is None else layer
    return layer.weight.detach().numpy(), layer.bias.detach().numpy(), clf


def lasso_of(C):
    """The multinomial lasso of scikit-learn, which changed its parameter in 1.8."""
    options = {"C": C, "solver": "saga", "tol": 1e-10, "max_iter": 20_000}
    if parse_version(sklearn.__version__) >= parse_version("1.8"):
        return LogisticRegression(l1_ratio=1, **options)
    return LogisticRegression(penalty="l1", **options)


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.003, 0.03, 0.3])
def test_l2_is_logistic_regression_with_c_of_one_by_n_alpha(strips, alpha):
    X, y = strips
    weight, bias, clf = solved(X, y, alpha=alpha, architecture=softmax)
    reference = LogisticRegression(C=1 / (N * alpha), tol=1e-10, max_iter=5000)
    reference.fit(X, y)
    np.testing.assert_allclose(weight, reference.coef_, atol=2e-5)
    np.testing.assert_allclose(
        bias - bias.mean(),
        reference.intercept_ - reference.intercept_.mean(),
        atol=2e-5,
    )
    probabilities = reference.predict_proba(X)
    np.testing.assert_allclose(clf.predict_proba(X), probabilities, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_l1_is_the_lasso_of_logistic_regression(strips, alpha):
    X, y = strips
    weight, _, clf = solved(X, y, alpha=alpha, penalty="l1", architecture=softmax)
    reference = lasso_of(C=1 / (N * alpha)).fit(X, y)
    np.testing.assert_allclose(weight, reference.coef_, atol=1e-4)
    assert np.array_equal(weight == 0, np.abs(reference.coef_) < 1e-6)
    assert 5 < (weight == 0).sum() < 35, "neither nothing nor everything"
    probabilities = reference.predict_proba(X)
    np.testing.assert_allclose(clf.predict_proba(X), probabilities, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize(
    "penalty, alpha, l1_ratio",
    [("l2", 0.01, 0.0), ("l1", 0.01, 1.0), ("elasticnet", 0.02, 0.3)],
)
def test_alpha_is_that_of_sgd_classifier(strips, penalty, alpha, l1_ratio):
    X, y = strips
    y = (y > 0).astype(int)
    weight, bias, _ = solved(
        X, y, alpha=alpha, penalty=penalty, l1_ratio=l1_ratio, architecture=Logistic
    )
    reference = SGDClassifier(
        loss="log_loss",
        penalty=penalty,
        alpha=alpha,
        l1_ratio=l1_ratio,
        learning_rate="invscaling",
        eta0=0.5,
        power_t=0.5,
        average=False,
        max_iter=1000,
        tol=None,
        random_state=0,
    ).fit(X, y)

    def objective(coefficients, intercept):
        scores = X @ coefficients + intercept
        both = np.column_stack([np.zeros(N), scores])
        loss = (logsumexp(both, axis=1) - both[np.arange(N), y]).mean()
        ridge = 0.5 * (coefficients**2).sum()
        lasso = np.abs(coefficients).sum()
        return loss + alpha * (l1_ratio * lasso + (1 - l1_ratio) * ridge)

    ours = objective(weight[0], bias)
    theirs = objective(reference.coef_[0], reference.intercept_)
    assert ours <= theirs  # which goes on making small steps around the minimum
    assert ours == pytest.approx(theirs, rel=2e-3)
    np.testing.assert_allclose(weight, reference.coef_, atol=0.03)


@pytest.mark.long
def test_group_of_a_dense_layer_is_no_worse_than_any_neighbour(strips):
    X, y = strips
    alpha = 0.02
    weight, bias, _ = solved(X, y, alpha=alpha, penalty="group", architecture=softmax)

    def objective(W, b):
        scores = X @ W.T + b
        loss = (logsumexp(scores, axis=1) - scores[np.arange(N), y]).mean()
        return loss + alpha * math.sqrt(WIDTH) * np.linalg.norm(W, axis=1).sum()

    least = objective(weight, bias)
    rng = np.random.RandomState(0)
    for _ in range(300):
        size = 10 ** rng.uniform(-4, 0)
        W = weight + size * rng.normal(size=weight.shape)
        assert least <= objective(W, bias + size * rng.normal(size=CLASSES)) + 1e-9
    for k in range(CLASSES):  # a convex function: no way down along a line to zero
        for factor in np.linspace(-0.5, 1.5, 21):
            W = weight.copy()
            W[k] *= factor
            assert least <= objective(W, bias) + 1e-9
