"""Predictions: images go through a network in chunks, and in all threads.

What is predicted for an image does not depend on the others: chunks have sizes of which
was tried that they give an image the bits that it gets alone.
"""

import copy
import math
from contextlib import nullcontext
from functools import partial
from itertools import takewhile
from threading import Lock

import torch

from sklearn_l2cnn._data.stored import part_of
from sklearn_l2cnn._training.batches import to_tensor
from sklearn_l2cnn._training.divergence import check_lost, rows_without_probabilities
from sklearn_l2cnn._training.evaluation import evaluation_program
from sklearn_l2cnn._training.forward import lowered, network_input
from sklearn_l2cnn._training.rowwise import RowByRow
from sklearn_l2cnn._training.runtime import (
    each_in_one_thread,
    isolated,
    keep_memory,
    torch_threads,
)
from sklearn_l2cnn._training.upload import Upload
from sklearn_l2cnn._utils.layers import calls_others, without_hooks
from sklearn_l2cnn._utils.operations import on_meta, run, values_of, work
from sklearn_l2cnn._utils.state import remembered
from sklearn_l2cnn._utils.surroundings import allowed_threads

_MOST_ROWS = 256
# Numbers that a chunk has, or an operation makes of it; more leave the cache.
_MOST_VALUES = 1 << 21
# Around an operation Python and torch take as long as so many multiplications; a chunk
# has many times more of them.
_PER_OPERATION = 7e7
# With fewer multiplications for all images, it is not worth starting a thread.
_WORTH_A_THREAD = 3e7
_CUDA_FACTOR = 16

# A network is tried on so many images of noise: a few logits may be equal by chance.
_NOISE = 16

# Images after which what is wanted of their logits is all that is kept. A multiple of
# every size of a chunk.
_AT_ONCE = 1 << 16

_known = {}


class Known:
    """What is known of networks that are alike, in predictions of images of one shape.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.
    shape : tuple of int
        ``(channels, height, width)``.
    dtype : torch.dtype
        Of what the network sees.
    device : torch.device
        Where predictions are made.

    Attributes
    ----------
    program : EvaluationProgram or None
    alone : bool
        Whether a network may work in one thread at a time only, for it remembers
        something, or calls others.
    most : int
        Images in a chunk at most.
    work : float
        Multiplications for one image.
    sizes : list of int or None
        Of chunks that give the same bits, in ascending order; None until they were
        tried.
    in_threads : dict
        Whether so many threads of torch give one image the same bits as one.
    least : int
        Images that a chunk is filled up to: 2 for a network that looks across them, and
        does not take one.
    """

    def __init__(self, module, shape, dtype, device):
        factor = 1 if device.type == "cpu" else _CUDA_FACTOR
        self.device = device
        self.program, self.alone, self.most, self.work = None, True, factor, 0
        self.sizes, self.in_threads = None, {1: True}
        self.shape, self.least = shape, 1
        try:
            done = self._run(module, dtype)
            self.alone = done.keeps or calls_others(module)
            if not self.alone:
                self.program = evaluation_program(module, on_meta(module))
        except Exception:  # whatever another's network may raise without values
            return
        self.work = work(done)
        rows = _PER_OPERATION * len(done.operations) / max(self.work, 1)
        most = max(math.prod(self.shape), *values_of(done))
        rows = min(rows, _MOST_VALUES / most, _MOST_ROWS)
        self.most = factor << round(math.log2(max(rows, 1)))

    def _run(self, module, dtype):
        """Run a network without values on the fewest images that it takes."""
        images = torch.empty((2, *self.shape), dtype=dtype, device="meta")
        try:
            return run(without_hooks(on_meta(module)), images[:1])
        except ValueError:  # a norm over the batch, for example
            done = run(without_hooks(on_meta(module)), images)
            self.least = 2
            return done

    def logits(self, net, module=None):
        """Return the function from images to logits that a network is.

        Parameters
        ----------
        net : Net
        module : torch.nn.Module, default=None
            A copy of its network.
        """
        module = net.module_ if module is None else module
        if self.program is not None:
            return partial(lowered, self.program.bound(module), net.lower)

        def of_images(images):
            with RowByRow():
                return lowered(module, net.lower, images)

        return of_images

    def same_in(self, net, threads):
        """Say whether one image gets the same bits in so many threads of torch."""

        def same(logits, noise):
            alone = [logits(noise([k])) for k in range(_NOISE)]
            with torch_threads(threads):
                again = [logits(noise([k])) for k in range(_NOISE)]
            return all(map(torch.equal, again, alone))

        if threads not in self.in_threads:
            self.in_threads[threads] = self._tried(net, same, otherwise=False)
        return self.in_threads[threads]

    def tried_sizes(self, net):
        """Return the sizes of chunks that give the same bits, in ascending order.

        On a CPU those that give what an image gets alone. On another device a single
        image is another kernel's: there those that give what the largest chunk does.
        """
        on_cpu = self.device.type == "cpu"
        sizes = [1 << k for k in range(self.most.bit_length())]
        sizes = sizes if on_cpu else sizes[::-1]

        def agreeing(logits, noise):
            if on_cpu:
                answers = torch.cat([logits(noise([k]))[:1] for k in range(_NOISE)])
            else:
                answers = logits(noise(list(range(self.most)))).cpu()
            return takewhile(partial(_agree, logits, noise, answers), sizes)

        if self.sizes is None:
            found = self._tried(net, lambda *of: sorted(agreeing(*of)), otherwise=[])
            self.sizes = found or sizes[:1]
        return self.sizes

    def _tried(self, net, function, otherwise):
        """Try a network on images of noise, in one thread.

        Parameters
        ----------
        net : Net
        function : callable
            Of `logits`, and a function from numbers of images of noise to a chunk as
            predictions have them.
        otherwise : object
            What is returned where the network would have to be copied and cannot be.
        """
        module = net.module_
        if self.alone:  # it may remember what it is tried on
            try:
                module = without_hooks(copy.deepcopy(module))
            except Exception:  # whatever another's network may raise
                return otherwise
        depth, height, width = self.shape
        with isolated(0, self.device), torch.inference_mode():
            number = max(_NOISE, self.most)
            images = torch.randn((number, height, width, depth), dtype=net.dtype)

            def noise(which):
                which = which + which[-1:] * (self.least - len(which))
                return images[which].to(self.device).permute(0, 3, 1, 2)

            return function(self.logits(net, module), noise)


