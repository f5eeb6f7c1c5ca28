"""The pages in docs: what they show runs."""

import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import sklearn_l2cnn
from sklearn_l2cnn import L2CNNClassifier

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# What an example may need that is no dependency of the tests.
OPTIONAL = {"distributed", "mlflow", "torch.utils.tensorboard", "wandb"}
# What the oldest releases are too old for.
RECENT = {"transformers"}
README = DOCS.parent / "README.md"
# Another section begins a cluster as well, which takes half a minute.
SLOW = {"clusters: A worker that dies"}


def sections():
    """Yield the examples of each page: those of a section build on one another."""
    for page in PAGES:
        head, *parts = re.split(r"(?m)^## ", page.read_text())
        first = re.findall(r"(?s)```python\n(.*?)```", head)
        for part in ["", *parts]:
            own = re.findall(r"(?s)```python\n(.*?)```", part)
            if own or (first and not part):
                name = part.partition("\n")[0] or page.stem
                name = f"{page.stem}: {name}"
                marks = [pytest.mark.slow] if name in SLOW else []
                yield pytest.param([*first, *own], id=name, marks=marks)


def test_every_public_name_is_in_the_reference():
    written = re.findall(r"(?m)^   ([\w.]+)$", (DOCS / "api.rst").read_text())
    expected = set(sklearn_l2cnn.__all__)
    for module in pkgutil.iter_modules(sklearn_l2cnn.__path__):
        if not module.name.startswith("_"):
            names = importlib.import_module(f"sklearn_l2cnn.{module.name}").__all__
            expected |= {f"{module.name}.{name}" for name in names}
    assert len(written) == len(set(written))
    assert set(written) == expected


def test_there_are_pages():
    assert {page.name for page in PAGES} >= {
        "pretrained.md",
        "searching.md",
        "callbacks.md",
        "clusters.md",
        "coming_from.md",
        "scaling.md",
        "several_processes.md",
    }


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # those in other libraries
@pytest.mark.parametrize("examples", sections())
def test_examples_run(examples, tmp_path, monkeypatch):
    imported = set(re.findall(r"(?m)^ *(?:import|from) (\S+)", "".join(examples)))
    for name in imported & (OPTIONAL | RECENT):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    names = {"X": digits.images[:300], "y": digits.target[:300]}
    for example in examples:
        exec(compile(example, "an example of the docs", "exec"), names)


def test_what_the_readme_shows_of_onnx_runs(tmp_path, monkeypatch):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    blocks = re.findall(r"(?s)```python\n(.*?)```", README.read_text())
    [example] = [block for block in blocks if not block.startswith(">>>")]
    digits = load_digits()
    X, y = digits.images[:100], digits.target[:100]
    clf = L2CNNClassifier(max_epochs=1, random_state=0).fit(X, y)
    names = {"X": X, "clf": clf, "torch": torch}
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "an example of the README", "exec"), names)
    assert (tmp_path / "digits.onnx").exists()
    proba = clf.predict_proba(X)
    np.testing.assert_allclose(names["probabilities"], proba, rtol=0, atol=1e-6)
