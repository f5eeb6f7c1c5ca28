"""scikit-learn's conformance checks: all of them, none excused, and counted."""

import importlib

import numpy as np
import pytest
import sklearn
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.fixes import parse_version

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV, L2CNNSearchCV
from sklearn_l2cnn.architectures._registry import ARCHITECTURES
from tests.conftest import SmallNet

# the checks provoke warnings
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("a_build_for_cuda_is_no_device"),
]

SKLEARN = parse_version(parse_version(sklearn.__version__).base_version)

# The number of checks that a dense classifier with sample weights, class weights,
# probabilities and partial_fit gets from a release, and how many of them pass whatever
# hardware there is: the others are for devices and array libraries that are not here. A
# run of fewer is a hollow one, and a release that is not here has yet to be counted.
N_CHECKS = {"1.6": (70, 66), "1.7": (71, 67), "1.8": (73, 67), "1.9": (83, 69)}

# Why a check of array libraries may skip itself.
ABSENT = ("cupy is not", "dpnp is not", "cuda", "XPU device", "MPS device")

CONFIGURATIONS = {"default": {}}
SLOW = {
    "elastic net and more": {
        "penalty": "elasticnet",
        "activity_alpha": 1e-4,
        "max_norm": 3.0,
        "gradient_clip": 5.0,
        "label_smoothing": 0.05,
        "max_epochs": 20,
        "optimizer": "adamw",
    },
    "sgd": {"optimizer": "sgd", "lr": 0.05, "max_epochs": 20},
    "early stopping": {
        "early_stopping": True,
        "max_epochs": 60,
        "n_iter_no_change": 20,
    },
    "bfloat16": {"precision": "bfloat16"},
    "raw pixels": {"standardize": False},
    "batch of 8": {"batch_size": 8},
    "group": {"penalty": "group"},
    **{name: {"architecture": name} for name in ARCHITECTURES if name != "plain"},
    "conv_dropout": {"architecture": "conv_dropout", "lr": 3e-3},
    "unet": {"architecture": "unet", "lr": 0.01},
    "resnet18": {"architecture": "resnet18", "max_epochs": 8},
    "vgg11": {"architecture": "vgg11", "dropout": 0.0, "max_epochs": 8},
}

# As few networks, and as short trainings, as the checks of what is learnt allow.
SEARCH = {"alphas": [1e-4, 1e-2], "cv": 3, "lr": 0.01, "max_epochs": 3}
SEARCHES = {
    "two alphas": {},
    "grid and warm path": {"alphas": 2, "path": "warm", "one_standard_error": True},
    "early stopping": {"early_stopping": True, "max_epochs": 8},
}
SLOW_SEARCHES = list(SEARCHES)[1:]

# A search over any parameters has neither weights nor classes of its own; pipelines say
# nothing of array libraries.
QUICK = L2CNNClassifier(lr=0.01, max_epochs=3, random_state=0)
GRIDS = {
    "classifier": L2CNNSearchCV(QUICK, {"alpha": [1e-4, 1e-2]}, cv=3),
    "pipeline": L2CNNSearchCV(
        make_pipeline(StandardScaler(), QUICK),
        {"l2cnnclassifier__alpha": [1e-4, 1e-2]},
        cv=3,
        halving=2,
    ),
}
N_CHECKS_OF_GRIDS = {
    "classifier": {"1.6": (61, 57), "1.7": (63, 59), "1.8": (65, 59), "1.9": (74, 60)},
    "pipeline": {"1.6": (53, 53), "1.7": (54, 54), "1.8": (54, 54), "1.9": (54, 54)},
}


def expect_all(n_checks, n_passed, counts=N_CHECKS):
    release = f"{SKLEARN.major}.{SKLEARN.minor}"
    assert release in counts, f"count the checks of scikit-learn {release}"
    expected, least = counts[release]
    assert n_checks == expected
    assert n_passed >= least


@pytest.mark.parametrize(
    "name",
    [*CONFIGURATIONS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)],
)
def test_check_estimator(name):
    assert_conforms(L2CNNClassifier(**{**CONFIGURATIONS, **SLOW}[name]))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW_SEARCHES else [])
        for name in SEARCHES
    ],
)
def test_check_estimator_that_searches(name):
    assert_conforms(L2CNNClassifierCV(**(SEARCH | SEARCHES[name])))


@pytest.mark.parametrize("name", GRIDS)
def test_check_estimator_that_searches_anything(name):
    assert_conforms(GRIDS[name], N_CHECKS_OF_GRIDS[name])


def assert_conforms(estimator, counts=N_CHECKS):
    results = check_estimator(estimator, on_skip=None, on_fail=None)
    not_passed = [
        (result["check_name"], result["status"], str(result["exception"]))
        for result in results
        if result["status"] != "passed" or result["expected_to_fail"]
    ]
    for check_name, status, reason in not_passed:
        assert check_name.startswith("check_array_api"), (check_name, status, reason)
        assert status == "skipped" and any(word in reason for word in ABSENT), reason
    expect_all(len(results), len(results) - len(not_passed), counts)


ESTIMATORS = [
    L2CNNClassifier(class_weight="balanced", max_epochs=20),
    L2CNNClassifier(architecture=SmallNet, lr=0.01, max_epochs=20),
]


@parametrize_with_checks(ESTIMATORS)
def test_each_check(estimator, check):
    check(estimator)


def test_each_check_is_a_check_of_check_estimator():
    n_checks = len(list(parametrize_with_checks(ESTIMATORS[:1]).args[1]))
    expect_all(n_checks, n_checks)


@pytest.mark.parametrize(
    "check",
    [
        "check_param_validation",
        "check_dataframe_column_names_consistency",
        "check_inplace_ensure_writeable",
    ],
)
def test_checks_outside_check_estimator(check):
    run = getattr(estimator_checks, check)
    run("L2CNNClassifier", L2CNNClassifier(max_epochs=2))
    run("L2CNNClassifierCV", L2CNNClassifierCV(**(SEARCH | {"max_epochs": 1})))


@pytest.mark.parametrize("cls", [L2CNNClassifier, L2CNNClassifierCV])
def test_no_tag_relaxes_a_check(cls):
    tags = cls().__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert tags.input_tags.two_d_array and tags.input_tags.three_d_array
    assert not tags.no_validation
    assert not tags.non_deterministic
    assert not tags.input_tags.allow_nan
    assert not tags._skip_test
    assert not tags.classifier_tags.poor_score
    assert tags.classifier_tags.multi_class
    assert tags.target_tags.required and tags.requires_fit
    assert tags.array_api_support


@pytest.mark.parametrize("library", ["pandas", "array_api_strict"])
def test_a_library_is_installed_so_that_no_check_skips_itself(library):
    assert importlib.import_module(library)


@pytest.mark.parametrize("n_features", [1, 2, 3, 4, 5, 10, 20, 30])
def test_every_width_of_row_makes_a_network(n_features):
    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(20, n_features)), np.arange(20) % 2
    clf = L2CNNClassifier(max_epochs=1, random_state=0).fit(X, y)
    assert clf.n_features_in_ == n_features
    assert clf.predict_proba(X).shape == (20, 2)
