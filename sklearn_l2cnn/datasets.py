"""Data sets of images: included, downloaded, from folders, generated, and left there.

Each is returned as a Bunch with ``images``, uint8, and ``target``, or as
``(images, target)`` with ``return_X_y=True``. Data are only downloaded with
``download=True``.
"""

import contextlib
import io
import os
from collections import Counter
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from sklearn_l2cnn._data.decoding import MODES
from sklearn_l2cnn._data.files import ReadOptions, read_image
from sklearn_l2cnn._data.framing import ASPECTS, two_sides
from sklearn_l2cnn._data.images import pixel_names
from sklearn_l2cnn._data.lazy import LazyImages
from sklearn_l2cnn._data.listing import files_of_classes
from sklearn_l2cnn._data.windows import warn_about_windows
from sklearn_l2cnn._utils.seeds import random_state_of
from sklearn_l2cnn._utils.sklearn_compat import Interval, StrOptions, validate_params

__all__ = [
    "LazyImages",
    "load_cifar10",
    "load_digits_images",
    "load_image_folder",
    "load_mnist",
    "make_shapes",
    "read_image_folder",
]

# Common formats of photographs that Pillow reads.
_EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")


def load_digits_images(*, return_X_y=False, as_frame=False):
    """Load the digits data set of scikit-learn, 1,797 images of 8 x 8 pixels.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.
    as_frame : bool, default=False
        If True, the images are a pandas DataFrame with one column per pixel and the
        target is a pandas Series.

    Returns
    -------
    data : Bunch
        With ``images`` of shape (1797, 8, 8), uint8 from 0 to 255, ``target``,
        ``target_names`` and ``DESCR``; with `as_frame`, also ``frame``.

    Examples
    --------
    >>> from sklearn_l2cnn.datasets import load_digits_images
    >>> X, y = load_digits_images(return_X_y=True)
    >>> X.shape, X.dtype, y[:5]
    ((1797, 8, 8), dtype('uint8'), array([0, 1, 2, 3, 4]))
    """
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    about = {"target_names": list("0123456789"), "DESCR": digits.DESCR}
    return _as_bunch(images, digits.target, return_X_y, as_frame, **about)


def load_mnist(
    data_home=None, *, subset="train", download=False, return_X_y=False, as_frame=False
):
    """Load the MNIST data set of handwritten digits, grey, 28 x 28 pixels.

    Parameters
    ----------
    data_home : str or path, default=None
        Folder of torchvision's data sets, which contains ``MNIST/raw``. None uses the
        one of scikit-learn: ``SCIKIT_LEARN_DATA``, or ``~/scikit_learn_data``.
    subset : {"train", "test", "all"}, default="train"
        The 60,000 training images, the 10,000 test images, or both in this order.
    download : bool, default=False
        Whether to download the data with torchvision if they are missing.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.
    as_frame : bool, default=False
        If True, the images are a pandas DataFrame with one column per pixel and the
        target is a pandas Series.

    Returns
    -------
    data : Bunch
        With ``images`` of shape (n, 28, 28), uint8, ``target`` and ``target_names``.

    Examples
    --------
    >>> from sklearn_l2cnn.datasets import load_mnist
    >>> X, y = load_mnist(download=True, return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (60000, 28, 28)
    >>> load_mnist("an/empty/folder")
    Traceback (most recent call last):
        ...
    OSError: MNIST is not in ...Pass download=True to download it there...
    """
    from torchvision.datasets import MNIST

    # for the message: the mirror without https no longer exists
    mirror = next(m for m in MNIST.mirrors if m.startswith("https"))
    files = ", ".join(name for name, _ in MNIST.resources)
    images, target, _ = _load_from_torchvision(
        MNIST, data_home, subset, download, "MNIST/raw", f"{files} from {mirror}"
    )
    names = list("0123456789")
    return _as_bunch(images, target, return_X_y, as_frame, target_names=names)


def load_cifar10(data_home=None, *, subset="train", download=False, return_X_y=False):
    """Load the CIFAR-10 data set of colour photographs, 32 x 32 pixels, ten classes.

    Parameters
    ----------
    data_home : str or path, default=None
        Folder of torchvision's data sets, which contains ``cifar-10-batches-py``. None
        uses the one of scikit-learn: ``SCIKIT_LEARN_DATA``, or ``~/scikit_learn_data``.
    subset : {"train", "test", "all"}, default="train"
        The 50,000 training images, the 10,000 test images, or both in this order.
    download : bool, default=False
        Whether to download the data, 170 MB, with torchvision if they are missing.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With ``images`` of shape (n, 32, 32, 3), uint8, ``target`` and ``target_names``.

    Examples
    --------
    >>> from sklearn_l2cnn.datasets import load_cifar10
    >>> X, y = load_cifar10(download=True, return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (50000, 32, 32, 3)
    >>> load_cifar10("an/empty/folder")
    Traceback (most recent call last):
        ...
    OSError: CIFAR10 is not in ...Pass download=True to download it there...
    """
    from torchvision.datasets import CIFAR10

    images, target, names = _load_from_torchvision(
        CIFAR10, data_home, subset, download, CIFAR10.base_folder, CIFAR10.url
    )
    return _as_bunch(images, target, return_X_y, target_names=names)


