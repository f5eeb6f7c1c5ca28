"""The benchmarks are fair: everybody learns the same, and noise gets no verdict."""

from argparse import Namespace
from functools import partial

import pytest

from benchmarks import _tasks, bench_extraction
from benchmarks._measure import (
    CONTROL,
    Figure,
    Ratio,
    control_pair,
    in_new_process,
    interleaved,
    memory,
    ratio,
)
from benchmarks._peers import PEERS, ours
from benchmarks.bench_growth import exponent
from tests.conftest import linux

pytestmark = pytest.mark.long

OTHERS = [name for name in PEERS if name != "ours"]


@pytest.fixture(scope="module", params=["digits", "colour"])
def task(request):
    recipe = {"width": 4, "batch_size": 64, "epochs": 2}
    if request.param == "digits":
        return _tasks.digits(**recipe)
    return _tasks.synthetic(200, 12, depth=3, n_test=20, **recipe)


@pytest.fixture(scope="module")
def trained(task):
    return ours(task)


@pytest.mark.parametrize("name", OTHERS)
def test_peers_learn_what_we_learn(task, trained, name):
    peer = PEERS[name](task)
    assert peer.losses == pytest.approx(trained.losses, rel=1e-4)
    assert len(trained.losses) == 2 and trained.losses[1] < trained.losses[0]
    assert (peer.predict(task.X_test) == trained.predict(task.X_test)).mean() > 0.95


def test_ways_take_turns_forwards_and_backwards():
    turns = []
    ways = {name: (lambda name=name: turns.append(name)) for name in "ab"}
    seconds, _ = interleaved(ways, 2, control="b")
    assert turns == ["b", "b", "a", "a", "b", "b"]
    assert list(seconds) == ["b", CONTROL, "a"]
    assert {len(values) for values in seconds.values()} == {2}


def test_a_ratio_is_the_median_within_rounds():
    seconds = {"slow": [2.0, 30.0, 4.0], "fast": [1.0, 10.0, 1.0]}
    assert ratio(seconds, "slow", "fast") == Ratio(3.0, 2.5, 3.5)


@pytest.mark.parametrize(
    "again, quiet", [([1.0, 1.04, 1.0], True), ([1.1, 1.2, 1.0], False)]
)
def test_a_control_pair_that_differs_is_noise(again, quiet):
    assert control_pair({"x": [1.0] * 3, CONTROL: again}, "x")[1] is quiet


@pytest.mark.parametrize(
    "figure, verdict",
    [
        (Figure("x", 2.0, 1.8), "reached"),
        (Figure("x", Ratio(1.7, 1.6, 1.9), 1.8), "NOT reached"),
        (Figure("x", 1.0, 1.05, at_least=False), "reached"),
        (Figure("x", 2.0, 1.8, quiet=False), "no verdict (noisy)"),
        (Figure("x", 2.0), ""),
    ],
)
def test_verdicts(figure, verdict):
    assert figure.verdict == verdict


def test_the_exponent_of_a_square_is_two():
    assert exponent([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2)


def test_features_by_hand_are_ours(monkeypatch):
    few = partial(bench_extraction.noise, 9)
    monkeypatch.setattr(bench_extraction, "noise", lambda n, shape: few(shape))
    options = Namespace(full=False, device="cpu")
    for case in (bench_extraction.backbone, bench_extraction.small):
        name, features, X = case(options)
        control, hand, alone = bench_extraction.compare(name, features, X, repeats=1)
        assert "9 images" in hand.what and hand.value.median > 0
        assert float(hand.note.split()[1]) < 1e-5
        assert alone.note.endswith("the same to the last bit")
        assert "NOT" not in alone.note and control.wanted is None


@linux
def test_memory_is_that_of_a_process_whoever_started_it():
    ballast = bytearray(b"1") * 2**28
    code = "from benchmarks._measure import memory; x = {}; print(memory())"
    [little] = in_new_process(code.format("bytearray(8)"))
    [more] = in_new_process(code.format("bytearray(b'1') * 2**27"))
    assert little < 2**27 < more < len(ballast)
    assert memory("VmRSS") <= memory()
