"""The fuzzers find what is put in their way, and nothing else in some hundred cases."""

import io
import os
import re
import tempfile
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import _fuzzing, fuzz_files, fuzz_images, fuzz_transformers
from sklearn_l2cnn._data import decoding
from sklearn_l2cnn.preprocessing import ImageReader, PixelScaler
from tests.conftest import linux

pytestmark = [linux, pytest.mark.long]


@pytest.mark.parametrize("fuzzer", [fuzz_files, fuzz_images, fuzz_transformers])
def test_two_hundred_cases_have_no_findings(fuzzer):
    assert _fuzzing.run(fuzzer.__name__, range(200)) == (range(200), [])


def quiet(seed):
    yield from ()


def printing(seed):
    os.write(1, b"I was here")
    yield from ()


def warning_(seed):
    warnings.warn("look", RuntimeWarning, stacklevel=1)
    yield from ()


def drawing(seed):
    np.random.rand()
    yield from ()


def raising(seed):
    raise KeyError("no row")
    yield


def leaving(seed):
    os.open(os.devnull, os.O_RDONLY)
    yield from ()


def changing(seed):
    torch.set_default_dtype(torch.float64)
    yield from ()


def growing(seed):
    with _fuzzing.little_memory(8 << 20) as found:
        bytearray(b"1") * (64 << 20)
    yield from found


@pytest.mark.parametrize(
    "case, text",
    [
        (quiet, None),
        (printing, "it prints 'I was here'"),
        (warning_, "RuntimeWarning: look"),
        (drawing, "the states of the generators was"),
        (raising, "KeyError of .*: 'no row'"),
        (leaving, "the number of open files was"),
        (changing, "torch's default dtype was torch.float32, now it is torch.float64"),
        (growing, "it takes .* MiB of 8"),
    ],
)
def test_what_a_case_leaves_behind_is_found(case, text):
    before = set(os.listdir("/proc/self/fd"))
    with tempfile.TemporaryFile() as printed:
        own = os.dup(1)
        os.dup2(printed.fileno(), 1)
        try:
            found = list(_fuzzing.judged(case, 0, printed))
        finally:
            os.dup2(own, 1)
            os.close(own)
            torch.set_default_dtype(torch.float32)
    if case is leaving:
        for number in set(os.listdir("/proc/self/fd")) - before:
            if os.path.exists(f"/proc/self/fd/{number}"):
                os.close(int(number))
    if text is None:
        assert found == []
    else:
        assert len(found) == 1 and re.match(text, found[0], re.DOTALL), found


STUBBORN = """
import os, sys, time
from benchmarks import _fuzzing

def case(seed):
    if seed == 2:
        time.sleep(1000)
    if seed == 4:
        os._exit(3)
    if seed == 5:
        yield "five"

if __name__ == "__main__":
    sys.exit(_fuzzing.main("stubborn", "Stubborn.", case))
"""


def test_cases_that_hang_or_end_the_process_are_found(tmp_path, monkeypatch):
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.getcwd()}")
    began = time.perf_counter()
    _, found = _fuzzing.run("stubborn", range(1, 8), seconds=1.5)
    assert time.perf_counter() - began < 300
    assert found == [
        (2, "it does not end"),
        (4, "the process ended with 3"),
        (5, "five"),
    ]


def test_no_case_is_begun_after_the_time():
    assert _fuzzing.run("never", range(3, 9), minutes=0) == (range(3, 3), [])


def test_too_much_memory_would_be_found(monkeypatch):
    stream = io.BytesIO()
    Image.new("RGB", (3600, 3600)).save(stream, "webp", lossless=True, method=0)
    reader = ImageReader((4, 4), max_pixels=3600**2)

    def findings():
        with _fuzzing.little_memory(4 * reader.max_pixels + fuzz_images._MORE) as found:
            yield from fuzz_images._read_both_ways(
                reader, "bytes", stream.getvalue(), ""
            )
        yield from found

    assert list(findings()) == []
    monkeypatch.setattr(decoding, "check_bytes", lambda needed, options: None)
    [text] = findings()
    assert re.match(r"it takes \d+ MiB of 121", text)


@pytest.mark.parametrize("way", ["no row", "on_error='fill'"])
def test_errors_that_name_no_row_would_be_found(monkeypatch, way):
    kind = ValueError if way == "no row" else TypeError

    def fails(source, options):
        raise kind("it is broken")

    monkeypatch.setattr("sklearn_l2cnn.preprocessing._files.read_image", fails)
    monkeypatch.setattr(
        "sklearn_l2cnn.preprocessing._files._with_row",
        lambda error, row: kind(str(error)),
    )
    reader = ImageReader((4, 4))
    try:
        texts = list(fuzz_images._read_both_ways(reader, "bytes", b"no image", ""))
    except TypeError:  # which is a finding of every case
        assert kind is TypeError
    else:
        assert texts == ["an error without its row: it is broken"]


def test_numbers_that_are_none_would_be_found(monkeypatch):
    def scaled(images, source, target):
        slope = (target[1] - target[0]) / (source[1] - source[0])
        return target[0] + (images.double() - source[0]) * slope

    X = np.array([[[0, 1e-310], [1e-310, 0]]])

    def findings():
        draw = _fuzzing.draw(1)
        return [*fuzz_transformers._judged_calls(draw, PixelScaler(), X, X, None)]

    assert findings() == []
    monkeypatch.setattr("sklearn_l2cnn.preprocessing._scaling._rescale", scaled)
    monkeypatch.setattr(
        "sklearn_l2cnn.preprocessing._base.check_result", lambda *arguments: None
    )
    assert any("NaN or infinity" in text for text in findings())


def test_files_without_a_checksum_would_be_found(monkeypatch):
    from sklearn_l2cnn.persistence import _file

    monkeypatch.setattr(_file, "_digest", lambda text, arrays: "")
    monkeypatch.setattr(fuzz_files, "_digest", lambda text, arrays: "")
    fuzz_files.originals.cache_clear()
    found = []
    for seed in range(0, 400, 2):
        try:
            found += fuzz_files.case(seed)
        except (AttributeError, KeyError):  # of an estimator that lacks something
            found.append("half an estimator came")
    fuzz_files.originals.cache_clear()
    assert "another estimator came" in found
