"""The file: safetensors, with a document and a checksum in its header."""

import hashlib
import json
import os
import stat

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn._utils.estimators import release
from sklearn_l2cnn._utils.files import replacing
from sklearn_l2cnn.persistence._decoding import ModelFileError

# Of the document. Files of later schemas are refused, those of earlier ones are read.
SCHEMA = 1


def write(path, document, arrays):
    """Write a file as a whole: whatever happens, the old one or the new one is there.

    Parameters
    ----------
    path : str or os.PathLike
    document : object
        Of plain values.
    arrays : dict of ndarray
    """
    path = os.path.abspath(os.fspath(path))
    text = json.dumps(document, allow_nan=False)
    header = {
        "format": "sklearn_l2cnn",
        "schema": str(SCHEMA),
        "version": release(),
        "document": text,
        "sha256": _digest(text, arrays.items()),
    }
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata=header)


def read(path):
    """Read a file.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    document : object
    array : callable
        Returns the array of a name.

    Raises
    ------
    ModelFileError
        Where it is no such file, or not as it was written.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ModelFileError("it is not a regular file.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != "sklearn_l2cnn":
                raise ModelFileError(
                    "it is a file of safetensors, but not of this package. The weights "
                    "of a network are loaded by pretrained=, as a state dict of torch."
                )
            _check_schema(header)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelFileError(
            f"it is no file of safetensors, or damaged ({first_line(error)})."
        ) from error
    if header.get("sha256") != _digest(header["document"], arrays.items()):
        raise ModelFileError("it is not as it was written: its checksum is another.")
    return json.loads(header["document"]), arrays.__getitem__


def _check_schema(header):
    if int(header["schema"]) > SCHEMA:
        raise ModelFileError(
            f"sklearn_l2cnn {header['version']} has written it, a later release than "
            "the one that is installed. Install that one: pip install --upgrade "
            "sklearn-l2cnn."
        )


def _digest(text, arrays):
    """Return a checksum of a document and its arrays."""
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays):
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
