"""ImageReader: whatever stands for images, as one array of uint8."""

import contextlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral, Real

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_l2cnn._data.arrays import (
    is_tensor,
    tensor_to_numpy,
)
from sklearn_l2cnn._data.files import (
    MODES,
    Reading,
    is_file,
    is_pil,
    named,
    read_image,
    white_for,
)
from sklearn_l2cnn._data.framing import ASPECTS, two_sides
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn._data.validation import check_weight
from sklearn_l2cnn._utils.sklearn_compat import Interval, StrOptions
from sklearn_l2cnn.preprocessing._base import FORM, ImageTransformer
from sklearn_l2cnn.preprocessing._colour import to_depth
from sklearn_l2cnn.preprocessing._geometry import INTERPOLATIONS, SIZE, fitted
from sklearn_l2cnn.preprocessing._values import in_double, rounded

# Files that a thread reads before it asks for more.
_FILES = 16
# Failures that a warning lists.
_LISTED = 100
SHARE = [Interval(Real, 0, 1, closed="both")]


class ImageReader(ImageTransformer):
    """Read images of any kind and size into one array of uint8.

    Images are paths of files, the bytes of files, images of Pillow, arrays of many
    sizes, or one array. Files are turned upright as their EXIF data say and brought to
    eight bits: those of 16 bits count up to 65,535, and of floats, as of whole numbers
    that Pillow holds in memory, white is the least of 1 (of floats alone), 255 and
    65,535 that the image does not exceed. Of an animation or a file of many pages the
    first image is taken. What
    is read is what is named, and nothing else: no folder is searched, no address
    looked up. Files are opened in `transform` alone; in a search, the `memory` of a
    :class:`~sklearn.pipeline.Pipeline` keeps what was read.

    Parameters
    ----------
    size : int or tuple (height, width), default=(32, 32)
        What the images become, antialiased; an int is both sides.

    mode : {"L", "RGB", "RGBA"}, default="RGB"
        Grey, colour, or colour and alpha.

    aspect : {"crop", "pad", "stretch"}, default="crop"
        What to do where the proportions are others: ``"crop"`` takes the largest part
        in the middle that has the right ones, ``"pad"`` puts the whole image in the
        middle and fills what is left, ``"stretch"`` changes them.

    interpolation : {"nearest", "bilinear", "bicubic"}, default="bilinear"
        How values between pixels are found. Where an image becomes smaller, pixels are
        averaged over what they stand for, except with ``"nearest"``. JPEGs that
        become much smaller are decoded at a fraction of their size.

    fill : float, default=0.0
        What is around padded images, and what images that cannot be read become: 0 is
        black, 1 is white.

    background : float, default=1.0
        What is behind transparent pixels: 0 is black, 1 is white.

    root : str or path, default=None
        Folder that paths are relative to, and that none may lead out of, by links
        neither. None is the working directory, and any path may be given.

    on_error : {"raise", "fill"}, default="raise"
        What to do about images that cannot be read: raise, or warn with a list of them
        and take an image of `fill` instead.

    max_pixels : int, default=89478485
        Largest number of pixels in a file; more is refused before it is decoded, since
        a small file may be made to fill the memory. The default is Pillow's own.

    n_jobs : int, default=None
        Threads that read files. None is 1 unless in a
        :func:`joblib.parallel_backend` context, -1 is all processors.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. None
        takes a row of k * k values as a grey image of k x k pixels and any other row as
        a strip one pixel high.

    channels : {"last", "first"}, default="last"
        Where the channels stand in images of four dimensions, and in the images that
        rows are flattened from.

    Attributes
    ----------
    image_shape_ : tuple of int
        ``(height, width, channels)`` of the images, where X was one array.

    output_shape_ : tuple of int
        ``(height, width, channels)`` of what comes out.

    white_ : float
        Value that becomes 255 in arrays that are neither uint8 nor bool: the least of
        1, 255 and 65,535 that no value in fit exceeded, or else the largest of them.
        What is beyond it later, or below 0, is cut off with a warning.

    integer_white_ : float
        The same for arrays of integers, where some of many arrays in fit were floats
        and some were integers; else `white_`.

    n_features_in_ : int
        Values in an image where X was one array, 1 where it was a column.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    ImageResizer : Resizes arrays of any dtype.
    sklearn_l2cnn.datasets.read_image_folder : Lists the images in a folder.

    Examples
    --------
    >>> from PIL import Image
    >>> from sklearn_l2cnn.preprocessing import ImageReader
    >>> red = Image.new("RGB", (40, 30), "red")
    >>> blue = Image.new("RGBA", (500, 500), "blue")
    >>> X = ImageReader(size=(8, 8)).fit_transform([red, blue])
    >>> X.shape, X.dtype
    ((2, 8, 8, 3), dtype('uint8'))
    >>> X[:, 0, 0].tolist()
    [[255, 0, 0], [0, 0, 255]]
    """

    _keeps_pixels = False
    _parameter_constraints: dict = {
        "size": SIZE,
        "mode": [StrOptions(set(MODES))],
        "aspect": [StrOptions(set(ASPECTS))],
        "interpolation": [StrOptions(set(INTERPOLATIONS))],
        "fill": SHARE,
        "background": SHARE,
        "root": [str, os.PathLike, None],
        "on_error": [StrOptions({"raise", "fill"})],
        "max_pixels": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        **FORM,
    }

    def __init__(
        self,
        size=(32, 32),
        mode="RGB",
        aspect="crop",
        *,
        interpolation="bilinear",
        fill=0.0,
        background=1.0,
        root=None,
        on_error="raise",
        max_pixels=89_478_485,
        n_jobs=None,
        image_shape=None,
        channels="last",
    ):
        self.size = size
        self.mode = mode
        self.aspect = aspect
        self.interpolation = interpolation
        self.fill = fill
        self.background = background
        self.root = root
        self.on_error = on_error
        self.max_pixels = max_pixels
        self.n_jobs = n_jobs
        self.image_shape = image_shape
        self.channels = channels

    def transform(self, X):
        """Read images.

        Parameters
        ----------
        X : array-like of shape (n,) or (n, 1), or array-like of images or rows
            Paths, bytes, images of Pillow or arrays, as a list, an array, or a column
            of a data frame; or one array, of the shape that was fitted where one was.

        Returns
        -------
        X : ndarray of uint8 of shape (n, height, width, channels)
            With ``channels="first"`` (n, channels, height, width); of one array in the
            form that it had.
        """
        check_is_fitted(self)
        sources = sources_of(X)
        if sources is None and hasattr(self, "image_shape_"):
            return super().transform(X)
        if sources is None:  # one array, after a fit to files
            images = as_images(X, image_shape=self.image_shape, channels=self.channels)
            found = self._send(self._change, images).numpy()
        else:
            validate_data(
                self, X=X, reset=False, skip_check_array=True, ensure_2d=False
            )
            found = self._read(sources)
        return found if self.channels == "last" else found.transpose(0, 3, 1, 2)

    def _take_in(self, X, sample_weight, first):
        sources = sources_of(X)
        if sources is None:
            return super()._take_in(X, sample_weight, first)
        validate_data(self, X=X, reset=True, skip_check_array=True, ensure_2d=False)
        check_weight(sample_weight, np.empty(len(sources)))
        vars(self).pop("image_shape_", None)  # of an earlier fit, to one array
        if self.on_error == "raise":
            for row, source in enumerate(sources):
                _refuse_what_is_no_image(source, row)
        self.white_, self.integer_white_ = _whites(sources)
        self.n_features_in_ = 1
        self.output_shape_ = (*two_sides(self.size), MODES[self.mode])
        return self

    def _learn(self, images, weight, first):
        white = 255.0
        if images.dtype != torch.uint8:
            white = white_for(images[np.flatnonzero(weight > 0)].max())
        return {"white_": white, "integer_white_": white}

    def _send(self, change, images, white=None):
        if images.dtype == torch.uint8:
            return super()._send(change, images)
        white = self.white_ if white is None else white
        low, high = float(images.min()), float(images.max())
        if low < 0 or high > white:
            warnings.warn(
                f"Pixels from {low:g} to {high:g} were cut off at 0 and {white:g}, the "
                "white that was seen in fit.",
                UserWarning,
                stacklevel=2,
            )
        return super()._send(lambda part: change(_in_bytes(part, white)), images)

    def _change(self, images):
        images = to_depth(images, MODES[self.mode], self.background)
        options = two_sides(self.size), self.aspect
        if self.mode != "RGBA":
            return fitted(images, *options, self.fill, self.interpolation)
        if self.interpolation == "nearest":
            parts = (images[:, :3], self.fill), (images[:, 3:], 1.0)  # opaque around
            found = [fitted(part, *options, fill, "nearest") for part, fill in parts]
            return torch.cat(found, dim=1)
        # what is transparent has no colour to give to its neighbours
        share = in_double(images)
        opaque = fitted(share[:, 3:], *options, 1.0, self.interpolation)
        colour = fitted(
            share[:, :3] * share[:, 3:], *options, self.fill, self.interpolation
        )
        colour = torch.where(opaque > 0, colour / opaque, 0.0)
        return rounded(255 * torch.cat([colour, opaque], dim=1), images)

    # -- files ------------------------------------------------------------------------

    def _read(self, sources):
        """Read sources of all kinds in several threads, the first failure first."""
        reading = Reading(
            two_sides(self.size),
            self.mode,
            self.aspect,
            self.interpolation,
            self.fill,
            self.background,
            self.max_pixels,
            self.root,
        )
        shape = (len(sources), *two_sides(self.size), MODES[self.mode])
        images = np.full(shape, round(255 * self.fill), dtype=np.uint8)
        if self.n_jobs is not None:
            _load_what_comes_twice(sources)

        def read(start):
            failures = []
            for row in range(start, min(start + _FILES, len(sources))):
                try:
                    images[row] = self._one(sources[row], row, reading)
                except (OSError, ValueError) as error:
                    failures.append((row, error))
                    if self.on_error == "raise":
                        break
            return failures

        failures = []
        starts = range(0, len(sources), _FILES)
        with ThreadPoolExecutor(effective_n_jobs(self.n_jobs)) as threads:
            try:
                for found in threads.map(read, starts):
                    failures += found
                    if failures and self.on_error == "raise":
                        raise failures[0][1]
            finally:
                threads.shutdown(cancel_futures=True)
        if failures:
            warnings.warn(_filled(failures, sources, self.fill), UserWarning, 4)
        return images

    def _one(self, source, row, reading):
        if is_file(source):
            return read_image(source, reading)
        _refuse_what_is_no_image(source, row)
        white = self.white_ if source.dtype.kind == "f" else self.integer_white_
        if source.dtype == bool:
            source = np.uint8(255) * source
        name = f"Row {row} of X"
        image = as_images(source[np.newaxis], channels=self.channels, name=name)
        return self._send(self._change, image, white)[0].numpy()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # it is uint8 that comes out
        return tags


