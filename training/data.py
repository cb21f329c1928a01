"""Reading a user's documents and summaries from .jsonl, .jsonl.gz and .csv files; errors name file and line."""

import contextlib
import csv
import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from training.examples import Example

ACCEPTED_SUFFIXES = (".jsonl", ".jsonl.gz", ".csv")

# The csv module holds the limit in a C long, which is 32 bits wide on some systems.
_FIELD_SIZE_LIMIT = 2**31 - 1
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What the "surrogateescape" error handler makes of bytes that are not UTF-8.
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class ReadResult:
    """The examples of a file and the number of rows that were skipped."""

    examples: list[Example]
    skipped: int


class BadRow(ValueError):
    """A row that cannot become an example. Its message names the file, the line, the rule and what was received."""


@dataclass(frozen=True)
class _Row:
    """The fields of one row, or what was wrong with it."""

    line: int
    fields: dict[str, object] | None
    problem: str = ""


def read_examples(
    path: str | os.PathLike,
    document_field: str = "document",
    summary_field: str = "summary",
    skip_bad_rows: bool = False,
    on_bad_row: Callable[[str], None] | None = None,
) -> ReadResult:
    """Reads the documents and summaries of a file in UTF-8.

    The suffix tells the format: `.jsonl` holds one JSON object a line, `.jsonl.gz` the same compressed, and `.csv` a
    header and one row each. Empty lines count as nothing. Each example's name is `"FILE:LINE"`.

    Args:
        path: The file.
        document_field: The field (or column) with the text to read.
        summary_field: The field (or column) with the text to write.
        skip_bad_rows: Count and skip rows that cannot be used, instead of raising at the first.
        on_bad_row: Called with the message of each row that is skipped.

    Raises:
        FileNotFoundError: If `path` is not a file.
        ValueError: If the suffix is another one, the two fields are the same, the file has no rows or no good ones, the
            compression is broken or a CSV header lacks a field. Without `skip_bad_rows`, also at the first row that is
            not UTF-8, not JSON, not an object, or whose document or summary is missing, not a string or empty.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.jsonl"
    >>> _ = path.write_text('{"text": "A long story.", "title": "Story"}')
    >>> read_examples(path, document_field="text", summary_field="title").examples[0].summary
    'Story'
    """
    path = Path(path)
    _check_arguments(path, document_field, summary_field)
    rows = _csv_rows(path, (document_field, summary_field)) if path.suffix.lower() == ".csv" else _json_rows(path)
    examples: list[Example] = []
    skipped = 0
    with contextlib.closing(rows):
        for row in rows:
            try:
                examples.append(_to_example(path, row, document_field, summary_field))
            except BadRow as error:
                if not skip_bad_rows:
                    raise
                skipped += 1
                if on_bad_row is not None:
                    on_bad_row(str(error))
    if not examples:
        found = f"{skipped} bad rows and no good one" if skipped else "no rows"
        raise ValueError(f"The data file must hold at least one usable row. Received: {path} with {found}")
    return ReadResult(examples, skipped)


def _check_arguments(path: Path, document_field: str, summary_field: str) -> None:
    if not path.name.lower().endswith(ACCEPTED_SUFFIXES):
        accepted = ", ".join(ACCEPTED_SUFFIXES)
        raise ValueError(f"The data file's name must end in one of {accepted}. Received: {path}")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"The data file must exist and be a file. Received: {path} ({kind})")
    if document_field == summary_field:
        raise ValueError(
            f"document_field and summary_field must differ. "
            f"Received: document_field={document_field!r}, summary_field={summary_field!r}"
        )


def _to_example(path: Path, row: _Row, document_field: str, summary_field: str) -> Example:
    where = f"{path}:{row.line}"
    if row.fields is None:
        raise BadRow(f"{where}: {row.problem}")
    document = _text(where, row.fields, "document_field", document_field)
    summary = _text(where, row.fields, "summary_field", summary_field)
    return Example(document, summary, name=f"{path.name}:{row.line}")


