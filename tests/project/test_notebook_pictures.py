"""The picture of an estimator in a notebook: parameters, and what they mean."""

import html
import importlib
import inspect
import operator
import pickle
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
import sklearn
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.utils.fixes import parse_version

import sklearn_l2cnn
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.preprocessing import PixelScaler
from tests.conftest import quick

# Which release of scikit-learn has parameters in a table, and says what they mean.
TABLE, MEANING = parse_version("1.7"), parse_version("1.9")
VERSION = parse_version(sklearn.__version__)

ROOT = Path(__file__).parents[2]
SITE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"][
    "Documentation"
]


def public_estimators():
    """Every class with parameters that a public module of the package names."""
    found = {L2CNNClassifier}
    for module in pkgutil.walk_packages(sklearn_l2cnn.__path__, "sklearn_l2cnn."):
        parts = module.name.split(".")
        if any(part.startswith("_") or part == "training" for part in parts):
            continue
        loaded = importlib.import_module(module.name)
        found |= {
            value
            for name, value in vars(loaded).items()
            if name in getattr(loaded, "__all__", [name])
            and inspect.isclass(value)
            and issubclass(value, BaseEstimator)
            and value.__module__.startswith("sklearn_l2cnn.")
        }
    found |= {getattr(sklearn_l2cnn, name) for name in sklearn_l2cnn.__all__}
    return sorted(found, key=lambda cls: cls.__name__)


ALL = public_estimators()


def made(cls):
    """An estimator with whatever its required parameters are."""
    needed = [
        parameter
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.default is parameter.empty
    ]
    given = {"estimator": L2CNNClassifier()}  # a search is shown with what is in it
    return cls(*(given.get(parameter.name) for parameter in needed))


def test_there_are_many():
    assert len(ALL) >= 19 and {PixelScaler, L2CNNClassifier} <= set(ALL)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_parameters_are_shown_with_what_they_mean(cls):
    estimator = made(cls)
    page = estimator._repr_html_()
    address = estimator._get_doc_link()
    if hasattr(cls, "fit") or VERSION >= MEANING:
        assert f'href="{address}"' in page
    for name in inspect.signature(cls).parameters:
        if VERSION >= TABLE:
            assert re.search(rf">\s*{name}\s*<", page), name
        if VERSION >= MEANING:
            # from its name to its type, as numpydoc has it
            kind = re.search(rf"^    {name} : (.*)$", cls.__doc__, re.M)[1]
            shown = f"{name}: {html.escape(kind.rstrip(chr(92)).rstrip())}"
            assert shown in page, name


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_the_link_leads_to_a_page_of_the_reference(cls):
    # autosummary names the page of every name that api.rst lists
    listed = re.findall(r"(?m)^   ([\w.]+)$", (ROOT / "docs" / "api.rst").read_text())
    pages = {f"{SITE}generated/sklearn_l2cnn.{name}.html": name for name in listed}
    name = pages[made(cls)._get_doc_link()]
    assert operator.attrgetter(name)(sklearn_l2cnn) is cls


def test_a_fitted_estimator_shows_what_it_learnt(digits):
    X, y = digits
    clf = quick().fit(X, y)
    page = clf._repr_html_()
    assert "itted" in page and clf._repr_mimebundle_()["text/html"]
    if VERSION >= MEANING:
        for name in ("channel_mean_", "channel_scale_", "image_shape_", "module_"):
            assert f"{name}: " in page
    # nothing of it is kept, and a pipeline shows it all the same
    assert (
        pickle.loads(pickle.dumps(clf)).get_params().keys() == clf.get_params().keys()
    )
    page = make_pipeline(PixelScaler(), clf)._repr_html_()
    for step in (clf, PixelScaler()):
        assert step._get_doc_link() in page


def test_classes_of_others_have_no_address():
    class Mine(L2CNNClassifier):
        pass

    assert Mine()._get_doc_link() == ""
    assert "Mine" in Mine()._repr_html_()
