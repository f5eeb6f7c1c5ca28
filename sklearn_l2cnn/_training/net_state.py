"""What is kept of a net: arrays and plain values, from which it is made again."""

import copy

import torch
from skorch.history import History

from sklearn_l2cnn._utils.layers import contiguous
from sklearn_l2cnn._utils.trees import in_arrays, in_tensors
from sklearn_l2cnn.architectures._recipe import Recipe, recipe_of

# What a new net makes of its parameters, or is a constant of it.
_MADE = {
    *("module", "module_", "criterion", "criterion_", "optimizer_", "train_split"),
    *("iterator_train", "iterator_valid", "dataset", "history_", "all_callbacks_"),
    "ranks_",
    *("initialized_", "init_context_", "virtual_params_", "prefixes_", "_modules"),
    *("_criteria", "_optimizers", "_params_to_validate", "cuda_dependent_attributes_"),
    *("compile", "torch_load_kwargs"),
}
_DTYPES = "dtype", "lower"


def state_of_net(net):
    """Return what a net is made of again, by `parts_of_state`.

    Networks by name are kept as a recipe and their weights, others as they are. What
    the optimizer remembers is there where training went on by ``partial_fit``, and goes
    on from it.

    Parameters
    ----------
    net : Net

    Returns
    -------
    state : dict
    """
    attributes = {k: v for k, v in vars(net).items() if k not in _MADE}
    for name in _DTYPES:
        attributes[name] = _name_of(attributes[name])
    height, width, depth = net.image_shape
    made_by, shape = net.made_by, ((depth, height, width), net.n_classes)
    recipe = recipe_of(net.module_, made_by["architecture"], made_by["dropout"], *shape)
    optimizer = net.optimizer_
    return {
        **attributes,
        **state_of_network(net.module_, recipe),
        "history": [dict(row) for row in net.history_],
        "memory": None if optimizer is None else in_arrays(optimizer.state_dict()),
        "starts": None if optimizer is None else in_arrays(net.starts),
    }


def parts_of_state(state):
    """Take apart what `state_of_net` returned.

    Parameters
    ----------
    state : dict

    Returns
    -------
    parameters : dict
        Of the constructor, without the network.
    found : dict
        The other attributes.
    network : torch.nn.Module
    memory : dict or None
        The state dict of the optimizer; None if there is none.
    """
    others = {name: value for name, value in state.items() if name not in _MADE}
    history, memory = map(others.pop, ("history", "memory"))
    network = network_of_state(others)
    for name in _DTYPES:
        others[name] = others[name] and getattr(torch, others[name])
    others["starts"] = in_tensors(others["starts"])
    others["history_"] = History()
    others["history_"].extend(history)
    # skorch's own rule
    own = {name for name in others if not name.startswith("_") and name[-1] != "_"}
    return (
        {name: value for name, value in others.items() if name in own},
        {name: value for name, value in others.items() if name not in own},
        network,
        None if memory is None else in_tensors(memory),
    )


def state_of_network(network, recipe):
    """Return what a network is made of again, by `network_of_state`.

    Parameters
    ----------
    network : torch.nn.Module
    recipe : Recipe or None

    Returns
    -------
    state : dict
    """
    named = network.named_parameters()
    return {
        "network": _on_cpu(network) if recipe is None else tuple(recipe),
        "weights": None if recipe is None else in_arrays(network.state_dict()),
        "untrained": [name for name, weight in named if not weight.requires_grad],
    }


def network_of_state(state):
    """Make a network of a state, from which what describes it is taken out."""
    network, weights, untrained = map(state.pop, ("network", "weights", "untrained"))
    if weights is not None:
        network = Recipe(*network).made(in_tensors(weights))
    elif any(tensor.is_inference() for tensor in network.state_dict().values()):
        network = copy.deepcopy(network)  # of a copy in torch.inference_mode
    for name in untrained:
        network.get_parameter(name).requires_grad_(False)
    return network


def recall(optimizer, memory):
    """Let an optimizer go on from a state dict, laid out in memory like its weights.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    memory : dict
    """
    optimizer.load_state_dict(memory)
    for weight, values in optimizer.state.items():
        for name, value in values.items():
            is_like = torch.is_tensor(value) and value.shape == weight.shape
            if is_like and value.stride() != weight.stride():
                values[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _name_of(dtype):
    return None if dtype is None else str(dtype).removeprefix("torch.")


def _on_cpu(module):
    """Return a network on the CPU, where any machine can load it: a copy if need be."""
    if all(t.device.type == "cpu" for t in module.state_dict().values()):
        return module
    return contiguous(copy.deepcopy(module).cpu())
