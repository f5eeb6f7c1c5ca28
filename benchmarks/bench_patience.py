"""What early stopping costs in accuracy, by its patience and by how ties are broken.

python -m benchmarks.bench_patience [--quick | --full] [--data DIR] [--task NAME]

Each network is trained once, to the end; where a patience would have ended it, and with
which weights, is read off its epochs.
"""

import numpy as np
from skorch.callbacks import Callback

from benchmarks import _options, _tasks
from benchmarks._measure import Figure
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training.batches import auto_batch_size, auto_patience

TOL = 1e-4
N_TEST = 2000  # predicted after every epoch


class TestScores(Callback):
    """Keep the accuracy on test images after every epoch."""

    def __init__(self, task):
        self.task = task
        self.scores = []

    def on_epoch_end(self, net, **kwargs):
        """Predict the test images."""
        images = np.asarray(self.task.X_test[:N_TEST])
        images = images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1)
        right = net.predict(images) == self.task.y_test[:N_TEST]
        self.scores.append(100 * right.mean())


def tasks(options):
    """Yield tasks, with the number of seeds for every number of images."""
    if not options.full:
        yield _tasks.digits(), {60: 1}
        return
    yield _tasks.digits(), {60: 4, 150: 4, 400: 4, 1000: 4}
    if options.data:
        yield _tasks.mnist(options.data), {100: 4, 300: 4, 1000: 4, 3000: 3}


def trained(task, n, seed, device):
    """Return accuracies and losses on validation images and accuracies on others."""
    rows = np.random.RandomState(seed).permutation(len(task.X))[:n]
    test = TestScores(task)
    clf = L2CNNClassifier(
        early_stopping=True,
        n_iter_no_change=np.inf,
        callbacks=[test],
        random_state=seed,
        device=device,
    ).fit(task.X[rows], task.y[rows])
    curves = clf.validation_scores_, clf.validation_loss_curve_, test.scores
    return np.transpose(curves)


def stopped(curves, patience, by_loss):
    """Return the accuracy on other images that is kept, and the epochs it takes."""
    reached, misses, best, kept, n_epochs = -np.inf, 0, None, None, 0
    for accuracy, loss, score in curves:
        n_epochs += 1
        misses = 0 if accuracy > reached + TOL else misses + 1
        reached = max(reached, accuracy)
        quality = accuracy, -loss * by_loss
        if best is None or quality > best:
            best, kept = quality, score
        if misses >= patience:
            break
    return kept, n_epochs


def run(options):
    """Return what each rule keeps, and print it."""
    figures = []
    for task, seeds in tasks(options):
        for n, n_seeds in seeds.items() if options.task in task.name else ():
            runs = [trained(task, n, seed, options.device) for seed in range(n_seeds)]
            n_train = n - -(-n // 10)
            auto = auto_patience(n_train, auto_batch_size(n_train))
            rules = {
                "5, first of ties": (5, False),
                "5, ties by loss": (5, True),
                f"auto ({auto}), ties by loss": (auto, True),
                "all epochs, ties by loss": (np.inf, True),
            }
            for name, rule in rules.items():
                kept, epochs = np.transpose([stopped(run, *rule) for run in runs])
                what = f"{task.name}, {n} images, patience {name}"
                note = f"{epochs.mean():.0f} of {len(runs[0])} epochs"
                figures.append(Figure(what, float(kept.mean()), note=note))
                _options.show(figures[-1:])
    return figures


if __name__ == "__main__":
    run(_options.parse(__doc__))
