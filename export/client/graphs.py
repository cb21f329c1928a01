"""Facts of graphs: inputs, outputs, and the ops that a server must know; needs TensorFlow alone."""

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf


def describe_signatures(functions: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs and outputs of concrete functions: name -> "dtype (shape)"."""
    described = {}
    for name, function in functions.items():
        described[name] = {
            "inputs": {key: describe(spec) for key, spec in sorted(input_specs(function).items())},
            "outputs": {key: describe(spec) for key, spec in sorted(function.structured_outputs.items())},
        }
    return described


def input_specs(function: Any) -> dict[str, tf.TensorSpec]:
    """The inputs of a concrete function by name."""
    return {spec.name: spec for spec in tf.nest.flatten(function.structured_input_signature)}


def op_names(functions: Mapping[str, Any]) -> tuple[str, ...]:
    """Every op that the functions and the functions they call use."""
    graphs = [function.graph.as_graph_def() for function in functions.values()]
    return tuple(sorted({node.op for graph in graphs for node in _nodes(graph)}))


def foreign_ops(names: tuple[str, ...]) -> tuple[str, ...]:
    """The ops that TensorFlow itself lacks.

    >>> foreign_ops(("Add", "TFText>FastSentencepieceTokenize"))
    ('TFText>FastSentencepieceTokenize',)
    """
    return tuple(name for name in names if not hasattr(tf.raw_ops, name))


def must_compile(functions: Mapping[str, Any]) -> bool:
    """Whether only XLA may run a part of the functions."""
    # XLA has no op of its own: TensorFlow marks the function and its calls.
    graphs = [function.graph.as_graph_def() for function in functions.values()]
    marked = [holder for graph in graphs for holder in (*_nodes(graph), *graph.library.function)]
    return any(holder.attr["_XlaMustCompile"].b for holder in marked if "_XlaMustCompile" in holder.attr)


def describe(spec: Any) -> str:
    """A spec as "dtype (shape)"."""
    return f"{spec.dtype.name} {tuple(spec.shape)}"


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
