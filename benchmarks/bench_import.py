"""What does the import cost beyond torch and skorch? Whole processes, in turn."""

import statistics
import subprocess
import sys
import time

PEERS = {
    "torch + skorch": "import torch, skorch",
    "torch + skorch again (control)": "import torch, skorch",
    "sklearn_l2cnn": "import torch, skorch, sklearn_l2cnn",
}


def seconds(code):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    times = {name: [] for name in PEERS}
    for code in PEERS.values():
        seconds(code)  # once for the file cache
    for k in range(rounds):
        for name in list(PEERS)[:: 1 if k % 2 else -1]:
            times[name].append(seconds(PEERS[name]))
    base = times["torch + skorch"]
    for name, values in times.items():
        more = [value - other for value, other in zip(values, base, strict=True)]
        print(
            f"{name}: median {statistics.median(values):.2f} s, beyond torch + skorch "
            f"{statistics.median(more):+.3f} s ({min(more):+.3f} to {max(more):+.3f})"
        )
