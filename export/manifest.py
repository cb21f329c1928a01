"""The description of a SavedModel: `manifest.json` beside `saved_model.pb`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfmodels.utils.files import write_json

FILE_NAME = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Versions, signatures and settings of an export.

    Attributes:
        model: the model's class.
        lengths: source lengths in tokens.
        batch_sizes: documents of a request; None: any number.
        settings: settings of the head.
        signatures: names and types of inputs and outputs.
        weights: their stored type, and their size in bytes.
        jit_compile: whether XLA is needed.
        versions: versions of the exporting libraries.
        minimum_server_version: the exporting TensorFlow's version, the oldest that surely knows all the ops.
        ops: every op of the graph.
        text_ops: the ops of tensorflow-text among them.
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
