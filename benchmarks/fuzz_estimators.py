"""Call every estimator with whatever may come, and look at what must always be true.

    python -m benchmarks.fuzz_estimators --cases 10000 --seed 0 --jobs 2
    python -m benchmarks.fuzz_estimators --seed 0 --case 1234     one of them, in full

A case draws an estimator, its parameters, and some calls (fit, partial_fit, predict,
score, set_params, clone, pickle, ...) with data of which some are strange. After every
call: there is a valid result, or a documented error that was meant and says something;
an estimator whose first fit failed is not fitted, and one that was fitted predicts as
before; global state, parameters and the arrays of the caller are untouched. The exit
code is 1 where that does not hold.
"""

import argparse
import copy
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache, partial

import numpy as np
import sklearn
import torch
from sklearn.base import clone

from benchmarks._estimator_cases import (
    BAD,
    GOOD,
    Draw,
    data,
    estimator,
    labels,
    parameters,
    tiny,
)
from benchmarks._estimator_properties import (
    Finding,
    check_error,
    check_result,
    check_world,
    content,
    is_fitted,
    world,
)
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.feature_selection import prune
from sklearn_l2cnn.inspection import saliency

PREDICTIONS = "predict", "predict_proba", "predict_log_proba", "decision_function"
ON_IMAGES = (*PREDICTIONS, "transform")
# How a process that runs cases is started, before seed, start, stop and step.
COMMAND = ["-m", "benchmarks.fuzz_estimators", "--worker"]
# A case that takes so many seconds is a finding.
MOST_SECONDS = 120

WORLDS = [
    lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    lambda: torch.device("meta"),
    torch.inference_mode,
    torch.no_grad,
    lambda: warnings.catch_warnings(action="error"),
    lambda: np.errstate(all="raise"),
]


def can_dispatch():
    """Say whether arrays of other libraries may be passed on as they are.

    scipy decides when it is imported; scikit-learn before 1.8 fails at lists then.
    """
    version = tuple(map(int, sklearn.__version__.split(".")[:2]))
    return os.environ.get("SCIPY_ARRAY_API") == "1" and version >= (1, 8)


