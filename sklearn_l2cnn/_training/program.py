"""The program of a network: what its forward function does, in a cheaper way.

`torch.fx` traces forward functions, whoever wrote them; what it cannot trace, such as
one that looks at values, has no program.
"""

import operator

import torch
from torch import fx, nn
from torch.nn import functional

_RELUS = {functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_"}
_POOLS = {
    functional.max_pool2d,
    functional.adaptive_max_pool2d,
    torch.max_pool2d,
}
_POOL_LAYERS = nn.MaxPool2d, nn.AdaptiveMaxPool2d


def program_of(module, twin, reorder=True, apart=True):
    """Return a function that does what a network does.

    Parameters
    ----------
    module : torch.nn.Module
    twin : torch.nn.Module
        A copy of it, in the mode that is of interest, for tracing: that may change it.
    reorder : bool, default=True
        Whether poolings may go before ReLUs, so that values in between change.
    apart : bool, default=True
        Whether layers of dropout draw from a generator that is given, if one is.

    Returns
    -------
    program : callable or None
        Of a network of this kind, images, and the torch.Generator that its layers of
        dropout draw from or None, to logits. None where the network cannot be traced,
        or where a program would do the same.
    """
    try:
        graph = fx.Tracer().trace(twin)
    except Exception:  # whatever a forward function may raise that is given no values
        return None
    if not is_within(graph, module):
        return None
    layers = dict(module.named_modules())
    moved = reorder and pool_first(graph, layers)
    generator = _with_generator(graph, layers) if apart else None
    if not moved and generator is None:
        return None
    forward = compiled(graph)

    def program(module, images, generator_of_dropout=None):
        options = {} if generator is None else {generator: generator_of_dropout}
        return forward(module, images, **options)

    return program


def compiled(graph):
    """Return a function of a network and images that does what a graph says."""
    code = graph.python_code("self")
    scope = dict(code.globals)
    exec(code.src, scope)  # noqa: S102  torch's own way from a graph to a function
    return scope["forward"]


def is_within(graph, module):
    """Say whether all that a graph takes from a network is there, and no constants."""
    for node in graph.nodes:
        if node.op == "get_attr":
            try:
                operator.attrgetter(node.target)(module)
            except AttributeError:
                return False
    return True


def further_input(graph, name, **default_value):
    """Add an argument to the function that a graph stands for; return its node."""
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    with graph.inserting_after(inputs[-1]):
        return graph.placeholder(name, **default_value)


def pool_first(graph, layers):
    """Let every maximum pooling go before the ReLU in front of it.

    A ReLU and a maximum can change places, exactly, in the values and in the gradients;
    after the pooling there are fewer values.

    Parameters
    ----------
    graph : torch.fx.Graph
        It is changed.
    layers : dict of torch.nn.Module
        The parts of its network by name.

    Returns
    -------
    moved : bool
        Whether there was any.
    """
    moved = False
    for relu in list(graph.nodes):
        if not is_relu(relu, layers) or len(relu.users) != 1:
            continue
        [pool] = relu.users
        [source] = relu.all_input_nodes
        if _is_pool(pool, layers) and len(source.users) == 1:
            pool.replace_all_uses_with(relu)
            pool.replace_input_with(relu, source)
            relu.replace_input_with(source, pool)
            pool.append(relu)
            moved = True
    return moved


def is_relu(node, layers):
    """Say whether a node of a graph is a ReLU, as a layer, function or method."""
    if node.op == "call_module":
        return type(layers[node.target]) is nn.ReLU
    return node.op in ("call_function", "call_method") and node.target in _RELUS


def _is_pool(node, layers):
    if node.op == "call_module":
        layer = layers[node.target]
        return type(layer) in _POOL_LAYERS and not layer.return_indices
    indices = node.kwargs.get("return_indices") or len(node.args) > 6
    return node.op == "call_function" and node.target in _POOLS and not indices


def _with_generator(graph, layers):
    """Let layers of dropout draw from a generator; return the name of its argument."""
    dropouts = [
        node
        for node in graph.nodes
        if node.op == "call_module" and type(layers[node.target]) is nn.Dropout
    ]
    if not dropouts:
        return None
    generator = further_input(graph, "generator", default_value=None)
    for node in dropouts:
        with graph.inserting_before(node):
            layer = graph.get_attr(node.target)
            arguments = (*node.args, layer, generator)
            drawn = graph.call_function(_dropout, arguments, node.kwargs)
        node.replace_all_uses_with(drawn)
        graph.erase_node(node)
    return generator.target


def _dropout(input, layer, generator):
    """Call a layer of dropout, which draws from a generator if there is one."""
    if generator is None or not layer.training:
        return layer(input)
    return dropped_out(input, layer.p, generator)


def dropped_out(values, rate, generator):
    """Drop values at random, as a dropout layer does, with draws of a generator."""
    if not rate:
        return values
    kept = torch.empty_like(values).bernoulli_(1 - rate, generator=generator)
    # of a rate of 1 nothing is kept, and 0 / 0 would be the scale
    return values * kept.div_(max(1 - rate, 1e-30))
