"""What candidates of a search are trained on: images, or what steps make of them."""

from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklearn_l2cnn._data.arrays import give_back_numbers
from sklearn_l2cnn._data.validation import check_labelled_images
from sklearn_l2cnn._search.candidates import Found, alike, sources_of, together
from sklearn_l2cnn._search.folds import indexable_images, rows_of, take
from sklearn_l2cnn._search.tasks import Mapped
from sklearn_l2cnn._utils.surroundings import undisturbed

# Where these differ, images are not the same to begin with.
_FORM = "image_shape", "channels"


class Given(NamedTuple):
    """What a search is given.

    Attributes
    ----------
    X : array-like
        Something that rows can be chosen from.
    y : ndarray of shape (n,)
    folds : list of tuple (train, test)
    params : dict
        Metadata for the fits.
    """

    X: object
    y: object
    folds: list
    params: dict


class Scored(NamedTuple):
    """What networks behind steps of a pipeline are scored on.

    Attributes
    ----------
    steps : Pipeline
        Fitted.
    prefix : str
        Of the parameters of the last step.
    parts : list of Mapped
        What the steps make of the images of the training, and of the others.
    """

    steps: object
    prefix: str
    parts: list


def last_step(estimator):
    """Return the last step of a pipeline and what its parameters begin with.

    Of an estimator that is no pipeline it is the estimator itself, and nothing.
    """
    if not isinstance(estimator, Pipeline):
        return estimator, ""
    name, step = estimator.steps[-1]
    return step, f"{name}__"


def of_images(candidates, given):
    """Return what candidates are trained on: the images that the search is given.

    Parameters
    ----------
    candidates : Candidates
    given : Given

    Returns
    -------
    found : Found
    """
    weight, folds = given.params.get("sample_weight"), dict(enumerate(given.folds))
    every = [*range(len(candidates.settings))]
    return _of_some(candidates, every, given.X, given.y, weight, folds)


def behind_steps(pipeline, settings, candidates, given):
    """Return what candidates are trained on: what steps of a pipeline make of images.

    These are fitted once for every fold and every setting of theirs.

    Parameters
    ----------
    pipeline : Pipeline
        Unfitted.
    settings : list of dict
        The parameters of the candidates, by their names in the pipeline.
    candidates : Candidates
        The last steps.
    given : Given

    Returns
    -------
    found : Found
    """
    founds, (_, prefix) = [], last_step(pipeline)
    every = range(len(settings))
    for some in alike(settings, every, lambda name, _: not name.startswith(prefix)):
        first = settings[some[0]]
        own = {n: v for n, v in first.items() if not n.startswith(prefix)}
        steps = clone(pipeline).set_params(**clone(own, safe=False))[:-1]
        for fold in range(len(given.folds)):
            try:
                found = _behind(clone(steps), prefix, candidates, some, given, fold)
            except Exception as error:  # whatever steps raise
                found = Found([], {(fold, k): error for k in some})
            founds.append(found)
    return together(founds)


def _behind(steps, prefix, candidates, some, given, fold):
    """Return what some candidates are trained on in a fold, behind steps."""
    train, test = given.folds[fold]
    params = rows_of(given.params, train, len(given.y))
    weight = params.pop(f"{prefix}sample_weight", None)
    X, others = take(given.X, train), take(given.X, test)
    y = given.y[train]
    seen = [X, others]
    if len(steps):
        images = steps.fit_transform(X, give_back_numbers(y, given.X), **params)
        # transform may differ from fit_transform
        again = candidates.score.train
        seen = [steps.transform(X) if again else images, steps.transform(others)]
        X = images
    scored = Scored(steps, prefix, [Mapped(indexable_images(part)) for part in seen])
    every = np.arange(len(train)), np.arange(0)
    return _of_some(candidates, some, X, y, weight, {fold: every}, scored)


def _of_some(candidates, some, X, y, weight, folds, scored=None):
    """Return what some candidates are trained on, by the form that images have to them.

    Images that all refuse are an error; what some refuse, these fail at.
    """
    founds = []
    groups = alike(candidates.settings, some, lambda name, _: name in _FORM)
    for own in groups:
        try:
            with undisturbed():
                clf = candidates.common(own)
                labelled = check_labelled_images(clf, X, y, weight)
                found = sources_of(candidates, labelled, folds, False, own, scored)
        except candidates.failures as error:
            if len(groups) == 1:
                raise
            found = Found([], {(fold, k): error for fold in folds for k in own})
        founds.append(found)
    return together(founds)
