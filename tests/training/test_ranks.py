"""Ranks: several processes train one network, as one process does."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from sklearn_l2cnn._training import packing
from sklearn_l2cnn._training import shards as _shards
from sklearn_l2cnn._training.packing import Layout
from sklearn_l2cnn._training.ranks import ALONE, Alone, RankError, ranks_of_process
from sklearn_l2cnn._training.runtime import lone_threads, torch_threads
from sklearn_l2cnn._training.shards import Shards, subtrees
from sklearn_l2cnn._training.step import summed_loss
from sklearn_l2cnn.architectures._plain import plain
from tests.training import rank_fits

ROOT = Path(__file__).parents[2]


def environment(**more):
    """The environment of a job: all of it stays on this machine, in one thread each."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    here = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": path}
    return {**os.environ, **here, **more}


def job(n, folder, *names, timeout=150):
    """Run fits under torchrun; return what came of them, by rank."""
    folder.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={n}"),
        *("--master-addr=127.0.0.1", "--master-port=0", "--rdzv-backend=c10d"),
        *("--rdzv-endpoint=127.0.0.1:0", "-m", "tests.training.rank_fits"),
        *(str(folder), *names),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment()
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return outcomes(n, folder)


def outcomes(n, folder):
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(n)]
    assert [size for size, _ in found] == [n] * n
    return [of_rank for _, of_rank in found]


def as_json(value):
    return json.loads(json.dumps(value))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def expected(folder):
    """What one process without torchrun comes to."""
    before, _shards._STEP = _shards._STEP, 1e3
    try:
        with torch_threads(1):
            return as_json(rank_fits.run(rank_fits.FITS, folder))
    finally:
        _shards._STEP = before


@pytest.fixture(scope="module")
def dead(folder):
    """A job that has lost a rank, in a group that its script has begun."""
    where = folder / "dead"
    where.mkdir()
    command = [sys.executable, "-m", "tests.training.rank_fits", str(where), "died"]
    ranks = [
        subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(RANK_FITS_DIE="1", RANK_FITS_INIT=f"{rank}/2"),
        )
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=100)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 7], errors
    return where


@pytest.fixture(scope="module")
def of_two(folder, dead):
    names = [name for name in rank_fits.OTHERS if name != "died"]
    return job(2, dead, *rank_fits.FITS, *names)


@pytest.fixture(scope="module")
def of_four(folder):
    return job(4, folder / "four", *rank_fits.FITS)


@pytest.mark.long
@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("name", rank_fits.FITS)
def test_ranks_learn_the_bits_that_one_process_learns(n, name, expected, request):
    found = request.getfixturevalue({2: "of_two", 4: "of_four"}[n])
    for of_rank in found:
        assert of_rank[name] == expected[name]
