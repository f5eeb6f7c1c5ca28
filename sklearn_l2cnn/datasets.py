"""Data sets of images: embedded, downloaded once, folders of classes, made up.

Every one is a Bunch with ``images``, uint8, and ``target``, or ``(images, target)``
with ``return_X_y=True``. Nothing is downloaded unless it is asked for.
"""

import contextlib
import io
import os
from collections import Counter
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch, check_random_state

from sklearn_l2cnn._data.files import MODES, Reading, read_image
from sklearn_l2cnn._data.framing import ASPECTS, two_sides
from sklearn_l2cnn._data.images import pixel_names
from sklearn_l2cnn._utils.sklearn_compat import Interval, StrOptions, validate_params

__all__ = [
    "load_cifar10",
    "load_digits_images",
    "load_image_folder",
    "load_mnist",
    "make_shapes",
    "read_image_folder",
]

# What Pillow reads and photographs are kept in.
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")

_CIFAR10 = "cifar-10-batches-py"


def load_digits_images(*, return_X_y=False, as_frame=False):
    """Load the 1,797 digits of 8 x 8 pixels that come with scikit-learn.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Whether the images are a data frame of pandas with a column for every pixel,
        and the target is a series.

    Returns
    -------
    data : Bunch
        With ``images`` of shape (1797, 8, 8), uint8 from 0 to 255, ``target``,
        ``target_names`` and ``DESCR``; ``frame`` with `as_frame`.

    Examples
    --------
    >>> from sklearn_l2cnn.datasets import load_digits_images
    >>> X, y = load_digits_images(return_X_y=True)
    >>> X.shape, X.dtype, y[:5]
    ((1797, 8, 8), dtype('uint8'), array([0, 1, 2, 3, 4]))
    """
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    about = Bunch(target_names=list(map(str, range(10))), DESCR=digits.DESCR)
    return _packed(images, digits.target, about, return_X_y, as_frame)


def load_mnist(
    data_home=None,
    *,
    subset="train",
    download=False,
    return_X_y=False,
    as_frame=False,
):
    """Load the handwritten digits of MNIST, 28 x 28 pixels, grey.

    Parameters
    ----------
    data_home : str or path, default=None
        Folder where torchvision keeps its data sets, with ``MNIST/raw`` in it. None is
        what scikit-learn uses: ``SCIKIT_LEARN_DATA``, or ``~/scikit_learn_data``.
    subset : {"train", "test", "all"}, default="train"
        60,000 images, 10,000, or both in this order.
    download : bool, default=False
        Whether torchvision may download what is not there.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Whether the images are a data frame of pandas with a column for every pixel.

    Returns
    -------
    data : Bunch
        With ``images`` of shape (n, 28, 28), uint8, ``target`` and ``target_names``.
    """
    from torchvision.datasets import MNIST

    # of its mirrors one is a page that is no more
    mirror = next(m for m in MNIST.mirrors if m.startswith("https"))
    files = ", ".join(name for name, _ in MNIST.resources)
    images, target, _ = _of_torchvision(
        MNIST, data_home, subset, download, "MNIST/raw", f"{files} from {mirror}"
    )
    about = Bunch(target_names=list(map(str, range(10))))
    return _packed(images, target, about, return_X_y, as_frame)


def load_cifar10(data_home=None, *, subset="train", download=False, return_X_y=False):
    """Load the photographs of CIFAR-10, 32 x 32 pixels, colour, in ten classes.

    Parameters
    ----------
    data_home : str or path, default=None
        Folder where torchvision keeps its data sets, with ``cifar-10-batches-py`` in
        it. None is what scikit-learn uses: ``SCIKIT_LEARN_DATA``, or
        ``~/scikit_learn_data``.
    subset : {"train", "test", "all"}, default="train"
        50,000 images, 10,000, or both in this order.
    download : bool, default=False
        Whether torchvision may download what is not there, 170 MB.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With ``images`` of shape (n, 32, 32, 3), uint8, ``target`` and ``target_names``.
    """
    from torchvision.datasets import CIFAR10

    images, target, names = _of_torchvision(
        CIFAR10, data_home, subset, download, _CIFAR10, CIFAR10.url
    )
    return _packed(images, target, Bunch(target_names=names), return_X_y)


