"""Saliency of the images of an estimator: from what the user has to maps of numbers."""

from contextlib import ExitStack, contextmanager
from numbers import Integral, Real

import numpy as np
import torch

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._data.framing import two_sides
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn._utils.sklearn_compat import Interval, StrOptions, validate_params
from sklearn_l2cnn._utils.trace import at_rest, chosen_layer
from sklearn_l2cnn.inspection._inside import look_inside
from sklearn_l2cnn.inspection._saliency import (
    chunks,
    grad_cam,
    gradient,
    integrated_gradients,
    last_convolution,
    occlusion,
)

METHODS = ("gradient", "integrated_gradients", "grad_cam", "occlusion")

_COUNT = Interval(Integral, 1, None, closed="left")
_SIDES = [_COUNT, tuple, list, None]


@validate_params(
    {
        "method": [StrOptions(set(METHODS))],
        "baseline": [StrOptions({"black", "mean"}), Real, "array-like"],
        "n_steps": [_COUNT],
        "layer": [str, Integral, None],
        "patch": _SIDES,
        "stride": _SIDES,
    },
    prefer_skip_nested_validation=True,
)
def saliency(
    estimator,
    X,
    y=None,
    *,
    method="integrated_gradients",
    baseline="black",
    n_steps=32,
    layer=None,
    patch=None,
    stride=None,
):
    r"""Say which pixels of every image speak for a class, as a map.

    What is explained is the logit :math:`f(x)` of a class, by the network alone: test
    time augmentation and lower precision play no part.

    Parameters
    ----------
    estimator : estimator
        Fitted: an ``L2CNNClassifier``, a pipeline that ends in one, a refitted search
        over one.

    X : array-like
        Images or rows, as for ``estimator.predict``. In a pipeline they pass the
        earlier steps first, and the maps are of what comes out of those.

    y : array-like of shape (n,) or label, default=None
        The class whose logit is explained, for every image or for all. None is the one
        that the network predicts.

    method : {"gradient", "integrated_gradients", "grad_cam", "occlusion"}, \
            default="integrated_gradients"

        - ``"gradient"``: :math:`|\partial f / \partial x_i|`, where a small change of
          the pixel changes most, whether up or down; of several channels the largest;
        - ``"integrated_gradients"``: how much a pixel adds to the logit on the straight
          way from `baseline` to the image; the map sums to
          :math:`f(x) - f(\text{baseline})`;
        - ``"grad_cam"``: where the maps of `layer` are that raise the logit; as coarse
          as those are, never negative;
        - ``"occlusion"``: how much of the logit is lost where a patch of `baseline`
          hides the pixel, averaged over all places of the patch that do.

    baseline : {"black", "mean"}, float or array-like, default="black"
        What an image without information looks like, for integrated gradients and
        occlusion: zeros; the mean of every channel over the training images; a number;
        or an image, of the shape that the network's classifier takes. uint8 counts as
        [0, 1], all other numbers as they are.

    n_steps : int, default=32
        Gradients on the way from the baseline, for integrated gradients.

    layer : str or int, default=None
        For Grad-CAM, by name or by number in the order in which the layers run. None
        is the last convolution.

    patch : int or tuple of int, default=None
        Height and width of what hides pixels, for occlusion. None is an eighth of each
        side of the image.

    stride : int or tuple of int, default=None
        Steps of the patch. None is half of the patch.

    Returns
    -------
    maps : ndarray of shape (n, height, width)
        In the dtype that the network computes in. Of gradients, logits for a pixel's
        step of 1, as which uint8 counts 255; of the others, logits.

    Examples
    --------
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.datasets import make_shapes
    >>> from sklearn_l2cnn.inspection import saliency
    >>> shapes = make_shapes(200, size=8, random_state=0)
    >>> clf = L2CNNClassifier(max_epochs=3, random_state=0)
    >>> clf = clf.fit(shapes.images, shapes.target)
    >>> maps = saliency(clf, shapes.images[:4], method="occlusion")
    >>> maps.shape
    (4, 8, 8)
    """
    inside = look_inside(estimator)
    images = inside.images(X)
    options = {"n_steps": n_steps, "layer": layer, "patch": patch, "stride": stride}
    return maps_of(inside, images, y, method, baseline, **options)


