"""One reader: training and bulk runs find the same rows in a file, and the same ones bad; `ask` reads texts like it."""

import argparse
import gzip
import json
import subprocess
import sys

import pytest

from export.client import ask
from export.client.bulk_rows import Row, check_columns, find_shards, read_rows, unpacked
from export.client.reading import check_file, read_text
from training.data.rows import BadRows
from training.data.rows import read_rows as read_training_rows
from training.data.sources import find_files

FIELDS = {"document": "document", "summary": "summary"}
MARK = b"\xef\xbb\xbf"


def row(number, **more):
    return json.dumps({"document": f"text {number}", "summary": "short", **more}, ensure_ascii=False).encode()


def write(folder, name, data):
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def by_training(path):
    """The good rows' lines and documents, and the bad ones' lines and messages."""
    files, bad = find_files([path], "data.train"), BadRows([path.name], max_bad_rows=1000)
    good = [(row.line, row.texts[0]) for row in read_training_rows(files, FIELDS, None, bad)]
    return good, [row.line for row in bad.first], [row.problem for row in bad.first]


def by_bulk(path, rows=2):
    check_file(path)
    source = unpacked(path, path.parent)
    actual = [
        row for shard in find_shards(source, rows) for row in read_rows(source, shard, FIELDS, FIELDS, (), 100_000_000)
    ]
    good = [(row.line, row.inputs["document"].decode()) for row in actual if isinstance(row, Row)]
    bad = [row for row in actual if not isinstance(row, Row)]
    return good, [row.line for row in bad], [row.reason for row in bad]


