"""Run the jobs of the project, each in an environment that is made where there is none.

    python3 dev.py demo            the example of the README: a table and a picture
    python3 dev.py test            all tests and doctests that are not slow; what is
                                   marked gpu on a pretended device
    python3 dev.py test --quick    the same without conformance checks, examples,
                                   benchmarks and what takes seconds: two minutes
    python3 dev.py test -m slow    the slow ones (all more arguments go to pytest)
    python3 dev.py test --pretend  all of them with a pretended CUDA device, which
                                   device="auto" means then
    python3 dev.py gpu             what only a CUDA device can settle, in ten minutes,
                                   with a table at the end; where there is none, tiny on
                                   a pretended one (arguments go to benchmarks.on_gpu)
    python3 dev.py docs            the site, from nothing, in build/docs; every warning
                                   is an error; of the examples the two quickest are
                                   executed, the others are shown without output;
                                   --serve shows the site on this machine
    python3 dev.py docs --whole    the same with every example executed: ten minutes
    python3 dev.py lint            formatting and lint
    python3 dev.py oldest          the tests on the oldest releases that are supported;
                                   arguments as those of test

Nothing but Python's standard library is needed to start.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Two processes, as most tests keep one core busy. Each takes a half, so that what tests
# of a file share is made once, and then from what the other has left.
TESTS = "-m", "pytest", "-n", "2", "--dist", "worksteal"


def environment(name, requirements):
    """Make the environment where it is not there or not for these requirements."""
    place = HERE / name
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = [sys.version, *requirements]
    for path in (HERE / "pyproject.toml", HERE / "tests" / "oldest.txt"):
        wanted.append(path.read_text())
    stamp, wanted = (
        place / "made-for",
        hashlib.sha256(repr(wanted).encode()).hexdigest(),
    )
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"Installing into {place} (several GB with torch, a few minutes) ...")
        venv.create(place, clear=True, with_pip=True)
        run(python, "-m", "pip", "install", "--quiet", *requirements)
        stamp.write_text(wanted)
    return python


def run(*command):
    """Run a command in the project's folder; end with its status where it fails."""
    status = subprocess.run([str(part) for part in command], cwd=HERE).returncode
    if status:
        sys.exit(status)


def tests(python, arguments):
    """Run tests, and in an ordinary run those marked gpu on a pretended device."""
    pretended = "-p", "tests.pretended.cuda"
    if "--pretend" in arguments:
        others = [argument for argument in arguments if argument != "--pretend"]
        run(python, *TESTS, *pretended, *others)
        return
    run(python, *TESTS, *arguments)
    if not arguments:
        run(python, *TESTS, *pretended, "-m", "gpu and not slow", "tests")


def gpu(requirements, arguments):
    """Run the tests of the device, and then what is measured on it."""
    python = sys.executable
    seen = "import skorch, sklearn, pytest, torch; print(torch.cuda.is_available())"
    found = subprocess.run([python, "-c", seen], capture_output=True, text=True).stdout
    if not found:  # this Python has not what is needed
        python = environment(".venv", requirements)
        found = subprocess.run([python, "-c", seen], capture_output=True, text=True)
        found = found.stdout
    there = found.strip() == "True"
    pretended = [] if there else ["-p", "tests.pretended.cuda"]
    tests = [python, "-m", "pytest", "-q", "-m", "gpu", *pretended, "tests"]
    status = subprocess.run([str(part) for part in tests], cwd=HERE).returncode
    options = arguments if there else ["--pretend", *arguments]
    run(python, "-m", "benchmarks.on_gpu", *options)  # whatever the tests have shown
    sys.exit(status)


def docs(python, arguments):
    """Build the site, and show it on loopback where that is asked for."""
    place = HERE / "build" / "docs"
    for old in (place, HERE / "docs" / "generated", HERE / "docs" / "examples"):
        shutil.rmtree(old, ignore_errors=True)
    every = ["-D", "sphinx_gallery_conf.filename_pattern=."]
    options = every if "--whole" in arguments else []
    run(python, "-m", "sphinx", "-q", "-W", "--keep-going", *options, "docs", place)
    print(f"The site is in {place / 'index.html'}.")
    if "--serve" in arguments:
        run(python, "-m", "http.server", "--bind", "127.0.0.1", "--directory", place)


def main(job="help", *arguments):
    if sys.version_info < (3, 11):  # noqa: UP036  the Python that starts this may be older
        sys.exit(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}.")
    newest = ["--editable", ".[dev]"]
    if job == "demo":
        run(environment(".venv", newest), "examples/plot_alpha_path.py")
    elif job == "test":
        tests(environment(".venv", newest), arguments)
    elif job == "gpu":
        gpu(newest, arguments)
    elif job == "docs":
        docs(environment(".venv", newest), arguments)
    elif job == "lint":
        python = environment(".venv", newest)
        run(python, "-m", "ruff", "format", "--check", ".")
        run(python, "-m", "ruff", "check", ".")
    elif job == "oldest":
        oldest = ["--editable", ".[test]", "--constraint", "tests/oldest.txt"]
        tests(environment(".venv-oldest", oldest), arguments)
    else:
        print(__doc__)
        sys.exit(job != "help")


if __name__ == "__main__":
    main(*sys.argv[1:])