def maps_of(inside, images, y, method, baseline, *, n_steps, layer, patch, stride):
    """Return the maps of `saliency` for images that the classifier gets."""
    seen = inside.network_input(images)
    module = inside.module
    if method == "grad_cam":
        layer = _layer_with_maps(inside.layers(), layer)
    if method in ("integrated_gradients", "occlusion"):
        baseline = _baseline(inside, baseline)
    with _looking(module, seen.device):
        targets = _targets(inside, module, seen, y)
        if method == "gradient":
            scale = torch.as_tensor(inside.scale()).to(seen)[:, None, None]
            maps = (gradient(module, seen, targets).abs() / scale).amax(dim=1)
        elif method == "integrated_gradients":
            parts = integrated_gradients(module, seen, baseline, targets, n_steps)
            maps = parts.sum(dim=1)
        elif method == "grad_cam":
            maps = grad_cam(module, seen, targets, layer)
        else:
            patch, stride = _window(images.shape[1:3], patch, stride)
            maps = occlusion(module, seen, baseline, targets, patch, stride)
    # numpy has no bfloat16
    return on_host(maps if maps.dtype == torch.float64 else maps.float())


@contextmanager
def _looking(module, device):
    """Record gradients whatever the caller does; leave network and torch as before."""
    with ExitStack() as restore:
        restore.enter_context(at_rest(module))
        restore.enter_context(torch.inference_mode(False))
        restore.enter_context(torch.enable_grad())
        if device.type == "cuda":
            # the same sums in the same order, every time
            cudnn = torch.backends.cudnn
            for name, value in (("deterministic", True), ("benchmark", False)):
                restore.callback(setattr, cudnn, name, getattr(cudnn, name))
                setattr(cudnn, name, value)
        yield


def _targets(inside, module, seen, y):
    """Return the place in `classes_` of the class that is explained, per image."""
    classes = on_host(inside.classifier.classes_)
    if y is None:
        parts = []
        with torch.no_grad():
            for rows in chunks(len(seen), seen.shape[1:]):
                parts.append(module(seen[rows]).argmax(dim=1))
        return torch.cat(parts)
    labels = on_host(y)
    if labels.ndim == 0:
        labels = np.full(len(seen), labels)
    if labels.shape != (len(seen),):
        raise ValueError(
            f"y has shape {labels.shape}, but there are {len(seen)} images: a label "
            "for each of them, or one for all, was expected."
        )
    places = {label: place for place, label in enumerate(classes.tolist())}
    unknown = [label for label in labels.tolist() if label not in places]
    if unknown:
        raise ValueError(
            f"y has {unknown[0]!r}, which the classifier does not know: its classes_ "
            f"are {', '.join(map(repr, places))}."
        )
    found = [places[label] for label in labels.tolist()]
    return torch.tensor(found, device=seen.device)


def _baseline(inside, baseline):
    """Return the baseline as the network sees it: (channels, height, width)."""
    shape = inside.classifier.image_shape_
    if isinstance(baseline, str):
        value = inside.mean() if baseline == "mean" else 0.0
        image = np.broadcast_to(np.asarray(value, dtype=np.float64), shape)
    elif np.ndim(baseline) == 0:
        image = np.full(shape, float(baseline))
    else:
        image = as_images(
            on_host(baseline)[np.newaxis],
            channels=getattr(inside.classifier, "channels", "last"),
            expected=shape,
            name="baseline",
            estimator=inside.classifier,
        )[0]
    return inside.network_input(image[np.newaxis])[0]


def _layer_with_maps(layers, layer):
    """Return the name of a layer that gives out maps."""
    maps = [entry for entry in layers if len(entry[2]) == 3]
    if layer is None:
        layer = last_convolution(layers)
        if layer is None:
            raise ValueError(
                "method='grad_cam' needs a layer that gives out maps, and this network "
                "has no convolution. Name one with layer=, or take another method."
            )
    name, _, shape = chosen_layer(layers, layer)
    if len(shape) != 3:
        names = ", ".join(repr(entry[0]) for entry in maps)
        raise ValueError(
            f"layer={layer!r} gives out {' x '.join(map(str, shape))} numbers, but "
            "Grad-CAM needs maps, channels x height x width. Layers with maps are "
            f"{names}."
        )
    return name


def _window(size, patch, stride):
    """Return height and width of the patch of an occlusion, and of its steps."""
    if patch is None:
        patch = tuple(max(1, round(length / 8)) for length in size)
    patch = two_sides(patch, "patch")
    if any(side > length for side, length in zip(patch, size, strict=True)):
        raise ValueError(
            f"patch={patch} is larger than the images, which have "
            f"{' x '.join(map(str, size))} pixels; an eighth of a side is usual."
        )
    if stride is None:
        stride = tuple(max(1, side // 2) for side in patch)
    stride = two_sides(stride, "stride")
    if any(step > side for step, side in zip(stride, patch, strict=True)):
        raise ValueError(
            f"stride={stride} leaves out pixels between patches of patch={patch}; it "
            "can be as large as the patch at most."
        )
    return patch, stride
