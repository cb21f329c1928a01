"""Rows of a bulk run: cut into shards, read and checked one shard at a time, and written whole."""

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.client.csv_records import read_header
from export.client.reading import MOST_BYTES, is_csv
from export.client.records import read_records
from export.client.strict_json import dumped, finite

_BLOCK_BYTES = 1 << 20
_UNPACKED = "input.jsonl"


@dataclass(frozen=True)
class Shard:
    """A run of lines: their bytes in the file, and the number of the first line, from 1."""

    number: int
    start: int
    stop: int
    first_line: int


@dataclass(frozen=True)
class Row:
    """One row: the number of its line, all its fields, and the model's inputs among them."""

    line: int
    fields: Mapping[str, Any]
    inputs: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of its text, by which rows are sorted into batches."""
        return sum(len(value) for value in self.inputs.values() if isinstance(value, bytes))


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be asked about, the reason, and the number of further lines lost with it."""

    line: int
    reason: str
    lost_lines: int = 0


def unpacked(path: Path, folder: Path) -> Path:
    """Return a file whose parts can be read by position: the file itself, or an unpacked copy in the folder.

    Raises:
        ValueError: broken compression.
    """
    if not path.name.lower().endswith(".gz"):
        return path
    target = folder / _UNPACKED
    if not target.exists():
        try:
            with gzip.open(path, "rb") as packed, written_whole(target) as partial, partial.open("wb") as file:
                shutil.copyfileobj(packed, file, _BLOCK_BYTES)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: the file must be valid gzip. Received: {error}") from None
    return target


def find_shards(path: Path, rows: int, max_bytes: int = MOST_BYTES) -> list[Shard]:
    """Cut a file into shards of `rows` rows of CSV, or of `rows` lines; the last may be shorter.

    `max_bytes` must be the same as for reading: in CSV it decides where rows begin.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "rows.jsonl")
    >>> _ = path.write_text("{}\\n" * 5)
    >>> [(shard.start, shard.stop, shard.first_line) for shard in find_shards(path, 2)]
    [(0, 6, 1), (6, 12, 3), (12, 15, 5)]
    """
    places = _csv_places(path, rows, max_bytes) if is_csv(path) else _line_places(path, rows)
    size = path.stat().st_size
    stops = [place for place, _ in places[1:]] + [size]
    return [
        Shard(number, start, stop, line)
        for number, ((start, line), stop) in enumerate(zip(places, stops, strict=True) if places else ())
    ]


def file_digest(path: Path) -> str:
    """A digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_rows(
    path: Path, shard: Shard, fields: Mapping[str, str], texts: Iterable[str], reserved: Iterable[str], max_bytes: int
) -> Iterator[Row | BadRow]:
    """Yield the rows of a shard, in order.

    Args:
        path: the file.
        shard: a run of its rows.
        fields: the row's field, by input of the model.
        texts: the inputs that are text; all others are whole numbers, which CSV spells.
        reserved: fields that a row must not have.
        max_bytes: bytes of the longest row that is read.
    """
    texts, reserved = frozenset(texts), frozenset(reserved)
    read = _number_of_text if is_csv(path) else _number
    for record in read_records(path, shard.start, shard.stop, shard.first_line, max_bytes):
        if record.fields is None:
            yield BadRow(record.line, record.problem, record.lost_lines)
            continue
        try:
            _check_fields(record.fields, reserved)
            inputs = {name: (_text if name in texts else read)(record.fields, field) for name, field in fields.items()}
            yield Row(record.line, record.fields, inputs)
        except ValueError as error:
            yield BadRow(record.line, str(error))


def check_columns(path: Path, fields: Iterable[str], reserved: Iterable[str]) -> None:
    """Raise `ValueError` for a header of a CSV file that does not fit a run; other formats have no header."""
    header = read_header(path) if is_csv(path) else None
    if header is None:
        return
    where, names = f"{path}:{header.line}", list(header.names)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{where}: the columns must have names of their own. Received: {repeated[0]!r} twice")
    for field in fields:
        if field not in names:
            raise ValueError(f"{where}: the file must have a column {field!r}. It has: {', '.join(map(repr, names))}")
    for name in reserved:
        if name in names:
            raise ValueError(f"{where}: column {name} would be overwritten; choose another --prefix")


def write_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines, whole or not at all; NaN and infinities, as of a failing model, are null."""
    with written_whole(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(dumped(finite(value), ensure_ascii=False) + "\n" for value in values)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a file to write to, which takes the name `path` when the block ends without an exception.

    `tfmodels.utils.files` has the same; a worker runs without tfmodels, as a server does.
    """
    partial = path.with_name(f".partial-{uuid.uuid4().hex}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _line_places(path: Path, rows: int) -> list[tuple[int, int]]:
    """Position and number of every `rows`-th line from the first."""
    places, lines, place = [(0, 1)], 0, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            end = block.find(b"\n")
            while end >= 0:
                lines += 1
                if lines % rows == 0:
                    places.append((place + end + 1, lines + 1))
                end = block.find(b"\n", end + 1)
            place += len(block)
    return [(start, line) for start, line in places if start < place]


def _csv_places(path: Path, rows: int, max_bytes: int) -> list[tuple[int, int]]:
    """Position and number of the first line of every `rows`-th row from the first."""
    records = enumerate(read_records(path, max_bytes=max_bytes))
    return [(record.start, record.line) for number, record in records if number % rows == 0]


def _check_fields(fields: Mapping[str, Any], reserved: frozenset[str]) -> None:
    for name in sorted(reserved & fields.keys()):
        raise ValueError(f"field {name} would be overwritten; choose another --prefix")
    try:
        # Escapes can spell lone surrogates, which no file can hold.
        json.dumps(fields, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"must be text in Unicode ({error})") from None
    except ValueError:
        raise ValueError("must have numbers that a float of 64 bits can hold") from None


def _value(row: Mapping[str, Any], field: str) -> Any:
    if field not in row:
        raise ValueError(f"must have the field {field}")
    return row[field]


def _text(row: Mapping[str, Any], field: str) -> bytes:
    value = _value(row, field)
    if not isinstance(value, str):
        raise ValueError(f"field {field} must be a string, not {type(value).__name__}")
    return value.encode("utf-8")


def _number(row: Mapping[str, Any], field: str) -> int:
    value = _value(row, field)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**31:
        raise ValueError(f"field {field} must be a whole number of 32 bits")
    return value


def _number_of_text(row: Mapping[str, Any], field: str) -> int:
    text = _value(row, field).strip()
    is_number = text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 12
    return _number({field: int(text) if is_number else text}, field)
