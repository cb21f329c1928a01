"""Rows of CSV files, read such that a quote that is never closed costs as few rows as possible.

The csv module reads a row, strictly, from one line or several. If it fails, the row is bad, and reading goes on at the
next line that begins a row with the header's number of fields, followed by another such row or none: lines of a
document within quotes seldom look like two rows. The bad row counts the lines between as lost. A missing quote that a
later one replaces, so that all is valid CSV again, cannot be distinguished from a long field.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from export.client.reading import MOST_BYTES, Line, Record, cut, numbered_lines, odd_bytes

# The csv module holds the limit in a C long, which is 32 bits wide on some systems.
_FIELD_SIZE_LIMIT = 2**31 - 1
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
# The "surrogateescape" error handler makes these of bytes that are not UTF-8.
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Header:
    """Names of the columns, their line, and number and position of the line after it.

    Attributes:
        delimiter: what stands between the cells.
        is_lenient: whether empty cells may be missing or too many at a row's end, and rows of empty cells are skipped,
            as in what spreadsheets write.
    """

    names: tuple[str, ...]
    line: int
    next_line: int
    stop: int
    delimiter: str = ","
    is_lenient: bool = False

    def fitted(self, cells: list[str]) -> list[str]:
        """The cells, of a lenient file with those at the end that make up the header's number."""
        columns = len(self.names)
        if not self.is_lenient or len(cells) == columns:
            return cells
        if len(cells) > columns:
            return cells[:columns] if not any(map(str.strip, cells[columns:])) else cells
        return cells if any(self.names[len(cells) :]) else cells + [""] * (columns - len(cells))


def read_header(path: Path, delimiter: str = ",", is_lenient: bool = False) -> Header | None:
    """Read the header of a CSV file; None if all lines are empty.

    Args:
        path: the file.
        delimiter, is_lenient: as in `Header`; names of a lenient file have no spaces around them.

    Raises:
        ValueError: a header that is not valid CSV or not UTF-8.
    """
    with closing(numbered_lines(path)) as lines:
        window = _Window(lines)
        line = window.skip_empty()
        if line is None:
            return None
        row = _parsed(window, 0, MOST_BYTES, delimiter)
        after = window.at(row.lines)
    where = f"{path}:{line.number}"
    if row.cells is None:
        raise ValueError(f"{where}: the header must be valid CSV. Received: {row.problem}")
    if _ESCAPED_BYTE.search("".join(row.cells)):
        raise ValueError(f"{where}: the header must be UTF-8. Received: {_escaped_byte(row.cells)}")
    stop = after.start if after is not None else path.stat().st_size
    names = tuple(map(str.strip, row.cells)) if is_lenient else tuple(row.cells)
    return Header(names, line.number, line.number + row.lines, stop, delimiter, is_lenient)


def csv_records(
    lines: Iterator[Line], header: Header, stop: int | None = None, max_bytes: int = MOST_BYTES
) -> Iterator[Record]:
    """Yield the rows of a CSV file that begin before a position.

    Args:
        lines: the file's lines from the beginning of a row on, also behind `stop`: they decide where reading goes on
            after a bad row.
        header: the names of the fields.
        stop: the position; None: the file's end.
        max_bytes: bytes of the longest row that is read.
    """
    window = _Window(lines)
    while (line := window.skip_empty()) is not None and (stop is None or line.start < stop):
        row = _parsed(window, 0, max_bytes, header.delimiter)
        taken, cells = row.lines, header.fitted(row.cells or [])
        if row.cells is None:
            problem = f"the row must be valid CSV. Received: {row.problem}"
            taken = _next_row(window, header, max_bytes)
        elif header.is_lenient and not any(map(str.strip, cells)):
            window.drop(taken)
            continue
        else:
            problem = _problem(cells, header)
        window.drop(taken)
        if problem:
            yield Record(line.number, line.start, None, problem, taken - 1)
        else:
            yield Record(line.number, line.start, dict(zip(header.names, cells, strict=True)))


@dataclass(frozen=True)
class _Parsed:
    """The number of a row's lines, and its cells or its problem."""

    cells: list[str] | None
    lines: int
    problem: str = ""


class _Window:
    """Lines with a look ahead."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._ahead: deque[Line] = deque()

    def at(self, place: int) -> Line | None:
        """The line `place` lines ahead, None behind the last."""
        while len(self._ahead) <= place:
            line = next(self._lines, None)
            if line is None:
                return None
            self._ahead.append(line)
        return self._ahead[place]

    def drop(self, count: int) -> None:
        """Skip lines."""
        for _ in range(count):
            self._ahead.popleft()

    def skip_empty(self) -> Line | None:
        """Skip empty lines and return the first other line."""
        while (line := self.at(0)) is not None and not line.data.strip():
            self.drop(1)
        return line


class _TooLong(Exception):
    pass


def _parsed(window: _Window, place: int, max_bytes: int, delimiter: str) -> _Parsed:
    """Parse the row that begins `place` lines ahead."""
    lines = size = 0

    def texts() -> Iterator[str]:
        nonlocal lines, size
        while (line := window.at(place + lines)) is not None:
            lines += 1
            if size + len(line.data.rstrip(b"\r\n")) > max_bytes:
                raise _TooLong
            size += len(line.data)
            # Bytes that are not UTF-8 are carried along, so that a bad row does not end the reading.
            yield line.data.decode("utf-8", "surrogateescape")

    previous_limit = csv.field_size_limit(_FIELD_SIZE_LIMIT)
    try:
        # Strict, since a quote that is never closed would else swallow the rest of the file as one field.
        return _Parsed(next(csv.reader(texts(), delimiter=delimiter, strict=True)), lines)
    except csv.Error as error:
        first = window.at(place)
        return _Parsed(None, lines, f"{error}{odd_bytes(first.data) if first is not None else ''}")
    except _TooLong:
        return _Parsed(None, lines, f"more than {max_bytes} bytes")
    finally:
        csv.field_size_limit(previous_limit)


def _next_row(window: _Window, header: Header, max_bytes: int) -> int:
    """The number of lines to skip after a row that is not valid."""
    place, columns = 1, len(header.names)
    while window.at(place) is not None:
        row = _parsed(window, place, max_bytes, header.delimiter)
        if row.cells is not None and len(header.fitted(row.cells)) == columns:
            behind = place + row.lines
            while (line := window.at(behind)) is not None and not line.data.strip():
                behind += 1
            after = None if line is None else _parsed(window, behind, max_bytes, header.delimiter).cells
            if after is None or len(header.fitted(after)) == columns:
                return place
        place += 1
    return place


def _problem(cells: list[str], header: Header) -> str:
    text, columns = "".join(cells), len(header.names)
    if _ESCAPED_BYTE.search(text):
        return f"the row must be UTF-8. Received: {_escaped_byte(cells)}"
    if len(cells) != columns:
        rule = f"the row must have the header's {columns} columns"
        mark = _DELIMITERS.get(header.delimiter, "delimiter")
        return f"{rule}. Received: {len(cells)} (is a {mark} or line break outside quotes?)"
    if "\0" in text:
        return f"the row must be text. Received: {cut(repr(text[:100]))}{odd_bytes(text.encode())}"
    return ""


def _escaped_byte(cells: list[str]) -> str:
    for column, cell in enumerate(cells, start=1):
        match = _ESCAPED_BYTE.search(cell)
        if match:
            return f"byte 0x{ord(match.group()) - 0xDC00:02x} in column {column}"
    return "no such byte"
