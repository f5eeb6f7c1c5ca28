"""The pages in docs: what they show runs."""

import re
from pathlib import Path

import pytest
from sklearn.datasets import load_digits

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# What an example may need that is no dependency of the tests.
OPTIONAL = {"torch.utils.tensorboard", "mlflow", "wandb", "optuna"}


def sections():
    """Yield the examples of each page: those of a section build on one another."""
    for page in PAGES:
        head, *parts = re.split(r"(?m)^## ", page.read_text())
        first = re.findall(r"(?s)```python\n(.*?)```", head)
        for part in ["", *parts]:
            own = re.findall(r"(?s)```python\n(.*?)```", part)
            if own or (first and not part):
                name = part.partition("\n")[0] or page.stem
                yield pytest.param([*first, *own], id=f"{page.stem}: {name}")


def test_there_are_pages():
    assert {page.name for page in PAGES} >= {"callbacks.md", "coming_from.md"}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # those in other libraries
@pytest.mark.parametrize("examples", sections())
def test_examples_run(examples, tmp_path, monkeypatch):
    imported = set(re.findall(r"(?m)^(?:import|from) (\S+)", "".join(examples)))
    for name in imported & OPTIONAL:
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    names = {"X": digits.images[:300], "y": digits.target[:300]}
    for example in examples:
        exec(compile(example, "an example of the docs", "exec"), names)
