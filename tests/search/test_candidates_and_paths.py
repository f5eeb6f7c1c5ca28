"""L2CNNClassifierCV: the alphas, the path over them, and which of them wins."""

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import ParameterGrid, StratifiedKFold, cross_val_score
from skorch.callbacks import Callback

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from tests.conftest import SmallNet, tiny
from tests.search.searches import refuse_stacks
from tests.test_classifier_cv import NETWORK

# of networks of float64 that are trained together, or one by one
CLOSE = {"rtol": 1e-9, "atol": 0}


def quick(alphas=(1e-3, 10.0, 0.1), **parameters):
    return L2CNNClassifierCV(alphas, **({"cv": 3} | NETWORK | parameters))


# -- the grid -------------------------------------------------------------------------


def largest_by_hand(X, y, weight=None, **parameters):
    """Entropy of the class shares, by the penalty before any step was taken."""
    still = {"lr": 1e-30, "optimizer": "sgd", "max_epochs": 1}
    network = {**NETWORK, **parameters, **still}
    start = L2CNNClassifier(1.0, **network).fit(X, y).penalty_curve_[0]
    weight = np.ones(len(y)) if weight is None else weight
    shares = [weight[y == label].sum() for label in np.unique(y)]
    return entropy(shares) / start


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"penalty": "l1"},
        {"penalty": "elasticnet", "l1_ratio": 0.3, "penalize": "all"},
        {"architecture": SmallNet, "freeze": "head", "optimizer": "adamw"},
        {"random_state": 5},
    ],
)
def test_a_grid_begins_where_the_weights_cost_all_that_can_be_learnt(some, parameters):
    X, y = some
    weight = np.where(y < 3, 2.0, 0.5)
    found = quick(5, **parameters, max_epochs=1).fit(X, y, weight).alphas_
    largest = largest_by_hand(X, y, weight, **parameters)
    assert np.allclose(found, largest * 10.0 ** np.arange(-4, 1), rtol=6e-3)
    assert all(alpha == float(f"{alpha:.3g}") for alpha in found)
    assert (np.diff(found) > 0).all()


def test_a_grid_of_balanced_classes(some):
    X, y = some
    few = np.r_[np.flatnonzero(y == 1)[:4], np.flatnonzero(y == 0)]
    found = quick(2, class_weight="balanced", max_epochs=1).fit(X[few], y[few]).alphas_
    balanced = np.where(y[few] == 1, 1 / 4, 1 / (y == 0).sum())
    assert found[1] == pytest.approx(
        largest_by_hand(X[few], y[few], balanced), rel=6e-3
    )
    assert found[0] == pytest.approx(found[1] * 1e-4, rel=6e-3)


def test_a_grid_depends_on_the_weighted_set_of_images_alone(some):
    X, y = some
    weight = np.random.RandomState(0).randint(0, 4, len(y)) / 3
    many = np.repeat(np.arange(len(y)), np.rint(3 * weight).astype(int))[::-1]
    folds = [(np.arange(100), np.arange(100, 120))]
    grids = [
        quick(7, max_epochs=1, cv=folds, refit=False).fit(*data).alphas_.tolist()
        for data in [(X, y, weight), (X, y, 1e7 * weight), (X[many], y[many])]
    ]
    assert grids[0] == grids[1] == grids[2]


def test_a_grid_lets_the_best_be_inside(digits):
    clf = quick(6, architecture=tiny, max_epochs=10).fit(*digits)
    means = clf.cv_results_["mean_test_score"]
    assert means[-1] < means.max() - 0.05  # the largest is too large
    assert clf.best_score_ > 0.9


NOTHING = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
torch.nn.init.zeros_(NOTHING[1].weight)


@pytest.mark.parametrize(
    "parameters, labels, reason",
    [
        ({"penalty": None}, None, "penalty=None has none"),
        ({}, np.ones(150), "only one class"),
        ({"architecture": NOTHING}, None, "initial network is 0.0"),
    ],
)
def test_a_grid_that_nothing_decides(some, parameters, labels, reason):
    X, y = some
    with pytest.raises(ValueError, match=f"alphas=3.*{reason}.*alphas as an array"):
        quick(3, **parameters).fit(X, y if labels is None else labels)


