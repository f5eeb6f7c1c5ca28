"""Every example runs to its end, on next to nothing, and draws its picture."""

import ast
import io
import json
import multiprocessing
import os
import runpy
import sys
import threading
import traceback
import types
import warnings
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen
from wsgiref.simple_server import make_server

import matplotlib.pyplot  # noqa: F401  once, and not in every fork
import numpy as np
import pytest
import torch
from PIL import Image

from sklearn_l2cnn.augmentation import NAMES
from sklearn_l2cnn.datasets import load_digits_images

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parents[2] / "examples"
# What the constants at the top of each example are set to.
LITTLE = {
    "larger_than_memory": {"GIGABYTES": 0.1},
    "plot_alpha_path": {"ROWS": 80, "EPOCHS": 1},
    "plot_augmentation": {"SEEDS": 2, "EPOCHS": 1},
    "plot_filters_and_saliency": {"IMAGES": 80, "TESTED": 12, "EPOCHS": 1},
    "plot_first_steps": {"ROWS": 60, "EPOCHS": 1},
    "plot_five_systems": {"ROWS": 40, "TESTED": 40, "SEEDS": 2, "MOST_EPOCHS": 1},
    "plot_image_folder": {"FILES": 40, "EPOCHS": 1},
    "plot_imbalanced_classes": {"IMAGES": 120, "EPOCHS": 1},
    "plot_medical_greys": {"IMAGES": 24, "EPOCHS": 1},
    "plot_pruning": {"ROWS": 60, "EPOCHS": 1},
    "plot_random_forest": {"IMAGES": 60, "EPOCHS": 2},
    "plot_strips": {"ROWS": 30, "EPOCHS": 1},
    "plot_transfer_learning": {
        **{"PLACES": 1, "EPOCHS": 1, "DRAWS": 2, "PER_CLASS": [1], "NEW_EPOCHS": 1}
    },
    "serve_onnx": {"ROWS": 60, "EPOCHS": 1},
    "tune_with_optuna": {"ROWS": 60, "EPOCHS": 1, "TRIALS": 2},
}
NEEDED = {"serve_onnx": ["onnxruntime", "onnxscript"], "tune_with_optuna": ["optuna"]}


