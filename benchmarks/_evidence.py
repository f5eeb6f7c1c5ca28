r"""Strengths of L2 that the training data prefer, found in training.

L2 is a Gaussian prior of precision :math:`\delta = n \alpha` on the weights of a layer,
and the probability of the labels, the weights integrated out, is the evidence for it.
By Laplace's approximation its logarithm is

.. math:: -\sum_i \ell_i - \frac{1}{2} \sum_l \delta_l \|W_l\|^2
    - \frac{1}{2} \log\det\Big(I + \sum_l K_l / \delta_l\Big),

with :math:`K_l` the products of the rows :math:`\Lambda_i^{1/2} J_{il}`: a row for
every image and class, J the derivatives of the logits by the weights of the layer, and
:math:`\Lambda_i` those of the loss, twice, by the logits (generalised Gauss-Newton). It
is largest where :math:`\delta_l = \gamma_l / \|W_l\|^2`, with the effective number of
parameters :math:`\gamma_l = \mathrm{tr}((I + K)^{-1} K_l / \delta_l)` (MacKay, 1992).

All layers are taken together, by the products of rows, and not each by Kronecker
factors: n images of C classes determine at most n (C - 1) directions, which products of
factors exceed many times over on few images.

`bench_evidence` says how far that goes.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from skorch.callbacks import Callback

from sklearn_l2cnn._training.batches import take_rows
from sklearn_l2cnn._training.forward import network_input
from sklearn_l2cnn._utils.layer_names import layer_of
from sklearn_l2cnn._utils.trace import at_rest

# In which sixths of a training strengths are found.
_SIXTHS = (1, 3, 5)
# Rows of the products, and the numbers that are held at a time: derivatives by the
# weights of a layer, and what all layers were given.
_ROWS = 256
_DERIVATIVES = _HELD = 1 << 28
_AT_ONCE = 50
# Steps towards the strengths where the evidence is largest.
_STEPS = 5
_SMALLEST, _LARGEST = 1e-8, 1e2


class Evidence(NamedTuple):
    """What the data say of the strengths of a penalty.

    Attributes
    ----------
    alpha : dict of float
        The strengths that are better, by the names of layers.
    effective : dict of float
        How many parameters the data determine, by the names of layers.
    """

    alpha: dict
    effective: dict


class StrengthsByEvidence(Callback):
    """Give every layer the strength that the evidence asks for, three times a training.

    The estimator has plain L2 in the loss, with a strength to begin with.

    Parameters
    ----------
    n_images : float, default=None
        The sum of the sample weights, if an image of weight 2 is two images; None is
        the number of images.
    """

    def __init__(self, n_images=None):
        self.n_images = n_images

    def on_train_begin(self, net, **kwargs):
        """Begin with the strength that there is."""
        self.found_ = []

    def on_epoch_end(self, net, dataset_train, **kwargs):
        """Let training go on with the strengths that are better by now."""
        epoch, X = len(net.history), dataset_train.X
        if epoch not in update_epochs(net.max_epochs):
            return
        n_images = len(X) if self.n_images is None else self.n_images
        found = evidence_of(net, X, n_images, epoch)
        net.follow(lr=net.lr, objective=net.objective._replace(alpha=found.alpha))
        self.found_.append(found)


def update_epochs(epochs):
    """Return after which epochs of a training strengths are found.

    Examples
    --------
    >>> from benchmarks._evidence import update_epochs
    >>> update_epochs(30), update_epochs(3), update_epochs(1)
    ([5, 15, 25], [1, 2], [])
    """
    found = {-(-epochs * sixth // 6) for sixth in _SIXTHS}
    return sorted(found - {epochs})


def evidence_of(net, X, n_images, seed):
    """Return what the data say of the strengths of a net in training.

    Parameters
    ----------
    net : Net
        Whose last epoch is over.
    X : Resident
        The training data.
    n_images : float
    seed : int
        Draws the rows of the products, where there are too many.

    Returns
    -------
    found : Evidence
    """
    groups = net.objective.groups(net.module_, net.starts)
    alpha = {id(w): float(group.alpha) for group in groups for w in group.weights}
    named = [(name, w) for name, w in net.module_.named_parameters() if id(w) in alpha]
    n_rows = len(X) * net.n_classes
    largest = max(weight.numel() for _, weight in named)
    n_drawn = min(n_rows, _ROWS, max(2, _DERIVATIVES // largest))
    drawn = np.random.default_rng(seed).choice(n_rows, n_drawn, replace=False)
    drawn = torch.from_numpy(drawn).to(net.device)
    rows, classes = drawn // net.n_classes, drawn % net.n_classes
    weight = torch.ones(len(X)) if X.weight is None else X.weight
    mass = weight[rows.to(weight.device)] * (n_images / float(weight.sum()))
    images = (
        network_input(take_rows(X.images, some), *net.pixels())
        for some in rows.split(_AT_ONCE)
    )
    kernels = row_products(net.module_, images, classes, mass, dict(named))
    precisions, norms = {}, {}
    for name, weight in named:
        layer = layer_of(name)
        precisions[layer] = n_images * alpha[id(weight)]
        square = float(weight.detach().square().sum())
        norms[layer] = norms.get(layer, 0.0) + square
    bounds = n_images * _SMALLEST, n_images * _LARGEST
    better, effective = preferred(kernels, precisions, norms, n_rows, bounds)
    # as patterns, the name of a layer means those within it, which come first
    inner_first = sorted(better, key=lambda layer: -layer.count("."))
    alpha = {layer: better[layer] / n_images for layer in inner_first}
    return Evidence(alpha, effective)


# -- the arithmetic -------------------------------------------------------------------


def row_products(module, images, classes, mass, weights):
    r"""Return the products of the rows :math:`\Lambda^{1/2} J` by layers.

    Parameters
    ----------
    module : torch.nn.Module
    images : iterable of Tensor of shape (n, channels, height, width)
        Some after the others, as the network sees them.
    classes : Tensor of int of shape (m,)
        The row of every image that is taken.
    mass : Tensor of shape (m,)
        How often every image counts.
    weights : dict of Tensor
        The parameters of the network that are penalised, by name.

    Returns
    -------
    kernels : dict of Tensor of float64 of shape (m, m)
        By the names of layers, on the CPU; of the first images alone where those after
        them would take too much memory.
    """
    layers = {}
    for name in weights:
        path, _, own = name.rpartition(".")
        layers.setdefault(layer_of(name), (path, []))[1].append(own)
    followed, n_held, n_done = {layer: [] for layer in layers}, 0, 0
    with at_rest(module):
        for some in images:
            rows = slice(n_done, n_done + len(some))
            calls = _derivatives(module, some, classes[rows], mass[rows], layers)
            for layer, own in calls.items():
                followed[layer].append(own)
                n_held += sum(tensor.numel() for call in own for tensor in call)
            n_done = rows.stop
            if n_held > _HELD:
                break
        _check_followed(followed)
        kernels = {}
        for layer, (path, names) in layers.items():
            part = module.get_submodule(path)
            products = _products(part, names, followed.pop(layer))
            kernels[layer] = products.cpu().double()
    return kernels


def _derivatives(module, images, classes, mass, layers):
    """Return what calls of layers were given, and the derivatives by what they gave."""
    calls = {layer: [] for layer in layers}

    def follow(layer, part, inputs, output):
        if len(inputs) == 1 and isinstance(output, torch.Tensor):
            into = inputs[0].detach()
            # of what it gives before anything changes it in place
            output.register_hook(
                lambda gradient: calls[layer].append((into, gradient.detach()))
            )

    handles = [
        module.get_submodule(path).register_forward_hook(partial(follow, layer))
        for layer, (path, _) in layers.items()
    ]
    try:
        with torch.enable_grad():
            logits = module(images)
    finally:
        for handle in handles:
            handle.remove()
    shares = torch.softmax(logits.detach(), dim=1)
    one = torch.nn.functional.one_hot(classes, logits.shape[1])
    own = (shares * one).sum(dim=1, keepdim=True)
    root = (own * mass.to(own)[:, None]).sqrt() * (one - shares)
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    torch.autograd.grad((logits * root).sum(), trained, allow_unused=True)
    return calls


def _products(layer, names, batches):
    """Return the products of the derivatives by the weights of a layer."""
    calls = [call for calls in batches for call in calls]
    is_dense = type(layer) is torch.nn.Linear and names == ["weight"]
    if is_dense and len(calls) == len(batches) and calls[0][0].ndim == 2:
        into, gradient = (torch.cat(parts) for parts in zip(*calls, strict=True))
        return (into @ into.T) * (gradient @ gradient.T)
    rows = torch.cat([sum(_rows(layer, names, *call) for call in b) for b in batches])
    return rows @ rows.T


def _rows(layer, names, into, gradient):
    """Return the derivatives by the weights of a layer, one row an image."""
    weights = [getattr(layer, name) for name in names]
    rows = into.new_empty(len(into), sum(weight.numel() for weight in weights))
    for k, row in enumerate(rows):
        with torch.enable_grad():
            given = layer(into[k : k + 1])
        found = torch.autograd.grad(given, weights, gradient[k : k + 1])
        torch.cat([part.flatten() for part in found], out=row)
    return rows


def _check_followed(followed):
    missing = [layer for layer, batches in followed.items() if not all(batches)]
    if missing:
        raise ValueError(
            f"Layers are followed that are called with one tensor and give one, and "
            f"{', '.join(map(repr, missing))} of this network is not. Let penalize "
            "leave it out."
        )


def effective_numbers(kernels, precisions, n_rows):
    r"""Return the effective numbers of parameters, and the determinant of all rows.

    Where the rows are a part of all, what they come to is continued as the power of
    their number that it grows with from a half of them to the whole: at most their
    number itself, for every row adds less than the one before.

    Parameters
    ----------
    kernels : dict of Tensor of shape (m, m)
    precisions : dict of float
    n_rows : int
        How many rows there are in all.

    Returns
    -------
    effective : dict of float
    log_det : float
        :math:`\log\det(I + K)`.
    """
    names, scaled = [*kernels], [kernels[name] / precisions[name] for name in kernels]
    whole = _traces(scaled)
    m = len(scaled[0])
    if m < n_rows:
        half = m // 2
        parts = [slice(half), slice(half, 2 * half)]
        halves = sum(_traces([one[part, part] for one in scaled]) for part in parts) / 2
        growth = (torch.log(whole / halves) / np.log(m / half)).nan_to_num()
        whole = whole * (n_rows / m) ** growth.clamp(0, 1)
    *effective, log_det = whole.tolist()
    return dict(zip(names, effective, strict=True)), log_det


def _traces(kernels):
    """Return tr((I + K)^-1 K_l) of every layer, and in the end log det(I + K)."""
    identity = torch.eye(len(kernels[0]), dtype=torch.float64)
    factor = torch.linalg.cholesky(identity + sum(kernels))
    inverse = torch.cholesky_inverse(factor)
    traces = [(inverse * own).sum() for own in kernels]
    return torch.stack([*traces, 2 * factor.diagonal().log().sum()])


def preferred(kernels, precisions, norms, n_rows, bounds, steps=_STEPS):
    r"""Go towards precisions where the evidence is largest, the weights as they are.

    Every step is MacKay's: :math:`\delta_l = \gamma_l / \|W_l\|^2`.

    Parameters
    ----------
    kernels : dict of Tensor of shape (m, m)
    precisions : dict of float
        Where to start.
    norms : dict of float
        The squared norms of the weights, by layer.
    n_rows : int
        How many rows there are in all.
    bounds : tuple (smallest, largest)
        Of the precisions.
    steps : int, default=5

    Returns
    -------
    precisions, effective : dict of float
    """
    smallest, largest = bounds
    for _ in range(steps):
        effective, _ = effective_numbers(kernels, precisions, n_rows)
        precisions = {
            name: min(max(number / max(norms[name], 1e-30), smallest), largest)
            for name, number in effective.items()
        }
    return precisions, effective
