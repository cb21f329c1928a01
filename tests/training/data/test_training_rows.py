"""Rows that cannot be used are told of, all in one error; the others have a part that never changes."""

import io
import json
import tracemalloc

import pytest

from training.data.rows import BadRow, BadRows, Row, part_of, position, read_rows
from training.demo.examples import Example
from training.demo.splits import split_by_module

FIELDS = {"document": "document", "summary": "summary"}
GOOD = b'{"document": "A", "summary": "B"}\n'


def rows_of(tmp_path, data, name="a.jsonl", max_bad_rows=0, group=None, fields=FIELDS):
    path = tmp_path / name
    path.write_bytes(data)
    bad = BadRows([name], max_bad_rows)
    rows = list(read_rows([path], fields, group, bad))
    bad.check()
    return rows


BAD_INPUTS = {
    "not JSON": (b'{"document": "A"\n', "a.jsonl:2: the line must be a JSON object"),
    "a list": (b"[1, 2]\n", r"the line must be a JSON object. Received: \[1, 2\] \(list\)"),
    "a string": (b'"text"\n', r"the line must be a JSON object. Received: .*\(str\)"),
    "a number": (b"7\n", r"the line must be a JSON object. Received: 7 \(int\)"),
    "null": (b"null\n", "the line must be a JSON object. Received: null"),
    "NaN": (b'{"document": NaN, "summary": "B"}\n', "NaN is no number of JSON"),
    "cut in the middle": (b'{"document": "A", "summ', "the line must be a JSON object"),
    "too deep": (b"[" * 100_000 + b"\n", "the line must be a JSON object"),
    "a key twice": (b'{"document": "A", "document": "B"}\n', "whose keys differ.*'document' 2 times"),
    "not UTF-8": (b'{"document": "\xff"}\n', "the line must be UTF-8. Received: byte 0xff at position 14"),
    "NUL bytes": (b'{"document": "A\0"}\n', "NUL byte"),
    "two objects": (GOOD.strip() + GOOD, "the line must be a JSON object"),
    "no summary": (b'{"document": "A"}\n', "data.fields.summary='summary' must be a field of the row. .*'document'"),
    "a field in other letters": (b'{"Document": "A", "summary": "B"}\n', "Did you mean 'Document'"),
    "no fields": (b"{}\n", "must be a field of the row. Received: no fields"),
    "an integer": (b'{"document": 3, "summary": "B"}\n', r"'document' must be a string. Received: 3 \(int\)"),
    "no text": (b'{"document": null, "summary": "B"}\n', r"'document' must be a string. Received: None"),
    "texts": (b'{"document": ["A"], "summary": "B"}\n', r"'document' must be a string. Received: \['A'\]"),
    "empty": (b'{"document": "", "summary": "B"}\n', "field 'document' must not be empty. Received: ''"),
    "white space": (b'{"document": "A", "summary": " \\n"}\n', r"field 'summary' must not be empty. Received: ' \\n'"),
    "half a character": (b'{"document": "\\ud800", "summary": "B"}\n', r"must hold valid Unicode text. .*'\\ud800'"),
}
BAD_SHEETS = {
    "too few cells": (b"A\n", "must have the header's 2 columns. Received: 1 "),
    "too many cells": (b"A,B,C\n", r"must have the header's 2 columns. Received: 3 \(is a comma"),
    "an open quote": (b'"A,B\n', "the row must be valid CSV"),
    "not UTF-8": (b"A,\xe9\n", "the row must be UTF-8. Received: byte 0xe9 in column 2"),
    "empty": (b"A,\n", "field 'summary' must not be empty"),
}


