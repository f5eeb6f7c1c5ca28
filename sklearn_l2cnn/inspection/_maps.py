"""Saliency maps of the images of a fitted estimator."""

from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
import torch
from torch import nn

from sklearn_l2cnn._data.arrays import on_host
from sklearn_l2cnn._data.framing import two_sides
from sklearn_l2cnn._utils.errors import check_finite
from sklearn_l2cnn._utils.sklearn_compat import Interval, StrOptions, validate_params
from sklearn_l2cnn._utils.surroundings import (
    allowed_threads,
    torch_threads,
    undisturbed,
)
from sklearn_l2cnn._utils.trace import at_rest, chosen_layer
from sklearn_l2cnn.inspection._inside import look_inside
from sklearn_l2cnn.inspection._saliency import (
    grad_cam,
    gradient,
    integrated_gradients,
    occlusion,
    rows_per_chunk,
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
@undisturbed()
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
    r"""Compute maps of the pixels of each image that speak for a class.

    The maps explain the logit :math:`f(x)` of a class by the network alone: test-time
    augmentation and lower precision have no effect.

    Parameters
    ----------
    estimator : estimator
        A fitted ``L2CNNClassifier``, a pipeline that ends in one, or a refitted search
        over one.

    X : array-like
        Images or rows, as for ``estimator.predict``. The earlier steps of a pipeline
        transform them first, and the maps are of the output of these steps.

    y : array-like of shape (n,) or label, default=None
        The class to explain, for each image or for all. None is the class that the
        network predicts.

    method : {"gradient", "integrated_gradients", "grad_cam", "occlusion"}, \
            default="integrated_gradients"

        - ``"gradient"``: :math:`|\partial f / \partial x_i|`, the effect of a small
          change of a pixel, up or down; the maximum over the channels;
        - ``"integrated_gradients"``: the amount that a pixel adds to the logit on the
          straight line from `baseline` to the image; a map sums to
          :math:`f(x) - f(\text{baseline})`;
        - ``"grad_cam"``: the positions at which the maps of `layer` raise the logit; as
          coarse as these maps, and never negative;
        - ``"occlusion"``: the decrease of the logit if a patch of `baseline` hides the
          pixel, averaged over all positions of the patch that hide it.

    baseline : {"black", "mean"}, float or array-like, default="black"
        An image without information, for integrated gradients and occlusion: zeros; the
        mean of each channel over the training images; a number; or an image, in the
        form that the classifier takes. uint8 is divided by 255, other numbers are not.

    n_steps : int, default=32
        Number of gradients on the line from the baseline, for integrated gradients.

    layer : str or int, default=None
        Name of the layer for Grad-CAM, or its index in the order in which the layers
        run. None is the last convolution.

    patch : int or tuple of int, default=None
        Height and width of the patch that hides pixels, for occlusion. None is an
        eighth of each side of the image.

    stride : int or tuple of int, default=None
        Steps of the patch. None is half of the patch.

    Returns
    -------
    maps : ndarray of shape (n, height, width)
        In the dtype of the network. Logits; for ``"gradient"`` logits per unit of a
        pixel, a unit being 255 for uint8.

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
    inputs, module = inside.network_input(inside.images(X)), inside.module
    if method == "grad_cam":
        layer = _layer_with_maps(inside.layers(), layer)
    if method in ("integrated_gradients", "occlusion"):
        baseline = _baseline(inside, baseline)
    with _recording_gradients(module, inputs.device):
        targets = _targets(inside, module, inputs, y)
        if method == "gradient":
            scale = torch.as_tensor(inside.scale()).to(inputs)[:, None, None]
            maps = (gradient(module, inputs, targets).abs() / scale).amax(dim=1)
        elif method == "integrated_gradients":
            values = integrated_gradients(module, inputs, baseline, targets, n_steps)
            maps = values.sum(dim=1)
        elif method == "grad_cam":
            maps = grad_cam(module, inputs, targets, layer)
        else:
            patch, stride = _window(inputs.shape[2:], patch, stride)
            maps = occlusion(module, inputs, baseline, targets, patch, stride)
    check_finite(maps, "The maps")
    # numpy has no bfloat16
    return on_host(maps if maps.dtype == torch.float64 else maps.float())


@contextmanager
def _recording_gradients(module, device):
    """Record gradients; restore network and torch afterwards."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    # sums in the same order every time
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        with at_rest(module), torch_threads(allowed_threads()):
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def _targets(inside, module, inputs, y):
    """Return the index in `classes_` of the class to explain, for each image."""
    if y is None:
        chunks = inputs.split(rows_per_chunk(inputs))
        with torch.no_grad():
            return torch.cat([module(chunk).argmax(dim=1) for chunk in chunks])
    labels = on_host(y)
    if labels.ndim == 0:
        labels = np.full(len(inputs), labels)
    if labels.shape != (len(inputs),):
        raise ValueError(
            f"y has shape {labels.shape}, but there are {len(inputs)} images: a label "
            "for each of them, or one for all, was expected."
        )
    labels, classes = labels.tolist(), on_host(inside.classifier.classes_).tolist()
    for label in labels:
        if label not in classes:
            raise ValueError(
                f"y has {label!r}, which the classifier does not know: its classes_ "
                f"are {', '.join(map(repr, classes))}."
            )
    return torch.tensor([classes.index(label) for label in labels]).to(inputs.device)


def _baseline(inside, baseline):
    """Return the baseline as input of the network: (channels, height, width)."""
    if isinstance(baseline, str):
        value = inside.mean() if baseline == "mean" else 0.0
    elif np.ndim(baseline) == 0:
        value = float(baseline)
    else:
        [value] = inside.checked(on_host(baseline)[np.newaxis], name="baseline")
    image = np.broadcast_to(value, inside.classifier.image_shape_)
    return inside.network_input(image[np.newaxis])[0]


def _layer_with_maps(layers, layer):
    """Return the name of a layer that outputs maps."""
    if layer is None:
        convolutions = [name for name, part, _ in layers if isinstance(part, nn.Conv2d)]
        if not convolutions:
            raise ValueError(
                "method='grad_cam' needs a layer that outputs maps, and this network "
                "has no convolution. Name one with layer=, or use another method."
            )
        layer = convolutions[-1]
    name, _, shape = chosen_layer(layers, layer)
    if len(shape) != 3:
        names = ", ".join(repr(name) for name, _, shape in layers if len(shape) == 3)
        raise ValueError(
            f"layer={layer!r} outputs {' x '.join(map(str, shape))} numbers, but "
            "Grad-CAM needs maps, channels x height x width. Layers with maps are "
            f"{names}."
        )
    return name


def _window(size, patch, stride):
    """Return the height and width of the patch of an occlusion, and its steps."""
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
            "must not be larger than the patch."
        )
    return patch, stride
