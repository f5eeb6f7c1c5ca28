"""A CUDA graph that is a tape of operations."""

import threading

import torch

from tests.pretended import driver


class Tape:
    """Operations of the device that a thread asks for, to be done again.

    As in a graph nothing is done while it is recorded: what has been written by then is
    put back at the end, and what is done on the host is not on the tape.
    """

    n_replays = 0  # of all tapes

    def __init__(self, keep_graph=False):
        self.operations, self.before = [], {}
        self.invalid, self.recorded = False, False

    def capture_begin(self, pool=None, capture_error_mode="global", **options):
        if driver.on_default_stream():
            raise RuntimeError(
                "CUDA graphs must be captured on a non-default stream. (However, after "
                "capture, it's ok to replay them on the default stream.)"
            )
        if driver.other_capture():
            raise RuntimeError("there is another capture")
        self.thread = threading.current_thread()
        self.of_all_threads = capture_error_mode == "global"
        self.random = [driver._CPUGenerator.get_state(each) for each in driver.defaults]
        self.generator = driver.defaults[driver.index_of()]
        self.generator.captured = True
        self.pool_id = pool or driver._new_pool()
        driver.pools_in_use.add(self.pool_id)
        driver.set_capturing(self)

    def capture_end(self):
        """Put everything back, but where the capture is invalid not all of it.

        As on the device, the generator stays captured then, and the pool in use.
        """
        driver.set_capturing(None)
        for storage, content in self.before.values():
            if storage.nbytes() == content.nbytes():  # else it was made in between
                storage.copy_(content)
        self.before = {}
        for generator, state in zip(driver.defaults, self.random, strict=True):
            driver._CPUGenerator.set_state(generator, state)
        if self.invalid:
            raise torch.AcceleratorError(
                "CUDA error: operation failed due to a previous error during capture"
            )
        self.generator.captured = False
        driver.pools_in_use.remove(self.pool_id)
        self.recorded = True

    def keep(self, tensors):
        """Remember what is in tensors that are about to be written."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))

    def append(self, run, result):
        """Put an operation on the tape."""
        self.operations.append((run, _tensors(result)))

    def replay(self):
        """Do everything again, on the same tensors and into the same."""
        if not self.recorded:
            raise RuntimeError("Called CUDAGraph::replay without a preceding capture.")
        Tape.n_replays += 1
        with torch.no_grad():
            for run, results in self.operations:
                for old, new in zip(results, _tensors(run()), strict=True):
                    if not _same(old, new):
                        old.copy_(new)

    def reset(self):
        """Free what the tape holds."""
        self.operations = []

    def pool(self):
        """Return what stands for the memory of the graph."""
        return self.pool_id


def _tensors(result):
    if isinstance(result, torch.Tensor):
        return [result]
    several = isinstance(result, list | tuple)
    return [each for part in result for each in _tensors(part)] if several else []


def _same(one, other):
    """Say whether two tensors lie in the same place: a view, or changed in place."""
    return one is other or one.data_ptr() == other.data_ptr()
