"""Every system runs to its end, on next to nothing, and draws its picture."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SYSTEMS = sorted(EXAMPLES.glob("plot_system_*.py"))


def test_there_are_five_systems():
    assert [path.name[:13] for path in SYSTEMS] == [
        f"plot_system_{k}" for k in range(1, 6)
    ]


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda path: path.stem)
def test_a_system_runs(path, tmp_path):
    picture = tmp_path / "picture.png"
    few = ["--rows", "80", "--epochs", "1", "--seeds", "2", "--jobs", "1"]
    root = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(path), *few, "--output", str(picture)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in ("no penalty", "by three folds of", "accuracy 0.", "macro F1 0."):
        assert words in done.stdout
    assert "no difference that these seeds can show" in done.stdout
    assert picture.read_bytes()[1:4] == b"PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
