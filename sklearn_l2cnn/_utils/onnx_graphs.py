"""ONNX: torch modules as graphs, with labels, and tried in a runtime."""

import importlib
import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from sklearn_l2cnn._utils.errors import first_line

# How far numbers of a graph may be from torch's.
TOLERANCE = 1e-5

# What onnxruntime computes in float32, and in no wider float.
_NARROW = {"Conv", "Resize"}
_EXPORTERS = r"(copyreg|onnx|onnx_ir|onnxscript|torch|torchvision)(\.|$)"


class GraphSource(NamedTuple):
    """What becomes a graph: a module, and what its outputs mean.

    Attributes
    ----------
    module : torch.nn.Module
        From a batch as a user gives it to a tensor, or a tuple of some.
    outputs : tuple of str
        Their names.
    classes : ndarray or None
        The labels, where the first output is positions in them.
    """

    module: torch.nn.Module
    outputs: tuple
    classes: object = None

    def answers(self, X):
        """Return the outputs for a numpy array, as a list of numpy arrays."""
        with torch.no_grad():
            outputs = self.module(torch.from_numpy(X))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        first, *others = (output.numpy() for output in outputs)
        if self.classes is not None:
            first = label_values(self.classes)[first]
        return [first, *others]


def needed(name):
    """Import a library that graphs need, or say how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{name} is needed for ONNX and cannot be imported ({first_line(error)}): "
            'pip install "sklearn-l2cnn[onnx]".'
        ) from error


def label_values(classes):
    """Return labels as ONNX has them: int64 for numbers and bools, else strings.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn._utils.onnx_graphs import label_values
    >>> label_values(np.array([False, True])), label_values(np.array(["a"], object))
    (array([0, 1]), array(['a'], dtype='<U1'))
    """
    values = np.array(classes.tolist())  # a dtype for objects
    return values.astype(np.int64 if values.dtype.kind in "biuf" else str)


def graph_of(source, X, who, opset=None, advice=""):
    """Return a module as a graph for any number of images.

    Parameters
    ----------
    source : GraphSource
    X : ndarray
        Two images or more, in the form and the dtype that the graph takes.
    who : str
        What the messages say is exported.
    opset : int, default=None
        Version of ONNX's operators; None is what torch chooses.
    advice : str, default=""
        What the messages say may be done.

    Returns
    -------
    model : onnx.ModelProto
    """
    needed("onnx")
    needed("onnxscript")
    # torch tells a single image apart, and a graph cannot: it is tried on one
    n = torch.export.Dim("n", min=2)
    try:
        with _quiet():
            program = torch.onnx.export(
                source.module,
                (torch.from_numpy(X),),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=["X"],
                output_names=list(source.outputs),
                dynamic_shapes=({0: n},),
            )
    except torch.onnx.OnnxExporterError as error:
        reason = first_line(error.__cause__ or error)
        raise ValueError(
            f"{who} has no ONNX graph, torch cannot export it: {reason} {advice}"
        ) from error
    model = program.model_proto
    _strip(model)
    _narrow(model.graph)
    if source.classes is not None:
        _add_labels(model.graph, source.outputs[0], label_values(source.classes))
    return model


@contextmanager
def _quiet():
    """Leave out what exporters warn of in their own code."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=_EXPORTERS)
        yield


