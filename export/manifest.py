"""The description of a SavedModel: `manifest.json` beside `saved_model.pb`, written last."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.client.integrity import digests_below
from export.client.manifest_file import FILE_NAME
from tfmodels.utils.files import write_json


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Versions, signatures and settings of an export.

    Attributes:
        version: the number that the folder is named by.
        model: the model's class.
        architecture: its family, as in `model_type` of its config.
        task: the head's, by Hugging Face's names of pipelines.
        lengths: source lengths in tokens.
        batch_sizes: documents of a request; None: any number.
        settings: settings of the head.
        signatures: names and types of inputs and outputs.
        weights: their stored type, their size in bytes, and the type that the model computes in if it is not its own.
        jit_compile: whether XLA is needed.
        server_flags: flags that the server needs.
        batching: how documents share batches in the graph; None: not there.
        versions: versions of the exporting libraries.
        minimum_server_version: the oldest release of TensorFlow that answers as recorded (`make compatibility`), or the
            exporting one where none was tried: under XLA, with queues, with smaller weights.
        ops: every op of the graph.
        text_ops: the ops of tensorflow-text among them.
        license: of the weights, in their owner's words; None: not said.
        files: SHA-256 by name of every file but the manifest, which its signature covers.
    """

    version: int
    model: str
    architecture: str
    task: str
    lengths: tuple[int, ...]
    batch_sizes: tuple[int, ...] | None
    settings: Mapping[str, Any]
    signatures: Mapping[str, Any]
    weights: Mapping[str, Any]
    jit_compile: bool
    server_flags: tuple[str, ...]
    batching: Mapping[str, int] | None
    versions: Mapping[str, str]
    minimum_server_version: str
    ops: tuple[str, ...]
    text_ops: tuple[str, ...]
    license: str | None = None
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def with_files(self, folder: Path) -> "Manifest":
        """The manifest with the hashes of the files that are in `folder` now."""
        return dataclasses.replace(self, files=digests_below(folder))

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into `folder`."""
        write_json(folder / FILE_NAME, dataclasses.asdict(self))
