"""Several processes that train one network, the ranks of torch's own distributed.

No other file calls ``torch.distributed``. Before ranks exchange anything they agree
that all of them go on: one that was interrupted, or has failed, says so there, and none
waits for it in vain.
"""

import atexit
import multiprocessing
import os
import signal
import threading
import warnings
from contextlib import contextmanager, nullcontext, suppress

import torch
import torch.distributed as dist

from sklearn_l2cnn._utils.devices import BatchTooLarge, sends_by_nccl
from sklearn_l2cnn._utils.errors import first_line

# What torchrun tells its processes, and what their children inherit. So the process
# that it has started leaves its number, and children find that of another.
_TORCHRUN = "TORCHELASTIC_RUN_ID"
_OF_JOB = _TORCHRUN, "TORCHELASTIC_RESTART_COUNT", "MASTER_PORT", "RANK"
_OWNER = "SKLEARN_L2CNN_RANK"

# What a rank says when all agree, in ascending order of what counts.
_GOES_ON, _WISHES, _INTERRUPTED, _FAILED = range(4)


class RankError(RuntimeError):
    """Training cannot go on, for another rank has failed or does not answer."""


class Alone:
    """The only process of a training.

    Attributes
    ----------
    rank, size : int
        Which of how many.
    local : int or None
        Which on this machine, if it is known.
    """

    rank, size, local = 0, 1, None

    @property
    def is_first(self):
        """Whether this is the rank that prints and writes."""
        return self.rank == 0

    @property
    def own(self):
        """Return the slice of a list of tasks that are this rank's."""
        return slice(self.rank, None, self.size)

    def span(self, n, rank=None):
        """Return where a rank's part of n neighbours begins and ends.

        Parameters
        ----------
        n : int
        rank : int, default=None
            None is this one. The first has a part of any.
        """
        rank = self.rank if rank is None else rank
        return -(-n * rank // self.size), -(-n * (rank + 1) // self.size)

    def together(self):
        """Return the context of a training that all ranks take part in."""
        return nullcontext()

    def quiet(self):
        """Return a context in which this rank warns only if it is the first."""
        return nullcontext()

    def check_alike(self, parts):
        """Raise where ranks are given different things.

        Parameters
        ----------
        parts : callable
            Returns a dict from what they are given, in words, to what it is.
        """

    def agree(self, wish=False):
        """Say whether any rank wishes something; raise where one cannot go on."""
        return wish

    def gathered(self, tensor):
        """Return the tensors of all ranks, in order; they are of one shape."""
        return [tensor]

    def gathered_objects(self, value):
        """Return the objects of all ranks, in order."""
        return [value]

    def from_first(self, value):
        """Return the object of the first rank."""
        return value

    def equalize(self, tensors):
        """Give tensors the values that they have on the first rank."""


ALONE = Alone()


class Ranks(Alone):
    """The ranks of the process group of torch that this process is in.

    Numbers on the host travel by gloo, those on CUDA devices by nccl, in groups of
    their own: what else a process sends through its own group does not meet them.
    """

    def __init__(self):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        local = os.environ.get("LOCAL_RANK")
        self.local = None if local is None else int(local)
        self.groups = {"cpu": dist.new_group(backend="gloo")}
        self.lock = threading.RLock()
        self.interrupted = self.ending = self.told = False

    @contextmanager
    def together(self):
        """Let all ranks end a training where one of them fails or is interrupted."""
        with self.lock, self._interrupts_kept():
            self.told = False
            try:
                yield
                self.agree()
            except BaseException as error:
                if not self.told:
                    self._tell(error)
                raise

    @contextmanager
    def _interrupts_kept(self):
        """Keep an interrupt until the ranks agree: others wait for this one.

        The user's terminal and torchrun both send one, so one is enough.
        """
        self.interrupted = self.ending = False

        def keep(number, frame):
            self.interrupted = True

        in_main = threading.current_thread() is threading.main_thread()  # as signals
        before = signal.getsignal(signal.SIGINT)
        if not in_main or before is None:
            yield
            return
        signal.signal(signal.SIGINT, keep)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        if self.interrupted and not self.ending:  # since they last agreed
            raise KeyboardInterrupt

    def quiet(self):
        """Return a context in which this rank warns only if it is the first."""
        if self.is_first:
            return nullcontext()
        return warnings.catch_warnings(action="ignore")

    def check_alike(self, parts):
        """Raise where ranks are given different things."""
        mine = parts()
        found = self.gathered_objects(mine)
        names = dict.fromkeys(name for given in found for name in given)
        different = [k for k in names if any(o.get(k) != mine.get(k) for o in found)]
        if not different:
            return
        raise ValueError(
            f"The {self.size} ranks were given different things: "
            f"{', '.join(different)}. Give each the same data and parameters, all of "
            "the data, and an int as random_state: they share every batch by "
            "themselves. Where each is to fit a network of its own, remove "
            f"{_TORCHRUN} from os.environ before the first fit."
        )

    def agree(self, wish=False):
        """Say whether any rank wishes something; raise where one cannot go on."""
        mine = _WISHES if wish else _GOES_ON
        if self.interrupted and not self.ending:
            mine = _INTERRUPTED
        most = self._most(mine)
        if most == _FAILED:
            self._raise_of(self._objects(None))
        if most == _INTERRUPTED:
            self.ending = True
            raise KeyboardInterrupt
        return most == _WISHES

    def _most(self, number):
        told = torch.tensor([number], dtype=torch.int32)
        with _answered():
            dist.all_reduce(told, op=dist.ReduceOp.MAX, group=self.groups["cpu"])
        return int(told)

    def _tell(self, error):
        """Tell the others of an error of this rank, where they next agree."""
        too_large = error.batch_size if isinstance(error, BatchTooLarge) else None
        told, self.told = (too_large, f"{type(error).__name__}: {error}"), True
        with suppress(RankError):  # if they do not answer
            self._most(_FAILED)
            found = self._objects(told)
            if not isinstance(error, BatchTooLarge):
                self._raise_if_too_large(found)

    def _raise_of(self, found):
        """Raise for what the ranks have told: how each has failed, if it has."""
        self.told = True
        self._raise_if_too_large(found)
        rank, text = next((k, told[1]) for k, told in enumerate(found) if told)
        raise RankError(
            f"The training has failed on rank {rank} of {self.size}, and ends on the "
            f"others: {text}"
        )

    def _raise_if_too_large(self, found):
        """Raise where a device lacks memory, so that all ranks begin again alike."""
        for rank, told in enumerate(found):
            if told and told[0] is not None:
                raise BatchTooLarge(f"Rank {rank}: {told[1]}", told[0])

    def gathered(self, tensor):
        """Return the tensors of all ranks, in order; they are of one shape."""
        self.agree()
        group = self._group(tensor.device)
        sent = tensor.reshape(-1).view(torch.uint8)  # which every backend sends
        by_host = group is self.groups["cpu"]
        sent = sent.cpu() if by_host else sent
        found = list(sent.new_empty((self.size, len(sent))).unbind())
        with _answered():
            if by_host:
                self._exchange(sent, found)
            else:
                dist.all_gather(found, sent, group=group)
        return [
            other.to(tensor.device).view(tensor.dtype).view(tensor.shape)
            for other in found
        ]

    def _exchange(self, sent, found):
        """Send a tensor to all ranks and fill a list with theirs.

        gloo's own gathering takes two to four times as long, on two ranks and on four.
        """
        group, found[self.rank] = self.groups["cpu"], sent
        others = [rank for rank in range(self.size) if rank != self.rank]
        begun = [dist.irecv(found[rank], rank, group=group) for rank in others]
        begun += [dist.isend(sent, rank, group=group) for rank in others]
        for work in begun:
            work.wait()

    def gathered_objects(self, value):
        """Return the objects of all ranks, in order."""
        self.agree()
        return self._objects(value)

    def _objects(self, value):
        found = [None] * self.size
        with _answered(), _unpickling():
            dist.all_gather_object(found, value, group=self.groups["cpu"])
        return found

    def from_first(self, value):
        """Return the object of the first rank."""
        self.agree()
        found = [value]
        with _answered(), _unpickling():
            dist.broadcast_object_list(found, group=self.groups["cpu"])
        return found[0]

    def equalize(self, tensors):
        """Give tensors the values that they have on the first rank."""
        self.agree()
        tensors = [tensor.detach() for tensor in tensors]
        for device in dict.fromkeys(tensor.device for tensor in tensors):
            own = [tensor for tensor in tensors if tensor.device == device]
            parts = [tensor.reshape(-1).view(torch.uint8) for tensor in own]
            group, flat = self._group(device), torch.cat(parts)
            sent = flat.cpu() if group is self.groups["cpu"] else flat
            with _answered():
                dist.broadcast(sent, src=0, group=group)
            parts = sent.split([len(part) for part in parts])
            for tensor, part in zip(own, parts, strict=True):
                # a copy begins where numbers of any size may
                tensor.copy_(part.clone().view(tensor.dtype).view(tensor.shape))

    def _group(self, device):
        """Return the group by which tensors of a device travel, maybe by the host."""
        kind = device.type
        if kind not in self.groups:
            direct = sends_by_nccl(device) and dist.is_nccl_available()
            self.groups[kind] = dist.new_group(backend="nccl") if direct else None
        return self.groups[kind] or self.groups["cpu"]


@contextmanager
def _answered():
    """Say in words that another rank does not answer."""
    try:
        yield
    except RuntimeError as error:
        raise RankError(
            "Another rank of the training does not answer any more: "
            f"{first_line(error)}. What has ended it, it says itself. With checkpoint= "
            "a folder, the same job goes on when it is started again."
        ) from error


@contextmanager
def _unpickling():
    """Let torch 2.4 and 2.5 not warn of tensors in a pickle."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using `torch.load`")
        yield


# -- which ranks a process is one of ---------------------------------------------------

_known = {}  # Ranks by the group of torch; of one group at a time
_inherited = set()  # groups that belong to the parent of a fork


def ranks_of_process():
    """Return the ranks that a fit of this process is shared among.

    Those of torch's process group, if it is initialised; else, in a process that
    torchrun has started, those of torchrun, whose group is initialised now. Children of
    such processes, as those of joblib, are none of them.

    Returns
    -------
    ranks : Ranks or Alone
    """
    if not dist.is_available():
        return ALONE
    if not dist.is_initialized():
        if not is_started_by_torchrun():
            return ALONE
        dist.init_process_group("gloo")
        atexit.register(_leave, dist.group.WORLD)
    world = dist.group.WORLD
    if dist.get_world_size() == 1 or world in _inherited:
        return ALONE
    if world not in _known:
        _known.clear()
        _known[world] = Ranks()
    return _known[world]


def is_started_by_torchrun():
    """Say whether torchrun has started this very process as one of several."""
    if _TORCHRUN not in os.environ or _owner() != (_job(), os.getpid()):
        return False
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def _job():
    return "|".join(os.environ.get(name, "") for name in _OF_JOB)


def _owner():
    """Return the rank that has left its mark, of which job and with which number."""
    job, _, number = os.environ.get(_OWNER, "|0").rpartition("|")
    return job, int(number)


def _leave_mark():
    """Let this process be the rank, unless the one that has started it is."""
    if multiprocessing.parent_process() is None and _owner()[0] != _job():
        os.environ[_OWNER] = f"{_job()}|{os.getpid()}"


def _leave(world):
    _known.clear()
    if dist.is_initialized() and dist.group.WORLD is world:
        dist.destroy_process_group()


def _remember_parent():
    if dist.is_initialized():
        _inherited.add(dist.group.WORLD)


if _TORCHRUN in os.environ:
    _leave_mark()
if dist.is_available() and hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember_parent)
