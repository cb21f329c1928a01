"""A TensorFlow function as an ONNX graph, by tf2onnx.

tf2onnx 1.17 has four gaps, each closed here or where it is named:

- a loop's written arrays must stand before its read ones (`tfmodels.backend.scan`);
- integers are divided towards zero (`tfmodels.layers.blocks`), and an empty axis cannot be reshaped;
- `Erfc`, of the exact GELU, is unknown: `_erfc`;
- its `BackToBackOptimizer` drops the first of two reshapes even where the second copies sizes of its input: `_PASSES`
  is without it.

The weights are inputs of the function while it is converted, and become initializers afterwards: no pass over the graph
copies them, and no graph has a limit of 2 GB before it is written.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from export.to_onnx.graph import Axes, Graph, is_float
from tfmodels.backend.autocast import scope_of_values
from tfmodels.backend.scan import loops_for_converters
from tfmodels.backend.shared_calls import calls_one_by_one

OPSET = 18
_PASSES = (
    "TransposeOptimizer",
    "ConstFoldOptimizer",
    "LoopOptimizer",
    "MergeDuplicatedNodesOptimizer",
    "ReshapeOptimizer",
    "IdentityOptimizer",
)
Weights = dict[str, keras.Variable]


def onnx_model(graph: Graph, variables: Sequence[keras.Variable]) -> Any:
    """The graph as a `ModelProto`, with the weights that it uses.

    Args:
        graph: what to convert.
        variables: all variables that the function reads.

    Raises:
        ImportError: a package of the extra `onnx` is missing.
        ValueError: an operation that cannot be converted.
    """
    model, weights = without_weights(graph, variables)
    store_weights(model, weights)
    return model


def without_weights(graph: Graph, variables: Sequence[keras.Variable]) -> tuple[Any, Weights]:
    """The graph as a `ModelProto`, and the weights for `store_weights`: the same variables have the same names."""
    from tf2onnx import optimizer, tf_loader, tfonnx

    variables = list({id(variable): variable for variable in variables}.values())
    function, weights = _traced(graph, variables)
    inputs = [tensor.name for tensor in function.inputs]
    names = [spec.name for spec in tf.nest.flatten(function.structured_input_signature)]
    outputs = {tensor.name: name for name, tensor in function.structured_outputs.items()}
    definition = tf_loader.from_function(function, inputs, list(outputs))
    with tf.Graph().as_default() as frozen:
        tf.import_graph_def(definition, name="")
        converted = tfonnx.process_tf_graph(
            frozen,
            opset=OPSET,
            custom_op_handlers={"Erfc": (_erfc, [])},
            input_names=inputs,
            output_names=list(outputs),
            tensors_to_rename=dict(zip(inputs, names, strict=True)) | outputs,
        )
        passes = {name: getattr(optimizer, name) for name in _PASSES}
        model = optimizer.optimize_graph(converted, catch_errors=False, optimizers=passes).make_model("tfmodels")
    describe(model.graph.input, graph.inputs)
    describe(model.graph.output, graph.outputs)
    return model, weights


def _traced(graph: Graph, variables: list[keras.Variable]) -> tuple[Any, Weights]:
    """The concrete function of the graph's inputs and of the weights, and the weights by their inputs' names."""
    weights = {f"weight_{index}": variable for index, variable in enumerate(variables)}

    def run(inputs: dict[str, tf.Tensor], values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        with scope_of_values(variables, [values[name] for name in weights]), loops_for_converters():
            return graph.function(
                {name: value if is_float(name) else tf.cast(value, tf.int32) for name, value in inputs.items()}
            )

    specs = {
        name: tf.TensorSpec(
            [None if isinstance(size, str) else size for size in axes], tf.float32 if is_float(name) else tf.int64, name
        )
        for name, axes in graph.inputs.items()
    }
    held = {name: tf.TensorSpec(weight.shape, weight.dtype, name) for name, weight in weights.items()}
    with calls_one_by_one():
        return tf.function(run, autograph=False).get_concrete_function(specs, held), weights


def _erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """`erfc(x)` as `1 - erf(x)`."""
    node.type = "Erf"
    output = node.output[0]
    one = context.make_const(f"{name}_one", np.array(1, "float32")).output[0]
    difference = context.insert_new_node_on_output("Sub", output, f"{name}_difference", inputs=[one, output])
    context.copy_dtype(output, difference.output[0])
    context.copy_shape(output, difference.output[0])


def store_weights(model: Any, weights: Weights) -> None:
    """Make initializers of the weights' inputs, under the variables' paths; unused ones go."""
    from onnx import numpy_helper

    names = {name: variable.path for name, variable in weights.items()}
    used = set()
    for node in _nodes(model.graph):
        used.update(node.input)
        node.input[:] = [names.get(name, name) for name in node.input]
    for name, path in names.items():
        if name in used:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(weights[name]), path))


def _nodes(graph: Any) -> list[Any]:
    """The nodes of a graph, and of the graphs inside."""
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [*graph.node, *(node for part in inner for node in _nodes(part))]


def describe(values: Any, axes: dict[str, Axes]) -> None:
    """Reduce inputs or outputs to those of `axes`, in its order, and name their axes."""
    described = {value.name: value for value in values if value.name in axes}
    for name, value in described.items():
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for size in axes[name]:
            shape.dim.add(**{"dim_param" if isinstance(size, str) else "dim_value": size})
    ordered = [described[name] for name in axes]
    del values[:]
    values.extend(ordered)