@pytest.mark.parametrize(
    "alphas, reason",
    [
        ([], "shape \\(0,\\)"),
        ([[1e-3, 1e-2]], "shape \\(1, 2\\)"),
        ([1e-3, -1e-2], "negative numbers: \\[-0.01\\]"),
        ([1e-3, 1e-2, 1e-3], "\\[0.001\\] more than once"),
        ([1e-3, np.nan], "NaN"),
        ([1e-3, np.inf], "infinity"),
        (["much"], "holds no numbers"),
        (1, "alphas"),
        (0.1, "alphas"),
        ([{"0": 1.0}, {"0": 1.0}], "more than once"),
        ([{"0": -1.0}], "-1.0"),
        (
            {"0": [1e-3, 1.0]},
            r"\[\*sklearn.*ParameterGrid\(\{'0': \[0.001, 1.0\]\}\)\]",
        ),
        ([{"conv": 1.0}], "means no layer"),
    ],
)
def test_alphas_that_are_none(some, alphas, reason):
    with pytest.raises(ValueError, match=reason):
        quick(alphas).fit(*some)


def test_alphas_of_layers_from_a_grid(some):
    alphas = [*ParameterGrid({"0": [1e-3, 1.0]})]  # as the message above says
    assert quick(alphas).fit(*some).alphas_.tolist() == [{"0": 1e-3}, {"0": 1.0}]


def test_alphas_of_layers(some):
    X, y = some
    alphas = [{"0": 1e-3, "3": 10.0}, 0.1, {"3": 1e-3}]
    clf = quick(alphas).fit(X, y)
    assert clf.alphas_.tolist() == alphas
    assert clf.alpha_ == alphas[clf.best_index_] == clf.best_estimator_.alpha
    for k, alpha in enumerate(alphas):
        scores = cross_val_score(L2CNNClassifier(alpha, **NETWORK), X, y, cv=3)
        assert clf.cv_results_["mean_test_score"][k] == np.mean(scores)
    for parameters in ({"path": "warm"}, {"one_standard_error": True}):
        with pytest.raises(ValueError, match="alphas as numbers"):
            quick(alphas, **parameters).fit(X, y)


# -- how training went ----------------------------------------------------------------


def test_the_path_of_independent_networks(some):
    X, y = some
    clf = quick().fit(X, y)
    assert clf.layer_names_ == ["0", "3"]
    norms = np.zeros((3, 3, 2))
    for k, (train, test) in enumerate(StratifiedKFold(3).split(X, y)):
        for a, alpha in enumerate(clf.alphas):
            one = L2CNNClassifier(alpha, **NETWORK)
            one.fit(X[train], y[train], X_val=X[test], y_val=y[test])
            history = one.net_.history
            assert np.allclose(clf.losses_path_[a, k], one.data_loss_curve_, **CLOSE)
            assert clf.scores_path_[a, k].tolist() == one.validation_scores_
            losses = [row["valid_loss"] for row in history]
            assert np.allclose(clf.validation_losses_path_[a, k], losses, **CLOSE)
            layers = one.module_[0], one.module_[3]
            norms[a, k] = [layer.weight.detach().norm() for layer in layers]
    assert np.allclose(clf.norms_path_, norms.mean(axis=1))
    assert np.array_equal(clf.alphas_, clf.alphas)


def test_alphas_are_copied(some):
    given = np.array([1e-3, 0.1])
    clf = quick(given, max_epochs=1).fit(*some)
    given[:] = 7
    assert clf.alphas_.tolist() == [1e-3, 0.1]


def test_a_member_that_fails_in_another_process(some):
    with pytest.warns(FitFailedWarning, match=r"alpha=1e\+38 in folds 0, 1"):
        clf = quick([1e38, 1e-3], n_jobs=2, cv=2, **DIVERGES).fit(*some)
    assert clf.alpha_ == 1e-3


def test_the_path_of_trainings_that_end_early(some):
    X, y = some
    clf = quick(early_stopping=True, n_iter_no_change=1, max_epochs=6).fit(X, y)
    train, _ = next(StratifiedKFold(3).split(X, y))
    one = clf.best_estimator_.set_params(alpha=10.0).fit(X[train], y[train])
    done = one.n_epochs_
    assert done < 6
    assert clf.scores_path_[1, 0, :done].tolist() == one.validation_scores_
    for path in (clf.scores_path_, clf.losses_path_, clf.validation_losses_path_):
        assert path.shape == (3, 3, 6)
        assert np.isnan(path[1, 0, done:]).all()
        assert not np.isnan(path[1, 0, :done]).any()


def test_what_would_listen_is_not_shown_the_test_rows(some):
    for parameters in ({"lr_schedule": "plateau"}, {"callbacks": [Callback()]}):
        clf = quick(**parameters).fit(*some)
        assert np.isnan(clf.scores_path_).all()
        assert np.isnan(clf.validation_losses_path_).all()
        assert not np.isnan(clf.losses_path_).any()


