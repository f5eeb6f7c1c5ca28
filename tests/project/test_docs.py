"""The pages in docs: what they show runs."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits

import sklearn_l2cnn
from sklearn_l2cnn import L2CNNClassifier

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# What an example may need that is no dependency of the tests.
OPTIONAL = {
    *("distributed", "mlflow", "onnxruntime", "torch.utils.tensorboard", "wandb"),
}
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


def public_names():
    """Yield the full name and the object of all that the package has to offer."""
    modules = ["sklearn_l2cnn"]
    for module in pkgutil.iter_modules(sklearn_l2cnn.__path__):
        if not module.name.startswith("_"):
            modules.append(f"sklearn_l2cnn.{module.name}")
    for module in map(importlib.import_module, modules):
        for name in module.__all__:
            yield f"{module.__name__}.{name}", getattr(module, name)


def test_every_public_name_is_in_the_reference():
    written = re.findall(r"(?m)^   ([\w.]+)$", (DOCS / "api.rst").read_text())
    expected = {name.removeprefix("sklearn_l2cnn.") for name, _ in public_names()}
    assert len(written) == len(set(written))
    assert set(written) == expected


def test_every_public_class_and_function_has_an_example():
    without = []
    for name, found in public_names():
        _, title, examples = (inspect.getdoc(found) or "").partition(
            "\nExamples\n--------\n"
        )
        if callable(found) and not (title and ">>> " in examples):
            without.append(name)
    assert without == []


QUOTED = {
    "NaN": lambda X: np.where(np.arange(len(X))[:, None, None] == 3, np.nan, X),
    "channels": lambda X: np.stack([X, X, X], axis=1),
    "sizes": lambda X: [X[0], np.zeros((9, 8)), *X[2:]],
    "paths": lambda X: np.array(["a.png"] * len(X)),
    "one": lambda X: X[0],
    "size": lambda X: np.zeros((2, 28, 28)),
    "complex": lambda X: X.astype(complex),
    "dimensions": lambda X: X[..., None, None],
    "sparse": lambda X: sparse.csr_matrix(X.reshape(len(X), -1)),
}


def test_messages_on_the_page_of_images_are_those_of_fit():
    digits = load_digits()
    X, y = digits.images[:300], digits.target[:300]
    page = (DOCS / "images.md").read_text().partition("## What is refused")[2]
    quoted = re.findall(r"(?m)^\| .* \| `(.*)` \|$", page)
    assert len(quoted) == len(QUOTED)
    clf = L2CNNClassifier(max_epochs=1, random_state=0).fit(X, y)
    for words, make in zip(quoted, QUOTED.values(), strict=True):
        method = clf.predict if "One image" in words or "Resize" in words else None
        with pytest.raises((TypeError, ValueError)) as caught:
            method(make(X)) if method else clone(clf).fit(make(X), y)
        assert words in str(caught.value)


def test_there_are_pages():
    assert {page.name for page in PAGES} >= {
        "start.md",
        "images.md",
        "alpha.md",
        "choosing.md",
        "searching.md",
        "augmenting.md",
        "pretrained.md",
        "networks.md",
        "pictures.md",
        "features.md",
        "callbacks.md",
        "clusters.md",
        "coming_from.md",
        "exact.md",
        "honest.md",
        "inside.md",
        "large.md",
        "saving.md",
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


def test_what_the_page_on_saving_shows_of_onnx_runs(tmp_path, monkeypatch):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    section = (DOCS / "saving.md").read_text().partition("\n## ONNX\n")[2]
    example = re.search(r"(?s)```python\n(.*?)```", section)[1]
    digits = load_digits()
    X, y = digits.images[:100], digits.target[:100]
    clf = L2CNNClassifier(max_epochs=1, random_state=0).fit(X, y)
    names = {"X": X, "clf": clf}
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "an example of the docs", "exec"), names)
    assert (tmp_path / "digits.onnx").exists()
    proba = clf.predict_proba(X)
    np.testing.assert_allclose(names["probabilities"], proba, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(names["labels"], clf.predict(X))


def test_the_readme_leads_to_pages_that_there_are():
    links = re.findall(r"\]\(([\w./]+)\)", README.read_text())
    assert len(links) > 20
    assert not [link for link in links if not (DOCS.parent / link).exists()]
