"""Files to rows: JSON Lines, CSV and Parquet, one row in memory at a time."""

import difflib
import glob
import gzip
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from export.client.csv_records import Header, csv_records, read_header
from export.client.reading import Record, check_file, cut, json_records, numbered_lines

SUFFIXES = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")

GROUP = "data.group"
"""The argument that names the field of a row's group."""

_DELIMITERS = (",", ";", "\t")
# A field that none of so many rows has is taken for a misspelt name rather than for so many bad rows.
_ROWS_WITHOUT_A_FIELD = 20
_PARQUET_ROWS = 16
_WITH_MAGIC = "*?["


def find_files(patterns: Sequence[str | os.PathLike[str]], argument: str) -> tuple[Path, ...]:
    """The files that names, folders and globs stand for: in the order of the patterns, each pattern's files sorted.

    Args:
        patterns: files, folders (all files of rows in them, not in folders below), or globs, `**` among them.
        argument: the name of the argument, for errors.

    Raises:
        ValueError: a pattern without files, another suffix than those of `SUFFIXES`, the same file twice, or a file
            that cannot be what its name says.
        FileNotFoundError: no such file.
        OSError: a file that cannot be read.
        ImportError: a Parquet file without the extra `parquet`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.jsonl", "a.csv", "notes.txt"):
    ...     _ = (folder / name).write_text("document,summary")
    >>> [path.name for path in find_files([folder], "data.train")]
    ['a.csv', 'b.jsonl']
    """
    if isinstance(patterns, str | os.PathLike):
        raise ValueError(f"{argument} must be a list of files, folders or globs. Received: {os.fspath(patterns)!r}")
    files: dict[Path, Path] = {}
    for pattern in patterns:
        for path in _files_of(os.fspath(pattern), argument):
            _check_readable(path, argument)
            earlier = files.setdefault(path.resolve(), path)
            if earlier is not path:
                raise ValueError(f"{argument} must name each file once. Received: {earlier}, and again {path}")
    return tuple(files.values())


def short_names(files: Sequence[Path]) -> list[str]:
    """The names of files for messages: without their folders, where no two are the same.

    >>> short_names([Path("a/1.csv"), Path("b/1.csv"), Path("b/2.csv")])
    ['a/1.csv', 'b/1.csv', '2.csv']
    """
    counts = Counter(path.name for path in files)
    return [path.name if counts[path.name] == 1 else str(path) for path in files]


def _files_of(pattern: str, argument: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if _is_supported(entry) and entry.is_file())
        if not found:
            raise ValueError(f"{argument}: a folder must hold files that end in {_suffixes()}. Received: {path}")
        return found
    if path.exists() or not any(mark in pattern for mark in _WITH_MAGIC):
        return [path]
    matched = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
    others = [entry for entry in matched if entry.is_file() and not _is_supported(entry)]
    if others:
        raise ValueError(
            f"{argument}: names must end in {_suffixes()}. Received: {pattern!r}, which matches {others[0]}"
        )
    found = [entry for entry in matched if entry.is_file()]
    if not found:
        raise ValueError(f"{argument}: the pattern must match at least one file. Received: {pattern!r}")
    return found


def _suffixes() -> str:
    return f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"


def _is_supported(path: Path) -> bool:
    # Editors' and systems' hidden files: `._rows.csv` is no CSV.
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def _is(path: Path, *suffixes: str) -> bool:
    return path.name.lower().endswith(suffixes)


def _check_readable(path: Path, argument: str) -> None:
    try:
        check_file(path, SUFFIXES if not _is(path, ".parquet") else (".parquet",))
        if _is(path, ".parquet"):
            with path.open("rb") as stream:
                if stream.read(4) != b"PAR1":
                    raise ValueError(f"{path}: the file must be Parquet. Received: a file that does not begin as such")
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{argument}: {error}") from None
    except OSError as error:
        raise OSError(f"{argument}: the file must be readable. Received: {path} ({error.strerror})") from None
    if _is(path, ".parquet"):
        _parquet_library()


def _parquet_library() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError("Parquet files need the extra `parquet`: pip install 'tfmodels[parquet]'") from None
    return pyarrow


