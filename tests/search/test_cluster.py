"""Searches whose fits run in the processes of a Dask cluster: the same as here."""

import os
import signal
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.utils.fixes import parse_version
from skorch.callbacks import Callback, GradientNormClipping

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from tests.conftest import linux, tiny
from tests.pretended import is_pretended

distributed = pytest.importorskip(
    "distributed", reason="distributed, for clusters of Dask, is not installed"
)
pytestmark = [
    pytest.mark.long,
    # there is nothing to be learnt from some of these images
    pytest.mark.filterwarnings("ignore:The best alpha"),
]

ALPHAS = [1e-3, 1e-1, 10.0]
NETWORK = {"architecture": tiny, "max_epochs": 2, "lr": 0.01, "random_state": 0}
# a callback follows each network, so that none are stacked
ONE_BY_ONE = {**NETWORK, "callbacks": [GradientNormClipping]}


def on_the_cluster():
    """Let joblib use the client there is; `parallel_config` came with joblib 1.3."""
    return getattr(joblib, "parallel_config", joblib.parallel_backend)("dask")


@contextmanager
def cluster_of_two(folder, **options):
    """Give a client of two processes on this machine, of one thread each."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=str(folder),
            **options,
        ) as cluster,
        distributed.Client(cluster, timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with cluster_of_two(tmp_path_factory.mktemp("workers")) as client:
        yield client


class Told:
    """A scorer that leaves a file for each of its calls, and may end its process."""

    def __init__(self, folder, dies_at=None):
        self.folder = Path(folder)
        self.dies_at = dies_at

    def __call__(self, clf, X, y):
        call = f"{time.monotonic_ns()}-{os.getpid()}-{torch.get_num_threads()}"
        (self.folder / call).touch()
        if self.dies_at is not None and len(self.calls()) >= self.dies_at:
            with suppress(FileExistsError):
                (self.folder / "died").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return clf.score(X, y)

    def calls(self):
        """Return for each call its process, and how many threads torch had there."""
        names = (path.name.split("-")[1:] for path in self.folder.glob("*-*"))
        return [(int(process), int(threads)) for process, threads in names]


def ours(**parameters):
    return L2CNNClassifierCV(ALPHAS, cv=3, **(ONE_BY_ONE | parameters))


def grid(scoring=None, **parameters):
    clf = L2CNNClassifier(**(ONE_BY_ONE | parameters))
    return GridSearchCV(clf, {"alpha": ALPHAS}, cv=3, scoring=scoring)


def assert_same(there, here):
    for key in here.cv_results_:
        if "time" not in key:
            np.testing.assert_array_equal(here.cv_results_[key], there.cv_results_[key])
    assert there.best_params_ == here.best_params_
    weights, expected = (
        s.best_estimator_.net_.module_.state_dict() for s in (there, here)
    )
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


@pytest.mark.parametrize("search", [ours, grid])
def test_a_search_on_a_cluster_is_the_one_here(client, digits, tmp_path, search):
    here = search().fit(*digits)
    told = Told(tmp_path)
    with on_the_cluster():
        there = search(scoring=told).fit(*digits)
    assert_same(there, here)
    processes, threads = zip(*told.calls(), strict=True)
    assert len(processes) == 9 and os.getpid() not in processes
    assert set(threads) == {1}  # as Dask's nannies have it


def test_networks_that_are_stacked_stay_here(client, digits, tmp_path):
    told = Told(tmp_path)
    here = L2CNNClassifierCV(ALPHAS, cv=3, **NETWORK).fit(*digits)
    with on_the_cluster():
        there = L2CNNClassifierCV(ALPHAS, cv=3, scoring=told, **NETWORK).fit(*digits)
    assert_same(there, here)
    assert {process for process, _ in told.calls()} == {os.getpid()}


def many(kind):
    """Images of 4 MB, in which there is nothing to be learnt."""
    X = np.random.RandomState(0).randint(0, 255, (1000, 64, 64), np.uint8)
    return (torch.from_numpy(X) if kind == "tensor" else X), np.arange(1000) % 2


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_images_are_sent_to_a_cluster_once(client, kind, monkeypatch):
    from distributed.comm.tcp import TCP

    sent, write = Counter(), TCP.write

    async def counted(comm, *args, **options):
        n_bytes = await write(comm, *args, **options)
        sent[comm.peer_address] += n_bytes
        return n_bytes

    monkeypatch.setattr(TCP, "write", counted)
    X, y = many(kind)
    with on_the_cluster():
        ours(max_epochs=1, refit=False).fit(X, y)
    # to a worker the images to learn from, X to score on, and little else
    assert max(sent.values()) < 2.3 * X.nbytes
    # through the scheduler, which is in this process too
    assert 2 * X.nbytes < sum(sent.values()) < 4.6 * X.nbytes


@linux
@pytest.mark.slow
def test_a_tensor_is_sent_to_processes_here_once():
    def written():
        return int(Path("/proc/self/io").read_text().split()[3])

    X, y = many("tensor")
    before = written()
    ours(max_epochs=1, refit=False, n_jobs=2).fit(X, y)
    assert written() - before < 2.3 * X.nbytes


@pytest.mark.skipif(
    parse_version(joblib.__version__) < parse_version("1.4"),
    reason="before joblib 1.4 the error of a task that was lost is taken for a result",
)
@pytest.mark.parametrize("dies_at", [1, 5])
def test_a_worker_that_is_killed_costs_time_alone(client, digits, tmp_path, dies_at):
    here = ours().fit(*digits)
    told = Told(tmp_path, dies_at)
    with on_the_cluster():
        there = ours(scoring=told).fit(*digits)
    assert_same(there, here)
    assert (tmp_path / "died").exists()
    assert len(told.calls()) > 9  # what was lost is done again
    client.wait_for_workers(2, timeout=30)


class Meeting(Callback):
    """Tell the device, and wait until two processes are here, a minute at most."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_begin(self, net, **kwargs):
        own = self.folder / str(os.getpid())
        if not own.exists():
            own.write_text(str(net.device))
        end = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.05)


@pytest.mark.gpu
def test_each_worker_takes_a_device_of_its_own(digits, cuda, tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")
    preload = ["tests.pretended.cuda"] if is_pretended() else []
    (meeting := tmp_path / "meeting").mkdir()
    here = {"env": {"TMPDIR": str(tmp_path)}, "preload": preload}
    with cluster_of_two(tmp_path, **here), on_the_cluster():
        search = ours(callbacks=[Meeting(meeting)], device="cuda", refit=False)
        search.fit(*digits)
    devices = [path.read_text() for path in meeting.iterdir()]
    assert sorted(devices) == ["cuda:0", "cuda:1"]
