"""Ranks: several processes train one network, as one process does."""

import copy
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from filelock import FileLock

from sklearn_l2cnn._training import ranks as _ranks
from sklearn_l2cnn._training import shards as _shards
from sklearn_l2cnn._training.packing import Layout
from sklearn_l2cnn._training.ranks import ALONE, Alone, is_started_by_torchrun
from sklearn_l2cnn._training.runtime import torch_threads
from sklearn_l2cnn._training.shards import Shards, subtrees
from sklearn_l2cnn._training.step import summed_loss
from sklearn_l2cnn._utils.surroundings import compute_alone
from sklearn_l2cnn.architectures._plain import plain
from tests.training import rank_fits

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
# On two processors four ranks take their time.
OF_FOUR = list(rank_fits.FITS)[::2]
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None


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


def alone(folder, *names):
    """Run fits in this process, in shards even for images this small."""
    with mock.patch.object(_shards, "_STEP", 1e3), torch_threads(1):
        return as_json(rank_fits.run(names, folder))


def once(factory, name, make):
    """Let one of the processes of pytest make something for all of them, as JSON."""
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    path = root / f"{name}.json"
    with FileLock(root / f"{name}.lock"):
        if not path.exists():
            folder = root / name
            folder.mkdir()
            path.write_text(json.dumps(make(folder)))
        return json.loads(path.read_text())


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What one process without torchrun comes to."""
    return once(tmp_path_factory, "one", lambda where: alone(where, *rank_fits.FITS))


@pytest.fixture(scope="module")
def dead(tmp_path_factory):
    """A job that has lost a rank, in a group that its script has begun."""
    return once(tmp_path_factory, "dead", lose_a_rank)


def lose_a_rank(where):
    codes = forked(2, where, "died", RANK_FITS_DIE="1")
    assert codes == [0, 7]
    size, found = json.loads((where / "0.json").read_text())
    assert size == 2
    return str(where), *found["died"]


def forked(n, folder, *names, timeout=150, **more):
    """Run fits in ranks that are forks, which import nothing; return how they end."""
    if FORK is None:
        pytest.skip("processes cannot fork")
    ranks = [
        FORK.Process(target=as_rank, args=(f"{rank}/{n}", folder, names, more))
        for rank in range(n)
    ]
    for rank in ranks:
        rank.start()
    end = time.monotonic() + timeout
    for rank in ranks:
        rank.join(max(0, end - time.monotonic()))
        rank.kill()
        rank.join()
    return [rank.exitcode for rank in ranks]


def as_rank(init, folder, names, more):
    os.environ.update(environment(RANK_FITS_INIT=init, **more))
    rank_fits.main(folder, *names)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory, dead):
    names = [name for name in rank_fits.OTHERS if name not in ("died", "children")]
    where = Path(dead[0])
    names = [*rank_fits.FITS, *names]
    return once(tmp_path_factory, "two", lambda _: job(2, where, *names))


@pytest.fixture(scope="module")
def of_four(tmp_path_factory):
    def make(folder):
        assert forked(4, folder, *OF_FOUR, "norms") == [0] * 4
        return outcomes(4, folder)

    return once(tmp_path_factory, "four", make)


@pytest.mark.parametrize(
    "n, name",
    [*((2, name) for name in rank_fits.FITS), *((4, name) for name in OF_FOUR)],
)
def test_ranks_learn_the_bits_that_one_process_learns(n, name, expected, request):
    found = request.getfixturevalue({2: "of_two", 4: "of_four"}[n])
    for of_rank in found:
        assert of_rank[name] == expected[name]


def test_norms_over_the_batch_are_those_of_the_whole_batch(of_two, of_four, tmp_path):
    with torch_threads(1):
        expected = rank_fits.run(["norms"], tmp_path)["norms"]
    for found in (*of_two, *of_four):
        tolerances = [1e-10] * 4 + [1e-3]  # the last is in float32
        fits = zip(found["norms"], expected, tolerances, strict=True)
        for (mine, told), (other, _), atol in fits:
            np.testing.assert_allclose(mine, other, rtol=0, atol=atol)
            assert "each computes every batch as a whole" not in told
    assert "each takes its shards of every batch" in of_two[0]["norms"][0][1]


def test_what_else_looks_across_the_batch_is_computed_as_a_whole(of_two, tmp_path):
    with torch_threads(1):
        [expected] = rank_fits.run(["across"], tmp_path).values()
    for rank, found in enumerate(of_two):
        probabilities, told = found["across"]
        np.testing.assert_allclose(probabilities, expected[0], atol=1e-5)
        why = "2 ranks, each computes every batch as a whole, for it looks across"
        assert (why in told) is (rank == 0)


def test_one_rank_prints_and_warns(of_two):
    (told, warned), (nothing, quiet) = (found["printed"] for found in of_two)
    assert "2 ranks, each takes its shards of every batch" in told
    assert told.count("epoch ") == 3 and any("cannot end" in text for text in warned)
    assert not nothing and not quiet


def test_an_error_on_one_rank_is_told_to_the_others_and_all_go_on(of_two, expected):
    first, last = (found["failed"] for found in of_two)
    texts = "gone wrong", "lost a step", "lost a step", "no network"
    own = [f"ValueError: {text}" for text in texts]
    assert last[0] == own
    for text, error in zip(first[0], own, strict=True):
        assert text.startswith("RankError: The training has failed on rank 1 of 2")
        assert text.endswith(error)
    assert first[1] == last[1] == expected["sequential"]


def test_where_a_device_of_one_rank_lacks_memory_all_begin_again(of_two, expected):
    (bits, [told]), (same, nothing) = (found["lacked_memory"] for found in of_two)
    assert bits == same == expected["sequential"]
    assert "added up in 2 parts" in told and not nothing


def test_a_callback_of_one_rank_stops_all(of_two):
    for found in of_two:
        stopped, whole = found["stopped_by_one"]
        assert stopped == whole


def test_ranks_that_are_given_different_things_say_which(of_two):
    for rank, found in enumerate(of_two):
        *ways, search = found["different"]
        for text, name in zip(
            ways, ["images", "random_state", "alpha", "images"], strict=True
        ):
            assert text.startswith("ValueError: The 2 ranks were given different")
            named, _, _ = text.partition(". Give each")
            assert name in named, rank
        assert "searches in one process, and 2 ranks" in search


def test_a_rank_reads_its_own_images_alone(of_two):
    n = len(rank_fits.data()[0])
    for found in of_two:
        # those of its shards, and 64 by which the end of a training is checked
        assert abs(found["rows_read"] - 64 - n / 2) < 4


@pytest.mark.slow
def test_children_of_a_rank_train_alone(tmp_path):
    first, second = (
        found["children"] for found in job(2, tmp_path / "job", "children")
    )
    assert first == {"fork": 1, "loky": [1, 1]}
    assert second == {"fork": 1, "subprocess": 1}


def test_a_rank_that_dies_ends_the_others(dead):
    _, error, seconds = dead
    assert error.startswith("RankError: Another rank of the training does not answer")
    assert seconds < 60


def test_a_job_that_is_started_again_goes_on(of_two, tmp_path):
    [(bits, _)] = alone(tmp_path, "went_through").values()
    (found, told), (same, nothing) = (found["went_through"] for found in of_two)
    assert bits == found == same and not nothing
    assert "goes on from its checkpoint, after epoch" in told


# -- the tree, with as many ranks as one likes -----------------------------------------


class Threads(Alone):
    """Ranks that are threads of a process."""

    def __init__(self, rank, size, meeting, table):
        self.rank, self.size = rank, size
        self.meeting, self.table = meeting, table

    def gathered(self, tensor):
        return self.gathered_objects(tensor.clone())

    def gathered_objects(self, value):
        self.table[self.rank] = value
        self.meeting.wait()
        found = list(self.table)
        self.meeting.wait()
        return [value.clone() for value in found]

    def from_first(self, value):
        self.table[self.rank] = value
        self.meeting.wait()
        found = self.table[0]
        self.meeting.wait()
        return found


def gradient_of(network, batch, n_shards, ranks=ALONE):
    parameters = list(network.parameters())
    by_name = dict(network.named_parameters())

    def loss(images, labels, weight, generator=None):
        logits = torch.func.functional_call(network, by_name, (images,))
        return summed_loss(logits, labels, weight), logits

    shards = Shards(parameters, 0, None, 1, ranks=ranks, parts=n_shards)
    shards.whole_logits = ranks is ALONE
    losses, _ = shards(loss, *batch)
    return [losses, *(parameter.grad for parameter in parameters)]


@pytest.mark.parametrize("size", [2, 3, 4, 5, 9])
@pytest.mark.parametrize("n_shards", [2, 4, 7, 8])
def test_any_number_of_ranks_adds_along_the_same_tree(size, n_shards):
    network = plain((1, 8, 8), 4).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((24, 1, 8, 8), generator=generator)
    labels = torch.randint(4, (24,), generator=generator)
    batch = images, labels, None
    with torch_threads(1):
        expected = gradient_of(network, batch, n_shards)
    meeting, table, found = threading.Barrier(size, timeout=60), [None] * size, {}

    def one(rank):
        compute_alone()
        twin = copy.deepcopy(network)
        ranks = Threads(rank, size, meeting, table)
        found[rank] = gradient_of(twin, batch, n_shards, ranks)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rank in range(size):
        for mine, other in zip(found[rank], expected, strict=True):
            assert torch.equal(mine, other) and mine.stride() == other.stride()


@pytest.mark.parametrize("size", range(1, 10))
@pytest.mark.parametrize("n", range(1, 17))
def test_ranks_have_all_leaves_once_and_the_first_has_one(size, n):
    ranks = Alone()
    ranks.size = size
    spans = [ranks.span(n, rank) for rank in range(size)]
    assert [k for start, stop in spans for k in range(start, stop)] == [*range(n)]
    assert spans[0][1] >= 1
    assert max(b - a for a, b in spans) - min(b - a for a, b in spans) <= 1
    for start, stop in spans:
        nodes = subtrees(0, n, start, stop)
        assert [k for a, b in nodes for k in range(a, b)] == [*range(start, stop)]


def test_numbers_of_all_kinds_are_packed():
    parameters = [
        torch.nn.Parameter(
            torch.randn(3, 2, 2, 2).to(memory_format=torch.channels_last)
        ),
        torch.nn.Parameter(torch.randn(5, dtype=torch.float64)),
        torch.nn.Parameter(torch.randn(3).bfloat16()),
        torch.nn.Parameter(torch.randn(2)),
    ]
    form = torch.float32, torch.Size([2]), [True, True, True, False]
    layout = Layout(form, parameters)
    found = [
        (torch.randn(2), [torch.randn_like(p) for p in parameters[:3]] + [None])
        for _ in range(2)
    ]
    one, other, _ = layout.packed(found, 3, torch.device("cpu"))
    layout.add(one, other)
    losses, gradients = layout.unpacked(one)
    assert torch.equal(losses, found[0][0] + found[1][0])
    assert gradients[3] is None
    for parameter, mine, a, b in zip(
        parameters[:3], gradients, found[0][1], found[1][1], strict=False
    ):
        assert torch.equal(mine, a + b)
        assert mine.stride() == parameter.stride() and mine.dtype == parameter.dtype


# -- who is a rank ---------------------------------------------------------------------


def test_a_child_that_inherits_the_environment_of_a_rank_is_none(monkeypatch):
    monkeypatch.delenv(_ranks._OWNER, raising=False)
    monkeypatch.delenv(_ranks._TORCHRUN, raising=False)
    assert not is_started_by_torchrun()
    environment = {_ranks._TORCHRUN: "none", "WORLD_SIZE": "2", "RANK": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(_ranks._OWNER, f"{_ranks._job()}|{os.getppid()}")
    _ranks._leave_mark()  # as the import of a child does
    assert not is_started_by_torchrun()
    monkeypatch.setenv(
        "MASTER_PORT", "1"
    )  # of a job that a rank of another has started
    _ranks._leave_mark()
    assert is_started_by_torchrun()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not is_started_by_torchrun()


def test_a_group_of_one_is_alone():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert _ranks.ranks_of_process() is ALONE
    finally:
        torch.distributed.destroy_process_group()
    assert _ranks.ranks_of_process() is ALONE


def test_outside_of_torchrun_nothing_is_begun():
    code = """
import os
import numpy as np, torch
from sklearn_l2cnn import L2CNNClassifier
X, y = np.random.RandomState(0).rand(20, 8, 8), np.arange(20) % 2
L2CNNClassifier(max_epochs=1, random_state=0).fit(X, y)
assert not torch.distributed.is_initialized()
assert not [name for name in os.environ if name.startswith("SKLEARN_L2CNN")]
for number in range(3, 200):
    try:
        assert not os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    except FileNotFoundError:
        pass
"""
    left_out = "TORCHELASTIC", "WORLD_SIZE", "SKLEARN_L2CNN"
    clean = {k: v for k, v in environment().items() if not k.startswith(left_out)}
    subprocess.run([sys.executable, "-c", code], check=True, env=clean, timeout=100)
