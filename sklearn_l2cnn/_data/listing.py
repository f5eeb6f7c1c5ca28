"""The files of a folder, listed again where folders in it have changed."""

import json
import math
import os
import time

from sklearn_l2cnn._utils.files import replacing
from sklearn_l2cnn._utils.identity import identity

# Seconds after a change of a folder in which another one might not show in its time.
_UNSURE = 2


def files_of_classes(path, cache=None):
    """List the files of a folder that contains one folder per class.

    Parameters
    ----------
    path : str or path
    cache : str or path, default=None
        A folder in which the listing is kept. It is used again as long as no folder in
        it has changed, which one look at each folder tells: that is much less than to
        ask for all names again, above all on a disk that is far away.

    Returns
    -------
    files : dict
        Of sorted names by folder, relative to the path: class by class, in sorted order
        but for ``"."``, which has none.
    """
    path = os.path.abspath(path)
    if cache is None:
        return _names(_listed(path))
    cache = os.path.abspath(os.path.expanduser(cache))
    os.makedirs(cache, exist_ok=True)
    kept, start = os.path.join(cache, f"{identity(path)}.listing"), time.time_ns()
    found = _kept_in(kept)
    if found is None or any(_time(path, f) != when for f, (when, _) in found.items()):
        found = _listed(path)
        newest = max(when for when, _ in found.values())
        if start - newest > _UNSURE * 1e9:
            with replacing(kept) as temporary, open(temporary, "w") as file:
                json.dump(found, file)
    return _names(found)


def _names(found):
    return {folder: names for folder, (_, names) in found.items()}


def _listed(path):
    """Return when every folder changed, and the names of the files in it."""
    with os.scandir(path) as children:
        classes = sorted(
            child.name
            for child in children
            if child.is_dir() and not child.name.startswith(".")
        )
    found = {".": (_time(path, "."), [])}
    for name in classes:
        for folder, _, names in sorted(os.walk(os.path.join(path, name))):
            relative = os.path.relpath(folder, path)
            found[relative] = _time(path, relative), sorted(names)
    return found


def _time(path, folder):
    """Return when a folder changed; what is not there always does."""
    try:
        return os.stat(os.path.join(path, folder)).st_mtime_ns
    except OSError:
        return math.inf


def _kept_in(path):
    """Return a listing that was kept, None where there is none."""
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None
