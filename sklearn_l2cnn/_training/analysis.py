"""What a network does with a batch, as far as a training has to know.

A batch may be cut wherever a network treats every image by itself. That is found out by
looking at what is executed, and by trying it: networks are written by anybody.
"""

import copy
import math
from contextlib import contextmanager
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sklearn_l2cnn._training.program import program_of
from sklearn_l2cnn._training.shards import shard_bounds
from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn._utils.layers import calls_others
from sklearn_l2cnn._utils.operations import (
    Unclear,
    alike,
    on_meta,
    run,
    tagged,
    work,
)
from sklearn_l2cnn._utils.seeds import generators_kept
from sklearn_l2cnn._utils.state import remembered
from sklearn_l2cnn._utils.trace import trace

# What is tried in float64: so many images at once, and in two halves.
_TRIED = 4
_RTOL = 1e-9

_ACROSS = "it looks across the images of a batch"

_known = {}


class Analysis(NamedTuple):
    """What a network does with a batch in training.

    Attributes
    ----------
    program : callable or None
        Of `program_of`.
    draws : bool
        Whether the program draws random numbers for dropout.
    work : float
        Multiplications for one image; 0 where they could not be counted.
    whole : str or None
        Why a batch may not be cut, if it may not.
    """

    program: object
    draws: bool
    work: float
    whole: str


def analysis_of(module, image, batch_sizes, reorder=True, by_parts=False):
    """Analyse a network in the mode that it is in.

    Parameters
    ----------
    module : torch.nn.Module
        It is not run, and not changed.
    image : Tensor of shape (1, channels, height, width)
        As the network sees it.
    batch_sizes : iterable of int
        Of the batches to come, and of parts of them; none where none is to be cut.
    reorder : bool, default=True
        Whether layers may change places.
    by_parts : bool, default=False
        Whether parts that are made of layers have to run as such: then there is no
        program, which runs layers alone.

    Returns
    -------
    analysis : Analysis
    """
    if calls_others(module):
        return Analysis(None, False, 0, "it has hooks")
    sizes = tuple(batch_sizes)
    options = tuple(image.shape[1:]), image.dtype, sizes, reorder, by_parts
    # the first fit of a kind must not draw other random numbers than the next
    with generators_kept():
        return remembered(_known, module, options, lambda: _analysis(module, *options))


def looks_across_by_norms_alone(module, image, batch_sizes):
    """Say whether it is batch norm alone by which images of a batch count together.

    Parameters
    ----------
    module : torch.nn.Module
        In the mode that it is trained in.
    image : Tensor of shape (1, channels, height, width)
    batch_sizes : iterable of int
    """
    if not any(map(_looks_across, module.modules())):
        return False
    twin = copy.deepcopy(module)
    for part in [*filter(_looks_across, twin.modules()), *_dropouts(twin)]:
        part.eval()
    return analysis_of(twin, image, batch_sizes).whole is None


def _analysis(module, shape, dtype, batch_sizes, reorder, by_parts):
    try:
        norms = any(map(_looks_across, module.modules()))
        program = None
        if not by_parts:
            program = program_of(module, on_meta(module), reorder, apart=not norms)
        if norms and program is None:  # there is nothing else to find out
            return Analysis(None, False, 0, _ACROSS)
        twin = on_meta(module)
        with _without_dropout(twin):
            few = run(twin, _meta_images(_TRIED, shape, dtype))
    except Unclear as error:
        return Analysis(None, False, 0, str(error))
    except Exception as error:  # whatever another's network may raise
        return Analysis(None, False, 0, f"it does not run without values: {error}")
    if few.own_gradients:  # torch.fx would see through them
        program = None
    draws = any(part.training and part.p for part in _dropouts(module))
    whole = _why_whole(module, twin, few, batch_sizes, shape, dtype)
    if draws and program is None:
        whole = "its dropout draws random numbers"
    return Analysis(program, draws, work(few), whole)


def _looks_across(part):
    return isinstance(part, _BatchNorm) and part.training


def _meta_images(n_rows, shape, dtype):
    images = torch.empty((n_rows, *shape), dtype=dtype, device="meta")
    return images.contiguous(memory_format=torch.channels_last)


def _dropouts(module):
    return [part for part in module.modules() if type(part) is nn.Dropout]


@contextmanager
def _without_dropout(module):
    """Let layers of dropout, of which is known what they draw, do nothing."""
    parts = [part for part in _dropouts(module) if part.training]
    for part in parts:
        part.eval()
    try:
        yield
    finally:
        for part in parts:
            part.train()


def _why_whole(module, twin, few, batch_sizes, shape, dtype):
    """Say why a batch may not be cut; cheap reasons come first."""
    if not batch_sizes:
        return "it is not to be cut"
    if few.keeps:
        return "it changes tensors of its own"
    if any(map(_looks_across, module.modules())):
        return _ACROSS
    if tagged(few, torch.Tag.nondeterministic_seeded):
        return "it draws random numbers"
    try:
        if not _halves_are_the_whole(module, shape):
            return _ACROSS
        other = _size_that_differs(twin, few, batch_sizes, shape, dtype)
    except Exception as error:  # whatever another's network may raise
        return f"it cannot be tried: {first_line(error)}"
    if other is not None:
        return f"it does something else with {other} images than with {_TRIED}"
    return None


def _halves_are_the_whole(module, shape):
    """Compare logits and gradients of a few images with those of two halves."""
    twin = copy.deepcopy(module).cpu().double()
    parameters = [p for p in twin.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((_TRIED, *shape), generator=generator, dtype=torch.float64)
    halves = images.split(_TRIED // 2)
    with torch.enable_grad(), _without_dropout(twin):
        whole = twin(images)
        parts = torch.cat([twin(half) for half in halves])
        direction = torch.randn(whole.shape, generator=generator, dtype=torch.float64)
        gradients = [
            torch.autograd.grad(
                (logits * direction).sum(), parameters, allow_unused=True
            )
            for logits in (whole, parts)
        ]
    pairs = [(whole, parts), *zip(*gradients, strict=True)]
    return all(_close(one, other) for one, other in pairs)


def _size_that_differs(twin, few, batch_sizes, shape, dtype):
    """Return a size of batches or shards with which a network does something else."""
    sizes = {_TRIED // 2, *batch_sizes}
    for size in batch_sizes:
        sizes |= {b - a for a, b in pairwise(shard_bounds(size, work(few)))}
    with _without_dropout(twin):
        for size in sorted(sizes):
            if not alike(few, run(twin, _meta_images(size, shape, dtype))):
                return size
    return None


def _close(one, other):
    if one is None or other is None:  # a parameter that is not reached
        return one is other
    apart = (one - other).detach().abs()
    return bool((apart <= _RTOL * one.detach().abs().max()).all())


def check_single_images(module, image, n_rows, batch_size):
    """Raise where a batch norm would have the variance of a single number.

    Parameters
    ----------
    module : torch.nn.Module
        In the mode that it is trained in.
    image : Tensor of shape (1, channels, height, width)
    n_rows, batch_size : int
    """
    trained = {part for part in module.modules() if part.training}
    for _, layer, shape in trace(module, image):
        is_norm = isinstance(layer, _BatchNorm) and layer in trained
        if is_norm and math.prod(shape[1:]) == 1:
            raise ValueError(
                "A batch of a single image has no variance for the batch norm of this "
                f"architecture: n_samples={n_rows} distinct images, "
                f"batch_size={batch_size}. Two images and a batch size of 2 are the "
                "least; networks without batch norm, such as 'plain', take one."
            )
