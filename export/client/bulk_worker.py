"""A worker of a bulk run: it loads the SavedModel once, then answers shard after shard."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.client.bulk_rows import BadRow, Row, Shard, check_columns, read_rows, write_lines
from export.client.saved_model_client import SavedModel, import_server_libraries
from export.client.signature import Signature, find_signature
from export.client.verification import Trust

LINE = "line"


@dataclass(frozen=True)
class BulkSettings:
    """Settings of a bulk run; a run that goes on must have the same.

    Attributes:
        model: a version's folder.
        input: the file of rows, in a run not compressed.
        signature: the signature's name.
        fields: the row's field by input of the signature.
        constants: inputs that are the same for every row.
        batch_size: documents that are answered at once.
        shard_rows: rows of a shard.
        max_bytes: bytes of the longest row that is read.
        prefix: begins the names under which answers are written.
        trust: what the model must prove before it is loaded.
    """

    model: Path
    input: Path
    signature: str
    fields: Mapping[str, str]
    constants: Mapping[str, int]
    batch_size: int
    shard_rows: int
    max_bytes: int
    prefix: str
    trust: Trust | None = None


class BulkWorker:
    """A process of a run.

    Args:
        settings: the run's settings.
        folder: the folder of the shards' files.
        threads: TensorFlow's threads; None: its default.
    """

    def __init__(self, settings: BulkSettings, folder: Path, threads: int | None = None) -> None:
        self._settings = settings
        self._folder = folder
        self._threads = threads
        self._model: _BoundSignature | None = None

    def check(self) -> None:
        """Load the model, and ask it for a batch of empty texts.

        Raises:
            ValueError: no SavedModel, a signature, fields, constants or a batch size that do not fit it, or a header
                that lacks a field.
            ChildProcessError: the model failed.
        """
        model = self._load()
        check_columns(self._settings.input, model.fields.values(), self._reserved(model))
        model.try_out()

    def run(self, shard: Shard) -> tuple[int, int]:
        """Answer the rows of a shard and write them, in order; return the numbers of good and of bad rows.

        Raises:
            ValueError: as in `check`.
            ChildProcessError: the model failed.
        """
        model = self._load()
        records = list(self._read(shard, model))
        rows = [row for row in records if isinstance(row, Row)]
        answers = self._answers(model, rows)
        bad = [row for row in [*records, *answers.values()] if isinstance(row, BadRow)]
        good = [row for row in rows if not isinstance(answers[row.line], BadRow)]
        write_lines(
            shard_file(self._folder, shard, "bad"),
            (
                {LINE: row.line, "reason": row.reason, **({"lost_lines": row.lost_lines} if row.lost_lines else {})}
                for row in sorted(bad, key=lambda row: row.line)
            ),
        )
        # Written last, as it marks the shard as done.
        write_lines(shard_file(self._folder, shard), (self._output(model, row, answers[row.line]) for row in good))
        return len(good), len(bad)

    def _load(self) -> "_BoundSignature":
        if self._model is None:
            # TensorFlow reads it when it starts.
            if self._threads is not None:
                os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(self._threads))
            self._model = _BoundSignature(self._settings)
        return self._model

    def _read(self, shard: Shard, model: "_BoundSignature") -> Iterator[Row | BadRow]:
        settings = self._settings
        reserved = self._reserved(model)
        return read_rows(settings.input, shard, model.fields, model.texts, reserved, settings.max_bytes)

    def _reserved(self, model: "_BoundSignature") -> list[str]:
        """The fields that the run writes."""
        return [self._settings.prefix + name for name in (LINE, *model.signature.outputs)]

    def _answers(self, model: "_BoundSignature", rows: Sequence[Row]) -> dict[int, Any]:
        """Answers or bad rows, by line."""
        answers: dict[int, Any] = {}
        # Documents of like length go together, as a batch pays for its longest.
        ordered = sorted(rows, key=lambda row: row.size)
        for start in range(0, len(ordered), self._settings.batch_size):
            batch = ordered[start : start + self._settings.batch_size]
            try:
                answers |= model.answers(batch)
            except ValueError:
                for row in batch:
                    try:
                        answers |= model.answers([row])
                    except ValueError as error:
                        answers[row.line] = BadRow(row.line, str(error))
        return answers

    def _output(self, model: "_BoundSignature", row: Row, answer: Mapping[str, Any]) -> dict[str, Any]:
        prefix = self._settings.prefix
        # Documents are long: they are not repeated.
        documents = {model.fields[name] for name in model.texts}
        kept = {name: value for name, value in row.fields.items() if name not in documents}
        return {prefix + LINE: row.line, **kept, **{prefix + name: value for name, value in answer.items()}}


class _BoundSignature:
    """One signature of a SavedModel, called with rows.

    Attributes:
        signature: its inputs and outputs.
        fields: the row's field by input.
        texts: the inputs that are text.
    """

    def __init__(self, settings: BulkSettings) -> None:
        import_server_libraries()
        self._settings = settings
        self._model = SavedModel(settings.model, settings.trust)
        self.signature = find_signature(self._model.signatures(), settings.signature)
        self.fields = _fields_by_input(settings, self.signature)
        self.texts = [name for name in self.fields if self.signature.inputs[name].is_text]

    def try_out(self) -> None:
        """Raise `ValueError` if the model refuses every batch of the run, whatever its rows."""
        count = self._settings.batch_size
        self._ask({name: [b"" if name in self.texts else 1] * count for name in self.fields}, count)

    def answers(self, rows: Sequence[Row]) -> dict[int, Any]:
        """Outputs by line.

        Raises:
            ValueError: the model refuses the rows.
            ChildProcessError: the model failed.
        """
        outputs = self._ask({name: [row.inputs[name] for row in rows] for name in self.fields}, len(rows))
        answers = {name: outputs[name].tolist() for name in sorted(outputs)}
        return {row.line: {name: answers[name][place] for name in answers} for place, row in enumerate(rows)}

    def _ask(self, columns: Mapping[str, Any], count: int) -> dict[str, Any]:
        constants = {name: [value] * count for name, value in self._settings.constants.items()}
        try:
            return self._model(self._settings.signature, **columns, **constants)
        except RuntimeError as error:
            raise ChildProcessError(str(error)) from None


def shard_file(folder: Path, shard: Shard, kind: str = "rows") -> Path:
    """The file of a shard's answers ("rows"), or of its bad rows ("bad")."""
    return folder / f"{shard.number:08d}.{kind}.jsonl"


def _fields_by_input(settings: BulkSettings, signature: Signature) -> dict[str, str]:
    """The row's field for every input that is not a constant.

    Raises:
        ValueError: a name outside the signature's inputs, or an input that does not take one value per row.
    """
    inputs = signature.inputs
    for option, names in (("field", settings.fields), ("set", settings.constants)):
        for name in names:
            if name not in inputs:
                raise ValueError(f"--{option} must name one of {', '.join(sorted(inputs))}. Received: {name}")
    for name, field in inputs.items():
        if field.rank != 1 or field.dtype.kind not in "Oi" or (field.is_text and name in settings.constants):
            raise ValueError(
                "signature must take texts and numbers, one of each per row, and texts from fields. "
                f"Received: signature={settings.signature}, whose {name} is another"
            )
    return {name: settings.fields.get(name, name) for name in inputs if name not in settings.constants}
