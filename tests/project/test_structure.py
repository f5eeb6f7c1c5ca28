"""The house: who imports whom, how long files are, what docstrings promise."""

import ast
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import sklearn_l2cnn
from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV

PACKAGE = Path(sklearn_l2cnn.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Arrows point down: a room may import rooms of a lower floor, and those of its own
# folder.
FLOORS = {
    "_utils": 1,
    "_data": 2,
    "architectures": 3,
    "augmentation": 3,
    "datasets": 3,
    "inspection": 3,
    "penalties": 3,
    "preprocessing": 3,
    "_training": 4,
    "_estimator": 5,
    "_classifier": 6,
    "_search": 7,
    "_classifier_cv": 8,
    "feature_extraction": 7,
    "feature_selection": 7,
    "__init__": 9,
}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path):
    """Every module of the package that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "sklearn_l2cnn":
                yield name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = room(path)
    assert here in FLOORS, f"{here} has no floor yet: add it to the house"
    for module in imported_modules(path):
        other = [*module.split("."), "__init__"][1]
        if other == here:
            continue
        assert FLOORS[other] < FLOORS[here], f"{path} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 450


def test_modules_within_a_folder_do_not_go_round_in_circles():
    arrows = {}
    for path in FILES:
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        name = name.removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        arrows[name] = {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and node.module.startswith("sklearn_l2cnn")
        }

    def reaches(start, goal, seen):
        if start in seen:
            return False
        seen.add(start)
        ahead = arrows.get(start, ())
        return goal in ahead or any(reaches(name, goal, seen) for name in ahead)

    assert not [name for name in arrows if reaches(name, name, set())]


@pytest.mark.parametrize("heavy", ["matplotlib", "pandas", "PIL", "torchvision"])
def test_heavy_libraries_are_imported_inside_functions(heavy):
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            assert not any(name.split(".")[0] == heavy for name in names), path


def public_classes_of_the_package():
    for module in pkgutil.walk_packages([str(PACKAGE)], "sklearn_l2cnn."):
        names = module.name.split(".")
        if any(part.startswith("_") for part in names):
            continue  # nobody but the estimators uses what is in there
        loaded = __import__(module.name, fromlist=["x"])
        for name, value in vars(loaded).items():
            if inspect.isclass(value) and name in getattr(loaded, "__all__", [name]):
                yield pytest.param(value, id=name)
    for cls in (L2CNNClassifier, L2CNNClassifierCV):
        yield pytest.param(cls, id=cls.__name__)


@pytest.mark.parametrize("cls", list(public_classes_of_the_package()))
def test_docstrings_document_every_parameter_and_its_default(cls):
    doc = inspect.cleandoc(cls.__doc__)
    section = re.search(
        r"Parameters\n-+\n(.*?)\n\n\w+\n-+\n", doc + "\n\nEnd\n---\n", re.S
    )
    lines = section[1] if section else ""
    documented = dict(re.findall(r"^(\w+) : (.*)$", lines, re.M))
    parameters = dict(inspect.signature(cls).parameters)
    assert list(documented) == list(parameters)
    for name, parameter in parameters.items():
        default = re.search(r"default=(.+)$", documented[name])
        if parameter.default is inspect.Parameter.empty:
            assert default is None, name
        else:
            assert default is not None, f"{name} has no documented default"
            assert eval(default[1]) == parameter.default, name
    assert ">>> " in doc, "no example"


ESTIMATORS = {
    L2CNNClassifier: {"max_epochs": 1},
    L2CNNClassifierCV: {"alphas": [0, 1], "cv": 2, "max_epochs": 1},
}


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_documented_attributes_are_those_of_a_fitted_estimator(cls, digits):
    X, y = digits
    clf = cls(**ESTIMATORS[cls], random_state=0).fit(X[:40], y[:40])
    doc = inspect.cleandoc(cls.__doc__)
    section = re.search(r"\nAttributes\n-+\n(.*?)\n\n\w[\w ]+\n-+\n", doc, re.S)[1]
    names = [
        name.strip()
        for line in re.findall(r"^(\w[\w, ]*_) : ", section, re.M)
        for name in line.split(",")
    ]
    public = {name for name in vars(clf) if re.fullmatch(r"[a-z].*_", name)}
    worked_out = {"module_", "device_", "precision_", "feature_names_in_"}
    assert public | worked_out == set(names)
    assert all(hasattr(clf, name) for name in names if name != "feature_names_in_")


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_constraints_cover_every_parameter(cls):
    assert set(cls._parameter_constraints) == set(inspect.signature(cls).parameters)


def described(cls):
    """What the docstring says of every parameter: its line and its text."""
    doc = inspect.cleandoc(cls.__doc__)
    section = re.search(r"\nParameters\n-+\n(.*?)\n\nAttributes\n-+\n", doc, re.S)[1]
    parts = re.split(r"^(\w+) : ", section, flags=re.M)[1:]
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))


def test_the_search_has_the_parameters_of_the_classifier_word_for_word():
    own = ["alphas", "cv", "scoring", "refit", "one_standard_error", "path", "n_jobs"]
    one = inspect.signature(L2CNNClassifier).parameters
    both = inspect.signature(L2CNNClassifierCV).parameters
    shared = [name for name in one if name not in ("alpha", "warm_start")]
    assert list(both) == own + shared
    assert all(both[name] == one[name] for name in shared)
    mine, theirs = described(L2CNNClassifierCV), described(L2CNNClassifier)
    different = {name for name in shared if mine[name] != theirs[name]}
    # there are folds, but no partial_fit, X_val nor set_callbacks, and many networks
    assert different == {
        "lr_schedule",
        "early_stopping",
        "class_weight",
        "callbacks",
        "random_state",
    }
    for name in different:  # and they begin alike
        assert mine[name].splitlines()[:2] == theirs[name].splitlines()[:2], name
