"""The same random_state, the same numbers: anywhere, and without touching anything."""

import pickle
import random
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_validate

from sklearn_l2cnn import L2CNNClassifier
from tests.conftest import SmallNet, quick, tiny

CONFIGURATIONS = {
    "plain": {"max_epochs": 2},
    "norm and dropout": {"architecture": SmallNet, "max_epochs": 3},
    "early stopping": {"architecture": tiny, "max_epochs": 5, "early_stopping": True},
}


@pytest.fixture(params=CONFIGURATIONS)
def clf(request):
    return L2CNNClassifier(random_state=0, **CONFIGURATIONS[request.param])


def test_twice_the_same_and_another_seed_another_model(clf, digits):
    X, y = digits
    one, two = (clone(clf).fit(X, y).predict_proba(X) for _ in range(2))
    other = clone(clf).set_params(random_state=1).fit(X, y).predict_proba(X)
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_generator_that_is_passed_moves_on(digits):
    X, y = digits
    clf = L2CNNClassifier(architecture=tiny, max_epochs=1)
    mine = np.random.RandomState(5)
    one = clone(clf).set_params(random_state=mine)
    one.random_state = mine  # clone copies it
    first, second = (clone(clf) for _ in range(2))
    first.random_state = second.random_state = mine
    first.fit(X, y)
    second.fit(X, y)
    assert first.loss_curve_ != second.loss_curve_
    again = clone(clf).set_params(random_state=np.random.RandomState(5)).fit(X, y)
    assert again.loss_curve_ == first.loss_curve_


def test_without_a_seed_every_fit_differs(digits):
    X, y = digits
    clf = L2CNNClassifier(architecture=tiny, max_epochs=1)
    assert clone(clf).fit(X, y).loss_curve_ != clone(clf).fit(X, y).loss_curve_


@pytest.mark.parametrize("seed", [0, None])
def test_global_generators_are_left_alone(clf, digits, seed, device):
    X, y = digits
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    expected = random.random(), np.random.rand(), torch.rand(3)
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    clf = clone(clf).set_params(random_state=seed, device=device).fit(X, y)
    clf.predict_proba(X)
    if not clf.early_stopping:
        clf.partial_fit(X, y)
    found = random.random(), np.random.rand(), torch.rand(3)
    assert found[:2] == expected[:2] and torch.equal(found[2], expected[2])


def test_global_seeds_do_not_matter(clf, digits):
    X, y = digits
    results = []
    for seed in (0, 1):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        results.append(clone(clf).fit(X, y).predict_proba(X))
    assert np.array_equal(*results)


def test_the_number_of_threads_does_not_matter(digits):
    X, y = digits
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            clf = L2CNNClassifier(max_epochs=2, random_state=0).fit(X, y)
            results.append(clf.predict_proba(X))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(results[0], other) for other in results)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_any_n_jobs(clf, digits, backend):
    X, y = digits
    rows = X.reshape(len(X), -1)
    clf.set_params(threads=1)  # a worker has one, and batch norm adds up by threads
    expected = cross_validate(clf, rows, y, cv=2, return_estimator=True)
    with joblib.parallel_backend(backend):
        found = cross_validate(clf, rows, y, cv=2, n_jobs=2, return_estimator=True)
    assert np.array_equal(expected["test_score"], found["test_score"])
    for one, other in zip(expected["estimator"], found["estimator"], strict=True):
        assert np.array_equal(one.predict_proba(X), other.predict_proba(X))


@pytest.mark.long
def test_a_search_gives_the_same_for_any_n_jobs(digits):
    X, y = digits
    search = GridSearchCV(
        L2CNNClassifier(architecture=tiny, max_epochs=3, random_state=0),
        {"alpha": [1e-4, 1e-1]},
        cv=3,
        scoring="neg_log_loss",
    )
    one, two = (clone(search).set_params(n_jobs=n).fit(X, y) for n in (1, 2))
    for key in ("split0_test_score", "split1_test_score", "mean_test_score"):
        assert np.array_equal(one.cv_results_[key], two.cv_results_[key])


