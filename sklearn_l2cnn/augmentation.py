"""Augmentation: random transformations of the images in training.

All functions work on batches of tensors ``(n, channels, height, width)``, on their
device and in the units of the network: standardised, so that 0 is the mean of a channel
and 1 its standard deviation. Random numbers are drawn from torch's generator of that
device.
"""

import math
from numbers import Real
from typing import NamedTuple

import torch
from sklearn.base import BaseEstimator

from sklearn_l2cnn._data.framing import reflected
from sklearn_l2cnn._utils.estimators import EstimatorMixin
from sklearn_l2cnn._utils.sklearn_compat import Interval

__all__ = ["Augmentation"]

# Strengths of operations given by name: shares of a side, degrees, or in units of the
# standard deviation.
_STRENGTHS = {
    "flip": True,
    "shift": 0.0625,
    "crop": 0.125,
    "rotate": 15.0,
    "scale": 0.1,
    "cutout": 0.25,
    "brightness": 0.2,
    "contrast": 0.2,
    "mixup": 0.2,
}
NAMES = tuple(_STRENGTHS)

_SHARE = [Interval(Real, 0, 1, closed="left")]
_AMOUNT = [Interval(Real, 0, None, closed="left")]


class Augmentation(EstimatorMixin, BaseEstimator):
    """Strengths of augmentation, which can be tuned as in ``augment__rotate``.

    Passed to :class:`sklearn_l2cnn.L2CNNClassifier` as `augment`. The operations are
    applied in the order of the parameters.

    Colours are in the units of the network: for standardised pixels 0 is the mean
    colour and 1 the standard deviation. With ``standardize=False`` they are the pixel
    values themselves: 0 is black, and uint8 is scaled to [0, 1].

    Parameters
    ----------
    flip : bool, default=False
        Whether to mirror images left to right: each at random in the first epoch, and
        in every other epoch from then on.

    shift : float, default=0.0
        Largest shift in each direction, by whole pixels, as a share of the side. The
        vacated pixels are filled with the mean colour.

    crop : float, default=0.0
        Same as `shift`, but vacated pixels are filled with the mirror image.

    rotate : float, default=0.0
        Largest rotation in either direction, in degrees.

    scale : float, default=0.0
        Largest change in size: with 0.1, factors are between 0.9 and 1.1.

    cutout : float, default=0.0
        Side of a square filled with the mean colour, as a share of the shorter side.
        Its centre is a random pixel of the image.

    brightness : float, default=0.0
        Largest amount added to all pixels, in units of their standard deviation.

    contrast : float, default=0.0
        Largest change of the deviations from the mean of the image: with 0.2, they are
        multiplied by factors between 0.8 and 1.2.

    mixup : float, default=0.0
        Parameter a of the distribution Beta(a, a) of the share by which each image and
        its label are mixed with another.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.augmentation import Augmentation
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = L2CNNClassifier(augment=Augmentation(), max_epochs=2, random_state=0)
    >>> search = GridSearchCV(clf, {"augment__rotate": [0, 10]}, cv=2)
    >>> search.fit(X[:200], y[:200]).best_params_["augment__rotate"] in (0, 10)
    True
    """

    _parameter_constraints: dict = {
        "flip": ["boolean"],
        "shift": _SHARE,
        "crop": _SHARE,
        "rotate": _AMOUNT,
        "scale": _SHARE,
        "cutout": [Interval(Real, 0, 1, closed="both")],
        "brightness": _AMOUNT,
        "contrast": _SHARE,
        "mixup": _AMOUNT,
    }

    def __init__(
        self,
        *,
        flip=False,
        shift=0.0,
        crop=0.0,
        rotate=0.0,
        scale=0.0,
        cutout=0.0,
        brightness=0.0,
        contrast=0.0,
        mixup=0.0,
    ):
        self.flip = flip
        self.shift = shift
        self.crop = crop
        self.rotate = rotate
        self.scale = scale
        self.cutout = cutout
        self.brightness = brightness
        self.contrast = contrast
        self.mixup = mixup


