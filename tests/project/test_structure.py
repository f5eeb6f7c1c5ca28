"""The house: who imports whom, how long files are, what docstrings promise."""

import ast
import importlib
import inspect
import io
import pkgutil
import re
import sys
import tokenize
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

import sklearn_l2cnn
from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV, L2CNNSearchCV
from sklearn_l2cnn.architectures._registry import ARCHITECTURES
from sklearn_l2cnn.penalties._registry import PENALTIES

PACKAGE = Path(sklearn_l2cnn.__file__).parent
TESTS = Path(__file__).parents[1]
FILES = sorted(PACKAGE.rglob("*.py"))

# Lines of code a file may have: not counted are docstrings, comments and blanks.
MOST_LINES = 330
# Who may know what scikit-learn does not promise.
COMPAT = PACKAGE / "_utils" / "sklearn_compat.py"
# Tests of no part of the package: of everything together, of the house, of the device.
OTHER_TESTS = {"conformance", "pretended", "project"}

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
    "_search": 6,
    "_classifier_cv": 7,
    "_search_cv": 7,
    "export": 7,
    "feature_extraction": 7,
    "feature_selection": 7,
    "persistence": 7,
    "__init__": 8,  # the face of the package: no floor of its own
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


def test_the_house_has_seven_floors_and_few_rooms():
    assert {floor for name, floor in FLOORS.items() if name != "__init__"} == set(
        range(1, 8)
    )
    rooms = {room(path) for path in FILES}
    assert rooms == set(FLOORS) and len(rooms) <= 19


def test_training_has_seven_floors_at_most():
    folder = PACKAGE / "_training"
    below = {
        path: {
            PACKAGE.parent / Path(*module.split(".")).with_suffix(".py")
            for module in imported_modules(path)
            if module.startswith("sklearn_l2cnn._training.")
        }
        for path in folder.rglob("*.py")
    }

    def floor(path):
        return 1 + max(map(floor, below[path]), default=0)

    assert max(map(floor, below)) <= 7


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = room(path)
    assert here in FLOORS, f"{here} has no floor yet: add it to the house"
    for module in imported_modules(path):
        other = [*module.split("."), "__init__"][1]
        if other == here:
            continue
        assert FLOORS[other] < FLOORS[here], f"{path} imports {other}"


def lines_of_code(text):
    """The numbers of all lines with code on them."""
    nothing = {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT),
        *(tokenize.DEDENT, tokenize.ENDMARKER),
    }
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in nothing:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        known = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, known) and ast.get_docstring(node) is not None:
            lines.difference_update(range(node.body[0].lineno, node.body[0].end_lineno))
            lines.discard(node.body[0].end_lineno)
    return lines


def test_lines_of_code_are_counted():
    text = '''"""What it is.

More of it.
"""

# why
x = """a string
on two lines"""


class One:
    """Nothing."""

    def two(self):  # here
        """Do it."""
        return (
            x,

            # a comment
        )
'''
    assert lines_of_code(text) == {7, 8, 11, 14, 16, 17, 20}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(lines_of_code(path.read_text())) <= MOST_LINES


def public_modules():
    """The package, and all in it whose names have no underscore."""
    yield "sklearn_l2cnn"
    for module in pkgutil.walk_packages([str(PACKAGE)], "sklearn_l2cnn."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            yield module.name


@pytest.mark.parametrize("name", public_modules())
def test_all_lists_public_names_that_are_there(name):
    module = importlib.import_module(name)
    names = module.__all__
    assert names and len(set(names)) == len(names)
    assert not [name for name in names if name.startswith("_")]
    assert not [name for name in names if not hasattr(module, name)]


def private_imports(text, library):
    """Private modules and names of a library that a file imports or reaches into."""
    tree = ast.parse(text)
    used, modules = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] == library:
                used += [f"{node.module}.{alias.name}" for alias in node.names]
                modules |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == library:
                    used.append(alias.name)
                    modules.add(alias.asname or library)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if re.fullmatch(r"[\w.]+", name) and name.split(".")[0] in modules:
                used.append(name)
    return [name for name in used if re.search(r"(^|\.)_(?!_)", name)]