def test_warm_path(some):
    X, y = some
    clf = quick(path="warm").fit(X, y)
    strong_to_weak = [1, 2, 0]
    for k, (train, test) in enumerate(StratifiedKFold(3).split(X, y)):
        one = L2CNNClassifier(warm_start=True, **NETWORK)
        for turn, a in enumerate(strong_to_weak):
            one.set_params(alpha=clf.alphas[a])
            one.fit(X[train], y[train], X_val=X[test], y_val=y[test])
            score = one.score(X[test], y[test])
            assert clf.cv_results_[f"split{k}_test_score"][a] == score
            assert clf.scores_path_[a, k].tolist() == one.validation_scores_
            losses = one.data_loss_curve_[3 * turn :]
            assert np.allclose(clf.losses_path_[a, k], losses, **CLOSE)
    one = L2CNNClassifier(warm_start=True, **NETWORK)
    for a in strong_to_weak[: 1 + strong_to_weak.index(clf.best_index_)]:
        one.set_params(alpha=clf.alphas[a]).fit(X, y)
    assert clf.best_index_ != 1
    assert np.array_equal(clf.predict_proba(X), one.predict_proba(X))
    assert not clf.best_estimator_.warm_start
    assert clf.n_epochs_ == 3 == len(clf.loss_curve_)
    assert clf.n_epochs_ == one.n_epochs_ // 3


def test_a_warm_path_goes_further(some):
    X, y = some
    alone, warm = quick().fit(X, y), quick(path="warm").fit(X, y)
    assert (warm.losses_path_[0, :, -1] < alone.losses_path_[0, :, -1]).all()
    # it begins alike, to the rounding of products in stacks of other sizes
    np.testing.assert_allclose(warm.losses_path_[1], alone.losses_path_[1], rtol=1e-6)


# -- what wins ------------------------------------------------------------------------


@pytest.mark.parametrize("n_splits", [3, 4])
def test_one_standard_error(digits, n_splits):
    X, y = digits
    alphas = [1e-4, 0.03, 0.3, 1e-2, 3.0, 1e-3]
    clf = quick(alphas, cv=n_splits, one_standard_error=True, random_state=1).fit(X, y)
    results = clf.cv_results_
    scores = np.array(
        [
            [results[f"split{k}_test_score"][a] for k in range(n_splits)]
            for a in range(6)
        ]
    )
    highest = scores.mean(axis=1).argmax()
    std = np.sqrt(
        ((scores[highest] - scores[highest].mean()) ** 2).sum() / (n_splits - 1)
    )
    means = scores.mean(axis=1)
    least = means.max() - std / np.sqrt(n_splits)
    near = [alpha for alpha, mean in zip(alphas, means, strict=True) if mean >= least]
    assert clf.alpha_ == max(near) == clf.best_params_["alpha"]
    assert alphas[highest] < clf.alpha_ < 3.0
    assert alphas[clf.best_index_] == clf.alpha_ == clf.best_estimator_.alpha
    assert clf.best_score_ == results["mean_test_score"][clf.best_index_]
    plain = quick(alphas, cv=n_splits, random_state=1).fit(X, y)
    assert plain.best_index_ == highest


def test_one_standard_error_needs_a_deviation(some):
    one_fold = [(np.arange(100), np.arange(100, 150))]
    with pytest.raises(ValueError, match="1 folds, 2 or more.*no standard deviation"):
        quick(cv=one_fold, one_standard_error=True).fit(*some)
    assert quick(cv=one_fold).fit(*some).n_splits_ == 1


def test_one_standard_error_and_a_callable_refit_contradict_each_other(some):
    with pytest.raises(ValueError, match="both say which alpha"):
        quick(refit=lambda results: 0, one_standard_error=True).fit(*some)


DIVERGES = {"optimizer": "sgd", "lr": 0.05}  # with L2, where lr * alpha > 2


def test_a_training_that_diverges_leaves_the_others_alone(some):
    X, y = some
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = quick([1e38, 1e-3, 0.1], **DIVERGES).fit(X, y)
    [warning] = caught
    assert warning.category is FitFailedWarning
    said = str(warning.message)
    assert "3 of 9 trainings" in said and "alpha=1e+38 in folds 0, 1, 2: " in said
    assert "Training diverged in epoch 1" in said and "alpha=0.1" not in said
    scores = clf.cv_results_["mean_test_score"]
    assert np.isnan(scores[0]) and not np.isnan(scores[1:]).any()
    assert clf.cv_results_["rank_test_score"][0] == 3
    assert np.isnan(clf.losses_path_[0]).all() and np.isnan(clf.norms_path_[0]).all()
    well = quick([1e-3, 0.1], **DIVERGES).fit(X, y)
    assert np.array_equal(scores[1:], well.cv_results_["mean_test_score"])
    assert np.array_equal(clf.predict_proba(X), well.predict_proba(X))


