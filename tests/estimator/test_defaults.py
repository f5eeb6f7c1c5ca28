"""The defaults are good, and the import is light."""

import subprocess
import sys

import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score

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
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def test_defaults_on_digits(seed):
    X, y = load_digits(return_X_y=True)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scores = cross_val_score(L2CNNClassifier(random_state=seed), X, y, cv=folds)
    assert scores.mean() >= 0.985