class Plan(NamedTuple):
    """Operations to apply to every batch.

    Attributes
    ----------
    strengths : dict
        The parameters of an `Augmentation`.
    functions : tuple of callable
        Functions of a batch of images, which are called first. Without them, all random
        numbers are drawn on the device of the images.
    """

    strengths: dict
    functions: tuple


def plan_for(augment):
    """Convert the parameter `augment` to a plan.

    Parameters
    ----------
    augment : None, str, callable, Augmentation, or a list of these

    Returns
    -------
    plan : Plan or None
        None if there is no augmentation.
    """
    if augment is None:
        return None
    strengths, functions = Augmentation().get_params(), []
    for part in augment if isinstance(augment, list | tuple) else [augment]:
        if isinstance(part, Augmentation):
            part._validate_params()
            strengths |= {k: v for k, v in part.get_params().items() if v}
        elif isinstance(part, str) and part in _STRENGTHS:
            strengths[part] = _STRENGTHS[part]
        elif callable(part) and not isinstance(part, type):
            functions.append(part)
        else:
            raise ValueError(
                f"augment has {part!r}; one of {', '.join(map(repr, NAMES))}, an "
                "Augmentation with strengths, a transform of torchvision or another "
                "callable on a batch of images, or a list of these was expected."
            )
    if not functions and not any(strengths.values()):
        return None
    return Plan(strengths, tuple(functions))


def varied(images, plan, mirrored=None):
    """Apply the operations of a plan to a batch, except its functions and mixup.

    Parameters
    ----------
    images : Tensor of shape (n, channels, height, width)
        In the units of the network.
    plan : Plan
    mirrored : Tensor of bool of shape (n,), default=None
        Mask of the images to mirror.
    """
    amount = plan.strengths
    shape, like = images.shape, {"device": images.device, "dtype": images.dtype}
    if mirrored is not None or amount["shift"] or amount["crop"]:
        images = _move(images, mirrored, amount["shift"], amount["crop"])
    if amount["rotate"] or amount["scale"]:
        angle = _uniform(len(images), math.radians(amount["rotate"]), **like)
        factor = 1 + _uniform(len(images), amount["scale"], **like)
        images = _rotate_and_scale(images, angle, factor)
    if amount["cutout"]:
        side = round(amount["cutout"] * min(shape[2:]))
        images = images * ~_random_squares(shape, max(side, 1), images.device)
    if amount["contrast"]:
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        factor = 1 + _uniform(len(images), amount["contrast"], **like)
        images = mean + (images - mean) * factor[:, None, None, None]
    if amount["brightness"]:
        step = _uniform(len(images), amount["brightness"], **like)
        images = images + step[:, None, None, None]
    return images


def _uniform(n, limit, **like):
    """Draw n numbers from -limit to limit."""
    return (2 * torch.rand(n, **like) - 1) * limit


def _offsets(n, share, side, device):
    """Draw integer offsets, up to a share of a side but at least one pixel.

    They are always smaller than the side: a side of one pixel is not moved.
    """
    if not share:
        return torch.zeros((n, 1), dtype=torch.long, device=device)
    most = min(side - 1, max(1, round(share * side)))
    return torch.randint(-most, most + 1, (n, 1), device=device)


def _move(images, mirrored, shift, crop):
    """Mirror images and move them by whole pixels, in one indexing operation.

    Parameters
    ----------
    images : Tensor of shape (n, channels, height, width)
    mirrored : Tensor of bool of shape (n,) or None
    shift, crop : float
        Largest moves, as shares of the sides: filled with the mean colour, and with the
        mirror image.
    """
    n, _, height, width = images.shape
    device, inside, places = images.device, [], []
    for side in (height, width):
        place = torch.arange(side, device=device)
        step = _offsets(n, shift, side, device)
        place = reflected(place + _offsets(n, crop, side, device), side) + step
        if shift:
            inside.append((place >= 0) & (place < side))
        places.append(place.clamp(0, side - 1))
    rows, columns = places
    if mirrored is not None:
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    # channels last, which is the memory format of the images
    each = torch.arange(n, device=device)[:, None, None]
    chosen = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    if inside:
        chosen = chosen * (inside[0][:, :, None] & inside[1][:, None, :])[..., None]
    return chosen.permute(0, 3, 1, 2)


