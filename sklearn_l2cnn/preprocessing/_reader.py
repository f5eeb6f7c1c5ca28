"""Reading images from files, bytes, Pillow images or arrays into one array."""

import copy
import os
import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_l2cnn._data.decoding import MODES
from sklearn_l2cnn._data.framing import ASPECTS, two_sides
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn._data.lazy import LazyImages
from sklearn_l2cnn._data.pixels import as_float64, cast_like, white_of
from sklearn_l2cnn._data.sources import check_source, ranges_of, sources_of
from sklearn_l2cnn._data.validation import check_weight
from sklearn_l2cnn._data.windows import Levels, Window, warn_about_windows, window_of
from sklearn_l2cnn._utils.estimators import set_attributes
from sklearn_l2cnn._utils.sklearn_compat import Interval, Options, StrOptions
from sklearn_l2cnn._utils.surroundings import usual_defaults
from sklearn_l2cnn.preprocessing._base import FORM, NUMBER, ImageTransformer
from sklearn_l2cnn.preprocessing._colour import convert_channels
from sklearn_l2cnn.preprocessing._files import FileStore
from sklearn_l2cnn.preprocessing._geometry import INTERPOLATIONS, SIZE, resize_to

SHARE = [Interval(Real, 0, 1, closed="both")]
DTYPES = {np.uint8, np.float32}