class Records:
    """The rows of one file in order, good and bad; `bytes_read` says how far the file is read.

    Args:
        path: the file, checked by `find_files`.
        fields: by argument, the name of a field that rows must have, `{"data.fields.document": "article"}`.

    Raises, while it is iterated:
        ValueError: a header, a schema, or all of the first rows without one of the fields, broken compression, a
            damaged file.
    """

    def __init__(self, path: Path, fields: Mapping[str, str]) -> None:
        self.path = path
        self.bytes_read = 0
        self._fields = fields
        self._stream: BinaryIO | None = None

    def __iter__(self) -> Iterator[Record]:
        if _is(self.path, ".parquet"):
            yield from self._parquet()
        elif _is(self.path, ".csv", ".csv.gz"):
            header = _header(self.path, self._fields)
            if header is not None:
                with closing(self._lines(header)) as lines:
                    yield from self._counted(csv_records(lines, header))
        else:
            with closing(self._lines(None)) as lines:
                yield from self._counted(self._with_fields(json_records(lines)))
        self.bytes_read = self.path.stat().st_size

    def _lines(self, header: Header | None) -> Any:
        file = self.path.open("rb")
        self._stream = file
        stream = gzip.GzipFile(fileobj=file) if _is(self.path, ".gz") else file
        start, line = (0, 1) if header is None else (header.stop, header.next_line)
        return _closing_both(numbered_lines(self.path, start, line, stream=stream), file)  # type: ignore[arg-type]

    def _counted(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            assert self._stream is not None
            # It is closed at its end, while the last row still looks for lines behind it.
            if not self._stream.closed:
                self.bytes_read = self._stream.tell()
            yield record

    def _with_fields(self, records: Iterator[Record]) -> Iterator[Record]:
        """Rows that lack a field are bad; when all of the first ones lack the same, its name is wrong."""
        lacking = dict.fromkeys(self._fields.items(), 0)
        known: dict[str, None] = {}
        rows = 0
        for record in records:
            if record.fields is None:
                yield record
                continue
            rows += 1
            if lacking:
                known.update(dict.fromkeys(list(record.fields)[:100]))
            missing = [pair for pair in self._fields.items() if pair[1] not in record.fields]
            for pair in list(lacking):
                lacking[pair] += 1
                if pair not in missing:
                    del lacking[pair]
                elif lacking[pair] == _ROWS_WITHOUT_A_FIELD:
                    raise ValueError(unknown_field(str(self.path), *pair, known))
            if missing:
                problem = unknown_field("", *missing[0], record.fields)
                yield Record(record.line, record.start, None, problem)
            else:
                yield record
        if lacking and rows > 1:
            raise ValueError(unknown_field(str(self.path), *next(iter(lacking)), known))

    def _parquet(self) -> Iterator[Record]:
        pyarrow = _parquet_library()
        size = self.path.stat().st_size
        columns = list(dict.fromkeys(self._fields.values()))
        number = 0
        try:
            # Without pre_buffer the file is read page by page, so that memory does not grow with its row groups.
            with pyarrow.parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 16) as file:
                _check_schema(self.path, file.schema_arrow, self._fields)
                rows = max(1, file.metadata.num_rows)
                for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=columns):
                    for row in range(batch.num_rows):
                        number += 1
                        self.bytes_read = size * number // rows
                        yield _parquet_record(number, batch, columns, row)
        except (pyarrow.ArrowException, OSError) as error:
            problem = str(error).partition("\n")[0]
            raise ValueError(f"{self.path}: the file must be valid Parquet. Received: {cut(problem, 200)}") from None


def read_records(path: Path, fields: Mapping[str, str]) -> Records:
    """Read the rows of one file, bad ones too; see `Records`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "sheet.csv")
    >>> _ = path.write_text("text ;title;\\r\\nA story;Story;\\r\\n;;\\r\\n")
    >>> [(record.line, record.fields["text"]) for record in read_records(path, {"data.fields.document": "text"})]
    [(2, 'A story')]
    """
    return Records(path, fields)


def unknown_field(where: str, argument: str, name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """The text of an error about a field that a file, or a row, does not have.

    >>> unknown_field("a.csv", "data.group", "modul", ["module", "text"])
    "a.csv: data.group='modul' must be a field of the rows. Received: 'module', 'text'. Did you mean 'module'?"
    """
    names = [str(one) for one in known if str(one)]
    listed = cut(", ".join(map(repr, names)), 300) or "no fields"
    near = difflib.get_close_matches(name.lower(), [one.lower() for one in names], 1)
    meant = next((f". Did you mean {one!r}?" for one in names if near and one.lower() == near[0]), "")
    whose, begin = ("the rows", f"{where}: ") if where else ("the row", "")
    return f"{begin}{argument}={name!r} must be a field of {whose}. Received: {listed}{meant}"


def _header(path: Path, fields: Mapping[str, str]) -> Header | None:
    """The header by the first delimiter that shows all fields; None for a file without lines."""
    headers: list[Header] = []
    problem: ValueError | None = None
    for delimiter in _DELIMITERS:
        try:
            header = read_header(path, delimiter, is_lenient=True)
        except ValueError as error:
            problem = problem or error
            continue
        if header is None:
            return None
        if set(fields.values()) <= set(header.names):
            _check_once(path, header, fields)
            return header
        headers.append(header)
    if not headers:
        raise problem or ValueError(f"{path}: the header must be valid CSV")
    wanted = set(fields.values())
    best = max(headers, key=lambda header: (len(wanted & set(header.names)), len(header.names)))
    missing = next(pair for pair in fields.items() if pair[1] not in best.names)
    raise ValueError(unknown_field(f"{path}:{best.line}", *missing, best.names))


def _check_once(path: Path, header: Header, fields: Mapping[str, str]) -> None:
    for argument, name in fields.items():
        if header.names.count(name) != 1:
            raise ValueError(
                f"{path}:{header.line}: {argument}={name!r} must be the name of one column only. "
                f"Received: {header.names.count(name)} columns of this name"
            )


def _check_schema(path: Path, schema: Any, fields: Mapping[str, str]) -> None:
    types = _parquet_library().types
    for argument, name in fields.items():
        if schema.names.count(name) != 1:
            raise ValueError(unknown_field(str(path), argument, name, schema.names))
        kind = schema.field(name).type
        value = kind.value_type if types.is_dictionary(kind) else kind
        is_text = types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)
        is_group = argument == GROUP and types.is_integer(value)
        if not is_text and not is_group:
            rule = "strings or integers" if argument == GROUP else "strings"
            raise ValueError(f"{path}: {argument}={name!r} must be a column of {rule}. Received: {kind}")


def _parquet_record(number: int, batch: Any, columns: Sequence[str], row: int) -> Record:
    try:
        return Record(number, 0, {name: batch.column(name)[row].as_py() for name in columns})
    except UnicodeDecodeError as error:
        return Record(number, 0, None, f"strings must be UTF-8. Received: {error}")


def _closing_both(lines: Any, file: BinaryIO) -> Any:
    # A GzipFile leaves the file below it open.
    with file:
        yield from lines