CASES = {
    "a byte order mark": (MARK + row(1) + b"\n" + row(2), [1, 2], {}),
    "marks in the middle": (MARK + row(1) + b"\n" + MARK + row(2) + b"\n", [1, 2], {}),
    "empty lines": (b"\n  \n" + row(1) + b"\r\n\r\n" + row(2) + b"\n\n", [3, 5], {}),
    "a mark alone": (MARK + b"\n" + row(1), [2], {}),
    "line separators inside a string": (row(1, x="a\u2028b\u2029c\x85d") + b"\n" + row(2), [1, 2], {}),
    "no last line feed": (row(1) + b"\n" + row(2), [1, 2], {}),
    "carriage returns for line feeds": (
        row(1) + b"\r" + row(2) + b"\n" + row(3),
        [2],
        {1: "holds a carriage return: lines must end in a line feed"},
    ),
    "a key twice": (
        row(1) + b'\n{"document": "a", "summary": "b", "document": "c"}\n' + row(3),
        [1, 3],
        {2: "whose keys differ. Received: the key 'document' 2 times"},
    ),
    "a key twice, deep inside": (
        row(1) + b'\n{"document": "a", "summary": "b", "more": [{"x": 1, "x": 1}]}\n',
        [1],
        {2: "the key 'x' 2 times"},
    ),
    "half a character": (row(1) + b'\n{"document": "\\ud800", "summary": "b"}\n', [1], {2: "Unicode"}),
    "a NUL byte": (row(1) + b'\n{"document": "a\0", "summary": "b"}\n', [1], {2: "holds a NUL byte: is the file in"}),
    "a NUL character": (b'{"document": "a\\u0000", "summary": "b"}\n', [1], {}),
    "no number of JSON": (
        row(1) + b'\n{"document": "a", "summary": "b", "x": NaN}',
        [1],
        {2: "NaN is no number of JSON"},
    ),
    "a number of 5000 digits": (row(1)[:-1] + b', "x": ' + b"9" * 5000 + b"}\n" + row(2), [2], {1: "4300 digits"}),
    "rows that are no objects": (b"[1]\nnull\n3\n" + row(4), [4], {1: "list", 2: "NoneType", 3: "int"}),
    "depth without end": (b"[" * 200_000 + b"\n" + row(2), [2], {1: "must be a JSON object"}),
    "depth inside a row": (row(1)[:-1] + b', "x": ' + b'{"a":' * 100_000 + b"\n" + row(2), [2], {1: "must be a JSON"}),
    "a line of a megabyte": (row("x" * 1_000_000) + b"\n" + row(2), [1, 2], {}),
    "bytes of Latin-1": ("größe\n".encode("latin-1") + row(2), [2], {1: "must be UTF-8. Received: byte 0xf6"}),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize("name", CASES)
def test_training_and_bulk_find_the_same_rows_good_and_bad(name, suffix, tmp_path):
    data, good, bad = CASES[name]
    path = write(tmp_path, f"mine{suffix}", data)
    trained, asked = by_training(path), by_bulk(path)
    assert trained[:2] == asked[:2]
    assert [line for line, _ in trained[0]] == good
    for actual in (trained, asked):
        assert actual[1] == list(bad)
        for message, expected in zip(actual[2], bad.values(), strict=True):
            assert expected in message


def test_a_document_with_a_line_separator_is_whole_in_both(tmp_path):
    path = write(tmp_path, "mine.jsonl", MARK + row("a\u2028b\r\n\u2029c"))
    assert by_training(path)[0] == by_bulk(path)[0] == [(1, "text a\u2028b\r\n\u2029c")]


GOOD = b"".join(b"%d,text %d,short\n" % (number, number) for number in range(100))
CSV_CASES = {
    "a byte order mark": (b"id,document,summary\n1,A,B\n", [2], {}),
    "rows of several lines": (b'id,document,summary\n1,"A\n\nB",C\n\n2,D,E', [2, 6], {}),
    "carriage returns in the ends": (b'id,document,summary\r\n1,"A\r\nB",C\r\n2,D,E\r\n', [2, 4], {}),
    "a quote that is never closed": (b'id,document,summary\n1,"A,B\n' + GOOD, range(3, 103), {2: 0}),
    "one that a later one closes": (b'id,document,summary\n1,"A,B\n' + GOOD + b'7,"C",D\n', range(3, 104), {2: 0}),
    "one in every other row": (b'id,document,summary\n1,"A,B\n2,C,D\n3,"E,F\n4,G,H\n', [3, 5], {2: 0, 4: 0}),
    "one before rows of several lines": (
        b'id,document,summary\n1,"A\nand more,B\n' + b'2,"C\nD",E\n' * 3,
        [4, 6, 8],
        {2: 1},
    ),
    "one in the last row": (b'id,document,summary\n1,A,B\n2,"C,D\n', [2], {3: 0}),
    "one in the last row, with lines behind": (b'id,document,summary\n1,A,B\n2,"C\nD\nE', [2], {3: 2}),
    "lines that look like a row": (
        b'id,document,summary\n1,"once, upon, a time\nthere was\na king\n2,A,B\n3,C,D\n',
        [5, 6],
        {2: 2},
    ),
    "a quote inside": (b'id,document,summary\n1,"A"x,B\n2,"C\nD",E\n', [3], {2: 0}),
    "too few and too many": (b"id,document,summary\n1,A\n2,A,B,C\n3,A,B\n", [4], {2: 0, 3: 0}),
    "too many, of several lines": (b'id,document,summary\n1,"A\nB",C,D\n3,A,B\n', [4], {2: 1}),
    "a NUL byte": (b"id,document,summary\n1,A\0,B\n2,C,D\n", [3], {2: 0}),
    "bytes of Latin-1": (b"id,document,summary\n1,A\xf6,B\n2,C,D\n", [3], {2: 0}),
}


@pytest.mark.parametrize("mark", [b"", MARK])
@pytest.mark.parametrize("name", CSV_CASES)
def test_a_bad_row_of_a_csv_file_costs_few_others_and_they_are_counted(name, mark, tmp_path):
    data, good, bad = CSV_CASES[name]
    path = write(tmp_path, "mine.csv", mark + data)
    trained = by_training(path)
    assert [line for line, _ in trained[0]] == list(good)
    assert trained[1] == list(bad)
    for message, lost in zip(trained[2], bad.values(), strict=True):
        assert message.endswith(f"; {lost} further lines went with it") == (lost > 0)
    # However the file is cut into shards.
    for rows in (1, 2, 3, 1000):
        assert by_bulk(path, rows)[:2] == trained[:2]
        shards = find_shards(path, rows)
        actual = [row for shard in shards for row in read_rows(path, shard, FIELDS, FIELDS, (), 10_000)]
        assert {row.line: row.lost_lines for row in actual if not isinstance(row, Row)} == bad


def test_a_quote_that_is_never_closed_is_bounded_by_the_longest_row(tmp_path):
    path = write(tmp_path, "mine.csv", b'id,document,summary\n1,"A,B\n' + GOOD)
    for rows in (1, 1000):
        shards = find_shards(path, rows, max_bytes=100)
        bad, *good = [row for shard in shards for row in read_rows(path, shard, FIELDS, FIELDS, (), 100)]
        assert bad.reason == "the row must be valid CSV. Received: more than 100 bytes"
        assert len(good) == 100


def test_csv_spells_numbers_and_its_header_is_checked_for_bulk(tmp_path):
    path = write(tmp_path, "mine.csv", b"text,tokens,id\nA, 7,1\nB,7.5,2\nC,-2147483649,3\nD,-7,4\n")
    (shard,) = find_shards(path, 9)
    actual = list(read_rows(path, shard, {"text": "text", "max_new_tokens": "tokens"}, ("text",), (), 1000))
    assert [row.inputs["max_new_tokens"] for row in actual if isinstance(row, Row)] == [7, -7]
    assert [row.reason for row in actual if not isinstance(row, Row)] == [
        "field tokens must be a whole number of 32 bits"
    ] * 2
    check_columns(path, ["text"], ["answer_text"])
    check_columns(write(tmp_path, "mine.jsonl", row(1)), ["text"], [])
    with pytest.raises(
        ValueError, match=r"mine.csv:1: the file must have a column 'document'. It has: 'text', 'tokens'"
    ):
        check_columns(path, ["document"], [])
    with pytest.raises(ValueError, match="column id would be overwritten"):
        check_columns(path, ["text"], ["id"])
    with pytest.raises(ValueError, match="the columns must have names of their own. Received: 'a' twice"):
        check_columns(write(tmp_path, "twice.csv", b"a,b,a\n1,2,3\n"), ["b"], [])


UNREADABLE = {
    "UTF-16 with a mark": row(1).decode().encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + row(1).decode().encode("utf-16-be"),
    "UTF-16 without a mark": row(1).decode().encode("utf-16-le"),
    "UTF-32": row(1).decode().encode("utf-32"),
}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".jsonl.gz", ".txt", ".txt.gz"])
@pytest.mark.parametrize("name", UNREADABLE)
def test_another_encoding_is_told_for_the_file_as_a_whole(name, suffix, tmp_path):
    path = write(tmp_path, f"mine{suffix}", UNREADABLE[name])
    for read in (read_text,) if "txt" in suffix else (by_training, by_bulk):
        with pytest.raises(ValueError, match="mine.*: the file must be in UTF-8. Received: one that begins as UTF-16"):
            read(path)


