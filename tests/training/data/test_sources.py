"""Files of every format give the same rows, or an error that says what is wrong with which argument."""

import gzip
import json
import sys
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from training.data.sources import find_files, read_records

FIELDS = {"data.fields.document": "document", "data.fields.summary": "summary"}
ROWS = [
    {"document": "Größe,\nsecond line", "summary": 'He said: "no"; yes'},
    {"document": "plain", "summary": "short"},
    {"document": "tab\there", "summary": "a,b;c"},
]


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def as_json(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows, delimiter=","):
    def quoted(text):
        return '"' + text.replace('"', '""') + '"'

    lines = [["document", "summary"], *([row["document"], row["summary"]] for row in rows)]
    return "".join(delimiter.join(map(quoted, line)) + "\r\n" for line in lines).encode()


def write_rows(folder, name, rows=ROWS):
    if name.endswith(".parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name, row_group_size=2)
        return folder / name
    return write(folder, name, as_csv(rows) if ".csv" in name.lower() else as_json(rows))


def fields_of(path, fields=FIELDS):
    return [record.fields or record.problem for record in read_records(path, fields)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.parquet", "A.CSV"])
def test_every_format_gives_the_same_rows_and_reads_its_file_to_the_end(tmp_path, name):
    path = write_rows(tmp_path, name)
    records = read_records(path, FIELDS)
    assert [record.fields for record in records] == ROWS
    assert records.bytes_read == path.stat().st_size


SHEETS = {
    "byte order mark": b"\xef\xbb\xbfdocument,summary\nA,B\n",
    "carriage returns": b"document,summary\r\nA,B\r\n",
    "semicolons": b"document;summary\nA;B\n",
    "tabs": b"document\tsummary\nA\tB\n",
    "semicolons in the text of a table with tabs": b"id\tdocument\tsummary\n1;2\tA\tB\n",
    "empty columns at the end": b"document,summary,,\nA,B,,\n",
    "more empty cells than columns": b"document,summary\nA,B,,\n",
    "fewer empty cells than columns": b"document,summary,,\nA,B\n",
    "blank lines and rows": b"\n\ndocument,summary\n\n,\nA,B\n,\n  ,\n",
    "spaces around names": b" document , summary \nA,B\n",
    "quoted names": b'"document";"summary"\n"A";"B"\n',
    "no line end": b"document,summary\nA,B",
    "other columns": b"id,summary,x,document\n7,B,,A\n",
}


@pytest.mark.parametrize("data", SHEETS.values(), ids=SHEETS)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_what_spreadsheets_write_is_read(tmp_path, data, name):
    path = write(tmp_path, name, data)
    found = [(record.fields["document"], record.fields["summary"]) for record in read_records(path, FIELDS)]
    assert found == [("A", "B")]


def test_a_quoted_line_break_stays_in_its_field_and_lines_are_counted(tmp_path):
    path = write(tmp_path, "a.csv", b'document;summary\r\n"one\r\ntwo";B\r\nC;D\r\n')
    records = list(read_records(path, FIELDS))
    assert [record.line for record in records] == [2, 4]
    assert records[0].fields["document"] == "one\r\ntwo"


def test_a_file_of_one_column_that_is_no_sheet_of_the_fields_is_not_taken_apart(tmp_path):
    path = write(tmp_path, "a.csv", b"text\nA;B\n")
    assert fields_of(path, {"data.fields.document": "text"}) == [{"text": "A;B"}]


def test_only_the_wanted_columns_of_parquet_are_read(tmp_path):
    table = pyarrow.table({"document": ["A"], "summary": ["B"], "other": [[1, 2]]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert fields_of(tmp_path / "a.parquet") == [{"document": "A", "summary": "B"}]


def test_categories_of_parquet_are_strings(tmp_path):
    table = pyarrow.table({"document": pyarrow.array(["A", "A"]).dictionary_encode(), "summary": ["B", "C"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert fields_of(tmp_path / "a.parquet")[1] == {"document": "A", "summary": "C"}


def test_folders_and_globs_give_sorted_files(tmp_path):
    for name in ("b.jsonl", "a.csv", "c.parquet", "notes.txt", "._a.csv"):
        write(tmp_path, name, b"PAR1" if name.endswith("parquet") else b"document,summary")
    names = [path.name for path in find_files([tmp_path], "data.train")]
    assert names == ["a.csv", "b.jsonl", "c.parquet"]
    assert [path.name for path in find_files([f"{tmp_path}/*.jsonl", tmp_path / "a.csv"], "x")] == ["b.jsonl", "a.csv"]


def test_a_file_whose_name_holds_a_mark_of_globs_is_a_file(tmp_path):
    path = write(tmp_path, "a[1].jsonl", as_json(ROWS))
    assert find_files([path], "data.train") == (path,)


BAD_PATTERNS = {
    "nothing there": ("none.jsonl", FileNotFoundError, "data.train: The data file must exist.*none.jsonl"),
    "nothing matched": ("*.parquet", ValueError, "data.train: the pattern must match at least one file.*parquet"),
    "an empty folder": ("empty", ValueError, "data.train: a folder must hold files that end in .jsonl.*empty"),
    "another suffix": ("a.txt", ValueError, "data.train: The data file's name must end in one of .jsonl.*a.txt"),
    "another suffix matched": ("*.txt", ValueError, "data.train: names must end in .*which matches .*a.txt"),
    "UTF-16": ("utf16.csv", ValueError, "data.train: .*utf16.csv: the file must be in UTF-8.*UTF-16"),
    "gzip without its suffix": ("packed.jsonl", ValueError, "data.train: .*must have a name that ends in .gz"),
    "no gzip": ("plain.jsonl.gz", ValueError, "data.train: .*the file must be valid gzip"),
    "no Parquet": ("a.parquet", ValueError, "data.train: .*a.parquet: the file must be Parquet"),
}


@pytest.mark.parametrize(("pattern", "kind", "message"), BAD_PATTERNS.values(), ids=BAD_PATTERNS)
def test_files_that_cannot_be_read_are_refused_with_the_arguments_name(tmp_path, pattern, kind, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "a.txt").write_bytes(b"text")
    (tmp_path / "utf16.csv").write_bytes("document,summary\nA,B".encode("utf-16"))
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress(b"{}"))
    (tmp_path / "plain.jsonl.gz").write_bytes(b"{}")
    folder = tmp_path
    if pattern == "a.parquet":
        folder = tmp_path / "bad"
        (folder / pattern).write_bytes(b"{}")
    with pytest.raises(kind, match=message):
        find_files([folder / pattern], "data.train")


def test_a_file_stands_once(tmp_path):
    path = write(tmp_path, "a.jsonl", as_json(ROWS))
    for patterns in ([path, path], [path, tmp_path], [tmp_path, f"{tmp_path}/*.jsonl"]):
        with pytest.raises(ValueError, match=r"data.test must name each file once. Received: .*a.jsonl, and again"):
            find_files(patterns, "data.test")
    with pytest.raises(ValueError, match="data.test must be a list"):
        find_files(str(path), "data.test")


def test_parquet_without_its_library_names_the_extra(tmp_path, monkeypatch):
    path = write_rows(tmp_path, "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match="extra `parquet`"):
        find_files([path], "data.train")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_misspelt_field_names_the_nearest_and_all_that_there_are(tmp_path, name):
    path = write_rows(tmp_path, name, ROWS)
    with pytest.raises(
        ValueError,
        match=r"a\.\w+.*: data.fields.document='Documents' must be a field of the rows. "
        r"Received: 'document', 'summary'. Did you mean 'document'\?",
    ):
        fields_of(path, {"data.fields.document": "Documents"})


def test_a_misspelt_field_of_a_long_file_is_found_in_its_first_rows(tmp_path):
    path = write(tmp_path, "a.jsonl", as_json([{"text": "A"}] * 1000))
    records = read_records(path, {"data.fields.document": "texts"})
    seen = []
    with pytest.raises(ValueError, match="Did you mean 'text'"):
        seen.extend(record.line for record in records)
    assert len(seen) == 19


def test_damaged_parquet_is_refused(tmp_path):
    path = write_rows(tmp_path, "a.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="a.parquet: the file must be valid Parquet"):
        fields_of(path)


def test_columns_of_parquet_must_be_strings(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"document": [1], "summary": ["B"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="data.fields.document='document' must be a column of strings. .*int64"):
        fields_of(tmp_path / "a.parquet")


def test_a_column_twice_is_refused(tmp_path):
    path = write(tmp_path, "a.csv", b"document,summary,summary\nA,B,C\n")
    with pytest.raises(ValueError, match="data.fields.summary='summary' must be the name of one column only"):
        fields_of(path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv.gz", "a.parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    peaks = []
    for count in (60, 600):
        path = write_rows(tmp_path, name, [{"document": "x" * 20_000, "summary": "y"}] * count)
        tracemalloc.start()
        assert sum(1 for _ in read_records(path, FIELDS)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000
