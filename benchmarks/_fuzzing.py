"""Running random cases in processes of their own, and telling what is wrong with them.

A case is a function of its seed alone that yields what it finds wrong, so that
``--seed S --cases 1`` is the case of a finding again. Its process has little memory
beyond what it starts with; a case that does not end, or that ends the process, is a
finding as well, and the next process goes on after it.
"""

import argparse
import gc
import os
import queue
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFile

from benchmarks._measure import memory
from sklearn_l2cnn._utils.seeds import random_states

SECONDS = 60  # that a case may compute, or else it counts as one that does not end
_AT_ONCE = 500  # cases of a process, so that memory that leaks is seen as such
_MORE = 400 << 20  # address space for threads and their heaps
# libtiff writes to the standard error what it finds wrong, whatever Pillow does.
_OF_LIBTIFF = re.compile(r"([\w.]*: [^\n]*\n)*")


class Finding(NamedTuple):
    """What is wrong with a case.

    Attributes
    ----------
    seed : int
    text : str
    """

    seed: int
    text: str


def parse(description):
    """Read the options of a fuzzer."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="that of the first case")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no more after these"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main(module, description, case):
    """Run the cases that were asked for; return the exit code.

    Parameters
    ----------
    module : str
        Name of the module of the command, which the processes run again.
    description : str
    case : callable
        From a seed to an iterable of texts, what is wrong.
    """
    options = parse(description)
    seeds = range(options.seed, options.seed + options.cases)
    if options.worker:
        work(seeds, case)
        return 0
    begin = time.perf_counter()
    done, findings = run(module, seeds, options.jobs, minutes=options.minutes)
    for seed, text in sorted(findings):
        print(f"--seed {seed} --cases 1: {text}")
    seconds = time.perf_counter() - begin
    print(
        f"{len(done):,} cases, seeds {done.start} to {done.stop - 1}: "
        f"{len(findings)} findings in {seconds:.0f} s"
    )
    return int(bool(findings))


# -- the parent -----------------------------------------------------------------------


def run(module, seeds, jobs=1, seconds=SECONDS, minutes=float("inf")):
    """Run cases in several processes, and return the findings.

    Parameters
    ----------
    module : str
    seeds : range
    jobs : int, default=1
    seconds : float
        How long a case may compute.
    minutes : float
        After which no more cases are begun.

    Returns
    -------
    done : range
        The cases that were run, the first of `seeds`.
    findings : list of Finding
    """
    parts, findings, ends = queue.SimpleQueue(), [], [seeds.start]
    last = time.monotonic() + 60 * minutes
    for start in range(seeds.start, seeds.stop, _AT_ONCE):
        parts.put(range(start, min(start + _AT_ONCE, seeds.stop)))

    def take():
        while time.monotonic() < last:
            try:
                part = parts.get_nowait()
            except queue.Empty:
                return
            ends.append(part.stop)
            while part:
                found, part = _run_part(module, part, seconds)
                findings.extend(found)

    threads = [threading.Thread(target=take) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return range(seeds.start, max(ends)), findings


def _run_part(module, seeds, seconds):
    """Run cases in one process; return the findings, and the cases that are left."""
    command = [sys.executable, "-m", module, "--worker"]
    command += ["--seed", str(seeds.start), "--cases", str(len(seeds))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    findings, current = [], None
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        lines, ended = _lines_of(child), False
        while not ended:
            # Before it names a case it imports, which may take longer than a case.
            line = _next_line(child, lines, seconds if current is not None else SECONDS)
            if line is None:
                child.kill()
                findings.append(Finding(current or seeds.start, "it does not end"))
                break
            word, _, rest = line.partition(" ")
            ended = word == "end"
            if word == "start":
                current = int(rest)
            elif word == "found":
                findings.append(
                    Finding(current, rest.encode().decode("unicode_escape"))
                )
            elif word == "":
                text = f"the process ended with {child.wait()}"
                findings.append(Finding(current or seeds.start, text))
                break
    if ended:
        return findings, range(0)
    return findings, range((current or seeds.start) + 1, seeds.stop)


def _next_line(child, lines, seconds):
    """Wait for the next line of a process; None if it computes, or waits, for too long.

    Others may have the processor: a case may wait ten times as long as it computes.
    """
    computed, began = _computed(child), time.monotonic()
    while time.monotonic() - began < 10 * seconds:
        try:
            return lines.get(timeout=min(seconds, 5))
        except queue.Empty:
            if _computed(child) - computed > seconds:
                break
    return None


def _computed(child):
    """Return the seconds that a process has had a processor."""
    try:
        with open(f"/proc/{child.pid}/stat") as file:
            ticks = file.read().rpartition(")")[2].split()[11:13]
    except OSError:  # it has ended
        return 0.0
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _lines_of(child):
    """Return a queue of the lines that a process writes, an empty one at its end."""
    lines = queue.SimpleQueue()

    def read():
        for line in child.stdout:
            lines.put(line.rstrip("\n"))
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    return lines


# -- the processes --------------------------------------------------------------------


def work(seeds, case):
    """Run cases, and tell the parent what is wrong with them."""
    torch.set_num_threads(1)
    report = os.dup(1)

    def tell(text):
        os.write(report, f"{text}\n".encode())

    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        list(judged(case, seeds.start, printed))  # imports, and what is made once
        for seed in seeds:
            tell(f"start {seed}")
            for text in judged(case, seed, printed):
                tell(f"found {text.encode('unicode_escape').decode()[:1500]}")
    tell("end")


def judged(case, seed, printed):
    """Yield what is wrong with a case, what it leaves behind included."""
    before, began = world(), time.process_time()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            yield from case(seed)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = type(error).__name__
            yield f"{kind} of {where.filename}:{where.lineno}: {error}"
    gc.collect(0)
    for warning in told:
        yield f"{warning.category.__name__}: {warning.message}"
    for name, value in world().items():
        if value != before[name]:
            yield f"{name} was {before[name]!s:.80}, now it is {value!s:.80}"
    taken = time.process_time() - began
    if taken > SECONDS / 2:
        yield f"it takes {taken:.0f} s"
    sys.stdout.flush()
    if os.fstat(printed.fileno()).st_size:
        text = os.pread(printed.fileno(), 10_000, 0).decode(errors="replace")
        if not _OF_LIBTIFF.fullmatch(text):
            yield f"it prints {text[:200]!r}"
        os.ftruncate(printed.fileno(), 0)
        os.lseek(printed.fileno(), 0, os.SEEK_SET)


def world():
    """Return, by name, what a call must leave as it was."""
    return {
        "the states of the generators": random_states(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.empty(0).device,
        "autocast": torch.is_autocast_enabled("cpu"),
        "grad mode": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "numpy's reaction to errors": np.geterr(),
        "the working directory": os.getcwd(),
        "Pillow's bound": Image.MAX_IMAGE_PIXELS,
        "Pillow's way with truncated files": ImageFile.LOAD_TRUNCATED_IMAGES,
        "the number of open files": len(os.listdir("/proc/self/fd")),
        "the number of threads": threading.active_count(),
    }


@contextmanager
def little_memory(size):
    """Let this process have so many bytes more than it has; yield a list of findings.

    Address space beyond `size`, with some for threads, is refused; memory that is used
    beyond it is a finding, which is listed afterwards.
    """
    found, (before, hard) = [], resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + size + _MORE, hard))
    if memory() - memory("VmRSS") > 8 << 20:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts again
    start = memory("VmRSS")
    try:
        yield found
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))
        if memory() - start > size:
            found.append(f"it takes {(memory() - start) >> 20} MiB of {size >> 20}")


def causes_of(error):
    """Yield an error, and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def draw(seed):
    """Return the random numbers of a case."""
    return random.Random(seed)
