"""What does the import cost beyond torch and skorch? One process a sample, in turn."""

import statistics
import subprocess
import sys

CODE = """
import time
import torch, skorch
start = time.perf_counter()
import {package}
print(time.perf_counter() - start)
"""


def seconds(package):
    command = [sys.executable, "-c", CODE.format(package=package)]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    times = {"sklearn_l2cnn": [], "skorch": []}  # skorch again: nothing, the control
    for k in range(rounds):
        for package in list(times)[:: 1 if k % 2 else -1]:
            times[package].append(seconds(package))
    for package, values in times.items():
        print(
            f"import {package} after torch and skorch: median "
            f"{statistics.median(values):.4f} s, {min(values):.4f} to {max(values):.4f}"
        )
