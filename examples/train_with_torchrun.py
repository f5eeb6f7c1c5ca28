"""
Train one network in two processes
==================================

Without arguments this starts itself under `torchrun`, as two ranks of this machine, and
trains once more without: the weights are the same, to the last bit. On a machine with
GPUs each rank takes one of them: `docs/several_processes.md`.

    python examples/train_with_torchrun.py
    torchrun --nproc-per-node=2 examples/train_with_torchrun.py --rows 1797
"""

# %%
# The script of a training, as it is without ranks: each of them has the whole data, and
# takes its part of every batch by itself.
import argparse
import hashlib
import os
import subprocess
import sys
import time

from sklearn.datasets import load_digits

from sklearn_l2cnn import L2CNNClassifier


def main(rows, epochs):
    X, y = load_digits(return_X_y=True)
    X, y = X[:rows].reshape(-1, 8, 8), y[:rows]
    clf = L2CNNClassifier(max_epochs=epochs, batch_size=256, random_state=0, verbose=1)
    start = time.perf_counter()
    clf.fit(X, y)
    if os.environ.get("RANK", "0") != "0":
        return
    weights = b"".join(p.detach().numpy().tobytes() for p in clf.module_.parameters())
    print(
        f"{os.environ.get('WORLD_SIZE', '1')} rank(s): "
        f"{time.perf_counter() - start:.1f} s, accuracy {clf.score(X, y):.3f}, weights "
        f"{hashlib.sha256(weights).hexdigest()[:16]}"
    )


# %%
# And how it is started, here twice.
def start(*arguments):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    here = {**os.environ, "OMP_NUM_THREADS": "1"}
    for launcher in (torchrun, []):
        command = [sys.executable, *launcher, __file__, *arguments]
        subprocess.run(command, check=True, env=here)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    if options.rows is None:
        start("--rows", "1797", "--epochs", str(options.epochs))
    else:
        main(**vars(options))