def read_image_folder(path, *, return_X_y=False, as_frame=False):
    """List the images of a folder that has a folder for every class.

    Nothing is opened: :class:`sklearn_l2cnn.preprocessing.ImageReader` reads them.
    Names that begin with a dot are passed over.

    Parameters
    ----------
    path : str or path
        ``path/cat/1.jpg``, ``path/cat/more/2.png``, ``path/dog/1.jpg`` ...
    return_X_y : bool, default=False
        Whether to return ``(paths, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Whether the paths are a data frame of pandas with a column ``path``, and the
        target is a series.

    Returns
    -------
    data : Bunch
        With ``paths``, sorted, ``target``, the names of the classes, ``target_names``,
        and ``others``, the paths of files that do not end like images and were left
        out.

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
            f"{str(path)!r} {what}; a folder with folders for the classes was expected."
        )
    classes = sorted(
        child.name
        for child in path.iterdir()
        if child.is_dir() and not child.name.startswith(".")
    )
    paths, target, others = [], [], []
    for name in classes:
        for folder, _, files in sorted(os.walk(path / name)):
            for file in sorted(files):
                if file.startswith("."):
                    continue  # what systems and editors leave behind
                found = os.path.join(folder, file)
                if file.lower().endswith(IMAGE_ENDINGS):
                    paths.append(found)
                    target.append(name)
                else:
                    others.append(found)
    if not paths:
        raise FileNotFoundError(_no_images(path, classes, others))
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
    """Read all images of a folder that has a folder for every class.

    Parameters
    ----------
    path : str or path
        As for :func:`read_image_folder`.
    size : int or tuple (height, width), default=None
        What the images become, antialiased. None leaves them as they are; then all
        must have one size.
    mode : {"L", "RGB", "RGBA"}, default="RGB"
        Grey, colour, or colour and alpha.
    aspect : {"crop", "pad", "stretch"}, default="crop"
        What to do where the proportions are others, as for
        :class:`sklearn_l2cnn.preprocessing.ImageReader`.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With ``images`` of shape (n, height, width, channels), uint8, ``target``, the
        names of the classes, ``target_names``, ``paths`` and ``others``.
    """
    if size is not None:
        size = two_sides(size)
    data = read_image_folder(path)
    reading = Reading(size, mode, aspect)
    images = [read_image(source, reading) for source in data.paths]
    sizes = Counter(image.shape[:2] for image in images)
    if len(sizes) > 1:
        shown = ", ".join(f"{h} x {w} ({n})" for (h, w), n in sizes.most_common(4))
        raise ValueError(
            f"The images in {str(path)!r} have {len(sizes)} sizes: {shown} ... Give "
            "the one that they should become, such as size=(64, 64)."
        )
    images = np.stack(images)
    data = Bunch(images=images, **data)
    return (data.images, data.target) if return_X_y else data


def make_shapes(n=300, size=16, noise=0.1, *, random_state=None, return_X_y=False):
    """Make grey images of discs, squares, triangles and crosses, of a known place.

    Parameters
    ----------
    n : int, default=300
        How many; the four shapes take turns.
    size : int, default=16
        Height and width, 8 at least.
    noise : float, default=0.1
        Deviation of the noise that is added, white being 1.
    random_state : int, RandomState instance or None, default=None
        Determines places, sizes, noise.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        With ``images`` of shape (n, size, size), uint8, ``target``, ``target_names``
        and ``masks``, bool of the same shape, true where the shape is.

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
        raise ValueError(f"size={size} is too small for shapes; 8 is the least.")
    rng = check_random_state(random_state)
    names = ["disc", "square", "triangle", "cross"]
    target = np.arange(n) % len(names)
    radius = rng.randint(3, max(4, size // 4 + 1), size=n)[:, np.newaxis, np.newaxis]
    middle = rng.randint(radius, size - radius, size=(n, 1, 2))
    grid = np.arange(size)
    down = grid[np.newaxis, :, np.newaxis] - middle[:, :, :1]
    right = grid[np.newaxis, np.newaxis, :] - middle[:, :, 1:]
    inside = np.maximum(abs(down), abs(right)) <= radius
    masks = np.select(
        [target[:, np.newaxis, np.newaxis] == k for k in range(3)],
        [
            down**2 + right**2 <= radius**2,
            inside,
            inside & (2 * abs(right) <= down + radius),
        ],
        default=inside & (np.minimum(abs(down), abs(right)) <= radius // 3),
    )
    values = 0.8 * masks + rng.normal(scale=noise, size=masks.shape)
    images = np.round(255 * values.clip(0, 1)).astype(np.uint8)
    about = Bunch(target_names=names, masks=masks)
    return _packed(images, target, about, return_X_y)


def _packed(images, target, about, return_X_y, as_frame=False):
    """Return a data set in the form that is wanted."""
    data = Bunch(images=images, target=target, **about)
    if as_frame:
        import pandas as pd

        columns = pixel_names((*images.shape[1:3], 1), "last")
        data.images = pd.DataFrame(images.reshape(len(images), -1), columns=columns)
        data.target = pd.Series(target, name="target")
        data.frame = pd.concat([data.images, data.target], axis=1)
    return (data.images, data.target) if return_X_y else data


def _of_torchvision(kind, data_home, subset, download, place, address):
    """Load a data set of torchvision: images, labels, names of the classes."""
    if subset not in ("train", "test", "all"):
        raise ValueError(f"subset={subset!r}; 'train', 'test' or 'all' was expected.")
    home = data_home or os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
    home = Path(home).expanduser()
    parts = []
    for part in ("train", "test"):
        if subset in (part, "all"):
            try:
                parts.append(_quietly(kind, home, part == "train", download))
            except (OSError, RuntimeError, ValueError) as error:
                raise OSError(
                    _not_there(kind, home, download, place, address, error)
                ) from error
    images = np.concatenate([np.asarray(part.data) for part in parts])
    target = np.concatenate([np.asarray(part.targets) for part in parts])
    return images, target, parts[0].classes


def _quietly(kind, home, train, download):
    """Build a data set of torchvision, which tells how its download goes on."""
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        return kind(str(home), train=train, download=download)


def _not_there(kind, home, download, place, address, error):
    where = home / place
    if not download:
        return (
            f"{kind.__name__} is not in {str(where)!r}, or it is damaged. Pass "
            "download=True to download it there, or data_home= where torchvision has "
            f"put it before: the folder that has {place!r} in it."
        )
    return (
        f"{kind.__name__} could not be downloaded ({error}). Where there is a "
        f"connection, download {address} and unpack it so that its files lie in "
        f"{str(where)!r}, or give the folder that has {place!r} in it as data_home=."
    )


def _no_images(path, classes, others):
    if not classes:
        return (
            f"{str(path)!r} has no folders in it; one for every class was expected, "
            f"with the images in them: {str(path / 'cat' / '1.jpg')!r}."
        )
    return (
        f"{str(path)!r} has the folders {', '.join(map(repr, classes[:5]))}, but no "
        f"images in them, which end in {', '.join(IMAGE_ENDINGS)}; {len(others)} other "
        "files were found."
    )
