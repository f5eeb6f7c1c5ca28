"""Every example runs to its end, on next to nothing, and draws its picture."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sklearn_l2cnn.augmentation import NAMES

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parents[2] / "examples"
SLOW = pytest.mark.slow
SYSTEMS = sorted(EXAMPLES.glob("plot_system_*.py"))


def test_there_are_five_systems():
    assert [path.name[:13] for path in SYSTEMS] == [
        f"plot_system_{k}" for k in range(1, 6)
    ]


def run(path, folder, *arguments):
    """Run an example in a folder, to a good end."""
    root = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    return done


def run_here(path, folder, *arguments):
    """Run an example as `run` does, in a fork of this process: torch starts slowly."""
    if not hasattr(os, "fork"):
        return run(path, folder, *arguments)
    texts = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
    process = multiprocessing.get_context("fork").Process(
        target=_as_main, args=(path, folder, arguments, texts)
    )
    process.start()
    process.join(300)
    process.kill()
    process.join()
    said, warned = (text.read_text() for text in texts)
    assert process.exitcode == 0, warned
    return SimpleNamespace(stdout=said, stderr=warned)


def _as_main(path, folder, arguments, texts):
    for number, text in enumerate(texts, 1):
        os.dup2(os.open(text, os.O_CREAT | os.O_WRONLY), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    os.chdir(folder)
    sys.argv = [str(path), *arguments]
    sys.path[:0] = [str(path.parent), str(EXAMPLES.parent)]
    warnings.resetwarnings()  # those that pytest lets fail a test
    warnings.simplefilter("default")
    torch.set_num_threads(1)  # threads do not survive a fork
    try:
        runpy.run_path(str(path), run_name="__main__")
    except BaseException as error:
        if not isinstance(error, SystemExit) or error.code:
            traceback.print_exc()
            raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def words_of(path, folder, *few):
    """Run an example in an empty folder; return its words, with a picture drawn."""
    picture = folder / "picture.png"
    done = run_here(path, folder, *few, "--output", str(picture))
    assert done.stderr == ""
    assert picture.read_bytes()[1:4] == b"PNG"
    assert [path.name for path in folder.iterdir()] == ["picture.png"]
    return done.stdout


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            id=path.stem,
            marks=[]
            if path.stem.endswith(("two_conv", "filters"))
            else pytest.mark.slow,
        )
        for path in SYSTEMS
    ],
)
def test_a_system_runs(path, tmp_path):
    few = ["--rows", "80", "--epochs", "1", "--seeds", "2", "--jobs", "1"]
    said = words_of(path, tmp_path, *few)
    for words in ("no penalty", "by three folds of", "accuracy 0.", "macro F1 0."):
        assert words in said
    assert "no difference that these seeds can show" in said


def test_a_folder_of_pictures_is_searched(tmp_path):
    path = EXAMPLES / "plot_image_folder.py"
    said = words_of(path, tmp_path, "--files", "40", "--epochs", "1")
    assert said.startswith("40 files, the first of them:")
    assert len([line for line in said.splitlines() if " +- " in line]) == 8
    assert "on 10 files that were held out: 0." in said


def test_the_path_of_alpha_is_drawn(tmp_path):
    path = EXAMPLES / "plot_alpha_path.py"
    said = words_of(path, tmp_path, "--rows", "80", "--epochs", "1").splitlines()
    assert [line.split()[0] for line in said[1:9]] == [
        *("0", "3.2e-05", "0.0001", "0.00032", "0.001", "0.0032", "0.01", "0.032")
    ]
    assert all(" +- " in line for line in said[1:9])
    assert said[9].startswith("chosen: alpha=")


def test_every_augmentation_is_compared_and_shown(tmp_path):
    path = EXAMPLES / "plot_augmentation.py"
    few = ["--seeds", "2", "--epochs", "1", "--jobs", "1"]
    said = words_of(path, tmp_path, *few)
    for name in (*NAMES, "shift + rotate + scale"):
        assert any(line.startswith(name) and "+-" in line for line in said.splitlines())


def test_filters_and_saliency_are_shown(tmp_path):
    path = EXAMPLES / "plot_filters_and_saliency.py"
    few = ["--images", "80", "--tested", "12", "--epochs", "1"]
    said = words_of(path, tmp_path, *few)
    assert said.startswith("share of the peaks of saliency that lie on the shape")
    rows = [line.split() for line in said.splitlines() if "alpha=" in line]
    assert len(rows) == 3
    for row in rows:
        assert all(0 <= float(value) <= 1 for value in row[-4:])
    assert "by chance, as the shapes cover so much of the images: 0." in said


def test_features_are_compared_over_alpha(tmp_path):
    path = EXAMPLES / "plot_features.py"
    few = ["--rows", "100", "--seeds", "2", "--epochs", "1", "--jobs", "1"]
    said = words_of(path, tmp_path, *few)
    assert said.startswith("accuracy on 1697 digits, 100 to learn from")
    rows = [line for line in said.splitlines() if line.count(" +- ") == 3]
    assert len(rows) == 5


def test_pixels_that_are_known_to_matter_are_selected(tmp_path):
    path = EXAMPLES / "plot_selection.py"
    said = words_of(path, tmp_path, "--images", "200", "--epochs", "2")
    assert said.startswith("58 of 256 pixels matter")
    for name in ("network, alpha=0.0001", "network, alpha=0.1", "F-test", "nothing"):
        assert any(line.startswith(name) for line in said.splitlines())


def test_a_file_is_larger_than_the_process(tmp_path):
    path = EXAMPLES / "larger_than_memory.py"
    said = run(path, tmp_path, "--gigabytes", "0.1").stdout
    assert said.startswith("LazyImages(shape=(6103, 128, 128)")
    assert "right: 1.000" in said or "right: 0.99" in said
    assert "file: 0.10 GB, peak memory of the process: " in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, needed, says",
    [
        ("search_on_dask", ["distributed"], "best: alpha="),
        ("train_with_torchrun", ["torch"], "1 rank(s): "),
        ("track_with_mlflow", ["mlflow", "skops"], "as read from models:/"),
        ("track_with_tensorboard", ["tensorboard"], "7 fits; to see them"),
        ("track_with_wandb", ["wandb"], "accuracy 0."),
        ("tune_with_optuna", ["optuna", "optuna_integration"], "of them ended early"),
    ],
)
def test_an_example_of_another_library_runs(name, needed, says, tmp_path):
    for library in needed:
        pytest.importorskip(library)
    assert says in run(EXAMPLES / f"{name}.py", tmp_path).stdout