def _in_bytes(images, white):
    """Return a tensor as uint8, `white` as 255."""
    share = (images.double() / white).clamp(0, 1)
    return (255 * share).round().to(torch.uint8)


def _whites(sources):
    """Return what is white in arrays of floats, and in those of integers."""
    largest = {}
    for source in sources:
        if not isinstance(source, np.ndarray) or source.dtype in (np.uint8, bool):
            continue
        kind, values = source.dtype.kind, source[np.isfinite(source)]
        largest[kind == "f"] = max(largest.get(kind == "f", 0), values.max(initial=0))
    whites = {kind: white_for(value) for kind, value in largest.items()}
    either = next(iter(whites.values()), 1.0)
    return whites.get(True, either), whites.get(False, either)


def sources_of(X):
    """List what an array-like of images is made of, or return None for one array.

    Parameters
    ----------
    X : object

    Returns
    -------
    sources : list or None
        Paths, bytes, images of Pillow, and arrays of numpy.
    """
    if is_file(X):
        raise ValueError(
            f"X is a single image, {named(X)}; several were expected. Pass a list: [X]."
        )
    if not isinstance(X, list | tuple):
        kind = getattr(getattr(X, "dtype", None), "kind", None)
        if kind not in ("O", "U", "T", None) or not hasattr(X, "__len__"):
            return None
        X = _column(X)
        if X is None:
            return None
    if not len(X):
        raise ValueError("X is empty, it has 0 sample(s); an image is the least.")
    X = [
        source[0] if _holds_a_file(source) else tensor_to_numpy(source) for source in X
    ]
    if not any(is_file(source) or _is_image(source) for source in X):
        return None
    return X