def _text(where: str, fields: dict[str, object], argument: str, name: str) -> str:
    if name not in fields:
        raise BadRow(f"{where}: {argument}={name!r} must be a field of the row. The row has: {_listed(fields)}")
    value = fields[name]
    if not isinstance(value, str):
        raise BadRow(
            f"{where}: field {name!r} must be a string. Received: {_cut(repr(value))} ({type(value).__name__})"
        )
    if not value.strip():
        raise BadRow(f"{where}: field {name!r} must not be empty. Received: {_cut(repr(value))}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        # JSON can spell half a surrogate pair, which no tokenizer can encode.
        received = repr(value[error.start])
        raise BadRow(f"{where}: field {name!r} must hold valid Unicode text. Received: {received} in it") from None
    return value


def _json_rows(path: Path) -> Generator[_Row, None, None]:
    for number, raw in _numbered_lines(path):
        if not raw.strip():
            continue
        try:
            value = json.loads(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            yield _Row(number, None, f"the line must be UTF-8. Received: byte 0x{byte:02x} at position {error.start}")
        except (ValueError, RecursionError) as error:
            received = _cut(repr(raw[:100].decode("utf-8", "replace")))
            yield _Row(number, None, f"the line must be a JSON object. Received: {received} ({error})")
        else:
            if isinstance(value, dict):
                yield _Row(number, value)
            else:
                received = f"{_cut(json.dumps(value))} ({type(value).__name__})"
                yield _Row(number, None, f"the line must be a JSON object. Received: {received}")


def _csv_rows(path: Path, wanted: tuple[str, str]) -> Generator[_Row, None, None]:
    previous_limit = csv.field_size_limit(_FIELD_SIZE_LIMIT)
    try:
        # Bytes that are not UTF-8 are carried along, so that a bad row does not end the reading of the others.
        text = (raw.decode("utf-8", "surrogateescape") for _, raw in _numbered_lines(path))
        # Strict, since a quote that is never closed would else swallow the rest of the file as one field.
        reader = csv.reader(text, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if header is None:
                    raise ValueError(f"{path}:{line}: the header must be valid CSV. Received: {error}") from None
                yield _Row(line, None, f"the row must be valid CSV. Received: {error}")
                continue
            if header is not None and cells:
                yield _csv_row(line, header, cells)
            elif cells:
                header = cells
                _check_header(path, line, header, wanted)
    finally:
        csv.field_size_limit(previous_limit)


def _check_header(path: Path, line: int, header: list[str], wanted: tuple[str, str]) -> None:
    where = f"{path}:{line}"
    if _ESCAPED_BYTE.search("".join(header)):
        raise ValueError(f"{where}: the header must be UTF-8. Received: {_escaped_byte(header)}")
    for argument, name in zip(("document_field", "summary_field"), wanted, strict=True):
        if header.count(name) != 1:
            rule = "be one of the columns" if name not in header else "be the name of one column only"
            raise ValueError(f"{where}: {argument}={name!r} must {rule}. The file has: {_listed(header)}")


def _csv_row(line: int, header: list[str], cells: list[str]) -> _Row:
    if _ESCAPED_BYTE.search("".join(cells)):
        return _Row(line, None, f"the row must be UTF-8. Received: {_escaped_byte(cells)}")
    if len(cells) != len(header):
        rule = f"the row must have the header's {len(header)} columns"
        return _Row(line, None, f"{rule}. Received: {len(cells)} (is a comma or line break outside quotes?)")
    return _Row(line, dict(zip(header, cells, strict=True)))


def _numbered_lines(path: Path) -> Generator[tuple[int, bytes], None, None]:
    is_compressed = path.suffix.lower() == ".gz"
    number = 0
    try:
        with gzip.open(path, "rb") if is_compressed else open(path, "rb") as stream:
            for number, raw in enumerate(stream, start=1):
                # Spreadsheets begin their UTF-8 files with a byte order mark.
                yield number, raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}:{number + 1}: the file must be valid gzip. Received: {error}") from None


def _escaped_byte(cells: list[str]) -> str:
    for column, cell in enumerate(cells, start=1):
        found = _ESCAPED_BYTE.search(cell)
        if found:
            return f"byte 0x{ord(found.group()) - 0xDC00:02x} in column {column}"
    return "no such byte"


def _listed(names: dict[str, object] | list[str]) -> str:
    return _cut(", ".join(repr(name) for name in names), 200) or "no fields"


def _cut(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[:length] + "..."
