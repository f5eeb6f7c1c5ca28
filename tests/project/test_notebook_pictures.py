"""The picture of an estimator in a notebook: parameters, and what they mean."""

import html
import importlib
import inspect
import pickle
import pkgutil
import re
from pathlib import Path
from urllib.parse import unquote, urlparse

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
    # the address is of a file that is there, and that has the docstring in it
    url = urlparse(address)
    text = Path(unquote(url.path)).read_text()
    assert url.scheme == "file" and f"class {cls.__name__}(" in text
    assert inspect.getdoc(cls).splitlines()[0] in text
    for name in inspect.signature(cls).parameters:
        if VERSION >= TABLE:
            assert re.search(rf">\s*{name}\s*<", page), name
        if VERSION >= MEANING:
            # from its name to its type, as numpydoc has it
            kind = re.search(rf"^    {name} : (.*)$", cls.__doc__, re.M)[1]
            shown = f"{name}: {html.escape(kind.rstrip(chr(92)).rstrip())}"
            assert shown in page, name


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


def test_without_a_file_there_is_no_address(monkeypatch):
    monkeypatch.setattr(inspect, "getsourcefile", lambda cls: None)
    assert L2CNNClassifier()._get_doc_link() == ""
    assert "L2CNNClassifier" in L2CNNClassifier()._repr_html_()
    monkeypatch.setattr(inspect, "getsourcefile", lambda cls: "/in/an/archive.zip/x.py")
    assert L2CNNClassifier()._get_doc_link() == ""
