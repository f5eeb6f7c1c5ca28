"""Saving fitted estimators in one file, without pickle, and loading them.

A file of :func:`save` holds arrays and plain values; loading it executes nothing of it.
"""

import os

from sklearn_l2cnn._utils.devices import resolve_device
from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn.persistence._decoding import Decoder, ModelFileError
from sklearn_l2cnn.persistence._encoding import Encoder
from sklearn_l2cnn.persistence._file import read, write
from sklearn_l2cnn.persistence._names import trusted

__all__ = ["TRUSTED", "ModelFileError", "load", "save"]

TRUSTED = trusted()
"""The classes that ``skops.io.load(file, trusted=TRUSTED)`` has to trust."""


def save(estimator, path, *, weights_only=False):
    """Save an estimator in one file, without pickle.

    The file is one of safetensors. Its arrays are the weights, by the names of
    ``module_.state_dict()``, and whatever else is an array; parameters and other plain
    values are JSON in its header, with the release that wrote it and a checksum. It
    replaces an older file as a whole, or not at all.

    Parameters
    ----------
    estimator : estimator
        Any estimator or transformer of the package, fitted or not, or a ``Pipeline``,
        ``FeatureUnion`` or ``ColumnTransformer`` of them and of some common
        transformers and classifiers of scikit-learn. What it cannot hold is said in a
        TypeError. Networks of the user's own class are saved as their weights;
        callbacks are left out, with a warning.
    path : str or os.PathLike
    weights_only : bool, default=False
        Whether what the optimizer remembers after ``partial_fit`` is left out, two
        thirds of the file with Adam.

    See Also
    --------
    load : Load it again.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.persistence import load, save
    >>> digits = load_digits()
    >>> X, y = digits.images[:200], digits.target[:200]
    >>> clf = L2CNNClassifier(max_epochs=1, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "digits.safetensors")
    ...     save(clf, path)
    ...     again = load(path)
    >>> np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    True
    """
    encoder = Encoder(weights_only)
    document = encoder.value(estimator, type(estimator).__name__)
    write(path, document, encoder.arrays)


def load(path, *, device="auto", architecture=None):
    """Load an estimator from a file of :func:`save`.

    Nothing in the file is executed: it names classes, and only those of a fixed list
    are looked up. The memory that it takes is in proportion to its size, whatever it
    says.

    Parameters
    ----------
    path : str or os.PathLike
    device : str or torch.device, default="auto"
        Where the estimator is to compute; ``"auto"`` is the device on which it did,
        where it is there, else the best that is.
    architecture : torch.nn.Module or callable, default=None
        The network, or what makes it, of an estimator with a network of the user's own
        class; as the parameter of that name.

    Returns
    -------
    estimator : estimator
        It predicts the same, bit for bit on the same machine, and training goes on with
        ``partial_fit`` and ``warm_start``.

    Raises
    ------
    ModelFileError
        Where the file is damaged, of another kind or of a later release, where it names
        other classes, or where `architecture` is missing.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.persistence import load, save
    >>> digits = load_digits()
    >>> clf = L2CNNClassifier(max_epochs=1, random_state=0)
    >>> clf = clf.fit(digits.images[:100], digits.target[:100])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(clf, os.path.join(folder, "digits.safetensors"))
    ...     again = load(os.path.join(folder, "digits.safetensors"))
    >>> again
    L2CNNClassifier(max_epochs=1, random_state=0)
    """
    if device != "auto":
        device = resolve_device(device)
    try:
        document, array = read(path)
        decoder = Decoder(array, architecture, lambda before: _device(device, before))
        return decoder.value(document)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever files that others have written may lead to
        raise ModelFileError(
            f"{os.fspath(path)!r} cannot be loaded: {first_line(error)}"
        ) from error


def _device(wanted, before):
    """Return the device of a net that has computed on another one, as a text."""
    if wanted != "auto":
        return str(wanted)
    try:
        return str(resolve_device(before))
    except ValueError:  # it is not on this machine
        return str(resolve_device("auto"))