class Case:
    """An estimator on its way through some calls.

    Parameters
    ----------
    seed, number : int

    Attributes
    ----------
    told : list of str
        What was called, and how it ended.
    """

    def __init__(self, seed, number):
        self.draw = Draw([seed, number])
        draw, self.told = self.draw, []
        self.strange = draw.one_of([0.0, 0.3, 0.7])
        self.shape = draw.one_of(
            [(4, 4, 1), (4, 4, 3), (1, 5, 1), (3, 5, 2), (6, 6, 1)]
        )
        self.good = data(draw, self.shape, strange=False)
        self.expected = None
        self.dispatch = draw.chance(0.15) and can_dispatch()

    def is_strange(self):
        return self.draw.chance(self.strange)

    def run(self):
        """Make the calls; raise a `Finding` at the first that is one."""
        with sklearn.config_context(array_api_dispatch=self.dispatch):
            self.call("construct", self.construct)
            if not hasattr(self, "estimator"):
                return
            for _ in range(self.draw.rng.integers(1, 6)):
                step = self.draw.one_of(STEPS)
                step(self)

    def construct(self):
        self.estimator = estimator(self.draw, self.is_strange())
        self.told.append(repr(self.estimator)[:1000])

    def data(self):
        """Draw data for a call, often those of other calls."""
        if self.draw.chance(0.5) and not self.is_strange():
            return self.good
        shape = self.shape
        if self.draw.chance(0.1):
            shape = self.draw.one_of([(4, 4, 1), (5, 4, 1), (4, 4, 3)])
        return data(self.draw, shape, self.is_strange())

    def call(self, name, function, arguments=()):
        """Call a function, and look at all but its result."""
        before, contents = world(), [content(value) for value in arguments]
        around = self.draw.one_of(WORLDS) if self.draw.chance(0.2) else nullcontext
        result = error = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with around():
                    inside = world()
                    try:
                        result = function()
                    finally:
                        check_world(inside)
            except (Warning, FloatingPointError) as raised:  # as the caller wants it
                error = raised
                if around is nullcontext:
                    check_error(raised)
            except Finding:
                raise
            except Exception as raised:
                error = raised
                check_error(raised)
        self.told.append(f"{name}: {'ok' if error is None else repr(error)[:300]}")
        check_world(before)
        for value, known in zip(arguments, contents, strict=True):
            if content(value) != known:
                raise Finding(f"{name} has changed an array of the caller")
        return result, error

    def method(self, name, *arguments, **named):
        """Call a method, and look at what has become of the estimator."""
        if not hasattr(type(self.estimator), name):
            return
        if not hasattr(self.estimator, name):  # predict of a search without a refit
            return
        was_fitted = is_fitted(self.estimator)
        params = self.estimator.get_params(deep=False)
        given = (*arguments, *named.values())
        self.told.append(f"{name}({', '.join(map(_short, given))})")
        result, error = self.call(
            name, lambda: getattr(self.estimator, name)(*arguments, **named), given
        )
        after = self.estimator.get_params(deep=False)
        changed = [key for key in params if after[key] is not params[key]]
        if changed:
            raise Finding(f"{name} has changed the parameters {changed}")
        fits = name in ("fit", "partial_fit")
        if error is None:
            n = None if fits or name == "score" else _length(arguments[0])
            check_result(name, result, self.estimator, n)
            if not fits and not was_fitted:
                raise Finding(f"{name} of an estimator that is not fitted")
            if name in ON_IMAGES:
                self.predict_again(name, arguments, result)
        if fits and error is None:
            self.remember()
            if name == "fit" and not was_fitted:
                self.fit_again(arguments, named)
        elif is_fitted(self.estimator) != was_fitted:
            raise Finding(f"{name} that fails leaves the estimator fitted")
        elif was_fitted and error is not None:
            self.compare(name)

    def fit_again(self, arguments, named):
        """Raise where a clone learns something else, with nothing being set."""
        inner = getattr(self.estimator, "estimator", self.estimator)
        seeds = [
            getattr(part, "random_state", None) for part in (self.estimator, inner)
        ]
        seed = seeds[1] if seeds[0] is None else seeds[0]  # which replaces the other
        if not isinstance(seed, int) or self.draw.chance(0.7):
            return
        self.told.append("fit of a clone")
        before, self.estimator = self.estimator, clone(self.estimator)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.estimator.fit(*arguments, **named)
        self.compare("another fit")
        self.estimator = before

    def predict_again(self, name, arguments, result):
        """Raise where a prediction comes out otherwise with nothing being set."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = getattr(self.estimator, name)(*arguments)
        if not np.array_equal(np.asarray(again), np.asarray(result)):
            raise Finding(f"{name} comes out otherwise the second time")

    def outputs(self):
        """Return what a fitted estimator says of good images, or why not."""
        X = self.good[0]
        methods = [
            m for m in ("predict_proba", "transform") if hasattr(self.estimator, m)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                results = [getattr(self.estimator, method)(X) for method in methods]
            except (ValueError, TypeError) as error:
                return str(error)
        for method, result in zip(methods, results, strict=True):
            check_result(method, result, self.estimator, _length(X))
        return results

    def remember(self):
        self.expected = self.outputs()

    def compare(self, what):
        """Raise where the estimator says something else than before."""
        if not _equal(self.outputs(), self.expected):
            raise Finding(f"after {what} it predicts otherwise than before")


def fit(case):
    X, y, weight = case.data()
    named = {} if weight is None else {"sample_weight": weight}
    if case.draw.chance(0.1):
        X_val, y_val, _ = case.data()
        named |= {"X_val": X_val, "y_val": y_val}
    case.method("fit", X, y, **named)


def partial_fit(case):
    X, y, weight = case.data()
    classes = case.draw.one_of(
        [[0, 1, 2], [0, 1, 2], None, [], [0], ["0", "1", "2"], 3]
    )
    named = {} if weight is None else {"sample_weight": weight}
    case.method("partial_fit", X, y, classes=classes, **named)


def predict(case):
    X, _, _ = case.data()
    case.method(case.draw.one_of(ON_IMAGES), X)


def score(case):
    X, _, _ = case.data()
    # what is strange about labels is a matter of scikit-learn's metrics
    case.method("score", X, np.asarray(labels(case.draw, _length(X) or 1)))


def set_params(case):
    strange = case.is_strange()
    drawn = parameters(case.draw, GOOD, BAD, strange)
    if strange and case.draw.chance(0.2):
        drawn = {case.draw.one_of(["no_such", "augment__x", "alpha__y", ""]): 1}
    names = case.estimator.get_params()
    drawn = {key: value for key, value in drawn.items() if key in names or strange}
    case.told.append(f"set_params({drawn})"[:300])
    case.call("set_params", lambda: case.estimator.set_params(**drawn))
    case.remember()  # of tta, say, predictions depend


def cloned(case):
    twin, _ = case.call("clone", lambda: clone(case.estimator))
    if twin is not None:
        if is_fitted(twin):
            raise Finding("a clone is fitted")
        case.estimator = twin


def copied(case):
    case.call("deepcopy", lambda: _replace(case, copy.deepcopy(case.estimator)))


def pickled(case):
    try:
        state = pickle.dumps(case.estimator)
    except (pickle.PicklingError, TypeError, AttributeError):
        return  # lambdas and modules among the parameters
    case.call("pickle", lambda: _replace(case, pickle.loads(state)))


def _replace(case, twin):
    if is_fitted(case.estimator) and case.expected is not None:
        before = case.estimator
        case.estimator = twin
        try:
            case.compare("a copy")
        except Finding:
            case.estimator = before
            raise
    case.estimator = twin


def shown(case):
    case.call("repr", lambda: (repr(case.estimator), case.estimator._repr_html_()))


def pruned(case):
    fraction = case.draw.one_of([0, 0.5, 0.9, case.draw.number()])
    case.call("prune", lambda: prune(case.estimator, fraction=fraction))


def explained(case):
    X, _, _ = case.data()
    method = case.draw.one_of(
        ["gradient", "integrated_gradients", "grad_cam", "occlusion", "no_such"]
    )
    maps, error = case.call(
        "saliency",
        lambda: saliency(case.estimator, X, method=method, n_steps=2),
        (X,),
    )
    if error is None:
        check_result("saliency", maps, case.estimator, _length(X))


STEPS = [fit] * 6 + [partial_fit] * 3 + [predict] * 6 + [score, set_params] * 2
STEPS += [cloned, copied, pickled, shown, pruned, explained]


def _short(value):
    if isinstance(value, np.ndarray):
        return f"array{value.shape} {value.dtype}"
    if isinstance(value, torch.Tensor):
        return f"tensor {value.dtype} {value.layout}"
    return f"{type(value).__name__} {str(value)[:60]}".replace("\n", " ")


def _length(X):
    try:
        return len(X)
    except (TypeError, RuntimeError):  # a number, a generator, a nested tensor
        return None


def _equal(one, other):
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(map(np.array_equal, one, other))


# -- many of them ---------------------------------------------------------------------


class TooLong(Finding):
    """A case that does not end."""


@cache
def _warm_up():
    """Let torch import what it needs for a fit, which adds filters of warnings."""
    clf = L2CNNClassifier(architecture=tiny, max_epochs=1)
    clf.fit(np.eye(4, 16), [0, 1, 0, 1]).predict(np.eye(4, 16))


def run_case(seed, number):
    """Run a case; return the finding, or None, and what was called."""
    _warm_up()

    def too_long(*_):
        raise TooLong(f"takes more than {MOST_SECONDS} s")

    alarms = hasattr(signal, "SIGALRM")
    if alarms:
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(MOST_SECONDS)
    case = Case(seed, number)
    try:
        case.run()
    except Finding as finding:
        return str(finding), case.told
    except Exception as error:  # of the checks themselves, or where none was expected
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}:{last.lineno}"
        return f"{type(error).__name__} outside of a call: {where}: {error}", case.told
    finally:
        if alarms:
            signal.alarm(0)
    return None, case.told


def work(seed, numbers):
    """Run cases; print the number of each, and a line of JSON where one is found."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for number in numbers:
        print(number, flush=True)
        finding, told = run_case(seed, number)
        if finding is not None:
            print(json.dumps([number, finding, told]), flush=True)