@pytest.mark.parametrize("read", [by_bulk])
def test_compression_that_the_name_does_not_fit_is_told(read, tmp_path):
    packed, plain = tmp_path / "mine.jsonl", tmp_path / "mine.jsonl.gz"
    packed.write_bytes(gzip.compress(row(1)))
    with pytest.raises(ValueError, match="compressed by gzip must have a name that ends in .gz"):
        read(packed)
    plain.write_bytes(row(1))
    with pytest.raises(ValueError, match="the file must be valid gzip"):
        read(plain)
    plain.write_bytes(gzip.compress(b"".join(b'{"n": %d}\n' % (n * 7919) for n in range(2000)))[:-9])
    with pytest.raises(ValueError, match="the file must be valid gzip"):
        read(plain)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.jsonl", "mine.jsonl.gz"]


@pytest.mark.parametrize("read", [by_bulk])
def test_a_wrong_name_a_folder_and_no_file_are_told(read, tmp_path):
    for name in ("mine.json", "mine.txt", "mine.csv.gz", "mine"):
        with pytest.raises(ValueError, match=r"must end in one of .jsonl, .jsonl.gz, .csv. Received: .*mine"):
            read(write(tmp_path, name, row(1)))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(FileNotFoundError, match="a folder"):
        read(tmp_path / "folder.jsonl")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv"])
@pytest.mark.parametrize("data", [b"", MARK, b"\n\n"])
def test_an_empty_file_has_no_rows(name, data, tmp_path):
    path = write(tmp_path, name, data)
    assert by_bulk(path) == ([], [], [])


def test_a_text_is_read_as_rows_are(tmp_path):
    for name in ("a.txt", "a.md", "a", "a.txt.gz"):
        assert read_text(write(tmp_path, name, MARK + "Größe\u2028\r\n".encode())) == "Größe\u2028\r\n"
    for name in ("a.jsonl", "a.jsonl.gz", "a.csv"):
        with pytest.raises(ValueError, match="the file must be a text, .*, a file of rows: `python -m export bulk`"):
            read_text(write(tmp_path, name, row(1)))
    for data, message in (
        (b"gr\xf6\xdfe", "the text must be UTF-8. Received: .*0xf6"),
        (b"a text\0", "must not hold NUL bytes"),
        (gzip.compress(b"a text"), "must have a name that ends in .gz"),
    ):
        with pytest.raises(ValueError, match=f"a.txt: .*{message}"):
            read_text(write(tmp_path, "a.txt", data))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"a text")[:-4])
    with pytest.raises(ValueError, match="must be valid gzip"):
        read_text(tmp_path / "b.txt.gz")


def test_bytes_of_another_encoding_on_the_command_line_are_told():
    for name, given, question in (("text", "gr\udcf6\udcdfe", None), ("--question", "a text", "wh\udcf6?")):
        options = argparse.Namespace(set=[], question=question, signature=None)
        with pytest.raises(ValueError, match=f"{name} must be UTF-8. Received: "):
            ask._print_answer(None, options, given)


def test_the_reader_needs_the_standard_library_alone():
    code = """
import sys
before = set(sys.modules)
import export.client.records, export.client.bulk_rows, export.client.strict_json
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names) - {"export"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_deep_nesting_is_a_bad_row_before_it_is_written_again(tmp_path):
    deep = b'{"document": "a", "summary": "b", "x": ' + b"[" * 600 + b"]" * 600 + b"}"
    good, bad, messages = by_training(write(tmp_path, "rows.jsonl", deep + b"\n" + row(2, x=[[1]]) + b"\n"))
    assert [line for line, _ in good] == [2]
    assert bad == [1]
    assert "nested at most 100 deep" in messages[0]