def execute(name):
    """Execute an example with little to do; return its module."""
    path = EXAMPLES / f"{name}.py"
    tree = ast.parse(path.read_text())
    left = dict(LITTLE[name])
    for node in tree.body:
        if isinstance(node, ast.Assign):
            [target] = node.targets
            names = [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
            if set(names) & set(left):
                values = [left.pop(own) for own in names]
                values = values if isinstance(target, ast.Tuple) else values[0]
                node.value = ast.parse(repr(values), mode="eval").body
    assert not left
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    exec(compile(tree, str(path), "exec"), module.__dict__)
    return module


def in_a_fork(function, folder):
    """Call a function in a fork of this process, in a folder: torch starts slowly."""
    texts = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    process = multiprocessing.get_context("fork").Process(
        target=_call, args=(function, folder, texts)
    )
    process.start()
    process.join(300)
    process.kill()
    process.join()
    said, warned = (text.read_text() for text in texts)
    assert process.exitcode == 0, warned
    return SimpleNamespace(stdout=said, stderr=warned)


def _call(function, folder, texts):
    for number, text in enumerate(texts, 1):
        os.dup2(os.open(text, os.O_CREAT | os.O_WRONLY), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    os.chdir(folder)
    os.environ["MPLBACKEND"] = "Agg"
    warnings.resetwarnings()  # those that pytest lets fail a test
    warnings.simplefilter("default")
    torch.set_num_threads(1)  # threads do not survive a fork
    try:
        function()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


@pytest.fixture
def words_of(tmp_path):
    """Return a function that runs an example, and looks at what it leaves."""
    if not hasattr(os, "fork"):
        pytest.skip("needs a fork")

    def run(name):
        for library in NEEDED.get(name, []):
            pytest.importorskip(library)
        done = in_a_fork(lambda: execute(name), tmp_path)
        left = [path.name for path in tmp_path.iterdir()]
        if name.startswith("plot_"):
            assert left == [f"{name.removeprefix('plot_')}.png"]
            assert (tmp_path / left[0]).read_bytes()[1:4] == b"PNG"
        else:
            assert left == []
        return done.stdout

    return run


def test_there_are_few_examples_and_the_gallery_has_all_of_them():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert len(names) <= 15
    assert names == set(LITTLE)
    order = EXAMPLES.parent / "docs" / "_ext" / "examples_order.py"
    assert names == set(runpy.run_path(str(order))["NAMES"])


@pytest.mark.parametrize("name", sorted(LITTLE))
def test_an_example_has_the_form_of_the_gallery(name):
    text = (EXAMPLES / f"{name}.py").read_text()
    head = ast.get_docstring(ast.parse(text)).splitlines()
    assert head[1] == "=" * len(head[0])
    assert text.count("\n# %%\n# ") >= 3


@pytest.mark.parametrize(
    "name",
    [
        *("plot_first_steps", "plot_imbalanced_classes", "plot_medical_greys"),
        *("plot_strips", "plot_transfer_learning", "plot_pruning", "tune_with_optuna"),
    ],
)
def test_an_example_runs(name, words_of):
    assert "accuracy" in words_of(name)


def test_five_systems_are_compared(words_of):
    said = words_of("plot_five_systems").splitlines()
    assert [line[:2] for line in said if line[0] != " "] == [
        f"{k}." for k in range(1, 6)
    ]
    assert sum(line.startswith("  no penalty") for line in said) == 5
    assert sum(line.startswith("  L2 ") for line in said) == 5


def test_a_folder_of_pictures_is_searched(words_of):
    said = words_of("plot_image_folder")
    assert said.startswith("40 files: ")
    assert len([line for line in said.splitlines() if " +- " in line]) == 8
    assert "accuracy on 10 other files: 0." in said


def test_the_path_of_alpha_is_drawn(words_of):
    said = words_of("plot_alpha_path").splitlines()
    assert [line.split()[0] for line in said[1:9]] == [
        *("0", "3.2e-05", "0.0001", "0.00032", "0.001", "0.0032", "0.01", "0.032")
    ]
    assert all(" +- " in line for line in said[1:9])
    assert said[9].startswith("chosen: alpha=")


def test_every_augmentation_is_compared_and_shown(words_of):
    said = words_of("plot_augmentation").splitlines()
    for name in (*NAMES, "shift, rotate, scale", "tta shift"):
        assert any(line.startswith(name) and "+-" in line for line in said)


def test_filters_and_saliency_are_shown(words_of):
    said = words_of("plot_filters_and_saliency")
    rows = [line.split() for line in said.splitlines() if "alpha=" in line]
    assert len(rows) == 3
    for row in rows:
        assert all(0 <= float(value) <= 1 for value in row[-5:])
    assert "share of the pixels that the shapes cover: 0." in said


def test_pixels_that_are_known_to_matter_are_selected(words_of):
    said = words_of("plot_random_forest")
    assert "58 of 256 pixels are informative" in said
    for name in ("all pixels", "pixels, strong penalty", "pixels, F-test"):
        assert any(line.startswith(name) for line in said.splitlines())


def test_a_file_is_larger_than_the_process(words_of):
    said = words_of("larger_than_memory")
    assert "LazyImages(shape=(6103, 128, 128)" in said
    assert "images: 1.000" in said or "images: 0.99" in said
    assert "peak memory of the process: " in said


def test_the_service_answers_requests(tmp_path):
    for library in NEEDED["serve_onnx"]:
        pytest.importorskip(library)

    def serve():
        application = execute("serve_onnx").application
        server = make_server("127.0.0.1", 0, application)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        png = io.BytesIO()
        Image.fromarray(load_digits_images().images[0]).save(png, "PNG")
        address = f"http://127.0.0.1:{server.server_port}/"
        with urlopen(address, data=png.getvalue(), timeout=10) as response:
            print(response.read().decode())
        server.shutdown()
        server.server_close()

    said = in_a_fork(serve, tmp_path).stdout.splitlines()
    assert "no picture:      400 {'error': 'this is no picture'}" in said
    answer = json.loads(said[-1])
    assert len(answer["probabilities"]) == 10
    assert np.isclose(sum(answer["probabilities"]), 1, atol=1e-3)
    assert answer["label"] == np.argmax(answer["probabilities"])
    assert not any(tmp_path.iterdir())