class ImageReader(ImageTransformer):
    """Read images of any kind and size into one array.

    Images are given as paths of files, the bytes of files, Pillow images, arrays of
    different sizes, or one array. Files are rotated according to their EXIF
    orientation. Of an animation or a file of several pages, only the first image is
    read; of colours Pillow reads 8 bits. Folders are not searched and URLs are not
    opened. Files are only opened in `transform`; in a search, use the `memory` of a
    :class:`~sklearn.pipeline.Pipeline` to cache the images.

    Parameters
    ----------
    size : int or tuple (height, width), default=(32, 32)
        Size of the resized images; an int is used for both sides.

    mode : {"L", "RGB", "RGBA"}, default="RGB"
        Grey, colour, or colour and alpha.

    aspect : {"crop", "pad", "stretch"}, default="crop"
        How to treat images with another aspect ratio than `size`: ``"crop"`` takes the
        largest central part that has the aspect ratio of `size`, ``"pad"`` centres the
        whole image and fills the rest, ``"stretch"`` changes the aspect ratio.

    interpolation : {"nearest", "bilinear", "bicubic"}, default="bilinear"
        Interpolation between pixels. If an image becomes smaller, pixels are averaged,
        except with ``"nearest"``. JPEG files that become much smaller are decoded at a
        fraction of their size.

    fill : float, default=0.0
        Grey level around padded images, and of images that replace unreadable ones: 0
        is black, 1 is white.

    background : float, default=1.0
        Grey level behind transparent pixels: 0 is black, 1 is white.

    black : float, default=None
        The value that is black in images of more than 8 bits and of floats; values
        below are cut off. None is 0, or the lowest value where there are negative ones.

    white : float, default=None
        The value that is white in these images, such as 4095 for 12 bits; values above
        are cut off. None is 65,535 in files of 16 bits, in all others the smallest of 1
        (floats only), 255, 1023, 4095, 16,383 and 65,535 that no value exceeds, or else
        the highest value. What is found comes from each file or Pillow image by itself,
        and for arrays from those in :meth:`fit`; a warning tells where it may be wrong.

    dtype : {"uint8", "float32"}, default="uint8"
        ``"uint8"`` has 256 levels of grey, ``"float32"`` all, from 0 to 1. To a
        classifier both mean the same: uint8 counts as [0, 1].

    root : str or path, default=None
        Folder that paths are relative to. Paths that lead out of it, also by symbolic
        links, raise an error. None is the working directory and allows any path.

    on_error : {"raise", "fill"}, default="raise"
        How to treat images that cannot be read: raise an error that names the row, or
        list them in a warning and replace each with an image of the value `fill`. Only
        regular files are opened, no pipes or devices. Images with NaN cannot be read.

    max_pixels : int, default=89478485
        Largest number of pixels in a file, and the most memory for decoding it: 4 bytes
        for each, 358 MB. Others raise an error before they are decoded, since small
        files can decode to huge images. Most formats need no more than these 4 bytes;
        WebP, AVIF, JPEG 2000 and progressive JPEG need up to 28, and may then have
        fewer pixels. Every thread needs as much. The default is that of Pillow.

    n_jobs : int, default=None
        Number of threads that read files. None means 1 unless in a
        :func:`joblib.parallel_backend` context, -1 means using all processors.

    lazy : bool, default=False
        Whether files are read when their images are needed, and not before:
        :meth:`transform` then returns :class:`sklearn_l2cnn.datasets.LazyImages`, which
        classifiers read batch by batch, in as many threads as they compute in. One
        array, which is in memory already, is transformed as ever.

    cache : str or path, default=None
        A folder in which the images of files and of bytes are kept once they have been
        decoded, so that this process, others and later ones, such as the folds of a
        search, read them as from a memory map. A file is known by its path, size and
        time of change, and by all parameters that its pixels depend on. Nothing is ever
        removed: delete the folder if it is not needed any more.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. With
        None, a row of k * k values is a grey image of k x k pixels, any other row an
        image one pixel high.

    channels : {"last", "first"}, default="last"
        Position of the channel axis in images of four dimensions, and in the images
        that rows are flattened from.

    Attributes
    ----------
    image_shape_ : tuple of int
        ``(height, width, channels)`` of the images. Defined only if X was one array.

    output_shape_ : tuple of int
        ``(height, width, channels)`` of the transformed images.

    black_, white_ : float
        What is black and white in arrays that are neither uint8 nor bool: `black` and
        `white`, or what was found in the training data. Later values beyond what was
        found are cut off with a warning.

    integer_black_, integer_white_ : float
        The same for arrays of integers, if the arrays of the training data include both
        floats and integers; else `black_` and `white_`.

    n_features_in_ : int
        Number of values in an image if X was one array, 1 if it was a column.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    ImageResizer : Resize arrays of any dtype.
    sklearn_l2cnn.datasets.read_image_folder : List the images in a folder.

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

    _parameter_constraints: dict = {
        "size": SIZE,
        "mode": [StrOptions(set(MODES))],
        "aspect": [StrOptions(set(ASPECTS))],
        "interpolation": [StrOptions(set(INTERPOLATIONS))],
        "fill": SHARE,
        "background": SHARE,
        "black": [*NUMBER, None],
        "white": [*NUMBER, None],
        "dtype": [StrOptions({"uint8", "float32"}), Options(type, DTYPES)],
        "root": [str, os.PathLike, None],
        "on_error": [StrOptions({"raise", "fill"})],
        "max_pixels": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "lazy": ["boolean"],
        "cache": [str, os.PathLike, None],
        **FORM,
    }
    _is_module = False

    def __init__(
        self,
        size=(32, 32),
        mode="RGB",
        aspect="crop",
        *,
        interpolation="bilinear",
        fill=0.0,
        background=1.0,
        black=None,
        white=None,
        dtype="uint8",
        root=None,
        on_error="raise",
        max_pixels=89_478_485,
        n_jobs=None,
        lazy=False,
        cache=None,
        image_shape=None,
        channels="last",
    ):
        self.size = size
        self.mode = mode
        self.aspect = aspect
        self.interpolation = interpolation
        self.fill = fill
        self.background = background
        self.black = black
        self.white = white
        self.dtype = dtype
        self.root = root
        self.on_error = on_error
        self.max_pixels = max_pixels
        self.n_jobs = n_jobs
        self.lazy = lazy
        self.cache = cache
        super().__init__(image_shape=image_shape, channels=channels)

    def transform(self, X):
        """Read images.

        Parameters
        ----------
        X : array-like of shape (n,) or (n, 1), or array-like of images or rows
            Paths, bytes, Pillow images, arrays, or dicts with one of these as
            ``"image"``, ``"img"``, ``"bytes"`` or ``"path"``, as a list, an array, or a
            column of a data frame; or one array, of the same shape as in :meth:`fit` if
            that was one array as well.

        Returns
        -------
        X : ndarray or LazyImages of shape (n, height, width, channels)
            Of `dtype`. With ``channels="first"`` (n, channels, height, width). If X is
            one array, in the form of X.
        """
        with usual_defaults():
            check_is_fitted(self)
            sources = sources_of(X)
            if sources is None and hasattr(self, "image_shape_"):
                return super().transform(X)
            if sources is None:  # one array, after a fit to files
                images = as_images(
                    X, image_shape=self.image_shape, channels=self.channels
                )
                found = self._apply(self._transform, images).numpy()
            else:
                validate_data(
                    self, X=X, reset=False, skip_check_array=True, ensure_2d=False
                )
                store = FileStore(copy.copy(self), sources)
                images = LazyImages(store, cache=self.cache)
                return images if self.lazy else images.read()
            return found if self.channels == "last" else found.transpose(0, 3, 1, 2)

    def _fit(self, X, sample_weight, first):
        if None not in (self.black, self.white) and not self.black < self.white:
            raise ValueError(
                f"black={self.black:g} is not below white={self.white:g}. For images "
                "in which bright is low, pass 1 - X, or their negatives."
            )
        sources = sources_of(X)
        if sources is None:
            return super()._fit(X, sample_weight, first)
        validate_data(self, X=X, reset=True, skip_check_array=True, ensure_2d=False)
        check_weight(sample_weight, np.empty(len(sources)))
        vars(self).pop("image_shape_", None)  # of an earlier fit to one array
        if self.on_error == "raise":
            for row, source in enumerate(sources):
                check_source(source, row)
        set_attributes(self, self._windows(ranges_of(sources)))
        self.n_features_in_ = 1
        self.output_shape_ = (*two_sides(self.size), MODES[self.mode])
        return self

    def _learn(self, images, weight, first):
        if images.dtype == torch.uint8:
            return self._windows({False: (0.0, 255.0)})
        seen = images[np.flatnonzero(weight > 0)]
        return self._windows({True: (float(seen.min()), float(seen.max()))})

    def _windows(self, ranges):
        """Return the fitted attributes for ranges of floats, of integers or of both."""
        given = self.black, self.white
        windows = {}
        for is_float, (low, high) in ranges.items():
            windows[is_float] = window_of(low, high, *given)
            levels = [Levels(low, high, windows[is_float])]
            warn_about_windows(levels, *given, stacklevel=5)
        either = next(iter(windows.values()), window_of(0, 0, *given))
        floats, integers = windows.get(True, either), windows.get(False, either)
        return {
            **{"black_": floats.black, "white_": floats.white},
            **{"integer_black_": integers.black, "integer_white_": integers.white},
        }

    def _apply(self, function, images, window=None):
        dtype = torch.uint8 if np.dtype(self.dtype) == np.uint8 else torch.float32
        if images.dtype == dtype == torch.uint8:
            return super()._apply(function, images)
        if images.dtype == torch.uint8:
            window = Window(0.0, 255.0)
        else:
            window = window or Window(self.black_, self.white_)
            self._warn_about_cuts(images, window)

        def scaled(part):
            shares = window.shares(part.double())
            if dtype == torch.uint8:
                return function((255 * shares).round().to(dtype))
            # bicubic interpolation goes beyond black and white
            return function(shares.to(dtype)).clamp(0, 1)

        return super()._apply(scaled, images)

    def _warn_about_cuts(self, images, window):
        """Warn of values beyond a window that was found in other images."""
        low, high = float(images.min()), float(images.max())
        below = self.black is None and low < window.black
        if below or (self.white is None and high > window.white):
            warnings.warn(
                f"Pixels from {low:g} to {high:g} were cut off at {window.black:g} and "
                f"{window.white:g}, the black and white of the training data.",
                UserWarning,
                stacklevel=3,
            )

    def _transform(self, images):
        images = convert_channels(images, MODES[self.mode], self.background)

        def resized(part, fill):
            return resize_to(part, self.size, self.aspect, fill, self.interpolation)

        if self.mode != "RGBA":
            return resized(images, self.fill)
        if self.interpolation == "nearest":
            parts = resized(images[:, :3], self.fill), resized(images[:, 3:], 1.0)
            return torch.cat(parts, dim=1)  # padding is opaque
        # weighted by alpha: transparent pixels must not tint their neighbours
        share = as_float64(images)
        opaque = resized(share[:, 3:], 1.0)
        colour = resized(share[:, :3] * share[:, 3:], self.fill)
        colour = torch.where(opaque > 0, colour / opaque, 0.0)
        both = torch.cat([colour, opaque], dim=1)
        return cast_like(white_of(images) * both, images)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # the output is of `dtype`
        return tags