def _agree(logits, noise, answers, size):
    """Say whether images get the same answers in chunks of a size, at many places."""
    starts = range(0, max(size, len(answers)), size)
    for start in starts[:: max(1, len(starts) // _NOISE)]:
        which = [k % len(answers) for k in range(start, start + size)]
        # the host waits once a chunk
        if not torch.equal(logits(noise(which))[:size].cpu(), answers[which]):
            return False
    return True


def known_of(net, images):
    """Return what is known of the network of a net.

    Parameters
    ----------
    net : Net
        Its network is brought to its device and put into evaluation mode.
    images : Tensor of shape (n, height, width, channels)
    """
    net.to_device()
    net.module_.eval()
    _, height, width, depth = images.shape
    shape = depth, height, width
    options = shape, net.dtype, net.lower, str(net.device)
    make = partial(Known, net.module_, shape, net.dtype, torch.device(net.device))
    return remembered(_known, net.module_, options, make)


def over_chunks(
    net, images, compute, rows=None, known=None, mode=RowByRow, spread=False
):
    """Call a function with images in chunks, as a network sees them.

    A last chunk is filled up where it has none of the sizes that were tried. Several
    threads work on several chunks, each on its own, and on a single image where that
    does not show.

    Parameters
    ----------
    net : Net
        Its network is brought to its device and put into evaluation mode.
    images : Tensor of shape (n, height, width, channels)
    compute : callable
        Of a slice, which of the rows are in the chunk, and the chunk, a tensor
        ``(size, channels, height, width)`` on the device of the network, of which as
        many images count as the slice has rows. It is called in other threads, which
        the modes of torch that the caller is in do not reach.
    rows : ndarray of int of shape (m,), default=None
        Which of the images, in which order; None is all.
    known : Known, default=None
        Of `known_of`, where the network has got hooks since.
    mode : callable, default=RowByRow
        Makes the context that `compute` is called in.
    spread : bool, default=False
        Whether all threads get something of a few images; then the chunks depend on the
        number of threads, and what is added up over them.

    Returns
    -------
    results : list
        What `compute` returned, in order.
    """
    keep_memory()
    device = torch.device(net.device)
    known = known or known_of(net, images)
    pixels = net.pixels() if images.dtype == torch.uint8 else (None, None)
    upload = Upload(device)
    n_rows = len(images) if rows is None else len(rows)

    def of_chunk(part):
        where, size = part
        which = where if rows is None else rows[where]
        chunk = to_tensor(images, which, net.mean, net.scale, net.dtype)
        missing = max(size, known.least) - len(chunk)
        if missing:
            chunk = torch.cat([chunk, chunk[-1:].expand(missing, -1, -1, -1)])
        chunk = upload(chunk.contiguous()).permute(0, 3, 1, 2)
        with mode():
            return compute(where, network_input(chunk, *pixels))

    threads = net.threads or allowed_threads()
    if device.type != "cpu":
        return list(map(of_chunk, chunks_of(n_rows, known.tried_sizes(net))))
    sizes = [1] if n_rows == 1 else known.tried_sizes(net)
    threads = min(threads, max(1, int(n_rows * known.work / _WORTH_A_THREAD)))
    workers = 1 if known.alone else threads
    parts = chunks_of(n_rows, sizes, workers if spread else 1)
    if len(parts) > 1 and not known.alone:
        return each_in_one_thread(of_chunk, parts, workers)
    with torch_threads(threads if known.same_in(net, threads) else 1):
        return list(map(of_chunk, parts))


def chunks_of(n_rows, sizes, workers=1):
    """Cut rows into chunks.

    Parameters
    ----------
    n_rows : int
    sizes : list of int
        That chunks may have, in ascending order.
    workers : int, default=1
        How many chunks are worked on at a time.

    Returns
    -------
    chunks : list of tuple (slice, int)
        The rows of each, and its size.

    Examples
    --------
    >>> from sklearn_l2cnn._training.chunks import chunks_of
    >>> chunks_of(7, [1, 2, 4])
    [(slice(0, 4, None), 4), (slice(4, 7, None), 4)]
    >>> chunks_of(5, [1, 2, 4], workers=2)
    [(slice(0, 4, None), 4), (slice(4, 5, None), 1)]
    """

    def size_for(rows):
        return next((size for size in sizes if size >= rows), sizes[-1])

    step = size_for(-(-n_rows // workers))
    parts = [slice(k, min(k + step, n_rows)) for k in range(0, n_rows, step)]
    return [(part, size_for(part.stop - part.start)) for part in parts]


def predict_logits(net, images, views=((),), of=None):
    """Run a network over images, some thousands after others.

    Parameters
    ----------
    net : Net
        Its network is put into evaluation mode.
    images : Tensor of shape (n, height, width, channels)
    views : sequence of tuple of callable, default=((),)
        What the network sees of every image, in turn.
    of : callable, default=None
        What is wanted of the logits, from tensor to tensor, row by row; None is all.

    Returns
    -------
    logits : Tensor of shape (n, n_classes), or what was wanted of them
        float32 or float64, on the device of the network; of several views, the
        logarithms of their mean probabilities.
    """
    known = known_of(net, images)
    logits_of_chunk = known.logits(net)

    def of_some(where):
        some, whole, alone = part_of(images, where), [], Lock()

        def of_chunk(part, chunk):
            with torch.inference_mode():
                output = over_views(logits_of_chunk, chunk, views)
            # small tensors that stay would lie among large ones that go, and keep their
            # memory from being used again; and what a user gets can be computed with
            with alone:
                if not whole:
                    shape = len(some), *output.shape[1:]
                    whole.append(
                        torch.empty(shape, dtype=output.dtype, device=output.device)
                    )
            whole[0][part] = output[: part.stop - part.start]

        over_chunks(net, some, of_chunk, known=known, mode=nullcontext, spread=True)
        [logits] = whole
        # numpy has no bfloat16, and probabilities of half precision are of little use
        logits = logits if logits.dtype == torch.float64 else logits.float()
        lost = rows_without_probabilities(logits) + where.start
        return logits if of is None else of(logits), lost

    parts = (slice(k, k + _AT_ONCE) for k in range(0, len(images), _AT_ONCE))
    found, lost = zip(*map(of_some, parts), strict=True)
    check_lost(torch.cat(lost), images)
    return found[0] if len(found) == 1 else torch.cat(found)


def over_views(logits_of_images, images, views):
    """Average the probabilities over views of the images; return their logarithms."""
    if len(views) == 1:
        return logits_of_images(images)
    total = 0
    for view in views:
        seen = images
        for change in view:
            seen = change(seen)
        total = total + torch.softmax(logits_of_images(seen), dim=1)
    return (total / len(views)).log()
