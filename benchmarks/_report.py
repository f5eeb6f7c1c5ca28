"""What was seen, as JSON and as a picture."""

import json
import platform
import textwrap
import time

import numpy as np
import sklearn
import skorch
import torch

COLOURS = {"reached": "#2a7", "NOT reached": "#c33", "no verdict (noisy)": "#999"}


def machine(options):
    """Say on what and with what the figures were taken."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": platform.processor() or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": options.device,
        "repeats": options.repeats,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "skorch": skorch.__version__,
        "torch": torch.__version__,
    }


def write(figures, options, seconds):
    """Write figures.json and figures.png, and say where and how it ended."""
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for figure in figures:
        row = {**figure._asdict(), "verdict": figure.verdict}
        if hasattr(figure.value, "_asdict"):
            row["value"] = figure.value._asdict()
        rows.append(row)
    report = {"machine": machine(options), "seconds": round(seconds), "figures": rows}
    (options.out / "figures.json").write_text(json.dumps(report, indent=1))
    judged = [figure for figure in figures if figure.verdict]
    if judged:
        _draw(judged, options.out / "figures.png")
    print(f"\n{len(judged)} figures with something wanted of them, {seconds:.0f} s:")
    for word in COLOURS:
        print(f"  {word}: {sum(figure.verdict == word for figure in judged)}")
    print(f"written: {options.out / 'figures.json'}, {options.out / 'figures.png'}")


def _draw(figures, path):
    """Draw every figure next to what is wanted: right of the line is better."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    height = 1 + 0.36 * len(figures)
    figure, axes = plt.subplots(figsize=(11, height), layout="constrained")
    for place, seen in enumerate(reversed(figures)):
        value = seen.value
        median = getattr(value, "median", value)
        low, high = getattr(value, "low", median), getattr(value, "high", median)
        middle, *ends = (
            part / seen.wanted if seen.at_least else seen.wanted / max(part, 1e-9)
            for part in (median, low, high)
        )
        axes.plot(ends, [place, place], color=COLOURS[seen.verdict], lw=2)
        axes.plot([middle], [place], "o", color=COLOURS[seen.verdict])
        sense = "≥" if seen.at_least else "≤"
        label = f"{median:.3g}, wanted {sense} {seen.wanted:g}"
        axes.text(1.02, place, label, transform=axes.get_yaxis_transform(), va="center")
    axes.axvline(1, color="black", lw=1)
    names = [textwrap.fill(seen.what, 60) for seen in reversed(figures)]
    axes.set_yticks(range(len(figures)), names, fontsize=9)
    axes.set_xlabel("times what is wanted; right of the line is reached")
    axes.set_xscale("log")
    ticks = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
    axes.set_xticks(ticks, ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axes.minorticks_off()
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.45), max(high, 2.2))
    for word, colour in COLOURS.items():
        if any(seen.verdict == word for seen in figures):
            axes.plot([], [], "o", color=colour, label=word)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
