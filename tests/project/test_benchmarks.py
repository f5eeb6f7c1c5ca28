"""The benchmarks are fair: everybody learns the same, and noise gets no verdict."""

import subprocess
import sys
from argparse import Namespace
from functools import partial

import numpy as np
import pytest

from benchmarks import (
    _stored,
    _tasks,
    bench_classifiers,
    bench_evidence,
    bench_extraction,
    bench_keras,
    bench_latency,
    bench_streaming,
    bench_systems,
)
from benchmarks.__main__ import BENCHMARKS, LONG, chosen
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
from benchmarks.bench_classifiers import Seen
from benchmarks.bench_growth import exponent
from benchmarks.bench_latency import largest_ratio
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


def test_a_ratio_of_a_few_percent_is_written_with_two_digits():
    assert str(Ratio(2.0, 1.0, 30.0)) == "2.00 (1.00 to 30.00)"
    assert str(Ratio(0.01234, 0.01, 0.02)) == "0.012 (0.01 to 0.02)"


@pytest.mark.parametrize("seconds, wanted", [(1e-4, 11.0), (2e-3, 1.5), (1.0, 1.5)])
def test_a_small_call_may_take_half_as_long_again_or_a_millisecond_more(
    seconds, wanted
):
    assert largest_ratio(*bench_latency.ONE_IMAGE, seconds) == pytest.approx(wanted)


def test_the_smallest_calls_are_compared(monkeypatch):
    few = {"plain 8x8": ("plain", 8, 1, 1)}
    monkeypatch.setattr(bench_latency, "TASKS", few)
    options = Namespace(full=False, device="cpu", repeats=1, task="")
    figures = bench_latency.run(options)
    judged = [figure.what for figure in figures if figure.wanted is not None]
    assert judged == [
        "plain 8x8: predict_proba of one image, ours / module (time)",
        "plain 8x8: fit of 20 images, ours / loop (time)",
    ]
    assert sum("control pair" in figure.what for figure in figures) == 4


@pytest.mark.parametrize("accuracy, epochs", [(0.5, 1), (0.65, 3), (0.99, None)])
def test_epochs_are_added_until_ours_is_as_accurate(monkeypatch, accuracy, epochs):
    fitted = {20: Seen(20.0, 1.0, 0.9)}
    monkeypatch.setattr(bench_classifiers, "ours", lambda device, seed, epochs: epochs)
    monkeypatch.setattr(
        bench_classifiers,
        "one_fit",
        lambda epochs, task: Seen(epochs, 1.0, 0.6 + epochs / 50),
    )
    task = Namespace(device="cpu")
    assert bench_classifiers.epochs_needed(task, 0, accuracy, fitted) == epochs
    if epochs is None:
        assert len(fitted) == len(bench_classifiers.EPOCHS)
        assert fitted[20].accuracy == 0.9
    else:
        assert max(set(fitted) - {20}) == epochs


def test_a_classifier_that_is_never_reached_is_said_in_words():
    fitted = [{3: Seen(2.0, 1.0, 0.9)}, {}]
    others = [Seen(4.0, 1.0, 0.8), Seen(4.0, 1.0, 0.8)]
    figure = bench_classifiers.of_epochs("x", [3], fitted[:1], others[:1])
    assert figure.value.median == 2.0
    figure = bench_classifiers.of_epochs("x", [3, None], fitted, others)
    assert figure.value == "not as accurate in 20 epochs: 1 of 2"


def test_images_of_noise_are_all_different_and_learnt_in_one_place_as_in_another(
    tmp_path,
):
    path = tmp_path / "images"
    _stored.write_map(path, 300, (14, 14, 1))
    lazy, n_few = _stored.mapped(path, (14, 14, 1), 1000)
    assert n_few == len(lazy) == len(np.unique(np.asarray(lazy), axis=0)) == 300
    source = f"mapped({str(path)!r}, (14, 14, 1), 1000)"
    assert in_new_process(bench_streaming.BITS.format(source=source)) == (1.0,)


def test_what_takes_minutes_is_left_out_of_a_quick_run():
    every = [*BENCHMARKS]
    assert chosen(Namespace(only=None, full=True)) == every
    quick = chosen(Namespace(only=None, full=False))
    assert set(every) - set(quick) == LONG
    assert chosen(Namespace(only=["keras"], full=False)) == ["keras"]


def test_processes_report_what_they_see(task, capsys):
    bench_keras.report(ours, task._replace(epochs=1))
    seen = bench_keras.Seen(*map(float, capsys.readouterr().out.split()))
    assert min(seen) > 0 and seen.accuracy <= 1


@pytest.mark.parametrize("backend", bench_keras.BACKENDS)
def test_keras_starts_from_our_weights(backend):
    if backend not in bench_keras.installed():
        pytest.skip(f"Keras or {backend} is not installed")
    code = f"""
import os
os.environ["KERAS_BACKEND"] = {backend!r}
import numpy as np
from keras import ops
from benchmarks import _keras, _tasks
from benchmarks._peers import Pixels
task = _tasks.digits(width=4)
images = Pixels(task.X)(task.X[:9])
rows = images.permute(0, 2, 3, 1).flatten(1).numpy()
logits = ops.convert_to_numpy(_keras.compiled(task)(rows))
expected = task.network(relu_first=True)(images).detach().numpy()
print(np.abs(logits - expected).max())
"""
    [apart] = in_new_process(code)
    assert apart < 1e-4


@pytest.mark.slow
def test_what_is_run_on_a_gpu_runs_on_a_pretended_one():
    command = sys.executable, "-m", "benchmarks.on_gpu", "--pretend", "--seconds", "200"
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-2000:]
    table = process.stdout.rpartition("## On ")[2]
    assert "left out: no time" not in table and table.count("\n| ") > 40
    assert "| bytes left by 10 fits | 0 |" in table


def test_all_ways_have_the_same_images(monkeypatch):
    task = _tasks.digits()
    split = _tasks.Split(task.X, task.y, task.X_test, task.y_test)
    for name in ("mnist", "cifar10"):
        monkeypatch.setattr(bench_evidence, f"read_{name}", lambda data: split)
    for kind in ("digits", "mnist", "cifar"):
        X, y, X_test, y_test = bench_evidence.of_task(kind, 20, 0, "folder")
        again = bench_evidence.of_task(kind, 20, 0, "folder")
        assert len(X) == len(y) == 20 and len(X_test) == len(y_test) > 300
        assert (again[0] == X).all() and (y == again[1]).all()


@pytest.mark.parametrize(
    "number",
    [1, 2, 5, *(pytest.param(k, marks=pytest.mark.slow) for k in (3, 4))],
)
def test_a_system_is_compared_with_no_penalty(number, monkeypatch, capsys):
    task = _tasks.digits()
    split = _tasks.Split(task.X, task.y, task.X_test[:50], task.y_test[:50])
    grey = split._replace(X=split.X[..., 0], X_test=split.X_test[..., 0])
    monkeypatch.setattr(bench_systems, "read_mnist", lambda data: grey)
    colour = split._replace(X=split.X.repeat(3, 3), X_test=split.X_test.repeat(3, 3))
    monkeypatch.setattr(bench_systems, "read_cifar10", lambda data: colour)
    rows = 30 if number == 4 else 80  # of each data set
    options = Namespace(data=None, rows=rows, epochs=1, seeds=2, jobs=1, search_rows=80)
    bench_systems.SYSTEMS[number](options)
    said = capsys.readouterr().out
    for words in ("no penalty", "by three folds of ", "accuracy 0.", "macro F1 0."):
        assert words in said
    assert said.count(" +- ") > 3