@pytest.mark.parametrize(("data", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_a_bad_row_of_json_is_named_with_its_line_and_rule(tmp_path, data, message):
    with pytest.raises(ValueError, match=message) as error:
        rows_of(tmp_path, GOOD + data)
    assert "a.jsonl:2: " in str(error.value)
    assert len(str(error.value)) < 600
    rows = rows_of(tmp_path, GOOD + data.rstrip() + b"\n" + GOOD, max_bad_rows=1)
    assert [row.line for row in rows] == [1, 3]


@pytest.mark.parametrize(("data", "message"), BAD_SHEETS.values(), ids=BAD_SHEETS)
def test_a_bad_row_of_a_sheet_is_named_with_its_line_and_rule(tmp_path, data, message):
    with pytest.raises(ValueError, match=message) as error:
        rows_of(tmp_path, b"document,summary\nA,B\n" + data, "a.csv")
    assert "a.csv:3: " in str(error.value)


def test_all_bad_rows_stand_in_one_error_and_reading_stops_when_it_is_full(tmp_path):
    with pytest.raises(ValueError, match="max_bad_rows=2 bad rows. Received: 5 bad rows:") as error:
        rows_of(tmp_path, (GOOD + b"x\n") * 5, max_bad_rows=2)
    assert [line.split(":")[1] for line in str(error.value).splitlines()[1:]] == ["2", "4", "6", "8", "10"]
    bad = BadRows(["a"], max_bad_rows=3)
    for line in range(22):
        bad.add(BadRow(0, line, "x"))
    with pytest.raises(ValueError, match="Received: 23 bad rows before the rest was read") as error:
        bad.add(BadRow(0, 22, "x"))
    assert len(str(error.value).splitlines()) == 21


def test_every_bad_row_is_written_down(tmp_path):
    stream = io.StringIO()
    bad = BadRows(["a"], max_bad_rows=50, stream=stream)
    for line in range(40):
        bad.add(BadRow(0, line, "x"))
    bad.check()
    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert written == [{"file": 0, "line": line, "problem": "x"} for line in range(40)]
    assert len(bad.first) == 20


def test_fields_and_groups_have_the_files_names(tmp_path):
    data = b'{"text": "A", "title": "B", "book": 7}\n'
    names = {"document": "text", "summary": "title"}
    assert rows_of(tmp_path, data, group="book", fields=names) == [Row(("A", "B"), "7", 0, 1)]
    with pytest.raises(ValueError, match="field 'book', the group, must be a string or an integer. Received: None"):
        rows_of(tmp_path, data.replace(b"7", b"null"), group="book", fields=names)
    with pytest.raises(ValueError, match="data.fields must name different fields"):
        rows_of(tmp_path, data, fields={"document": "text", "summary": "text"})


def test_parts_are_those_of_the_hash_of_old_whatever_other_rows_there_are():
    examples = [Example(f"text {i}", "s", module=f"m{i % 40}" if i % 2 else "") for i in range(400)]
    split = split_by_module(examples, 0.2, 0.1)
    for part in ("train", "validation", "test"):
        for example in getattr(split, part):
            assert part_of(Row((example.document, "s"), example.module, 0, 1), (0.2, 0.1)) == part
    assert position("a") == 0.7913742705223816


def test_a_group_is_in_one_part_and_more_of_a_share_takes_no_row_out_of_a_part():
    rows = [Row((f"text {i}", "s"), f"g{i % 50}", 0, i) for i in range(500)]
    parts = {row.group: {part_of(other, (0.3, 0.2)) for other in rows if other.group == row.group} for row in rows}
    assert all(len(found) == 1 for found in parts.values())
    assert {part for found in parts.values() for part in found} == {"train", "validation", "test"}
    small = {row.line for row in rows if part_of(row, (0.0, 0.1)) == "test"}
    assert small < {row.line for row in rows if part_of(row, (0.0, 0.2)) == "test"}


def test_memory_of_reading_is_flat(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"document": "x" * 50_000, "summary": "B"}) + "\n")
    path.write_bytes(path.read_bytes() * 200)
    tracemalloc.start()
    assert sum(1 for _ in read_rows([path], FIELDS, None, BadRows(["a"]))) == 200
    assert tracemalloc.get_traced_memory()[1] < 1_500_000
    tracemalloc.stop()
