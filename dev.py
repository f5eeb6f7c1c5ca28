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
                                   --browse tries it in a browser, Chromium or Chrome,
                                   --serve shows it on this machine
    python3 dev.py docs --whole    the same with every example executed: ten minutes
    python3 dev.py lint            formatting and lint
    python3 dev.py oldest          the tests on the oldest releases that are supported;
                                   arguments as those of test
    python3 dev.py release         sdist and wheel of what is committed, in dist;
                                   checks before an upload, the sdist's tests on the
                                   wheel (--quick; arguments go to pytest)

Nothing but Python's standard library is needed to start.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Two processes, as most tests keep one core busy. Each takes a half, so that what tests
# of a file share is made once, and then from what the other has left.
TESTS = "-m", "pytest", "-n", "2", "--dist", "worksteal"
# What the repository has and an sdist does not need.
HIDDEN = ".ci/", ".gitignore"


def environment(name, requirements):
    """Make the environment where it is not there or not for these requirements."""
    place = HERE / name
    python = python_of(place)
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


def python_of(place):
    """Return the Python of an environment."""
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(*command, cwd=HERE):
    """Run a command in a folder; end with its status where it fails."""
    status = subprocess.run([str(part) for part in command], cwd=cwd).returncode
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
    """Build the site; try it in a browser and show it where that is asked for."""
    place = HERE / "build" / "docs"
    for old in (place, HERE / "docs" / "generated", HERE / "docs" / "examples"):
        shutil.rmtree(old, ignore_errors=True)
    every = ["-D", "sphinx_gallery_conf.filename_pattern=."]
    options = every if "--whole" in arguments else []
    run(python, "-m", "sphinx", "-q", "-W", "--keep-going", *options, "docs", place)
    print(f"The site is in {place / 'index.html'}.")
    if "--browse" in arguments:
        run(python, "docs/_browse.py", place)
    if "--serve" in arguments:
        run(python, "-m", "http.server", "--bind", "127.0.0.1", "--directory", place)


def release(tools, python, arguments):
    """Build what is committed, check both files, and run the tests on the wheel."""
    dist, place = HERE / "dist", HERE / "build" / "release"
    for old in (dist, place):
        shutil.rmtree(old, ignore_errors=True)
    source = place / "source"  # no local file gets into a release
    run("git", "clone", "--quiet", "--depth", "1", HERE.as_uri(), source)
    run(tools, "-m", "build", "--outdir", dist, source)
    [wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")
    run(tools, "-m", "twine", "check", "--strict", wheel, sdist)
    run(tools, "-m", "check_wheel_contents", wheel, cwd=source)
    with tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
    unpacked = place / sdist.name.removesuffix(".tar.gz")
    tracked = subprocess.check_output(["git", "ls-files"], cwd=source, text=True)
    names = (name for name in tracked.splitlines() if not name.startswith(HIDDEN))
    left_out = [name for name in names if not (unpacked / name).exists()]
    if left_out:
        sys.exit(f"The sdist has not all of the repository: {left_out}")
    # tests of the sdist, on the wheel: its own copy of the package is out of the way
    shutil.move(unpacked / "sklearn_l2cnn", place / "not-this-one")
    installed = with_wheel(wheel, python, place / "environment")
    run(installed, *TESTS, *(arguments or ["--quick"]), cwd=unpacked)


def with_wheel(wheel, python, place):
    """Return the Python of a new environment: the wheel, and libraries of another."""
    venv.create(place, with_pip=True)
    new = python_of(place)
    run(new, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    theirs, own = (
        subprocess.check_output([one, "-c", ask], text=True).strip()
        for one in (python, new)
    )
    # behind its own, and a path alone: an editable install there is not followed
    (Path(own) / "libraries.pth").write_text(theirs)
    found = "import sklearn_l2cnn as it; print(it.__version__, it.__file__)"
    found = subprocess.check_output([new, "-I", "-c", found], text=True).strip()
    print(f"The wheel is sklearn_l2cnn {found}.")
    if not Path(found.partition(" ")[2]).is_relative_to(own):
        sys.exit(f"That is not the wheel that was installed into {own}.")
    return new


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
    elif job == "release":
        tools = environment(".venv-release", ["build", "twine", "check-wheel-contents"])
        release(tools, environment(".venv", newest), arguments)
    else:
        print(__doc__)
        sys.exit(job != "help")


if __name__ == "__main__":
    main(*sys.argv[1:])
