"""What is told of a search on its way: in lines, and to scikit-learn's callbacks."""

import copy
from functools import partial

from joblib import effective_n_jobs

from sklearn_l2cnn._estimator.fitting import attributes_of_epoch, lines
from sklearn_l2cnn._training.callbacks import EpochTasks
from sklearn_l2cnn._training.progress import Pace, tell, tell_net, tell_stack
from sklearn_l2cnn._utils.estimators import set_attributes


class Progress:
    """The epochs of all networks of a search: who is told of them.

    To callbacks of scikit-learn they are tasks, whether networks are trained stacked or
    one by one: epoch e of alpha k on fold f has the number
    ``(k * n_folds + f) * epochs + e``, of the most epochs that any fold takes.

    Parameters
    ----------
    template : L2CNNClassifier
    settings : list of dict
        Parameters of the networks by name.
    n_folds : int
    task : sklearn.callback.CallbackContext, default=None
        Of the whole fit, where there are callbacks.
    caller : L2CNNClassifierCV, default=None
    """

    def __init__(self, template, settings, n_folds, task=None, caller=None):
        self.template = template
        self.settings = settings
        self.n_folds = n_folds
        self.n_networks = len(settings) * n_folds
        self.caller = caller
        self.reporters, self.task, self.pace = {}, task, None

    def begin(self, epochs):
        """Tell that the search begins, each network of so many epochs at most."""
        self.epochs = epochs
        if self.task is not None:
            self.task = self.task.subcontext(
                "search",
                max_subtasks=self.n_networks * epochs,
                sequential_subtasks=False,
            )
            self.task.call_on_fit_task_begin(estimator=self.caller)
        if self.template.verbose:
            tell(
                f"Fitting {self.n_folds} fold{'s'[: self.n_folds > 1]} for each of "
                f"{len(self.settings)} {_kind(self.settings)}, totalling "
                f"{self.n_networks} networks"
            )

    def end(self):
        """Tell that it has ended."""
        if self.task is not None:
            self.task.call_on_fit_task_end(estimator=self.caller)

    def callbacks(self, k, fold):
        """Return the callback, named, that reports the epochs of a network, or none."""
        if self.task is None:
            return []
        number = k * self.n_folds + fold
        if number not in self.reporters:  # kept for a training that has to start again
            first = number * self.epochs
            reporter = EpochTasks(self.task, self.caller, first=first)
            self.reporters[number] = reporter
        return [("epoch_tasks", self.reporters[number])]

    def stack_lines(self, net, X):
        """Return what prints the lines of a stack, having told of its first net."""
        if not self.template.verbose:
            return None
        tell_net(net, X)
        self.pace = Pace(self.n_networks * self.epochs)
        return partial(tell_stack, self.pace, self.n_networks)

    def drop(self, n_epochs):
        """Take note that epochs of networks will not come."""
        if self.pace is not None:
            self.pace.advance(0, n_epochs)

    def one_by_one(self, fold, n_before, n_jobs, k, place):
        """Return the callbacks, named, of a network that is trained by itself.

        Parameters
        ----------
        fold : int
        n_before : int
            How many networks are begun before those of a path.
        n_jobs : int or None
        k : int
            Of its alpha.
        place : int
            On the path.
        """
        number = n_before + place + 1
        n_after = (self.n_networks - number) / effective_n_jobs(n_jobs)
        printed = lines(
            self.template,
            name=f"network {number} of {self.n_networks}, "
            f"{named(self.settings[k])}, fold {fold}, ",
            n_after=n_after * self.epochs,
            heading=number == 1,
        )
        return [*self.callbacks(k, fold), *printed]


class RefitProgress:
    """The epochs of the refit: who is told of them.

    Parameters
    ----------
    task : sklearn.callback.CallbackContext or None
        Of the whole fit.
    caller : L2CNNClassifierCV
    data : dict
        ``X``, ``y`` and ``metadata`` as the callbacks want them.
    found : dict
        The attributes that the search has found.
    """

    def __init__(self, task, caller, data, found):
        self.task = task
        self.caller = caller
        self.data = data
        self.found = found

    def begin(self, candidates, source):
        """Tell that networks are trained, one after the other, on all images."""
        self.candidates = candidates
        self.source = source
        self.n_networks = len(source.positions)
        if candidates.template.verbose:
            tell(f"Refitting on all images with alpha={self.found['alpha_']}")
        if self.task is not None:
            self.task = self.task.subcontext(
                "refit-with-best-params",
                max_subtasks=self.n_networks * source.epochs,
                sequential_subtasks=False,
            ).call_on_fit_task_begin(estimator=self.caller, **self.data)

    def end(self):
        """Tell that the refit has ended."""
        if self.task is not None:
            self.task.call_on_fit_task_end(estimator=self.caller, **self.data)

    def one_by_one(self, k, place):
        """Return the callbacks, named, of a network; see `Progress.one_by_one`."""
        candidates, epochs = self.candidates, self.source.epochs
        printed = lines(
            candidates.template,
            name=f"{named(candidates.settings[k])}, " if self.n_networks > 1 else "",
            n_after=(self.n_networks - place - 1) * epochs,
            heading=place == 0,
        )
        if self.task is None:
            return printed
        clf = candidates.unfitted(k)
        reporter = EpochTasks(
            self.task,
            self.caller,
            self.data,
            partial(
                self._as_if_ended,
                clf,
                attributes_of_epoch(clf, self.source.data.summary, self.source.origin),
            ),
            first=place * epochs,
        )
        return [("epoch_tasks", reporter), *printed]

    def _as_if_ended(self, clf, attributes, net):
        """Return the attributes of a search whose refit has ended with a net."""
        refitted = attributes(net)
        best = set_attributes(copy.copy(clf), refitted)
        return {**self.found, **refitted, "best_estimator_": best}


def named(setting):
    """Return parameters as ``alpha=0.1, lr=0.01``."""
    return ", ".join(f"{name}={value}" for name, value in setting.items())


def _kind(settings):
    only_alphas = all([*setting] == ["alpha"] for setting in settings)
    return "alphas" if only_alphas else "candidates"