def _rotate_and_scale(images, angle, factor):
    """Rotate images around their centre and rescale them, filled with the mean colour.

    Parameters
    ----------
    images : Tensor of shape (n, channels, height, width)
    angle : Tensor of shape (n,)
        In radians.
    factor : Tensor of shape (n,)
        Factors above 1 enlarge.
    """
    n, _, height, width = images.shape
    cos, sin = angle.cos() / factor, angle.sin() / factor
    # the grid has sides of length 2 for images of any size
    ratio = height / width
    zero = torch.zeros_like(cos)
    lines = [[cos, -sin * ratio, zero], [sin / ratio, cos, zero]]
    matrix = torch.stack([torch.stack(line, dim=1) for line in lines], dim=1)
    grid = torch.nn.functional.affine_grid(
        matrix, (n, 1, height, width), align_corners=False
    )
    return torch.nn.functional.grid_sample(images, grid, align_corners=False)


def _random_squares(shape, side, device):
    """Draw a mask of a square for each image, of shape (n, 1, height, width)."""
    n, _, height, width = shape
    parts = []
    for whole in (height, width):
        first = torch.randint(whole, (n, 1), device=device) - side // 2
        place = torch.arange(whole, device=device)
        parts.append((place >= first) & (place < first + side))
    rows, columns = parts
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def mixed(images, labels, weight, n_classes, a):
    """Mix each image and its label with another one of the batch.

    Parameters
    ----------
    images : Tensor of shape (n, channels, height, width)
    labels : Tensor of int64 of shape (n,)
    weight : Tensor of shape (n,) or None
    n_classes : int
    a : float
        The share of the other image is drawn from Beta(a, a) and at most a half: larger
        shares s become 1 - s.

    Returns
    -------
    images : Tensor
    targets : Tensor of shape (n, n_classes)
        Shares of the classes, which sum to 1, or to 0 for images of weight 0.
    weight : Tensor of shape (n,)
    """
    n = len(labels)
    one = torch.full((n,), float(a), device=images.device, dtype=images.dtype)
    share = torch.distributions.Beta(one, one, validate_args=False).sample()
    share = torch.minimum(share, 1 - share)
    other = torch.randperm(n, device=images.device)
    part = share[:, None, None, None]
    images = images + part * (images[other] - images)
    weight = torch.ones_like(share) if weight is None else weight
    own, foreign = (1 - share) * weight, share * weight[other]
    total = own + foreign
    targets = torch.zeros((n, n_classes), device=images.device, dtype=images.dtype)
    whole = torch.where(total > 0, total, 1.0)  # 0 / 1 for images of weight 0
    targets.scatter_add_(1, labels[:, None], (own / whole)[:, None])
    targets.scatter_add_(1, labels[other, None], (foreign / whole)[:, None])
    return images, targets, total


# -- test-time augmentation -----------------------------------------------------------


def _mirror(images):
    return images.flip(3)


def _step(axis, by):
    """Return a function that moves images by one pixel, with mirrored edges."""

    def move(images):
        places = torch.arange(images.shape[axis], device=images.device) + by
        return images.index_select(axis, reflected(places, images.shape[axis]))

    return move


_VIEWS = {
    "flip": (_mirror,),
    "shift": tuple(_step(axis, by) for axis in (2, 3) for by in (-1, 1)),
}


def views_for(tta):
    """Convert the parameter `tta` to the functions that give the views of images.

    Parameters
    ----------
    tta : None, "flip", "shift", or a list of these
        For a list, the views are all combinations.

    Returns
    -------
    views : list of tuple of callable
        Functions to apply in turn; the first tuple is empty.
    """
    views = [()]
    names = [tta] if isinstance(tta, str) else [] if tta is None else tta
    if not isinstance(names, (list, tuple)):  # as torch 2.4 can trace it
        raise TypeError(
            f"tta is {tta!r}; None, 'flip', 'shift', or a list of these was expected."
        )
    for name in names:
        if name not in _VIEWS:
            raise ValueError(f"tta has {name!r}; 'flip' or 'shift' was expected.")
        views += [(*view, change) for change in _VIEWS[name] for view in views]
    return views
