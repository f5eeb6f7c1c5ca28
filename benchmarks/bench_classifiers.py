"""How good and how fast are scikit-learn's classifiers, and how soon is ours as good?

python -m benchmarks.bench_classifiers [--quick | --full] [--data DIR]

All have their defaults and get the same images, those of scikit-learn as rows of pixels
from 0 to 1. How soon ours is as accurate as another: it is fitted for 1, 2, 3, 5, ...
epochs, each a whole fit with a schedule of its own, until it has at least the other's
accuracy on the test images, and the seconds of that last fit count. As the number of
epochs is chosen with the test images, this flatters ours a little.
"""

import statistics
import warnings
from functools import partial
from typing import NamedTuple

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from benchmarks import _options, _tasks
from benchmarks._measure import CONTROL, Figure, control_pair, ratio, timed, turns
from benchmarks.bench_speed import seldom
from sklearn_l2cnn import L2CNNClassifier

EPOCHS = (1, 2, 3, 5, 8, 12, 20)  # the last is the default
OTHERS = {
    "SVC": lambda seed: SVC(gamma="scale"),
    "MLPClassifier": lambda seed: MLPClassifier(random_state=seed),
    "HistGradientBoostingClassifier": (
        lambda seed: HistGradientBoostingClassifier(random_state=seed)
    ),
}


class Seen(NamedTuple):
    """The seconds of a fit and of all predictions, and the accuracy of these."""

    fit: float
    predict: float
    accuracy: float


def run(options):
    """Return the figures of all tasks, and print them as they come."""
    task = _tasks.digits(device=options.device)
    figures = one_task(task, seldom(options))
    if options.data:
        n = 10_000 if options.full else 1000
        figures += one_task(_tasks.mnist(options.data, n, device=options.device), 1)
    return figures


def one_task(task, n_seeds):
    """Compare all classifiers on one task, with some seeds."""
    makers = {"ours": partial(ours, task.device)}
    for name, make in OTHERS.items():
        makers[name] = partial(on_rows, make)
    seen = fits(task, makers, n_seeds)
    name = f"{task.name}, {len(task.y)} images"
    figures = [Figure(f"{name}: fit, control pair", of_control(seen))]
    for other in makers:
        figures += alone(name, other, seen)
    for other in OTHERS:
        figures += compared(name, other, seen)
    _options.show(figures)
    return figures + soon_as_good(name, task, seen)


def ours(device, seed, epochs=EPOCHS[-1]):
    """Return the estimator with its defaults."""
    return L2CNNClassifier(max_epochs=epochs, device=device, random_state=seed)


def on_rows(make, seed):
    """Return a classifier that takes images and looks at rows."""
    return make_pipeline(FunctionTransformer(rows), make(seed))


def rows(X):
    """Return images of uint8 as rows of pixels from 0 to 1."""
    return X.reshape(len(X), -1) / 255


def fits(task, makers, n_seeds):
    """Fit all classifiers in turn, scikit-learn's dense network twice."""
    makers = makers | {CONTROL: makers["MLPClassifier"]}
    ours = makers["ours"](0, epochs=1)
    one_fit(ours, task)  # libraries are loaded, kernels are chosen
    seen = {name: [] for name in makers}
    for name in turns(makers, n_seeds):
        seed = len(seen[name])
        seen[name].append(one_fit(makers[name](seed), task))
    return seen


def one_fit(clf, task):
    """Fit a classifier, and predict the test images."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it gets its default
        fit, _ = timed(lambda: clf.fit(task.X, task.y))
    predict, labels = timed(lambda: clf.predict(task.X_test))
    return Seen(fit, predict, float((labels == task.y_test).mean()))


def column(seen, kind):
    """Return one of the numbers of all fits, by classifier."""
    return {name: [getattr(one, kind) for one in all_] for name, all_ in seen.items()}


def of_control(seen):
    """Return how far the control is from itself."""
    return control_pair(column(seen, "fit"), "MLPClassifier")[0]


def alone(name, classifier, seen):
    """Return the accuracy and the seconds of one classifier."""
    fit, predict, accuracy = zip(*seen[classifier], strict=True)
    each = ", ".join(f"{value:.4f}" for value in accuracy)
    times = f"predictions {statistics.median(predict):.3g} s"
    return [
        Figure(
            f"{name}: test accuracy of {classifier}",
            statistics.mean(accuracy),
            note=each,
        ),
        Figure(
            f"{name}: fit of {classifier}, seconds", statistics.median(fit), note=times
        ),
    ]


def compared(name, other, seen):
    """Return how many times as long as ours another classifier takes."""
    return [
        Figure(
            f"{name}: {kind}, {other} / ours (time)",
            ratio(column(seen, kind), other, "ours"),
        )
        for kind in ("fit", "predict")
    ]


def soon_as_good(name, task, seen):
    """Return how many times as long as ours the others take to their own accuracy."""
    n_seeds = len(seen["ours"])
    fitted = [{EPOCHS[-1]: seen["ours"][seed]} for seed in range(n_seeds)]
    figures = []
    for other in OTHERS:
        found = [
            epochs_needed(task, seed, seen[other][seed].accuracy, fitted[seed])
            for seed in range(n_seeds)
        ]
        what = f"{name}: fit until ours is as accurate, {other} / ours (time)"
        figures.append(of_epochs(what, found, fitted, seen[other]))
    _options.show(figures)
    return figures


def epochs_needed(task, seed, accuracy, fitted):
    """Return the first number of epochs after which ours is as accurate, or None.

    Parameters
    ----------
    task : Task
    seed : int
    accuracy : float
    fitted : dict of int to Seen
        By epochs; what is not there yet is added.
    """
    for epochs in EPOCHS:
        if epochs not in fitted:
            fitted[epochs] = one_fit(ours(task.device, seed, epochs), task)
        if fitted[epochs].accuracy >= accuracy:
            return epochs
    return None


def of_epochs(what, found, fitted, others):
    """Return the ratio of the seconds, or in words that ours is not as accurate."""
    reached = [epochs for epochs in found if epochs is not None]
    note = f"ours in {', '.join(map(str, found))} epochs"
    if len(reached) < len(found):
        missed = len(found) - len(reached)
        value = f"not as accurate in {EPOCHS[-1]} epochs: {missed} of {len(found)}"
        return Figure(what, value, note=note)
    seconds = {
        "ours": [one[epochs].fit for one, epochs in zip(fitted, found, strict=True)],
        "other": [one.fit for one in others],
    }
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    note += f", {medians['ours']:.3g} s; the other {medians['other']:.3g} s"
    return Figure(what, ratio(seconds, "other", "ours"), note=note)


if __name__ == "__main__":
    run(_options.parse(__doc__))