def read_image_folder(path, *, return_X_y=False, as_frame=False, cache=None):
    """List the images of a folder that contains one folder per class.

    Files are not opened; :class:`sklearn_l2cnn.preprocessing.ImageReader` reads them.
    Names that start with a dot are ignored.

    Parameters
    ----------
    path : str or path
        ``path/cat/1.jpg``, ``path/cat/more/2.png``, ``path/dog/1.jpg`` ...
    return_X_y : bool, default=False
        Whether to return ``(paths, target)`` instead of a Bunch.
    as_frame : bool, default=False
        If True, the paths are a pandas DataFrame with a column ``path`` and the target
        is a pandas Series.
    cache : str or path, default=None
        A folder in which the listing is kept. It is used again as long as no folder of
        `path` has changed: with millions of files, or on a disk that is far away, a
        listing takes its time.

    Returns
    -------
    data : Bunch
        With ``paths``, sorted, ``target``, the class name of each path,
        ``target_names``, and ``others``, the paths of ignored files, which do not have
        the extension of an image.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_l2cnn.datasets import read_image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         (Path(folder) / name).mkdir()
    ...         (Path(folder) / name / "1.jpg").touch()
    ...     found = read_image_folder(folder)
    >>> found.target
    array(['cat', 'dog'], dtype='<U3')
    """
    path = Path(path)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise NotADirectoryError(
            f"{str(path)!r} {what}; a folder with one folder per class was expected."
        )
    paths, target, others = [], [], []
    files = files_of_classes(path, cache)
    classes = list(dict.fromkeys(folder.split(os.sep)[0] for folder in files))[1:]
    for folder, names in files.items():
        for name in names:
            if name.startswith("."):  # of operating systems and editors
                continue
            file = os.path.join(path, folder, name)
            if not name.lower().endswith(_EXTENSIONS):
                others.append(file)
                continue
            paths.append(file)
            target.append(folder.split(os.sep)[0])
    if not paths:
        raise FileNotFoundError(_no_images_message(path, classes, others))
    data = Bunch(
        paths=np.array(paths, dtype=object),
        target=np.array(target),
        target_names=sorted(set(target)),
        others=others,
    )
    if as_frame:
        import pandas as pd

        data.frame = pd.DataFrame({"path": data.paths, "target": data.target})
        data.paths, data.target = data.frame[["path"]], data.frame["target"]
    return (data.paths, data.target) if return_X_y else data


