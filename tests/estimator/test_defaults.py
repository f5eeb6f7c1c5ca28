"""The defaults are good, and the import is light."""

import subprocess
import sys

import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split

from sklearn_l2cnn import L2CNNClassifier

IMPORTS = """
import sys
import torch, skorch
before = {name.split(".")[0] for name in sys.modules}
import sklearn_l2cnn
print(sorted({name.split(".")[0] for name in sys.modules} - before))
"""


@pytest.mark.long
def test_the_import_loads_no_library_that_torch_and_skorch_do_not():
    found = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "['sklearn_l2cnn']"


@pytest.mark.long
def test_defaults_on_digits():
    X, X_test, y, y_test = train_test_split(
        *load_digits(return_X_y=True), test_size=0.3, random_state=0
    )
    assert L2CNNClassifier(random_state=0).fit(X, y).score(X_test, y_test) >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_defaults_on_digits_by_folds(seed):
    X, y = load_digits(return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scores = cross_val_score(L2CNNClassifier(random_state=seed), X, y, cv=folds)
    assert scores.mean() >= 0.985