def _column(X):
    """Return the one column of an array or frame of objects, or None for more."""
    shape = getattr(X, "shape", (len(X),))
    if len(shape) > 2 or is_tensor(X):
        return None
    if len(shape) == 2 and shape[1] > 1:
        # by position: where rows are named by numbers, a frame's slice goes by these
        first = np.asarray(getattr(X, "iloc", X)[:1], dtype=object)
        file = next((value for value in first.flat if is_file(value)), None)
        if file is None:
            return None
        raise ValueError(
            f"X has {shape[1]} columns, and one of them holds {named(file)}; one "
            "column of images was expected. Choose it by its name; where the others "
            "are needed as well, in a ColumnTransformer, by make_pipeline("
            "ImageReader(), ImagesToRows())."
        )
    X = np.asarray(X, dtype=object)
    if X.ndim == 2:
        X = X[:, 0]
    return X if X.ndim == 1 else None


def _holds_a_file(source):
    return isinstance(source, list | tuple) and len(source) == 1 and is_file(source[0])


def _is_image(source):
    return isinstance(source, np.ndarray) and source.ndim in (2, 3)


def _refuse_what_is_no_image(source, row):
    if not is_file(source) and not _is_image(source):
        raise ValueError(
            f"Row {row} of X is {source!r:.60}, of type {type(source).__name__}; a "
            "path, bytes, an image of Pillow or an array (height, width) or (height, "
            "width, channels) was expected."
        )


def _load_what_comes_twice(sources):
    """Decode images of Pillow that two threads might begin to decode at a time."""
    seen = set()
    for source in sources:
        if is_pil(source) and id(source) in seen:
            with contextlib.suppress(OSError, ValueError):
                source.load()
        seen.add(id(source))


def _filled(failures, sources, fill):
    listed = "; ".join(f"row {row}: {error}" for row, error in failures[:_LISTED])
    more = len(failures) - _LISTED
    return (
        f"{len(failures)} of {len(sources)} images could not be read and are filled "
        f"with {fill:g}: {listed}{f'; and {more} more' if more > 0 else ''}"
    )
