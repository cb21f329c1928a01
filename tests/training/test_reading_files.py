"""A user's file gives its examples, or an error that says which line breaks which rule."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from training.examples import Example
from training.reading import ReadResult, read_examples

GOOD = {"document": "A long text.", "summary": "Short."}


def _lines(*rows: object) -> bytes:
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def _write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["train.jsonl", "train.jsonl.gz", "TRAIN.JSONL"])
def test_json_lines_give_their_examples_with_file_and_line_as_names(tmp_path, name):
    rows = _lines({**GOOD, "other": [1]}, b"\n", {"document": "Größe\u2028\n", "summary": "Ü"}, b"   \r\n", GOOD)
    result = read_examples(_write(tmp_path, name, rows.rstrip()))
    assert result == ReadResult(
        [
            Example("A long text.", "Short.", f"{name}:1"),
            Example("Größe\u2028\n", "Ü", f"{name}:3"),
            Example("A long text.", "Short.", f"{name}:5"),
        ],
        skipped=0,
    )


def test_csv_gives_its_examples_with_the_line_each_row_starts_at(tmp_path):
    text = 'id,document,summary\n1,"two\nlines, ""quoted""",first\n\n2,plain,second\r\n3,ü,third'
    result = read_examples(_write(tmp_path, "train.csv", text.encode()))
    assert result.examples == [
        Example('two\nlines, "quoted"', "first", "train.csv:2"),
        Example("plain", "second", "train.csv:5"),
        Example("ü", "third", "train.csv:6"),
    ]


def test_the_fields_can_be_named(tmp_path):
    path = _write(tmp_path, "a.jsonl", _lines({"article": "A", "abstract": "B", "document": ""}))
    assert read_examples(path, "article", "abstract").examples[0].summary == "B"
    path = _write(tmp_path, "a.csv", b"abstract,article\nB,A\n")
    assert read_examples(path, "article", "abstract").examples[0].document == "A"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    assert read_examples(_write(tmp_path, "a.csv", b"\xef\xbb\xbfdocument,summary\nA,B\n")).examples[0].document == "A"
    assert read_examples(_write(tmp_path, "a.jsonl", b"\xef\xbb\xbf" + _lines(GOOD))).skipped == 0


def test_fields_longer_than_the_csv_modules_limit_are_read_and_the_limit_is_put_back(tmp_path):
    limit = csv.field_size_limit()
    path = _write(tmp_path, "a.csv", b"document,summary\n" + b"x" * (limit + 1) + b",B\n")
    assert len(read_examples(path).examples[0].document) == limit + 1
    assert csv.field_size_limit() == limit
    with pytest.raises(ValueError, match="must not be empty"):
        read_examples(_write(tmp_path, "b.csv", b"document,summary\nA,\n"))
    assert csv.field_size_limit() == limit


BAD_JSON_ROWS = [
    ({"document": "A"}, r"summary_field='summary' must be a field of the row. The row has: 'document'"),
    ({}, r"document_field='document' must be a field of the row. The row has: no fields"),
    ([1, 2], r"must be a JSON object. Received: \[1, 2\] \(list\)"),
    ("text", r'must be a JSON object. Received: "text" \(str\)'),
    (b'{"document": "A"\n', r"must be a JSON object. Received: .*delimiter"),
    (b"[" * 100_000 + b"\n", r"must be a JSON object"),
    (b"1" * 5_000 + b"\n", r"must be a JSON object"),
    ({**GOOD, "summary": 3}, r"field 'summary' must be a string. Received: 3 \(int\)"),
    ({**GOOD, "document": None}, r"field 'document' must be a string. Received: None \(NoneType\)"),
    ({**GOOD, "document": ["A"]}, r"field 'document' must be a string. Received: \['A'\] \(list\)"),
    ({**GOOD, "document": ""}, r"field 'document' must not be empty. Received: ''"),
    ({**GOOD, "summary": " \n\t"}, r"field 'summary' must not be empty. Received: ' \\n\\t'"),
    (
        b'{"document": "A", "summary": "\\ud800"}\n',
        r"'summary' must hold valid Unicode text. Received: '\\ud800'",
    ),
    (b'{"document": "\xff\xfe", "summary": "B"}\n', r"must be UTF-8. Received: byte 0xff at position 14"),
    ("größe".encode("latin-1") + b"\n", r"must be UTF-8. Received: byte 0xf6 at position 2"),
]


@pytest.mark.parametrize(("row", "message"), BAD_JSON_ROWS)
def test_a_bad_json_row_raises_with_file_line_rule_and_what_was_received(tmp_path, row, message):
    path = _write(tmp_path, "mine.jsonl", _lines(GOOD, b"\n", row, GOOD))
    with pytest.raises(ValueError, match=r"mine\.jsonl:3: .*" + message):
        read_examples(path)


