"""What a SavedModel says about itself: `manifest.json` beside `saved_model.pb`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfmodels.files import write_json

FILE_NAME = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Versions, signatures and settings of an export.

    Attributes:
        model: the class.
        lengths: source lengths in tokens.
        batch_sizes: documents of a request; None: any number.
        settings: of the head.
        signatures: names and types of inputs and outputs.
        weights: how they are stored, and their size in bytes.
        jit_compile: whether XLA is needed.
        versions: of the libraries that made it.
        minimum_server_version: the TensorFlow that made it: the oldest that is sure to know its ops as they are here.
        ops: every op of the graph. text_ops: those that tensorflow-text brings.
    """

    model: str
    lengths: tuple[int, ...]
    batch_sizes: tuple[int, ...] | None
    settings: Mapping[str, Any]
    signatures: Mapping[str, Any]
    weights: Mapping[str, Any]
    jit_compile: bool
    versions: Mapping[str, str]
    minimum_server_version: str
    ops: tuple[str, ...]
    text_ops: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into `folder`."""
        write_json(folder / FILE_NAME, dataclasses.asdict(self))


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
    names = set()
    for function in functions.values():
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
        names |= {node.op for node in nodes}
    return tuple(sorted(names))


def foreign_ops(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that TensorFlow itself does not have.

    >>> foreign_ops(("Add", "TFText>FastSentencepieceTokenize"))
    ('TFText>FastSentencepieceTokenize',)
    """
    return tuple(name for name in names if not hasattr(tf.raw_ops, name))


def describe(spec: Any) -> str:
    """As "dtype (shape)"."""
    return f"{spec.dtype.name} {tuple(spec.shape)}"
