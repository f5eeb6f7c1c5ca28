"""Networks of a search that are trained one by one, in several processes maybe."""

from functools import partial

from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed
from skorch.history import History

from sklearn_l2cnn._data.stored import is_stored
from sklearn_l2cnn._estimator.convergence import warn_of_the_end
from sklearn_l2cnn._estimator.data import training_data
from sklearn_l2cnn._estimator.fitting import Fitted, raise_interrupt, train_network
from sklearn_l2cnn._estimator.network import epochs_of
from sklearn_l2cnn._search.candidates import Candidates, Source
from sklearn_l2cnn._search.tasks import Mapped, SentOnce, again_if_lost
from sklearn_l2cnn._utils.devices import devices_for


def fit_one_by_one(candidates, sources, n_jobs=None, pre_dispatch="2*n_jobs"):
    """Train every network by itself, in so many processes.

    Parameters
    ----------
    candidates : Candidates
    sources : list of Source
    n_jobs : int, default=None
    pre_dispatch : int or str, default="2*n_jobs"
        As joblib has it.

    Returns
    -------
    outcomes : dict
        By fold and position; see `fit_networks`.
    """
    common, tasks, n_before = {}, [], 0
    for source in sources:
        images = source.data.train.images
        if id(images) not in common:
            common[id(images)] = _sent_once(candidates, images, n_jobs)
        order = candidates.order(source.positions)
        for path in [order] if candidates.warm else [[k] for k in order]:
            bare = source.with_images(None)
            tasks.append((common[id(images)], path, bare, n_before))
            n_before += len(path)
    found = again_if_lost(
        lambda: Parallel(n_jobs=n_jobs, pre_dispatch=pre_dispatch)(
            delayed(_fit_task)(*task) for task in tasks
        )
    )
    return {
        (source.fold, k): outcome
        for (_, path, source, _), own in zip(tasks, found, strict=True)
        for k, outcome in zip(path, own, strict=True)
    }


def _sent_once(candidates, images, n_jobs):
    n_bytes = 0
    if not is_stored(images):
        images = images.cpu()
        n_bytes = images.nbytes
    return SentOnce((candidates, Mapped(images), n_jobs), n_bytes)


def _fit_task(common, path, source, n_before):
    """Train networks one after the other; return what is kept of them."""
    candidates, images, n_jobs = common.value
    callbacks = None
    if candidates.progress is not None:
        callbacks = partial(
            candidates.progress.one_by_one, source.fold, n_before, n_jobs
        )
    source = source.with_images(images.array)
    found = []
    for clf, fitted in fit_path(candidates, path, source.data, callbacks):
        if isinstance(fitted, Fitted):
            raise_interrupt(fitted.net)
        found.append(candidates.outcome(clf, fitted, source))
    return found


def fit_path(candidates, positions, data, callbacks=None):
    """Train networks one after the other, on a warm path each from the last.

    Parameters
    ----------
    candidates : Candidates
    positions : list of int
    data : TrainingData
    callbacks : callable, default=None
        From the position of a candidate, and its place among these, to the callbacks,
        named, of its network.

    Yields
    ------
    clf : L2CNNClassifier
    fitted : Fitted or Exception
    """
    start = None
    for place, k in enumerate(positions):
        clf = candidates.unfitted(k)
        own = () if callbacks is None else callbacks(k, place)
        try:
            clf._validate_params()
            fitted = train_network(clf, data, devices_for(clf.device), start, own)
        except candidates.failures as error:
            fitted = error
        else:
            if place + 1 < len(positions):  # the last one may be kept
                raise_interrupt(fitted.net)
            if candidates.warm:
                start = fitted.net.snapshot()
                start.history = History()  # each has a history of its own
        yield clf, fitted


def refit(template, alpha, alphas, labelled, path, progress):
    """Fit a classifier with the best alpha to all images.

    A warm path is gone along again, from the largest alpha to the best: what was scored
    is what that ends with.

    Returns
    -------
    clf : L2CNNClassifier
    """
    if path == "warm":
        alphas = [other for other in alphas if other >= alpha]
    else:
        alphas = [alpha]
    settings = [{"alpha": alpha} for alpha in alphas]
    candidates = Candidates(template, settings, warm=path == "warm")
    order = candidates.order([*range(len(settings))])
    data = training_data(clone(template), labelled)
    epochs = epochs_of(template, data.train)
    source = Source(None, order, 0, data, epochs, labelled.origin)
    progress.begin(candidates, source)
    *_, (clf, fitted) = fit_path(candidates, order, data, progress.one_by_one)
    best = candidates.outcome(clf, fitted, source)
    if isinstance(best, Exception):
        raise best
    warn_of_the_end(clf, fitted)
    progress.end()
    return best
