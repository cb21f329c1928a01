"""Both graphs of a decoder as one, in optimum's layout: a choice between them, and the weights once.

optimum's `merge_decoders` makes the same form. It is not called here because it brings PyTorch and transformers along,
and because it looks for equal weights by their hashes, where both graphs are made of the same variables.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from export.to_onnx.conversion import describe, store_weights, without_weights
from export.to_onnx.graph import Axes, Graph, MergedGraphs, is_float

# Of shape (1,).
_CHOICE = "use_cache_branch"


def merged_model(graphs: MergedGraphs, variables: Sequence[keras.Variable]) -> Any:
    """One `ModelProto` that runs the later graph where `use_cache_branch` says so, else the first.

    Outputs of the first alone, the keys and values of the document, are empty of the later: callers keep what they had.

    Args:
        graphs: the two graphs.
        variables: all variables that they read.
    """
    from onnx import TensorProto, helper

    outputs = graphs.first.outputs
    (later, weights), (first, _) = (without_weights(graph, variables) for graph in (graphs.later, graphs.first))
    choice = helper.make_node(
        "If",
        [_CHOICE],
        list(outputs),
        then_branch=_branch(later.graph, graphs.later, outputs),
        else_branch=_branch(first.graph, graphs.first, outputs),
    )
    inputs = [_described(name, axes) for name, axes in graphs.inputs.items()]
    inputs.append(helper.make_tensor_value_info(_CHOICE, TensorProto.BOOL, [1]))
    model = helper.make_model(
        helper.make_graph([choice], "tfmodels", inputs, [_described(name, axes) for name, axes in outputs.items()]),
        opset_imports=first.opset_import,
        ir_version=first.ir_version,
    )
    store_weights(model, weights)
    return model


def _branch(converted: Any, graph: Graph, outputs: Mapping[str, Axes]) -> Any:
    """A graph as a branch: without inputs, which are those around it, and with all outputs, empty where it has none."""
    from onnx import GraphProto, helper, numpy_helper

    branch = GraphProto()
    branch.CopyFrom(converted)
    branch.name = graph.file.removesuffix(".onnx")
    del branch.input[:]
    found = dict(graph.outputs)
    for name, axes in outputs.items():
        if name not in found:
            sizes = [1 if isinstance(size, str) else size for size in axes]
            empty = np.zeros([0, *sizes[1:]], "float32")
            branch.node.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(empty)))
            found[name] = empty.shape
            branch.output.append(_described(name, found[name]))
    describe(branch.output, {name: found[name] for name in outputs})
    return branch


def _described(name: str, axes: Axes) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT if is_float(name) else TensorProto.INT64, list(axes))


class Branch:
    """A session of merged graphs, run as one of them.

    Args:
        running: the session.
        graphs: what it was made of.
        has_past: whether the later one is meant.
    """

    def __init__(self, running: Any, graphs: MergedGraphs, has_past: bool) -> None:
        self._running, self._graphs, self._has_past = running, graphs, has_past

    def run(self, names: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The named outputs; inputs of the other graph alone are empty."""
        others = {
            name: np.zeros([0 if isinstance(size, str) else size for size in axes], "float32")
            for name, axes in self._graphs.inputs.items()
            if name not in inputs
        }
        return self._running.run(list(names), {**others, **inputs, _CHOICE: np.array([self._has_past])})
