"""Readers of users' files: rows of `.jsonl`, `.jsonl.gz` and `.csv`, and texts; for training, `bulk` and `ask`.

It uses the standard library alone: a worker of a bulk run has neither keras nor tfmodels. Files are in UTF-8, with or
without a byte order mark; lines end in a line feed, with or without a carriage return before it. Empty lines are
skipped.
"""

import gzip
import json
import os
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv")
MOST_BYTES = 100_000_000
"""Bytes of the longest row that is read, by default."""

_DEEPEST = 100
_BLOCK_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)


class Line(NamedTuple):
    """One line: its number from 1, its position in the (unpacked) file, and its bytes, cut if it is too long."""

    number: int
    start: int
    data: bytes


@dataclass(frozen=True)
class Record:
    """One row of a file: the number and position of its first line, and its fields or its problem.

    Attributes:
        lost_lines: the number of further lines lost with a row that cannot be read.
    """

    line: int
    start: int
    fields: dict[str, Any] | None
    problem: str = ""
    lost_lines: int = 0


def is_csv(path: Path) -> bool:
    """Whether a file's name says that it is CSV."""
    return path.name.lower().endswith(".csv")


def check_file(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Raise for a file of rows that cannot be read at all; `suffixes` are those that its name may have.

    Raises:
        ValueError: a name with another suffix; a file in UTF-16 or UTF-32, or compressed without `.gz` in its name,
            or the reverse.
        FileNotFoundError: no such file, or a folder.
    """
    if not path.name.lower().endswith(suffixes):
        raise ValueError(f"The data file's name must end in one of {', '.join(suffixes)}. Received: {path}")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"The data file must exist and be a file. Received: {path} ({kind})")
    try:
        with _opened(path) as stream:
            _check_head(stream.read(4), str(path))
    except _GZIP_ERRORS as error:
        raise ValueError(f"{path}:1: the file must be valid gzip. Received: {error}") from None


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a file as one text, plain or with the suffix `.gz`.

    Raises:
        ValueError: a file of rows, not UTF-8, or broken compression.
        OSError: a file that cannot be read.
    """
    path = Path(path)
    if path.name.lower().endswith(SUFFIXES):
        raise ValueError(
            f"the file must be a text, which is one document. Received: {path}, a file of rows: "
            "`python -m export bulk` answers them"
        )
    try:
        with _opened(path) as stream:
            return decoded_text(stream.read(), str(path))
    except _GZIP_ERRORS as error:
        raise ValueError(f"{path}: the file must be valid gzip. Received: {error}") from None


def decoded_text(data: bytes, name: str) -> str:
    """Bytes as text, without a byte order mark; `ValueError` for anything but UTF-8.

    >>> decoded_text(b"\\xef\\xbb\\xbfA text.", "a.txt")
    'A text.'
    """
    _check_head(data[:4], name)
    if b"\0" in data:
        raise ValueError(f"{name}: the text must not hold NUL bytes (is it in UTF-16?). Received: one")
    try:
        return data.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: the text must be UTF-8. Received: {error}") from None


def numbered_lines(
    path: Path,
    start: int = 0,
    first_line: int = 1,
    least_bytes: int = 0,
    max_bytes: int = MOST_BYTES,
    stream: BinaryIO | None = None,
) -> Generator[Line, None, None]:
    """Yield the lines of a file from a position on.

    Args:
        path: the file.
        start, first_line: position and number of the first line.
        least_bytes: bytes that the file must have.
        max_bytes: bytes of the longest line that is kept whole, without its end.
        stream: the opened file, unpacked, for a caller that follows how far it is read; it is closed at the end.

    Raises:
        ValueError: broken compression.
        OSError: a file that ends before `least_bytes`.
    """
    number, position = first_line, start
    try:
        with stream or _opened(path) as stream:
            stream.seek(start)
            # The line's end may take two bytes.
            while data := stream.readline(max_bytes + 2):
                size = len(data) + _skipped(stream, data)
                yield Line(number, position, data if position else data.removeprefix(_BYTE_ORDER_MARK))
                number, position = number + 1, position + size
    except _GZIP_ERRORS as error:
        raise ValueError(f"{path}:{number}: the file must be valid gzip. Received: {error}") from None
    if position < least_bytes:
        raise OSError(f"input must stay as it is while it is read. Received: {path}, which has become shorter")


def json_records(lines: Iterator[Line], max_bytes: int = MOST_BYTES) -> Iterator[Record]:
    """Yield the row of every line that is not empty: a JSON object whose keys differ, at any depth."""
    for number, start, data in lines:
        # Concatenated files have byte order marks in the middle, too.
        data = data.removeprefix(_BYTE_ORDER_MARK)
        if not data.strip():
            continue
        try:
            if len(data.rstrip(b"\r\n")) > max_bytes:
                raise ValueError(f"the line must have at most {max_bytes} bytes. Received: more")
            yield Record(number, start, _json_object(data))
        except ValueError as error:
            yield Record(number, start, None, str(error))


def cut(text: str, length: int = 60) -> str:
    """The beginning of a text.

    >>> cut("a long text", 6)
    'a long...'
    """
    return text if len(text) <= length else text[:length] + "..."


def odd_bytes(data: bytes) -> str:
    """A likely reason why a line cannot be read, as the end of an error's text."""
    if b"\0" in data:
        return " (it holds a NUL byte: is the file in UTF-16?)"
    if b"\r" in data.rstrip(b"\r\n"):
        return " (it holds a carriage return: lines must end in a line feed)"
    return ""


class _RepeatedKey(ValueError):
    pass


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refused, object_pairs_hook=_with_keys_that_differ)
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise ValueError(
            f"the line must be UTF-8. Received: byte 0x{byte:02x} at position {error.start}{odd_bytes(data)}"
        ) from None
    except _RepeatedKey as error:
        raise ValueError(f"the line must be a JSON object whose keys differ. Received: {error}") from None
    except (ValueError, RecursionError) as error:
        received = cut(repr(data[:100].decode("utf-8", "replace")))
        raise ValueError(f"the line must be a JSON object. Received: {received} ({error}){odd_bytes(data)}") from None
    if not isinstance(value, dict):
        raise ValueError(f"the line must be a JSON object. Received: {cut(json.dumps(value))} ({type(value).__name__})")
    if _is_deeper(value, _DEEPEST):
        raise ValueError(f"the line must be a JSON object that is nested at most {_DEEPEST} deep. Received: more")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists are nested in more levels."""
    inner = [value]
    for _ in range(levels):
        parts = [part for part in inner if isinstance(part, (dict, list))]
        inner = [item for part in parts for item in (part.values() if isinstance(part, dict) else part)]
        if not inner:
            return False
    return any(isinstance(part, (dict, list)) for part in inner)


def _with_keys_that_differ(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        repeated = next(name for name, count in counts.items() if count > 1)
        raise _RepeatedKey(f"the key {cut(repr(repeated))} {counts[repeated]} times")
    return members


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _skipped(stream: BinaryIO, data: bytes) -> int:
    """Skip the rest of a line after `data`, and return the number of skipped bytes."""
    size = 0
    while data and not data.endswith(b"\n"):
        data = stream.readline(_BLOCK_BYTES)
        size += len(data)
    return size


def _check_head(head: bytes, name: str) -> None:
    """Raise `ValueError` for first bytes of another format than UTF-8."""
    if head.startswith(b"\x1f\x8b"):
        raise ValueError(f"{name}: a file that is compressed by gzip must have a name that ends in .gz")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
        raise ValueError(f"{name}: the file must be in UTF-8. Received: one that begins as UTF-16 or UTF-32 does")
