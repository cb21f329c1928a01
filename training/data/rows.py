"""What a task wants of a row, its part by a hash, and the rows that cannot be used."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from export.client.reading import cut
from training.data.sources import GROUP, read_records

PARTS = ("train", "validation", "test")

_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Row:
    """The texts of a row in the order of a task's fields, and where it is from.

    Attributes:
        texts: one text for each field.
        group: rows of one group stay in one part; empty where rows have none.
        file, line: the index of its file among those that are read, and its line there (in Parquet its number).
    """

    texts: tuple[str, ...]
    group: str
    file: int
    line: int


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: the index of its file, its line, and why."""

    file: int
    line: int
    problem: str


@dataclass
class BadRows:
    """The rows that cannot be used: the first ones and their number; too many of them are one error.

    Args:
        files: the files' names, for messages.
        max_bad_rows: as many may be left out.
        stream: takes every bad row, as a line of JSON with `file` (its index), `line` and `problem`.

    >>> bad = BadRows(["a.jsonl"], max_bad_rows=0)
    >>> bad.add(BadRow(0, 7, "field 'summary' must not be empty. Received: ''"))
    >>> bad.check()
    Traceback (most recent call last):
    ValueError: The data must hold at most data.max_bad_rows=0 bad rows. Received: 1 bad row:
      a.jsonl:7: field 'summary' must not be empty. Received: ''
    """

    files: Sequence[str]
    max_bad_rows: int = 0
    stream: TextIO | None = None
    count: int = 0
    first: list[BadRow] = field(default_factory=list)

    def add(self, row: BadRow) -> None:
        """Count a row.

        Raises:
            ValueError: as many rows beyond the limit as an error lists; reading further would add nothing.
        """
        self.count += 1
        if len(self.first) < _MOST_LISTED:
            self.first.append(row)
        if self.stream is not None:
            self.stream.write(json.dumps({"file": row.file, "line": row.line, "problem": row.problem}) + "\n")
        if self.count >= self.max_bad_rows + _MOST_LISTED:
            raise self._error(f"{self.count} bad rows before the rest was read, the first of them")

    def check(self) -> None:
        """Raise one `ValueError` for more bad rows than are allowed."""
        if self.count > self.max_bad_rows:
            more = ", the first of them" if self.count > len(self.first) else ""
            raise self._error(f"{self.count} bad row{'s' if self.count > 1 else ''}{more}")

    def messages(self) -> list[str]:
        """The first bad rows as text, with the files' names."""
        return [f"{self.files[row.file]}:{row.line}: {row.problem}" for row in self.first]

    def _error(self, received: str) -> ValueError:
        lines = "".join(f"\n  {message}" for message in self.messages())
        return ValueError(
            f"The data must hold at most data.max_bad_rows={self.max_bad_rows} bad rows. Received: {received}:{lines}"
        )


def read_rows(
    files: Sequence[Path],
    fields: Mapping[str, str],
    group_field: str | None,
    bad: BadRows,
    on_bytes: Callable[[int], None] | None = None,
    first_file: int = 0,
) -> Iterator[Row]:
    """Yield the good rows of files, one in memory at a time; bad ones go to `bad`.

    Args:
        files: from `find_files`.
        fields: by a task's field, the name of the field (or column) in the files.
        group_field: the field with a row's group, a string or number.
        bad: takes the bad rows.
        on_bytes: called before each row with the bytes of the files that are read.
        first_file: the index of the first file.

    Raises:
        ValueError: a file without one of the fields, one that is damaged, or too many bad rows.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "mine.jsonl")
    >>> _ = path.write_text('{"text": "A long story.", "title": "Story"}')
    >>> next(read_rows([path], {"document": "text", "summary": "title"}, None, BadRows(["mine.jsonl"])))
    Row(texts=('A long story.', 'Story'), group='', file=0, line=1)
    """
    wanted = {f"data.fields.{name}": column for name, column in fields.items()}
    if len(set(wanted.values())) != len(wanted):
        raise ValueError(f"data.fields must name different fields. Received: {dict(fields)}")
    grouped = wanted | ({} if group_field is None else {GROUP: group_field})
    before = 0
    for index, path in enumerate(files, first_file):
        records = read_records(path, grouped)
        with closing(iter(records)) as stream:  # type: ignore[type-var]
            for record in stream:
                if on_bytes is not None:
                    on_bytes(before + records.bytes_read)
                problem = record.problem
                if record.fields is not None:
                    try:
                        texts = tuple(_text(record.fields, name) for name in wanted.values())
                        group = "" if group_field is None else _group(record.fields, group_field)
                    except ValueError as error:
                        problem = str(error)
                    else:
                        yield Row(texts, group, index, record.line)
                        continue
                lost = f"; {record.lost_lines:,} further lines went with it" if record.lost_lines else ""
                bad.add(BadRow(index, record.line, problem + lost))
        before += path.stat().st_size


def position(text: str) -> float:
    """A number from 0 to 1 that depends on a text alone, the same on every machine."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def part_of(row: Row, hold_out: tuple[float, float]) -> str:
    """The part of a row: its group's or, without a group, its first text's, whatever other rows there are.

    Args:
        row: the row.
        hold_out: the shares of groups for validation and for testing.

    >>> part_of(Row(("A story.", "Story"), "books", 0, 1), (0.0, 0.0))
    'train'
    """
    validation, test = hold_out
    place = position(row.group or row.texts[0])
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise ValueError(f"field {name!r} must be a string. Received: {cut(repr(value))} ({type(value).__name__})")
    if not value.strip():
        raise ValueError(f"field {name!r} must not be empty. Received: {cut(repr(value))}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        # JSON can spell a lone surrogate, which no tokenizer can encode.
        received = repr(value[error.start])
        raise ValueError(f"field {name!r} must hold valid Unicode text. Received: {received} in it") from None
    return value


def _group(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        # A row without a group could end up beside its relatives in another part.
        raise ValueError(f"field {name!r}, the group, must be a string or an integer. Received: {cut(repr(value))}")
    return str(value)