def test_an_alpha_that_fails_in_one_fold_is_not_the_best(some):
    X, y = some
    X = X.astype(float)
    X[3] = 1e200  # is in two of three training folds
    folds = list(StratifiedKFold(3).split(X, y))
    [held] = [k for k, (_, test) in enumerate(folds) if 3 in test]
    network = {"standardize": False, "optimizer": "sgd", "lr": 1e-6}
    failed = pytest.warns(FitFailedWarning, match="4 of 6 trainings")
    nobody = pytest.raises(ValueError, match="No alpha has a score in every fold")
    with failed as caught, nobody:
        quick([1e-3, 0.1], **network).fit(X, y)
    said = str(caught[0].message)
    folds = ", ".join(str(k) for k in range(3) if k != held)
    assert f"alpha=0.1 in folds {folds}: " in said


def test_a_warm_path_goes_on_from_the_last_that_did_not_diverge(some):
    X, y = some
    with pytest.warns(FitFailedWarning, match=r"3 of 9(.|\n)*alpha=1e\+38"):
        clf = quick([0.1, 1e38, 1e-3], path="warm", **DIVERGES).fit(X, y)
    well = quick([0.1, 1e-3], path="warm", **DIVERGES).fit(X, y)
    scores = clf.cv_results_["mean_test_score"][[0, 2]]
    assert np.array_equal(scores, well.cv_results_["mean_test_score"])
    assert np.array_equal(clf.predict_proba(X), well.predict_proba(X))


def test_all_failures_are_an_error_with_the_reasons(some):
    with pytest.raises(ValueError) as error:
        quick([0.1, 1.0], optimizer="sgd", lr=1e200).fit(*some)
    assert "All 6 trainings of the search failed" in str(error.value)
    assert "alpha=0.1 in folds 0, 1, 2" in str(error.value)
    assert "Diverged: Training diverged in epoch 1" in str(error.value)


@pytest.mark.parametrize("several", [False, True])
def test_a_scorer_that_fails_is_nan_with_a_warning(some, several):
    def scorer(clf, X, y):
        if clf.alpha == 10.0:
            raise RuntimeError("no score for ten")
        return clf.score(X, y)

    scoring = {"one": scorer, "accuracy": "accuracy"} if several else scorer
    refit = "one" if several else True
    with pytest.warns(UserWarning, match="alpha=10.0(.|\n)*no score for ten"):
        clf = quick(scoring=scoring, refit=refit).fit(*some)
    name = "one" if several else "score"
    means = clf.cv_results_[f"mean_test_{name}"]
    assert np.isnan(means[1]) and not np.isnan(means[[0, 2]]).any()
    assert clf.alpha_ != 10.0


def test_a_score_is_a_number(some):
    with pytest.raises(ValueError, match="must return a number, got 'good'"):
        quick(scoring=lambda clf, X, y: "good").fit(*some)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_an_error_of_the_network_is_raised_as_it_is(some, one_by_one, monkeypatch):
    if one_by_one:
        refuse_stacks(monkeypatch)
    with pytest.raises(ValueError, match="^freeze: 'conv' means no layer"):
        quick(freeze="conv").fit(*some)
    with pytest.raises(TypeError, match="penalty"):
        quick(penalty=type("Odd", (), {"value": len})()).fit(*some)


# -- seeds ----------------------------------------------------------------------------


def test_without_a_seed_all_networks_have_the_same(some):
    X, y = some
    state = np.random.get_state()[1].copy()
    clf = quick(random_state=None).fit(X, y)
    assert np.array_equal(np.random.get_state()[1], state)
    seed = clf.best_estimator_.random_state
    assert clf.random_state is None
    same = quick(random_state=seed).fit(X, y)
    assert np.array_equal(clf.scores_path_, same.scores_path_)
    assert np.array_equal(clf.predict_proba(X), same.predict_proba(X))
    again = quick(random_state=None).fit(X, y)
    assert not np.array_equal(clf.scores_path_, again.scores_path_)


def test_a_random_state_is_not_moved(some):
    X, y = some
    generator = np.random.RandomState(4)
    one = quick(2, random_state=generator).fit(X, y)
    assert generator.randint(2**30) == np.random.RandomState(4).randint(2**30)
    two = quick(2, random_state=np.random.RandomState(4)).fit(X, y)
    assert np.array_equal(one.alphas_, two.alphas_)
    assert np.array_equal(one.scores_path_, two.scores_path_)
