"""Rows of a JSON-lines file: cut into shards by place, read and checked one shard at a time, and written whole."""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Shard:
    """Lines that stand together: their bytes in the file, and the number of the first line, from 1."""

    number: int
    start: int
    stop: int
    first_line: int


@dataclass(frozen=True)
class Row:
    """One row: the number of its line, all its fields, and those that the model is asked with."""

    line: int
    fields: Mapping[str, Any]
    inputs: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of its text, by which rows of a batch are chosen."""
        return sum(len(value) for value in self.inputs.values() if isinstance(value, bytes))


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be asked about, and why."""

    line: int
    reason: str


def find_shards(path: Path, rows: int) -> tuple[list[Shard], str]:
    """Shards of `rows` lines each, the last may be shorter, and a digest of the file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "rows.jsonl")
    >>> _ = path.write_text("{}\\n" * 5)
    >>> [(shard.start, shard.stop, shard.first_line) for shard in find_shards(path, 2)[0]]
    [(0, 6, 1), (6, 12, 3), (12, 15, 5)]
    """
    digest = hashlib.sha256()
    shards: list[Shard] = []
    lines = start = place = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            end = block.find(b"\n")
            while end >= 0:
                lines += 1
                if lines % rows == 0:
                    shards.append(Shard(len(shards), start, place + end + 1, lines - rows + 1))
                    start = place + end + 1
                end = block.find(b"\n", end + 1)
            place += len(block)
    if start < place:
        shards.append(Shard(len(shards), start, place, len(shards) * rows + 1))
    return shards, digest.hexdigest()


def read_rows(
    path: Path, shard: Shard, fields: Mapping[str, str], texts: Iterable[str], reserved: Iterable[str], max_bytes: int
) -> Iterator[Row | BadRow]:
    """The rows of a shard, in order.

    Args:
        path: the file.
        shard: which of its lines.
        fields: the row's field, by input of the model.
        texts: those inputs that are text; the others are whole numbers.
        reserved: fields that a row must not have.
        max_bytes: of the longest line that is read.
    """
    texts, reserved = frozenset(texts), frozenset(reserved)
    with path.open("rb") as file:
        file.seek(shard.start)
        line = shard.first_line
        while file.tell() < shard.stop:
            # The line's end may take two bytes.
            data = file.readline(max_bytes + 2)
            if not data:
                raise OSError(f"input must stay as it is while it is read. Received: {path}, which has become shorter")
            _skip_line(file, data)
            try:
                if len(data.rstrip(b"\r\n")) > max_bytes:
                    raise ValueError(f"must be a line of at most {max_bytes} bytes")
                found = _parse(data, reserved)
                yield Row(line, found, {name: _value(found, field, name in texts) for name, field in fields.items()})
            except ValueError as error:
                yield BadRow(line, str(error))
            line += 1


def write_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines, whole or not at all."""
    with written_whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file to write to, which takes the name `path` when the block ends without an exception.

    `tfmodels.files` has the like; a worker does without tfmodels, as a server does.
    """
    partial = path.with_name(f".partial-{uuid.uuid4().hex}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _skip_line(file: BinaryIO, data: bytes) -> None:
    """Go on to the next line, after `data` of this one."""
    while data and not data.endswith(b"\n"):
        data = file.readline(_BLOCK_BYTES)


def _parse(data: bytes, reserved: frozenset[str]) -> dict[str, Any]:
    try:
        found = json.loads(data.decode("utf-8"), parse_constant=_refused)
    except UnicodeDecodeError as error:
        raise ValueError(f"must be UTF-8 ({error})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"must be JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"must be a JSON object, not {type(found).__name__}")
    for name in sorted(reserved & found.keys()):
        raise ValueError(f"field {name} would be overwritten; choose another --prefix")
    try:
        # Escapes can spell halves of characters, which no file could hold.
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"must be text in Unicode ({error})") from None
    except ValueError:
        raise ValueError("must have numbers that a float of 64 bits can hold") from None
    return found


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _value(row: Mapping[str, Any], field: str, is_text: bool) -> bytes | int:
    if field not in row:
        raise ValueError(f"must have the field {field}")
    value = row[field]
    if is_text:
        if not isinstance(value, str):
            raise ValueError(f"field {field} must be a string, not {type(value).__name__}")
        return value.encode("utf-8")
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**31:
        raise ValueError(f"field {field} must be a whole number of 32 bits")
    return value