def test_pickle_round_trip(clf, digits):
    X, y = digits
    clf = clone(clf).fit(X, y)
    back = pickle.loads(pickle.dumps(clf))
    assert np.array_equal(back.predict_proba(X), clf.predict_proba(X))
    assert back.loss_curve_ == clf.loss_curve_ and back.device_ == clf.device_
    assert back.module_ is back.net_.module_
    # what goes on from the copy goes on as from the original
    assert np.array_equal(
        back.partial_fit(X, y).predict_proba(X), clf.partial_fit(X, y).predict_proba(X)
    )


def test_a_pickle_holds_no_data_and_no_second_copy_of_the_weights(digits):
    X, y = digits
    clf = L2CNNClassifier(max_epochs=1, random_state=0, early_stopping=True).fit(X, y)
    weights = sum(p.numel() * 4 for p in clf.module_.parameters())
    large = np.tile(X, (1, 1, 1)).repeat(3, axis=0)  # the canonical form merges these
    same = clone(clf).fit(large, y.repeat(3))
    size = len(pickle.dumps(clf))
    assert size < 3 * weights + 60_000  # the network and the two moments of Adam
    assert abs(len(pickle.dumps(same)) - size) < 1000


SCRIPT = """
import numpy as np
from sklearn.datasets import load_digits
from sklearn_l2cnn import L2CNNClassifier
X, y = load_digits(return_X_y=True)
clf = L2CNNClassifier(max_epochs=2, random_state=0).fit(X[:200], y[:200])
print(clf.predict_proba(X).tobytes().hex())
"""


@pytest.mark.long
def test_another_process_gives_the_same():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    clf = L2CNNClassifier(max_epochs=2, random_state=0).fit(X[:200], y[:200])
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == clf.predict_proba(X).tobytes().hex()


# The tolerances that the docstring of `device` names.


@pytest.mark.gpu
def test_a_network_says_the_same_on_cuda(digits, cuda):
    X, y = digits
    network = L2CNNClassifier(max_epochs=3, random_state=0, device="cpu").fit(X, y)
    held = {"architecture": network.module_, "lr": 1e-12, "max_epochs": 1}
    results = [
        L2CNNClassifier(**held, device=device).fit(X, y).predict_proba(X)
        for device in ("cpu", str(cuda))
    ]
    np.testing.assert_allclose(*results, atol=2e-3)


@pytest.mark.gpu
def test_a_fit_on_cuda_is_close_to_one_on_the_cpu(digits, cuda):
    X, y = digits
    results = [
        L2CNNClassifier(max_epochs=2, random_state=0, device=device)
        .fit(X, y)
        .predict_proba(X)
        for device in ("cpu", str(cuda))
    ]
    np.testing.assert_allclose(*results, atol=1e-2)


def test_the_first_fit_of_a_kind_of_network_draws_what_the_next_does(digits):
    class Drawing(torch.nn.Module):
        """It scales its logits by a random number; what it is, is not known yet."""

        def __init__(self, input_shape, n_classes):
            super().__init__()
            self.body = tiny(input_shape, n_classes)

        def forward(self, X):
            drawn = random.random(), np.random.random_sample(), float(torch.rand(()))
            return self.body(X) * sum(drawn)

    clf = L2CNNClassifier(architecture=Drawing, max_epochs=2, random_state=0)
    curves = [clone(clf).fit(*digits).loss_curve_ for _ in range(3)]
    assert curves[0] == curves[1] == curves[2]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_pixels_train_the_same_network_in_any_dtype(digits, optimizer):
    X, y = digits
    X, y = X[:150], y[:150]

    def learnt(images):
        clf = quick(optimizer=optimizer, early_stopping=True).fit(images, y)
        return clf.predict_proba(images)

    expected = learnt(X)
    whole = X.astype(float)
    for other in (
        whole / 255,
        (whole / 255).astype(np.float32),
        whole,
        X.astype(np.int16),
    ):
        assert np.abs(learnt(other) - expected).max() < 1e-3
