"""The rows of a file in any of the formats."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from export.client.csv_records import csv_records, read_header
from export.client.reading import MOST_BYTES, Record, is_csv, json_records, numbered_lines


def read_records(
    path: Path, start: int = 0, stop: int | None = None, first_line: int = 1, max_bytes: int = MOST_BYTES
) -> Iterator[Record]:
    """Yield the rows of a file, bad ones too; `check_file` refuses unreadable files before.

    Args:
        path: the file.
        start, stop: read the rows that begin between these bytes of the file, which must not be compressed; by
            default all rows.
        first_line: number of the line at `start`.
        max_bytes: bytes of the longest row that is read.

    Raises:
        ValueError: broken compression, or a CSV header that is not valid.
        OSError: the file has become shorter than `stop`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "mine.csv")
    >>> _ = path.write_text("text,id\\nA story.,7\\n")
    >>> [(record.line, record.fields) for record in read_records(path)]
    [(2, {'text': 'A story.', 'id': '7'})]
    """
    header = read_header(path) if is_csv(path) else None
    if is_csv(path) and header is None:
        return
    if header is not None and start < header.stop:
        start, first_line = header.stop, header.next_line
    with closing(numbered_lines(path, start, first_line, stop or 0, max_bytes)) as lines:
        rows = json_records(lines, max_bytes) if header is None else csv_records(lines, header, stop, max_bytes)
        for record in rows:
            if stop is not None and record.start >= stop:
                return
            yield record
