"""What callbacks remember of a training, so that another process can go on with it.

The attributes of our own are plain values and tensors. Those of others are pickled one
by one, as far as they can be; the net and its parts, which they may hold, are named.
"""

import io
import pickle

import torch
from torch.optim.lr_scheduler import LRScheduler


def remembered_by(callbacks):
    """Return the attributes of callbacks of our own.

    Parameters
    ----------
    callbacks : sequence of (name, callback)

    Returns
    -------
    states : dict of dict
    """
    return {name: dict(vars(callback)) for name, callback in callbacks}


def recalled(callbacks, states):
    """Give callbacks of our own the attributes that they had."""
    for name, callback in callbacks:
        vars(callback).update(states[name])


def packed(net):
    """Pickle what the callbacks of the user have recorded and remember.

    Parameters
    ----------
    net : Net

    Returns
    -------
    packed : dict
        The history under ``None``, else attributes by the names of callbacks.
    """
    found = {None: {"history": _pickled(list(net.history_), net)}}
    for name, callback in net.callbacks_:
        found[name] = {
            attribute: data
            for attribute, value in vars(callback).items()
            if (data := _pickled(value, net)) is not None
        }
    return found


def unpacked(packed, net):
    """Give the history and the callbacks of the user what `packed` has returned."""
    found = {
        name: {k: _unpickled(data, net) for k, data in attributes.items()}
        for name, attributes in packed.items()
    }
    # nothing is changed before all is read
    net.history_[:] = found[None]["history"]
    for name, callback in net.callbacks_:
        for attribute, value in found[name].items():
            held = getattr(callback, attribute, None)
            if isinstance(held, LRScheduler):
                held.load_state_dict(value)
            else:
                setattr(callback, attribute, value)


def _pickled(value, net):
    """Return a pickle as a tensor of bytes; None where the value cannot be pickled."""
    if isinstance(value, LRScheduler):  # it has wrapped the optimizer in its functions
        value = value.state_dict()
    file = io.BytesIO()
    try:
        _Pickler(file, net).dump(value)
    except Exception:  # whatever objects of others raise
        return None
    return torch.frombuffer(file.getbuffer(), dtype=torch.uint8)


def _unpickled(data, net):
    return _Unpickler(io.BytesIO(data.numpy().tobytes()), net).load()


def _parts(net):
    """Return what callbacks may hold of a training, by name."""
    names = "module_", "optimizer_", "criterion_", "history_", "objective"
    return {"net": net, **{name: getattr(net, name) for name in names}}


class _Pickler(pickle.Pickler):
    def __init__(self, file, net):
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.names = {id(part): name for name, part in _parts(net).items()}

    def persistent_id(self, value):
        return self.names.get(id(value))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, net):
        super().__init__(file)
        self.parts = _parts(net)

    def persistent_load(self, name):
        return self.parts[name]
