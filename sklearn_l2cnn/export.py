"""Fitted classifiers elsewhere: as one torch module, or as one ONNX graph."""

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._data.arrays import without_namespace
from sklearn_l2cnn._utils.onnx_graphs import (
    check_graph,
    graph_of,
    label_values,
    needed,
)
from sklearn_l2cnn._utils.unwrapping import SEARCHES, unwrap

__all__ = ["to_onnx", "to_torch"]

# Images of noise that a graph is tried on.
_TRIED = 8
# No file of protobuf is larger.
_MOST_BYTES = 2**31 - 2**20


def to_torch(estimator, device="cpu"):
    r"""Return a fitted estimator as one torch module, standardising and all.

    Of a classifier the module gives the probabilities

    .. math:: p(x) = \mathrm{softmax}(f((x / w - \mu) / \sigma)),

    where f is the network, :math:`\mu` and :math:`\sigma` are `channel_mean_` and
    `channel_scale_`, and w is 255 for uint8 and 1 for all other numbers. With `tta`
    they are averaged over the views. A transformer of
    :mod:`sklearn_l2cnn.preprocessing` becomes a module that transforms, and a pipeline
    the sequence of its steps.

    Parameters
    ----------
    estimator : estimator
        An :class:`~sklearn_l2cnn.L2CNNClassifier`, or another classifier with a network
        or a transformer of this package; a pipeline of such; a search over one, or a
        :class:`~sklearn.frozen.FrozenEstimator` around one. Nothing in it is changed.

    device : str or torch.device, default="cpu"
        Where the module computes.

    Returns
    -------
    module : torch.nn.Module
        In evaluation mode, on copies of all weights, which have no gradients. It takes
        a tensor as `predict` takes an array, of any numeric dtype: images, or rows. It
        can be given to ``torch.export.export`` and ``torch.compile``.

    See Also
    --------
    to_onnx : The same as a file for other programs.

    Notes
    -----
    Hooks on layers of the network are not copied. Values are not checked: of pixels
    that are no numbers the probabilities are none. How a prediction does without the
    others in its batch is not part of the module: up to rounding, it may depend on
    them.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.export import to_torch
    >>> X, y = load_digits().images, load_digits().target
    >>> clf = L2CNNClassifier(max_epochs=1, random_state=0).fit(X, y)
    >>> probabilities = to_torch(clf)(torch.from_numpy(X))
    >>> np.allclose(probabilities, clf.predict_proba(X), atol=1e-6)
    True
    """
    inner = _inner(estimator)
    if isinstance(inner, Pipeline):
        steps = [step for _, step in inner.steps if step not in (None, "passthrough")]
        return torch.nn.Sequential(*(to_torch(step, device) for step in steps))
    if not _is_ours(inner):
        raise TypeError(_message(inner, "torch module"))
    check_is_fitted(inner)
    return inner._as_module(device)


def to_onnx(estimator, path=None, *, X=None, opset=None, tolerance=1e-5):
    r"""Return a fitted classifier as an ONNX graph, standardising, labels and all.

    The graph takes pixels as they are and computes

    .. math::

        p(x) = \mathrm{softmax}(f((x / w - \mu) / \sigma)),
        \qquad y(x) = \mathrm{classes}_{\arg\max_k p_k(x)},

    where f is the network, :math:`\mu` and :math:`\sigma` are `channel_mean_` and
    `channel_scale_`, and w is 255 for uint8 and 1 for all other numbers. With `tta`
    p is averaged over the views.

    Parameters
    ----------
    estimator : estimator
        An :class:`~sklearn_l2cnn.L2CNNClassifier`, or another classifier with a network
        or a transformer of this package; a search over one, or a
        :class:`~sklearn.frozen.FrozenEstimator` around one. A
        :class:`~sklearn.pipeline.Pipeline` is converted by skl2onnx, step by step.

    path : str or path, default=None
        Where the graph is written, as ``.onnx``. What is too large for one file,
        2 GiB, gets a second one beside it, with ``.data`` added to the name.

    X : array-like, default=None
        Images or rows: the graph takes the dtype and the form that they have, and is
        tried on them. None is the dtype and the form of :meth:`fit`, and images of
        noise with the mean and the deviation of those. A pipeline or a transformer
        needs X.

    opset : int, default=None
        Version of ONNX's operators. None is what torch, or for a pipeline skl2onnx,
        chooses.

    tolerance : float or None, default=1e-5
        How far the numbers that onnxruntime finds may be from those of the estimator,
        times the largest number where that is above 1, before a RuntimeError says where
        they are. Labels must be the same. Where onnxruntime is not installed, or with
        None, nothing is compared.

    Returns
    -------
    model : onnx.ModelProto
        The graph. Its input is ``X``, with any number of rows. Its outputs are named as
        skl2onnx does it: ``label``, int64 for numbers and bools, strings otherwise, and
        ``probabilities``, float32 ``(n, n_classes)``; of a transformer ``variable``.

    See Also
    --------
    to_torch : The same as a torch module.

    Notes
    -----
    The graph computes in float32, whatever the precision of the network, except that
    floating pixels are standardised in their own precision or float64. A classifier of
    ``precision="bfloat16"`` is a little off, and needs a `tolerance` of about 0.05.

    It needs the extra ``sklearn-l2cnn[onnx]``. ``skl2onnx.to_onnx(pipeline, X[:1])``
    itself converts pipelines with the classifiers and transformers of this package,
    and compares each of their steps.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.export import to_onnx
    >>> X, y = load_digits().images, load_digits().target
    >>> clf = L2CNNClassifier(max_epochs=1, random_state=0).fit(X, y)
    >>> model = to_onnx(clf)                  # to_onnx(clf, "digits.onnx") writes it
    >>> [output.name for output in model.graph.output]
    ['label', 'probabilities']
    >>> import onnxruntime
    >>> session = onnxruntime.InferenceSession(model.SerializeToString())
    >>> labels, probabilities = session.run(None, {"X": X})
    >>> bool((labels == clf.predict(X)).all())
    True
    """
    inner = _inner(estimator)
    who = type(inner).__name__
    is_pipeline = isinstance(inner, Pipeline)
    if not (is_pipeline or _is_ours(inner)):
        raise TypeError(_message(inner, "ONNX graph"))
    check_is_fitted(inner)
    X = _images_for(inner, X, who)
    if is_pipeline:
        model = _converted(inner, X, opset)
    else:
        source = inner._graph_source()
        model = graph_of(source, _two(X), who, opset, inner._graph_advice)
    if tolerance is None:
        return _written(model, path, lambda model: None)
    expected = _answers(estimator, X, model)
    advice = _advice(inner)
    return _written(
        model,
        path,
        lambda model: check_graph(model, X, expected, who, tolerance, advice),
    )