def in_processes(seed, numbers, jobs):
    """Run cases in processes; return the findings by number."""
    shares = [numbers[k::jobs] for k in range(jobs)]
    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(partial(in_a_process, seed), shares)
        return {number: one for own in found for number, one in own.items()}


def in_a_process(seed, numbers):
    """Run cases in a process; where it dies, in another one behind that case."""
    findings = {}
    while numbers:
        bounds = map(str, (seed, numbers.start, numbers.stop, numbers.step))
        command = [sys.executable, *COMMAND, *bounds]
        at = numbers[0]
        options = {"env": os.environ | {"SCIPY_ARRAY_API": "1"}, "text": True}
        with subprocess.Popen(command, stdout=subprocess.PIPE, **options) as process:
            for line in process.stdout:
                told = json.loads(line)
                if isinstance(told, int):
                    at = told
                else:
                    findings[told[0]] = told[1]
                    report(seed, *told)
        if not process.returncode:
            return findings
        findings[at] = f"the process died with the exit code {process.returncode}"
        report(seed, at, findings[at], [])
        numbers = numbers[numbers.index(at) + 1 :]
    return findings


def report(seed, number, finding, told):
    print(f"--seed {seed} --case {number}: {finding}", flush=True)
    for line in told:
        print("   ", line)


def summary(findings):
    """Print how often each kind of finding was seen."""
    kinds = defaultdict(list)
    for number, finding in sorted(findings.items()):
        kinds[finding[:110]].append(number)
    for kind, numbers in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"{len(numbers):5}  {kind}   ({', '.join(map(str, numbers[:4]))})")


def main(arguments=None):
    """Run what the command line asks for; return the exit code."""
    if arguments is None and sys.argv[1:2] == ["--worker"]:
        seed, *numbers = map(int, sys.argv[2:])
        work(seed, range(*numbers))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--case", type=int, help="run this one alone")
    options = parser.parse_args(arguments)
    if options.case is not None:
        options.first, options.cases = options.case, 1
    start = time.perf_counter()
    numbers = range(options.first, options.first + options.cases)
    findings = in_processes(options.seed, numbers, options.jobs)
    minutes = (time.perf_counter() - start) / 60
    summary(findings)
    print(
        f"{options.cases} cases of the seed {options.seed} in {minutes:.1f} minutes, "
        f"{len(findings)} findings"
    )
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
