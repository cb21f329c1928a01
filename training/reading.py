"""A user's documents and summaries from .jsonl, .jsonl.gz and .csv files; errors name file and line."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.client.csv_records import read_header
from export.client.reading import Record, check_file, cut, is_csv
from export.client.records import read_records
from training.examples import Example


@dataclass(frozen=True)
class ReadResult:
    """The examples of a file, the number of skipped rows, and the number of further lines lost with them."""

    examples: list[Example]
    skipped: int
    lost_lines: int = 0


class BadRow(ValueError):
    """A row that cannot become an example. Its message names the file, the line, the rule and the value."""


def read_examples(
    path: str | os.PathLike,
    document_field: str = "document",
    summary_field: str = "summary",
    skip_bad_rows: bool = False,
    on_bad_row: Callable[[str], None] | None = None,
) -> ReadResult:
    """Read the documents and summaries of a file in UTF-8.

    The suffix tells the format: `.jsonl` holds one JSON object a line, `.jsonl.gz` the same compressed, and `.csv` a
    header and one row each. Empty lines are skipped; rows of more than 100 MB are bad. Each example's name is
    `"FILE:LINE"`.

    A row that is not valid CSV, such as one with a quote that is never closed, costs the lines after it that do not
    look like rows: reading goes on at the next line that begins a row with the header's number of columns, followed by
    another such row or none.

    Args:
        path: the file.
        document_field: the field (or column) with the text to read.
        summary_field: the field (or column) with the text to write.
        skip_bad_rows: count and skip rows that cannot be used, instead of raising at the first.
        on_bad_row: called with the message of each row that is skipped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, the same field twice, a file without good rows or in UTF-16, broken compression, or
            a CSV header that lacks a field. Without `skip_bad_rows`, also the first row that is not UTF-8, not JSON,
            not an object, names a key twice, or whose document or summary is missing, not a string or empty.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.jsonl"
    >>> _ = path.write_text('{"text": "A long story.", "title": "Story"}')
    >>> read_examples(path, document_field="text", summary_field="title").examples[0].summary
    'Story'
    """
    path = Path(path)
    check_file(path)
    _check_fields(path, document_field, summary_field)
    examples: list[Example] = []
    skipped = lost_lines = 0
    for record in read_records(path):
        try:
            examples.append(_to_example(path, record, document_field, summary_field))
        except BadRow as error:
            if not skip_bad_rows:
                raise
            skipped += 1
            lost_lines += record.lost_lines
            if on_bad_row is not None:
                on_bad_row(str(error))
    if not examples:
        content = f"{skipped} bad rows and no good one" if skipped else "no rows"
        raise ValueError(f"The data file must hold at least one usable row. Received: {path} with {content}")
    return ReadResult(examples, skipped, lost_lines)


def _check_fields(path: Path, document_field: str, summary_field: str) -> None:
    if document_field == summary_field:
        raise ValueError(
            f"document_field and summary_field must differ. "
            f"Received: document_field={document_field!r}, summary_field={summary_field!r}"
        )
    header = read_header(path) if is_csv(path) else None
    if header is None:
        return
    for argument, name in (("document_field", document_field), ("summary_field", summary_field)):
        if header.names.count(name) != 1:
            rule = "be one of the columns" if name not in header.names else "be the name of one column only"
            raise ValueError(
                f"{path}:{header.line}: {argument}={name!r} must {rule}. The file has: {_listed(header.names)}"
            )


def _to_example(path: Path, record: Record, document_field: str, summary_field: str) -> Example:
    where = f"{path}:{record.line}"
    if record.fields is None:
        lost = f"; {record.lost_lines:,} further lines went with it" if record.lost_lines else ""
        raise BadRow(f"{where}: {record.problem}{lost}")
    document = _text(where, record.fields, "document_field", document_field)
    summary = _text(where, record.fields, "summary_field", summary_field)
    return Example(document, summary, name=f"{path.name}:{record.line}")


def _text(where: str, fields: dict[str, Any], argument: str, name: str) -> str:
    if name not in fields:
        raise BadRow(f"{where}: {argument}={name!r} must be a field of the row. The row has: {_listed(fields)}")
    value = fields[name]
    if not isinstance(value, str):
        raise BadRow(f"{where}: field {name!r} must be a string. Received: {cut(repr(value))} ({type(value).__name__})")
    if not value.strip():
        raise BadRow(f"{where}: field {name!r} must not be empty. Received: {cut(repr(value))}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        # JSON can spell a lone surrogate, which no tokenizer can encode.
        received = repr(value[error.start])
        raise BadRow(f"{where}: field {name!r} must hold valid Unicode text. Received: {received} in it") from None
    return value


def _listed(names: dict[str, Any] | tuple[str, ...]) -> str:
    return cut(", ".join(repr(name) for name in names), 200) or "no fields"