def _inner(estimator):
    """Return what is inside a search or a FrozenEstimator."""
    if isinstance(estimator, type):
        raise TypeError(
            f"{estimator.__name__} is a class; a fitted estimator was expected, "
            f"{estimator.__name__}().fit(X, y)."
        )
    return unwrap(estimator, _is_ours, SEARCHES)[1]


def _is_ours(estimator):
    return hasattr(type(estimator), "_as_module")


def _message(estimator, what):
    return (
        f"{type(estimator).__name__} has no {what} here: a classifier with a network, "
        "or a transformer of images of sklearn_l2cnn, was expected, a search over one, "
        "or a Pipeline of such. skl2onnx.to_onnx knows scikit-learn's own."
    )


def _images_for(estimator, X, who):
    """Return the images that a graph is made for and tried on, as a numpy array."""
    if X is not None:
        X = np.ascontiguousarray(without_namespace(X))
        if X.dtype.kind not in "biuf" or not len(X):
            raise ValueError(
                f"X of shape {X.shape} and dtype {X.dtype} came; images or rows of "
                "numbers were expected, one or more of them."
            )
        return X
    if not hasattr(estimator, "_summary_"):
        raise ValueError(
            f"{who} does not know which images it gets: pass a few, X=X[:10]."
        )
    return _noise(estimator)


def _noise(clf):
    """Return images of noise like the training images, in the form that they had."""
    summary = clf._summary_
    _, mean, variance = summary.statistics
    dtype, largest = summary.unit
    shape = _TRIED, *summary.info.image_shape
    noise = np.random.RandomState(0).normal(size=shape)
    values = mean + np.sqrt(variance) * noise
    if dtype == "uint8":
        values = (255 * values).round().clip(0, 255)
    X = clf._as_X(torch.from_numpy(values.clip(-largest, largest)), summary.info.ndim)
    return X.numpy().astype(dtype)


def _two(X):
    """Return two images or more: of a single one the number would become fixed."""
    return np.concatenate([X, X]) if len(X) == 1 else X[:_TRIED]


def _converted(pipeline, X, opset):
    """Return a pipeline as a graph, by skl2onnx."""
    options = {"zipmap": False} if is_classifier(pipeline) else None
    return needed("skl2onnx").to_onnx(
        pipeline, X[:1], target_opset=opset, options=options
    )


def _answers(estimator, X, model):
    """Return what an estimator gives, by the names of the outputs of its graph."""
    methods = ["transform"]
    if is_classifier(estimator):
        methods = ["predict", "predict_proba"]
    names = [output.name for output in model.graph.output]
    expected = {}
    for name, method in zip(names, methods, strict=False):
        if hasattr(estimator, method):
            expected[name] = np.asarray(getattr(estimator, method)(X))
    if is_classifier(estimator):
        expected["label"] = label_values(expected["label"])
    return expected


def _advice(estimator):
    """Say what may be the reason where a graph is off."""
    if getattr(estimator, "precision_", None) == "bfloat16":
        return (
            "The network computes in bfloat16, and the graph in float32: with "
            "tolerance=0.05 that is no error."
        )
    return getattr(estimator, "_off_advice", "")


def _written(model, path, check):
    """Check a graph, write it where there is a path, and return it."""
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights <= _MOST_BYTES:
        check(model)
        if path is not None:
            Path(path).write_bytes(model.SerializeToString())
        return model
    if path is None:
        raise ValueError(
            f"The weights have {weights / 2**30:.1f} GiB, and a graph of more than 2 "
            "GiB needs files. Give a path."
        )
    path = Path(path)
    data = f"{path.name}.data"
    onnx = needed("onnx")
    # what has not been checked does not stay
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        onnx.save_model(
            model, Path(folder, path.name), save_as_external_data=True, location=data
        )
        check(str(Path(folder, path.name)))
        for name in (data, path.name):
            os.replace(Path(folder, name), path.with_name(name))
    onnx.load_external_data_for_model(model, str(path.parent))
    return model
