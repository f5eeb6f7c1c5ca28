"""What skl2onnx looks for on an estimator that it does not know."""

import copy

import numpy as np
import torch

from sklearn_l2cnn._utils.onnx_graphs import check_graph, graph_of

# Images that a graph is tried on, when a pipeline is converted: of a few, rounding may
# look the same by chance.
_TRIED = 16


class OnnxHooksMixin:
    """The methods by which skl2onnx converts an estimator, alone or in a pipeline.

    Estimators have `image_shape_`, and define `_graph_source` and `_as_X`.
    """

    # What to do where there is no graph, and where it is off.
    _graph_advice = (
        "A network is exported without looking at values: no branch may depend on "
        "them, and all must be computed by torch."
    )
    _off_advice = "Another opset, or release of onnxruntime, may be nearer."

    def onnx_parser(self):
        """Return the function by which skl2onnx learns the outputs of the graph.

        Returns
        -------
        parser : callable
        """
        source = self._graph_source()

        def parser(scope=None, inputs=None):
            _register(type(self))
            answers = source.answers(self._example(inputs))
            return [
                scope.declare_local_variable(name, _type_of(values))
                for name, values in zip(source.outputs, answers, strict=True)
            ]

        return parser

    def onnx_shape_calculator(self):
        """Return the function by which skl2onnx learns the types of the outputs.

        Returns
        -------
        shape_calculator : callable
        """
        source = self._graph_source()

        def shape_calculator(operator):
            answers = source.answers(self._example(operator.inputs))
            for output, values in zip(operator.outputs, answers, strict=True):
                output.type = _type_of(values)

        return shape_calculator

    def onnx_converter(self):
        """Return the function by which skl2onnx puts the graph into that of a pipeline.

        Returns
        -------
        converter : callable
        """
        source, who = self._graph_source(), type(self).__name__

        def converter(scope, operator, container):
            X = self._example(operator.inputs)
            opset = container.target_opset
            model = graph_of(source, X, who, opset, self._graph_advice)
            expected = dict(zip(source.outputs, source.answers(X), strict=True))
            check_graph(model, X, expected, who, advice=self._off_advice)
            _embed(model, scope, operator, container)

        return converter

    def _graph_source(self):
        """Return the `GraphSource` of a fitted estimator."""
        raise NotImplementedError

    def _as_X(self, images, ndim):
        """Return a tensor ``(n, height, width, channels)`` in the form of X."""
        raise NotImplementedError

    def _example(self, inputs):
        """Return images of noise in the form and the dtype of variables of skl2onnx."""
        from onnx import helper

        kinds = [variable.type.to_onnx_type().tensor_type for variable in inputs]
        dtypes = {helper.tensor_dtype_to_np_dtype(kind.elem_type) for kind in kinds}
        if len(dtypes) > 1:
            raise ValueError(  # skl2onnx has a use of its own for a TypeError
                f"{type(self).__name__} gets columns of several dtypes, "
                f"{sorted(map(str, dtypes))}, and has a graph for one of them. Convert "
                "with an array: skl2onnx.to_onnx(pipeline, frame[:1].to_numpy())."
            )
        [dtype] = dtypes
        noise = np.random.RandomState(0).uniform(size=(_TRIED, *self.image_shape_))
        if dtype.kind != "f":
            most = 1 if dtype.kind == "b" else np.iinfo(dtype).max
            noise = (noise * min(most + 1, 256)).astype(int)
        X = self._as_X(torch.from_numpy(noise), len(kinds[0].shape.dim))
        return X.numpy().astype(dtype)


def _type_of(values):
    """Return the type that skl2onnx has for an array, with any number of rows."""
    from skl2onnx.common.data_types import guess_data_type

    [(_, kind)] = guess_data_type(values)
    kind.shape = [None, *values.shape[1:]]
    return kind


def _register(cls):
    """Let skl2onnx know a class, so that it takes options for it, of no effect.

    ``options={"zipmap": False}`` would be an error otherwise; it is never on.
    """
    import skl2onnx

    def shape_calculator(operator):
        operator.raw_operator.onnx_shape_calculator()(operator)

    def converter(scope, operator, container):
        operator.raw_operator.onnx_converter()(scope, operator, container)

    skl2onnx.update_registered_converter(
        cls, f"L2CNN{cls.__name__}", shape_calculator, converter, options="passthrough"
    )


def _embed(model, scope, operator, container):
    """Put a graph into that of skl2onnx, under names of its own.

    Parameters
    ----------
    model : onnx.ModelProto
    scope, operator, container
        As skl2onnx gives them to a converter.
    """
    graph, names = model.graph, {}
    _name_nothing(graph)

    def node(kind, inputs, outputs, **attributes):
        name = scope.get_unique_operator_name(kind)
        container.add_node(kind, inputs, outputs, name=name, **attributes)

    [own] = [value.name for value in graph.input]
    given = [variable.full_name for variable in operator.inputs]
    if len(given) > 1:  # the columns of a frame
        names[own] = scope.get_unique_variable_name(own)
        node("Concat", given, [names[own]], axis=1)
    else:
        [names[own]] = given
    for tensor in graph.initializer:
        names[tensor.name] = scope.get_unique_variable_name(tensor.name)
        mine = copy.deepcopy(tensor)
        mine.name = names[tensor.name]
        container.initializers.append(mine)
    for part in graph.node:
        for name in part.output:
            names[name] = scope.get_unique_variable_name(name)
        mine = copy.deepcopy(part)
        mine.name = scope.get_unique_operator_name(part.name or part.op_type)
        mine.input[:] = [names[name] for name in part.input]
        mine.output[:] = [names[name] for name in part.output]
        container.nodes.append(mine)
    for inner, outer in zip(graph.output, operator.outputs, strict=True):
        node("Identity", [names[inner.name]], [outer.full_name])
    for domain in model.opset_import:
        container.node_domain_version_pair_sets.add((domain.domain, domain.version))


def _name_nothing(graph):
    """Give inputs that are left out a name, without which skl2onnx sorts no nodes."""
    from onnx import TensorProto, helper

    nothing = helper.make_tensor("nothing", TensorProto.FLOAT, (0,), [])
    for node in graph.node:
        if "" not in node.input:
            continue
        if node.op_type != "Resize":  # an empty tensor is nothing to it
            raise ValueError(
                f"{node.op_type} leaves an input out, and skl2onnx takes no such node. "
                "sklearn_l2cnn.export.to_onnx converts the classifier without skl2onnx."
            )
        node.input[:] = [name or "nothing" for name in node.input]
        if nothing not in graph.initializer:
            graph.initializer.append(nothing)
