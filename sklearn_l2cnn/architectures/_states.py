"""State dicts: reading them from files and loading them into networks."""

import os
import pickle
import warnings

import torch

from sklearn_l2cnn._data.arrays import why_without_numbers
from sklearn_l2cnn._utils.errors import first_line
from sklearn_l2cnn.architectures._heads import begin_at_zero, last_layer


def _begins_with(path, content):
    with open(path, "rb") as file:
        return file.read(len(content)) == content


def read_state(path):
    """Read a state dict of torch: a mapping from names to tensors.

    Parameters
    ----------
    path : str or os.PathLike
        A file written by :func:`torch.save`, or of safetensors.
    """
    try:
        if os.fspath(path).endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            # of torch, about pickles that are none of its own: they raise below
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"pretrained={os.fspath(path)!r}: there is no such file. A path is that of "
            "a state dict, written by torch.save(network.state_dict(), path); True "
            "loads the published weights of a network of torchvision."
        ) from None
    except pickle.UnpicklingError as error:
        name = repr(os.fspath(path))
        whole = f"torch.load({name}, weights_only=False)"
        # a pickle of joblib's may have torch's zip archives within
        whole = whole if _begins_with(path, b"PK") else f"joblib.load({name})"
        raise ValueError(
            f"pretrained={name} could not be read as a state dict of torch: it is "
            "damaged, or a pickle of something else. If it is a fitted classifier that "
            f"you trust, write its weights with torch.save({whole}"
            ".module_.state_dict(), 'weights.pt'), and pass pretrained='weights.pt'."
        ) from error
    except Exception as error:  # torch, zipfile and pickle raise errors of many types
        raise ValueError(
            f"pretrained={os.fspath(path)!r} could not be read as a state dict of "
            f"torch: {first_line(error)}. A file written by "
            "torch.save(network.state_dict(), path), or one of safetensors with the "
            "name *.safetensors, was expected."
        ) from error
    named = isinstance(state, dict) and state
    if not named or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        keys = f" with {', '.join(map(repr, [*state][:5]))}" if named else ""
        raise ValueError(
            f"pretrained={os.fspath(path)!r} holds a {type(state).__name__}{keys}; a "
            "state dict was expected, a mapping from names to tensors only, as written "
            "by torch.save(network.state_dict(), path)."
        )
    return state


def mismatches(network, state):
    """List the entries in which a network and a state differ, except the last layer."""
    found = _values_that_are_none(network, state)
    if found:
        return found
    name, _ = last_layer(network)
    own = _without(network.state_dict(), name)
    # batch norms in old files lack the number of batches
    wanted = {key for key in own if not key.endswith("num_batches_tracked")}
    given = _without(state, name)
    found = [f"{key} is missing" for key in sorted(wanted - given.keys())]
    found += [f"{key} is not known" for key in sorted(given.keys() - own.keys())]
    for key in sorted(own.keys() & given.keys()):
        shapes = tuple(given[key].shape), tuple(own[key].shape)
        if shapes[0] != shapes[1]:
            found.append("{} has shape {}, not {}".format(key, *shapes))
    return found


def _values_that_are_none(network, state):
    """List the entries whose values a network cannot have."""
    own, found = network.state_dict(), []
    for key in sorted(own.keys() & state.keys()):
        without = why_without_numbers(state[key])
        if without is not None:
            found.append(f"{key} is a {without[0]}")
        elif state[key].is_complex() and not own[key].is_complex():
            found.append(f"{key} is complex")
        elif state[key].is_floating_point() and state[key].isnan().any():
            found.append(f"{key} holds nan")
    return found


def _without(state, layer):
    return {key: state[key] for key in state if key.rpartition(".")[0] != layer}


def starts_of(network, again=None):
    """Return what the parameters of a network start from, by name.

    Parameters
    ----------
    network : torch.nn.Module
        Not trained yet.
    again : torch.nn.Module, default=None
        The same, made with other random numbers: what differs in it was drawn, and
        starts from 0. None means that nothing was.

    Returns
    -------
    starts : dict of Tensor
    """
    starts = {
        name: weight.detach().clone() for name, weight in network.named_parameters()
    }
    for name, weight in () if again is None else again.named_parameters():
        if not torch.equal(starts[name], weight):
            starts[name].zero_()
    return starts


def load_state(network, state):
    """Load the weights of a state without mismatches into a network.

    The last layer begins at 0 if the number of classes differs.
    """
    own = network.state_dict()
    fitting = {
        key: value
        for key, value in state.items()
        if key in own and value.shape == own[key].shape
    }
    network.load_state_dict({**own, **fitting})
    name, last = last_layer(network)
    if last is not None and f"{name}.weight" not in fitting:
        begin_at_zero(last)