def _strip(model):
    """Take off what the exporter notes for debugging, such as names of files."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
    for part in (*graph.input, *graph.output):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""


def _narrow(graph):
    """Put casts around operators that no runtime computes in float64."""
    from onnx import TensorProto, helper

    parts = (*graph.value_info, *graph.input, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in parts}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    nodes = []

    def cast(name, new, to):
        nodes.append(helper.make_node("Cast", [name], [new], name=f"to_{new}", to=to))

    for node in graph.node:
        wide = types.get(node.output[0]) == TensorProto.DOUBLE
        if not wide or node.op_type not in _NARROW:
            nodes.append(node)
            continue
        narrow = helper.make_node(node.op_type, [], [f"{node.output[0]}_narrow"])
        narrow.name = node.name
        narrow.attribute.extend(node.attribute)
        for name in node.input:
            if types.get(name) == TensorProto.DOUBLE:
                new = f"{name}_for_{node.output[0]}"
                cast(name, new, TensorProto.FLOAT)
                name = new
            narrow.input.append(name)
        nodes.append(narrow)
        cast(narrow.output[0], node.output[0], TensorProto.DOUBLE)
    del graph.node[:]
    graph.node.extend(nodes)


def _add_labels(graph, name, labels):
    """Let an output that is positions in labels be the labels themselves."""
    from onnx import TensorProto, helper

    position = f"{name}_position"
    for node in graph.node:
        node.output[:] = [position if part == name else part for part in node.output]
    kind, held = TensorProto.INT64, labels
    if labels.dtype.kind == "U":
        kind, held = TensorProto.STRING, [label.encode() for label in labels]
    graph.initializer.append(
        helper.make_tensor(f"{name}_values", kind, labels.shape, held)
    )
    graph.node.append(
        helper.make_node("Gather", [f"{name}_values", position], [name], name=name)
    )
    [output] = [output for output in graph.output if output.name == name]
    output.type.tensor_type.elem_type = kind


def check_graph(model, X, expected, who, tolerance=TOLERANCE, advice=""):
    """Raise where onnxruntime finds something else in a graph than was expected.

    One image alone is tried, and all of them together.

    Parameters
    ----------
    model : onnx.ModelProto or path
    X : ndarray
    expected : dict of ndarray
        By the names of outputs. Labels may differ where the two largest numbers in
        "probabilities" are as good as the same.
    who : str
        What the messages say was exported.
    tolerance : float, default=1e-5
        For every number; times the largest of an output where that is above 1.
    advice : str, default=""
        What the messages say may be the reason.

    Returns
    -------
    difference : float or None
        The largest of all numbers; None where there is no onnxruntime.
    """
    try:
        run = _runner(model)
    except ModuleNotFoundError:
        return None
    except Exception as error:  # onnxruntime has many kinds of its own
        raise RuntimeError(
            f"onnxruntime does not take the ONNX graph of {who}: {first_line(error)}"
        ) from error
    largest = 0.0
    for rows in (slice(1), slice(None)):
        wanted = {name: values[rows] for name, values in expected.items()}
        outputs = run(list(wanted), X[rows])
        for (name, values), found in zip(wanted.items(), outputs, strict=True):
            differences = _differences(found, values)
            if name == "label" and "probabilities" in wanted:
                differences[_undecided(wanted["probabilities"], tolerance)] = 0
            allowed = tolerance
            if values.dtype.kind == "f":
                largest = max(largest, differences.max(initial=0))
                allowed *= max(1, np.abs(values).max(initial=0))
            if not (differences <= allowed).all():
                place = np.unravel_index(differences.argmax(), differences.shape)
                raise RuntimeError(
                    f"The ONNX graph of {who} is off by {differences[place]:.3g} in "
                    f"{name!r}, where {allowed:.3g} is allowed: for image {place[0]} "
                    f"of {len(values)} onnxruntime gives {found[place]}, and "
                    f"{values[place]} was expected. {advice}".rstrip()
                )
    return float(largest)


def _runner(model):
    """Return a function that has onnxruntime compute outputs of some images."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised, not printed
    options.intra_op_num_threads = torch.get_num_threads()
    if hasattr(model, "SerializeToString"):
        model = model.SerializeToString()
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"]
    )
    return lambda names, X: session.run(names, {"X": X})


def _differences(found, expected):
    """Return how far numbers are apart; 1 for other labels, infinity for no number."""
    if found.shape != expected.shape:
        return np.full((1,), np.inf)
    if expected.dtype.kind not in "biuf":
        return (found != expected).astype(float)
    apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    return np.where(np.isnan(apart), np.inf, apart)


def _undecided(probabilities, tolerance):
    """Say for which images the two largest probabilities are as good as the same."""
    if probabilities.shape[1] == 1:
        return np.zeros(len(probabilities), dtype=bool)
    *_, second, first = np.sort(probabilities, axis=1).T
    return first - second <= 2 * tolerance