@validate_params(
    {
        "path": [str, os.PathLike],
        "size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "mode": [StrOptions(set(MODES))],
        "aspect": [StrOptions(set(ASPECTS))],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_image_folder(path, size=None, *, mode="RGB", aspect="crop", return_X_y=False):
    """Load all images of a folder that contains one folder per class.

    Parameters
    ----------
    path : str or path
        As for :func:`read_image_folder`.
    size : int or tuple (height, width), default=None
        Size of the resized images. None does not resize them; they must all have the
        same size.
    mode : {"L", "RGB", "RGBA"}, default="RGB"
        Grey, colour, or colour and alpha.
    aspect : {"crop", "pad", "stretch"}, default="crop"
        How to treat images with another aspect ratio than `size`, as in
        :class:`sklearn_l2cnn.preprocessing.ImageReader`.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With ``images`` of shape (n, height, width, channels), uint8, ``target``, the
        class name of each image, ``target_names``, ``paths`` and ``others``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sklearn_l2cnn.datasets import load_image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, colour in (("lawn", "green"), ("sky", "blue")):
    ...         (Path(folder) / name).mkdir()
    ...         Image.new("RGB", (40, 30), colour).save(Path(folder) / name / "1.png")
    ...     data = load_image_folder(folder, size=(16, 16))
    >>> data.images.shape, data.target.tolist()
    ((2, 16, 16, 3), ['lawn', 'sky'])
    """
    if size is not None:
        size = two_sides(size)
    data = read_image_folder(path)
    options = ReadOptions(size, mode, aspect)
    read = [read_image(source, options) for source in data.paths]
    images = [pixels for pixels, _ in read]
    warn_about_windows([levels for _, levels in read if levels is not None])
    sizes = Counter(image.shape[:2] for image in images)
    if len(sizes) > 1:
        shown = ", ".join(f"{h} x {w} ({n})" for (h, w), n in sizes.most_common(4))
        raise ValueError(
            f"The images in {str(path)!r} have {len(sizes)} sizes: {shown} ... Pass "
            "the size to resize them to, such as size=(64, 64)."
        )
    data = Bunch(images=np.stack(images), **data)
    return (data.images, data.target) if return_X_y else data


def make_shapes(n=300, size=16, noise=0.1, *, random_state=None, return_X_y=False):
    """Generate grey images of discs, squares, triangles and crosses, with masks.

    Parameters
    ----------
    n : int, default=300
        Number of images; the four shapes alternate.
    size : int, default=16
        Height and width, at least 8.
    noise : float, default=0.1
        Standard deviation of the Gaussian noise, where white is 1.
    random_state : int, RandomState instance or None, default=None
        Determines positions, sizes and noise. Pass an int for reproducible output
        across multiple function calls; None takes fresh entropy from the operating
        system, and leaves numpy's global generator alone.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With ``images`` of shape (n, size, size), uint8, ``target``, ``target_names``
        and ``masks``, bool of the same shape, True inside of the shapes.

    Examples
    --------
    >>> from sklearn_l2cnn.datasets import make_shapes
    >>> shapes = make_shapes(4, size=8, noise=0, random_state=0)
    >>> shapes.images.shape, shapes.target_names
    ((4, 8, 8), ['disc', 'square', 'triangle', 'cross'])
    >>> bool((shapes.masks == (shapes.images > 0)).all())
    True
    """
    if size < 8:
        raise ValueError(f"size={size} is too small; at least 8 is required.")
    rng = random_state_of(random_state)
    names = ["disc", "square", "triangle", "cross"]
    target = np.arange(n) % len(names)
    radius = rng.randint(3, max(4, size // 4 + 1), size=n)[:, np.newaxis, np.newaxis]
    middle = rng.randint(radius, size - radius, size=(n, 1, 2))
    grid = np.arange(size)
    down = grid[:, np.newaxis] - middle[:, :, :1]
    right = grid - middle[:, :, 1:]
    inside = np.maximum(abs(down), abs(right)) <= radius
    masks = np.choose(
        target[:, np.newaxis, np.newaxis],
        [
            down**2 + right**2 <= radius**2,
            inside,
            inside & (2 * abs(right) <= down + radius),
            inside & (np.minimum(abs(down), abs(right)) <= radius // 3),
        ],
    )
    values = 0.8 * masks + rng.normal(scale=noise, size=masks.shape)
    images = np.round(255 * values.clip(0, 1)).astype(np.uint8)
    return _as_bunch(images, target, return_X_y, target_names=names, masks=masks)


def _as_bunch(images, target, return_X_y, as_frame=False, **about):
    """Return a data set in the requested form."""
    data = Bunch(images=images, target=target, **about)
    if as_frame:
        import pandas as pd

        columns = pixel_names((*images.shape[1:3], 1), "last")
        data.images = pd.DataFrame(images.reshape(len(images), -1), columns=columns)
        data.target = pd.Series(target, name="target")
        data.frame = pd.concat([data.images, data.target], axis=1)
    return (data.images, data.target) if return_X_y else data


def _load_from_torchvision(kind, data_home, subset, download, place, address):
    """Load images, labels and class names of a data set of torchvision."""
    if subset not in ("train", "test", "all"):
        raise ValueError(f"subset={subset!r}; 'train', 'test' or 'all' was expected.")
    parts = {"train": [True], "test": [False], "all": [True, False]}[subset]
    home = data_home or os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
    home = Path(home).expanduser()
    quiet = io.StringIO()  # for the output of a download
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            found = [kind(str(home), train=train, download=download) for train in parts]
    except (OSError, RuntimeError, ValueError) as error:
        message = (
            f"{kind.__name__} is not in {str(home / place)!r}, or it is damaged. Pass "
            "download=True to download it there, or data_home= if torchvision has "
            f"downloaded it before: the folder that contains {place!r}."
        )
        if download:
            message = (
                f"{kind.__name__} could not be downloaded ({error}). Download "
                f"{address} on a machine with a connection and unpack it so that its "
                f"files are in {str(home / place)!r}, or pass the folder that contains "
                f"{place!r} as data_home=."
            )
        raise OSError(message) from error
    images = np.concatenate([np.asarray(part.data) for part in found])
    target = np.concatenate([np.asarray(part.targets) for part in found])
    return images, target, found[0].classes


def _no_images_message(path, classes, others):
    if not classes:
        return (
            f"{str(path)!r} has no folders in it; one folder per class was expected, "
            f"with the images in it: {str(path / 'cat' / '1.jpg')!r}."
        )
    return (
        f"{str(path)!r} has the folders {', '.join(map(repr, classes[:5]))}, but no "
        f"images in them, which end in {', '.join(_EXTENSIONS)}; {len(others)} other "
        "files were found."
    )