def test_private_imports_are_found():
    text = """
import numpy._core
import sklearn.utils._tags
import sklearn.utils as u
from sklearn import base, __version__
from sklearn.base import clone, _fit_context
from sklearn.utils._set_output import safe
u.validation._num_samples, base.clone._x, clone(u)._mine, self._own
"""
    assert private_imports(text, "sklearn") == [
        "sklearn.utils._tags",
        "sklearn.base._fit_context",
        "sklearn.utils._set_output.safe",
        *("u.validation._num_samples", "base.clone._x"),
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_private_in_scikit_learn_is_used_in_one_place(path):
    found = private_imports(path.read_text(), "sklearn")
    assert bool(found) is (path == COMPAT), found


def test_one_file_asks_for_cuda():
    asking = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            by_name = isinstance(node, ast.Attribute) and node.attr == "cuda"
            if by_name or (isinstance(node, ast.Constant) and node.value == "cuda"):
                asking.append(path.relative_to(PACKAGE).as_posix())
    assert set(asking) == {"_utils/devices.py"}


def test_folders_of_tests_mirror_the_package():
    folders = {
        path.parent.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")
    }
    folders = {name for name in folders if name.split("/")[0] not in OTHER_TESTS}
    for name in folders - {"."}:
        public, private = PACKAGE / name, PACKAGE / f"_{name}"
        assert public.is_dir() or private.is_dir(), f"tests/{name} tests no folder"
    for path in PACKAGE.iterdir():
        if path.is_dir() and path.name != "__pycache__":
            name = path.name.removeprefix("_")
            assert name in folders, f"no folder of tests for {path.name}"
    for path in TESTS.glob(
        "test_*.py"
    ):  # and those of a module of the package, or part
        room = path.stem.removeprefix("test_")
        files = [
            f"{room}.py".startswith(f.stem.removeprefix("_"))
            for f in PACKAGE.glob("*.py")
        ]
        assert any(files), f"{path.name} tests no module"


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


@pytest.mark.parametrize(
    "heavy",
    ["matplotlib", "onnx", "onnxruntime", "pandas", "PIL", "skl2onnx", "torchvision"],
)
def test_heavy_libraries_are_imported_inside_functions(heavy):
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            assert not any(name.split(".")[0] == heavy for name in names), path


def test_every_library_that_is_imported_is_declared():
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
    found -= {*sys.stdlib_module_names, "sklearn_l2cnn"}
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]
    declared = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    names = {"sklearn": "scikit-learn", "PIL": "pillow"}
    # pictures need the extra "plot", graphs "onnx"; data frames come from pandas, and
    # arrays of HDF5 from h5py; networks of timm need the extra "timm"
    optional = {"matplotlib", "pandas", "onnx", "onnxruntime", "skl2onnx", "h5py"}
    optional |= {"timm"}
    assert {names.get(name, name) for name in found} == declared | optional
    oldest = (TESTS / "oldest.txt").read_text()
    for line in [*project["dependencies"], *project["optional-dependencies"]["plot"]]:
        name, floor = line.split(">=")
        pinned = re.search(rf"^{name}==(.*)$", oldest, re.M)[1]
        assert re.fullmatch(rf"{re.escape(floor)}(\.0)*", pinned), line


def is_error(cls):
    return issubclass(cls, Exception)


def public_classes_of_the_package():
    for module in pkgutil.walk_packages([str(PACKAGE)], "sklearn_l2cnn."):
        names = module.name.split(".")
        if any(part.startswith("_") for part in names):
            continue  # nobody but the estimators uses what is in there
        loaded = __import__(module.name, fromlist=["x"])
        for name, value in vars(loaded).items():
            is_public = name in getattr(loaded, "__all__", [name])
            if inspect.isclass(value) and is_public and not is_error(value):
                yield pytest.param(value, id=name)
    for cls in (L2CNNClassifier, L2CNNClassifierCV, L2CNNSearchCV):
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
            value = eval(default[1], {"np": np})
            assert value == parameter.default or value is parameter.default, name
    assert ">>> " in doc, "no example"


ESTIMATORS = {
    L2CNNClassifier: {"max_epochs": 1},
    L2CNNClassifierCV: {"alphas": [0, 1], "cv": 2, "max_epochs": 1},
}


def documented_attributes(cls):
    doc = inspect.cleandoc(cls.__doc__)
    section = re.search(r"\nAttributes\n-+\n(.*?)\n\n\w[\w ]+\n-+\n", doc, re.S)[1]
    return [
        name.strip()
        for line in re.findall(r"^(\w[\w, ]*_) : ", section, re.M)
        for name in line.split(",")
    ]


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_documented_attributes_are_those_of_a_fitted_estimator(cls, digits):
    X, y = digits
    clf = cls(**ESTIMATORS[cls], random_state=0).fit(X[:40], y[:40])
    names = documented_attributes(cls)
    public = {name for name in vars(clf) if re.fullmatch(r"[a-z].*_", name)}
    worked_out = {"module_", "device_", "precision_", "feature_names_in_"}
    assert public | worked_out == set(names)
    assert all(hasattr(clf, name) for name in names if name != "feature_names_in_")


def test_a_search_over_anything_has_what_grid_search_has(digits):
    X, y = digits
    clf, grid = L2CNNClassifier(max_epochs=1), {"alpha": [0, 1]}
    search = L2CNNSearchCV(clf, grid, cv=2).fit(X[:40], y[:40])
    learnt = {name for name in vars(search) if name[-1] == "_"}
    of_the_best = {"classes_", "n_features_in_", "feature_names_in_"}
    assert learnt | of_the_best == {*documented_attributes(L2CNNSearchCV)}
    theirs = inspect.signature(GridSearchCV).parameters
    mine = inspect.signature(L2CNNSearchCV).parameters
    more = ["n_candidates", "halving", "random_state"]
    assert [name for name in mine if name not in more] == [*theirs]
    assert all(str(mine[name]) == str(theirs[name]) for name in theirs)


@pytest.mark.parametrize("cls", [*ESTIMATORS, L2CNNSearchCV])
def test_constraints_cover_every_parameter(cls):
    assert set(cls._parameter_constraints) == set(inspect.signature(cls).parameters)


def described(cls):
    """What the docstring says of every parameter: its line and its text."""
    doc = inspect.cleandoc(cls.__doc__)
    section = re.search(r"\nParameters\n-+\n(.*?)\n\nAttributes\n-+\n", doc, re.S)[1]
    parts = re.split(r"^(\w+) : ", section, flags=re.M)[1:]
    return dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_every_penalty_and_network_is_described_by_name(cls):
    texts = described(cls)
    for name in PENALTIES:
        assert f'"{name}"' in texts["penalty"]
    for name in ARCHITECTURES:
        assert f'"{name}"' in texts["architecture"]


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
