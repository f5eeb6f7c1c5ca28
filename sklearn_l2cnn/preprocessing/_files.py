"""The images of files and of other sources, as an `ImageReader` reads them."""

import hashlib
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain

import numpy as np
from joblib import effective_n_jobs

from sklearn_l2cnn._data.decoding import MODES
from sklearn_l2cnn._data.files import ReadOptions, is_file, read_image, state_of
from sklearn_l2cnn._data.framing import two_sides
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn._data.sources import check_source, load_repeated
from sklearn_l2cnn._data.stores import Store
from sklearn_l2cnn._data.windows import Window, warn_about_windows
from sklearn_l2cnn._utils.identity import identity
from sklearn_l2cnn._utils.surroundings import Shared

# Number of files per task of a thread.
_FILES = 16
# Another number, in a release that reads files otherwise, makes kept images others.
_DECODING = 1
# Largest number of failures that a warning lists.
_LISTED = 100


class FileStore(Store):
    """The images of files and of other sources, as a reader reads them.

    Parameters
    ----------
    reader : ImageReader
        That is fitted.
    sources : list
    """

    def __init__(self, reader, sources):
        self.reader = reader
        self.sources = sources
        options = [getattr(reader, name) for name in ReadOptions._fields]
        self.dtype = np.dtype(reader.dtype)
        self.options = ReadOptions(*options)._replace(dtype=self.dtype)
        self.form = (*two_sides(reader.size), MODES[reader.mode])
        self.shape = (len(sources), *self._in_form(np.empty((1, *self.form))).shape[1:])

    def _in_form(self, images):
        first = self.reader.channels == "first"
        return images.transpose(0, 3, 1, 2) if first else images

    def attempt(self, rows):
        """Read some of the images in several threads.

        The error of the first failure is raised, or what could not be read is filled.
        """
        reader, sources = self.reader, [self.sources[row] for row in rows]
        fill = reader.fill
        fill = round(255 * fill) if self.dtype == np.uint8 else fill
        images = np.full((len(sources), *self.form), fill, self.dtype)
        there = np.ones(len(sources), dtype=bool)
        if reader.n_jobs is not None:
            load_repeated(sources)

        def read(start):
            failures, levels = [], []
            for k in range(start, min(start + _FILES, len(sources))):
                try:
                    images[k], found = self._read_one(sources[k], rows[k])
                    levels.append(found)
                except (OSError, ValueError) as error:
                    if reader.on_error == "raise" and is_file(sources[k]):
                        raise _with_row(error, rows[k]) from error
                    if reader.on_error == "raise":
                        raise
                    there[k] = False
                    failures.append(f"row {rows[k]}: {error}")
            return failures, levels

        n_threads = effective_n_jobs(reader.n_jobs)
        with _pillow_is_quiet, ThreadPoolExecutor(n_threads) as threads:
            # in the order of the rows; the first failure cancels what has not begun
            read_parts = list(threads.map(read, range(0, len(sources), _FILES)))
        failures, levels = map(chain.from_iterable, zip(*read_parts, strict=True))
        levels = [found for found in levels if found is not None]
        warn_about_windows(levels, reader.black, reader.white, stacklevel=6)
        _warn_about_failures([*failures], len(sources), reader.fill)
        return self._in_form(images), there

    def _read_one(self, source, row):
        """Return the image of a source, and its levels if it is a file of many bits."""
        reader = self.reader
        if is_file(source):
            return read_image(source, self.options)
        check_source(source, row)
        window = Window(reader.black_, reader.white_)
        if source.dtype.kind != "f":
            window = Window(reader.integer_black_, reader.integer_white_)
        if source.dtype == bool:
            source = np.uint8(255) * source
        name = f"Row {row} of X"
        image = as_images(source[np.newaxis], channels=reader.channels, name=name)
        return reader._apply(reader._transform, image, window)[0].numpy(), None

    def keys(self):
        """Return what every image is known by: what its file is, and how it is read."""
        import PIL

        options, channels = self.options, self.reader.channels
        how = options._replace(max_pixels=None, root=None), channels
        own = identity(_DECODING, PIL.__version__, how).encode()
        states = (state_of(source, options.root) for source in self.sources)
        return [
            state and hashlib.blake2b(own + state, digest_size=16).digest()
            for state in states
        ]

    def __repr__(self):
        return f"{len(self.sources):,} files"


def _warn_about_failures(failures, n_sources, fill):
    if not failures:
        return
    listed, more = "; ".join(failures[:_LISTED]), len(failures) - _LISTED
    warnings.warn(
        f"{len(failures)} of {n_sources} images could not be read and are "
        f"filled with {fill:g}: {listed}"
        f"{f'; and {more} more' if more > 0 else ''}",
        UserWarning,
        stacklevel=7,
    )


def _with_row(error, row):
    """Return an error of a source as one of the same kind that names its row as well.

    A number of the system is kept, which tells one kind of OSError from another.
    """
    if isinstance(error, ValueError):
        return ValueError(f"Row {row} of X: {error}")
    found = OSError(f"Row {row} of X: {error}")
    if type(error).__module__ == "builtins":
        found = type(error)(*found.args)
    found.errno = error.errno
    return found


@Shared
@contextmanager
def _pillow_is_quiet():
    """Leave out what Pillow warns of, which names no row: metadata and sizes.

    What it logs goes to handlers that a user has set, and else nowhere.
    """
    log, silence = logging.getLogger("PIL"), logging.NullHandler()
    log.addHandler(silence)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            yield
    finally:
        log.removeHandler(silence)
