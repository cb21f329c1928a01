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

    lengths: source lengths in tokens. settings: of the generation. signatures: names and types of inputs and outputs.
    versions: of the libraries that made it; a server must not be older than its tensorflow. ops: every op of the graph.
    """

    model: str
    lengths: tuple[int, ...]
    settings: Mapping[str, Any]
    signatures: Mapping[str, Any]
    versions: Mapping[str, str]
    ops: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into `folder`."""
        write_json(folder / FILE_NAME, dataclasses.asdict(self))


def describe_signatures(functions: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs and outputs of concrete functions: name -> "dtype (shape)"."""
    described = {}
    for name, function in functions.items():
        inputs = {spec.name: spec for spec in tf.nest.flatten(function.structured_input_signature)}
        outputs = function.structured_outputs
        described[name] = {
            "inputs": {key: _describe(spec) for key, spec in sorted(inputs.items())},
            "outputs": {key: _describe(spec) for key, spec in sorted(outputs.items())},
        }
    return described


def op_names(functions: Mapping[str, Any]) -> tuple[str, ...]:
    """Every op that the functions and the functions they call use."""
    names = set()
    for function in functions.values():
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
        names |= {node.op for node in nodes}
    return tuple(sorted(names))


def _describe(spec: Any) -> str:
    return f"{spec.dtype.name} {tuple(spec.shape)}"