@pytest.mark.parametrize(("row", "message"), BAD_JSON_ROWS)
def test_bad_json_rows_are_counted_and_skipped_only_when_asked_for(tmp_path, row, message):
    messages: list[str] = []
    path = _write(tmp_path, "mine.jsonl.gz", _lines(GOOD, row, GOOD, row))
    result = read_examples(path, skip_bad_rows=True, on_bad_row=messages.append)
    assert len(result.examples) == 2
    assert result.skipped == len(messages) == 2
    assert f"{path}:2: " in messages[0]
    assert f"{path}:4: " in messages[1]
    assert read_examples(path, skip_bad_rows=True) == result


BAD_CSV_ROWS = [
    (b"1,A\n", r"must have the header's 3 columns. Received: 2"),
    (b"1,A,B,C\n", r"must have the header's 3 columns. Received: 4"),
    (b"1,,B\n", r"field 'document' must not be empty"),
    (b"1,A,  \n", r"field 'summary' must not be empty"),
    (b"1,A\xff,B\n", r"must be UTF-8. Received: byte 0xff in column 2"),
    (b'1,"A"x,B\n', r"must be valid CSV"),
]


@pytest.mark.parametrize(("row", "message"), BAD_CSV_ROWS)
def test_a_bad_csv_row_raises_or_is_skipped_and_the_rows_after_it_are_read(tmp_path, row, message):
    path = _write(tmp_path, "mine.csv", b'id,document,summary\n0,"two\nlines",B\n' + row + b"2,C,D\n")
    with pytest.raises(ValueError, match=r"mine\.csv:4: .*" + message):
        read_examples(path)
    result = read_examples(path, skip_bad_rows=True)
    assert [example.name for example in result.examples] == ["mine.csv:2", "mine.csv:5"]
    assert result.skipped == 1


def test_a_quote_that_is_never_closed_is_an_error_and_no_long_field(tmp_path):
    path = _write(tmp_path, "mine.csv", b'document,summary\nA,B\nC,"D\nE,F\n')
    with pytest.raises(ValueError, match=r"mine\.csv:3: the row must be valid CSV"):
        read_examples(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"text,summary\n", r"mine\.csv:1: document_field='document' must be one of the columns.*'text', 'summary'"),
        (b"document,title\n", r"mine\.csv:1: summary_field='summary' must be one of the columns"),
        (b"\ndocument,summary,summary\n", r"mine\.csv:2: summary_field='summary' must be the name of one column only"),
        (b"document,summary,\xff\n", r"mine\.csv:1: the header must be UTF-8. Received: byte 0xff in column 3"),
        (b'"document"x,summary\n', r"mine\.csv:1: the header must be valid CSV"),
    ],
)
def test_a_csv_header_that_cannot_serve_raises_even_when_bad_rows_are_skipped(tmp_path, header, message):
    path = _write(tmp_path, "mine.csv", header + b"A,B\n")
    with pytest.raises(ValueError, match=message):
        read_examples(path, skip_bad_rows=True)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv"])
@pytest.mark.parametrize("data", [b"", b"\n \n", b"\n\n"])
def test_an_empty_file_raises(tmp_path, name, data):
    data = data.replace(b" ", b"") if name.endswith("csv") else data
    with pytest.raises(ValueError, match=r"must hold at least one usable row. Received: .* with no rows"):
        read_examples(_write(tmp_path, name, data))


def test_a_csv_file_with_a_header_only_raises(tmp_path):
    with pytest.raises(ValueError, match="with no rows"):
        read_examples(_write(tmp_path, "a.csv", b"document,summary\n"))


def test_a_file_of_bad_rows_only_raises_even_when_they_are_skipped(tmp_path):
    path = _write(tmp_path, "a.jsonl", _lines({}, []))
    with pytest.raises(ValueError, match="with 2 bad rows and no good one"):
        read_examples(path, skip_bad_rows=True)


@pytest.mark.parametrize("name", ["train.txt", "train.json", "train.csv.gz", "train", "train.gz"])
def test_another_suffix_raises_naming_the_accepted_ones(tmp_path, name):
    with pytest.raises(ValueError, match=r"\.jsonl, \.jsonl\.gz, \.csv. Received: .*train"):
        read_examples(_write(tmp_path, name, b""))


def test_a_missing_file_and_a_folder_raise(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jsonl \(no such file\)"):
        read_examples(tmp_path / "nowhere.jsonl")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folder\.csv \(a folder\)"):
        read_examples(tmp_path / "folder.csv")


def test_equal_field_names_raise(tmp_path):
    with pytest.raises(ValueError, match="document_field and summary_field must differ"):
        read_examples(_write(tmp_path, "a.jsonl", _lines(GOOD)), summary_field="document")


def test_broken_compression_raises_even_when_bad_rows_are_skipped(tmp_path):
    whole = gzip.compress(_lines(*[{**GOOD, "n": index * 7919} for index in range(2000)]))
    for data in (_lines(GOOD), whole[:-20], whole[:500] + b"\0" * 200 + whole[700:], b"\x1f\x8b"):
        path = tmp_path / "mine.jsonl.gz"
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"mine\.jsonl\.gz:\d+: (the file must be valid gzip|.*must be)"):
            read_examples(path, skip_bad_rows=False)
        with pytest.raises(ValueError, match="the file must be valid gzip"):
            read_examples(path, skip_bad_rows=True)
