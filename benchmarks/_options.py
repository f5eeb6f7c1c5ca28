"""What all benchmarks are asked, and how they print."""

import argparse
import tempfile
from pathlib import Path


def parser(description):
    """Return the parser of the options that every benchmark takes."""
    found = argparse.ArgumentParser(description=description.splitlines()[0])
    size = found.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="the default: minutes")
    size.add_argument("--full", action="store_true", help="longer, with more repeats")
    found.add_argument("--data", help="folder of MNIST (and CIFAR-10) as torchvision's")
    found.add_argument("--device", default="cpu", help="cpu (the default) or cuda")
    found.add_argument("--repeats", type=int, help="rounds of every comparison")
    found.add_argument(
        "--task", default="", help="those of this name alone, where there are several"
    )
    out = Path("benchmark-results")
    found.add_argument("--out", type=Path, default=out, help="folder for pictures")
    return found


def parse(description):
    """Read the options."""
    return completed(parser(description).parse_args())


def completed(options):
    """Fill in what was not said."""
    if options.repeats is None:
        options.repeats = 25 if options.full else 5
    return options


def run_tasks(tasks, options):
    """Run those tasks that were asked for, each in a folder of its own.

    Parameters
    ----------
    tasks : dict of callable
        From the options and the folder to a list of figures, which are printed.
    options : Namespace

    Returns
    -------
    figures : list of Figure
    """
    figures = []
    for name, task in tasks.items():
        if options.task in name:
            with tempfile.TemporaryDirectory() as folder:
                own = task(options, folder)
            show(own)
            figures += own
    return figures


def show(figures):
    """Print figures, one a line."""
    for figure in figures:
        value = figure.value if isinstance(figure.value, str) else _number(figure.value)
        line = f"{figure.what}: {value}"
        if figure.wanted is not None:
            sense = ">=" if figure.at_least else "<="
            line += f"   wanted {sense} {figure.wanted:g}: {figure.verdict}"
        if figure.note:
            line += f"   [{figure.note}]"
        print(line, flush=True)


def _number(value):
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
