"""Several fits on several devices, and on one that has no memory for all of them."""

import logging
import os
import subprocess
import sys
import threading

import pytest
import torch
from skorch.callbacks import Callback

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._utils.devices import OutOfMemory, devices_for, identity_of
from sklearn_l2cnn._utils.turns import turn_on
from tests.conftest import tiny
from tests.pretended import is_pretended

CPU = torch.device("cpu")


def test_there_are_no_turns_on_a_cpu():
    with turn_on([CPU]) as turn:
        assert turn.device == CPU and turn.others() == 0
        assert turn.fit(lambda device: device) == CPU
    assert devices_for("cpu") == devices_for("cpu:0") == [CPU]


@pytest.mark.gpu
def test_which_devices_a_fit_may_take(cuda):
    count = torch.cuda.device_count()
    everyone = [torch.device("cuda", k) for k in range(count)]
    assert devices_for("auto") == devices_for("cuda") == everyone
    assert devices_for(f"cuda:{count - 1}") == [everyone[-1]]
    with torch.cuda.device(count - 1):
        assert devices_for("cuda")[0] == everyone[-1]
    assert len({identity_of(device) for device in everyone}) == count


@pytest.mark.gpu
def test_turns_go_round(cuda):
    devices = devices_for("cuda")
    taken = []
    with turn_on(devices) as first:
        taken.append(first.device)
        assert first.others() == 0
        with turn_on(devices) as second:
            taken.append(second.device)
            with turn_on(devices[:1]) as third:  # there is no other
                assert third.device == devices[0] and third.others() >= 1
        with turn_on(devices) as again:
            assert again.device == second.device  # the turn has been given back
    assert taken == [devices[0], devices[1 % len(devices)]]


FIT = """
import sys, time
from pathlib import Path
if "--pretend" in sys.argv:
    import tests.pretended.cuda
from skorch.callbacks import Callback
from sklearn.datasets import load_digits
from sklearn_l2cnn import L2CNNClassifier
from tests.conftest import tiny

folder, name = Path(sys.argv[1]), sys.argv[2]

class Meeting(Callback):
    "Wait until both are here, a minute at most."
    def on_train_begin(self, net, **kwargs):
        (folder / name).touch()
        end = time.monotonic() + 60
        while len(list(folder.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.05)

X, y = load_digits(return_X_y=True)
X, y = X[:60].reshape(-1, 8, 8), y[:60]
clf = L2CNNClassifier(architecture=tiny, max_epochs=1, callbacks=[Meeting()])
print(clf.fit(X, y).device_)
"""


@pytest.mark.gpu
def test_processes_take_the_devices_in_turn(cuda, tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    options = ["--pretend"] if is_pretended() else []
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIT, str(meeting), str(k), *options],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        for k in range(2)
    ]
    said = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert said == {"cuda:0", "cuda:1"}


def classifier(**parameters):
    return L2CNNClassifier(
        architecture=tiny, max_epochs=1, random_state=0, device="cuda:0", **parameters
    )


class Other(threading.Thread):
    """Another fit on the device: it holds memory until somebody says that he waits."""

    def __init__(self, device, n_bytes):
        super().__init__()
        self.device, self.n_bytes = device, n_bytes
        self.holds, self.waited_for = threading.Event(), threading.Event()

    def run(self):
        with turn_on([self.device]):
            held = torch.zeros(self.n_bytes // 4, device=self.device)
            self.holds.set()
            self.waited_for.wait(30)
            del held

    def __enter__(self):
        self.start()
        self.holds.wait(30)
        self.handler = logging.Handler()
        self.handler.emit = self.hears
        logging.getLogger("sklearn_l2cnn").addHandler(self.handler)
        return self

    def hears(self, record):
        if "waits for memory" in record.getMessage():
            self.waited_for.set()

    def __exit__(self, *exception):
        logging.getLogger("sklearn_l2cnn").removeHandler(self.handler)
        self.waited_for.set()
        self.join()


@pytest.mark.gpu
def test_a_fit_waits_for_memory_that_another_has(some, cuda, limited, caplog):
    expected = classifier().fit(*some).loss_curve_
    limited(1_300_000)
    with caplog.at_level(logging.INFO, "sklearn_l2cnn"), Other(cuda, 1_200_000):
        assert classifier().fit(*some).loss_curve_ == expected
    assert "waits for memory on cuda:0, where 1 others run" in caplog.text


@pytest.mark.gpu
def test_a_fit_that_has_begun_waits_and_begins_again(
    some, cuda, limited, monkeypatch, caplog
):
    from sklearn_l2cnn._utils import turns

    expected = classifier().fit(*some).loss_curve_
    # nothing is known of what it takes
    monkeypatch.setattr(turns, "needed_bytes", lambda device: 0)
    limited(1_250_000)
    with caplog.at_level(logging.INFO, "sklearn_l2cnn"), Other(cuda, 1_200_000):
        assert classifier().fit(*some).loss_curve_ == expected
    assert "waits for memory" in caplog.text


@pytest.mark.gpu
def test_nobody_waits_for_nobody(some, cuda, limited):
    limited(20_000)
    with pytest.raises(OutOfMemory):
        classifier().fit(*some)
    limited(10_000_000)
    classifier().fit(*some)


@pytest.mark.gpu
def test_a_network_lies_where_it_was_trained(some, cuda):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")

    class Where(Callback):
        def on_train_begin(self, net, X=None, y=None, **kwargs):
            seen.append({str(p.device) for p in net.module_.parameters()})
            seen.append({str(X.images.device), str(y.device)})

    seen = []
    clf = classifier(callbacks=[Where()]).set_params(device="cuda:1").fit(*some)
    assert seen == [{"cuda:1"}, {"cuda:1"}] and torch.cuda.current_device() == 0
    there = classifier().fit(*some)
    assert clf.loss_curve_ == pytest.approx(there.loss_curve_, rel=1e-3)
    X = torch.from_numpy(some[0]).to("cuda:0")
    assert (clf.predict(X) == clf.predict(some[0])).all()
    assert clf.device_ == "cuda:1" and torch.cuda.current_device() == 0
