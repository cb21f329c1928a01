"""Shards hold every line once, and every bad row is told with its line and reason."""

import json

import pytest

from export.client.bulk_rows import BadRow, Row, find_shards, read_rows


def read(path, rows=2, fields=None, texts=("text",), reserved=("answer_text",), max_bytes=1000):
    shards = find_shards(path, rows)
    return [
        row
        for shard in shards
        for row in read_rows(path, shard, fields or {"text": "text"}, texts, reserved, max_bytes)
    ]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
def test_shards_hold_every_line_once(tmp_path, rows, end):
    path = tmp_path / "rows.jsonl"
    newline = b"\r\n" if end == b"\r\n" else b"\n"
    path.write_bytes(newline.join(json.dumps({"text": "é" * size}).encode() for size in range(4)) + end)
    actual = read(path, rows)
    assert [row.line for row in actual] == [1, 2, 3, 4]
    assert [row.inputs["text"].decode() for row in actual] == ["", "é", "éé", "ééé"]
    assert [row.size for row in actual] == [0, 2, 4, 6]


def test_an_empty_file_has_no_shard(tmp_path):
    (tmp_path / "rows.jsonl").touch()
    assert find_shards(tmp_path / "rows.jsonl", 3) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "the line must be a JSON object. Received: '{"),
        (b"[" * 100_000, "the line must have at most 1000 bytes. Received: more"),
        (b'{"text": "' + b"a" * 989 + b'"}', "the line must have at most 1000 bytes"),
        (b"[" * 999, "the line must be a JSON object"),
        (b"9" * 999, "the line must be a JSON object. Received: 999"),
        (b"[1]", "the line must be a JSON object. Received: [1] (list)"),
        (b'{"text": "a", "id": 1, "text": "b"}', "the line must be a JSON object whose keys differ. Received: the key"),
        (b'{"texts": "a"}', "must have the field text"),
        (b'{"text": null}', "field text must be a string, not NoneType"),
        (b'{"text": "\xff"}', "the line must be UTF-8"),
        (b'{"text": "\\ud800"}', "must be text in Unicode"),
        (b'{"text": "a", "answer_text": 1}', "field answer_text would be overwritten"),
        (b'{"text": "a", "price": 1e999}', "must have numbers that a float of 64 bits can hold"),
        (b'{"text": "a", "price": NaN}', "the line must be a JSON object. Received: '{"),
    ],
)
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_bad_row_is_told_and_its_neighbours_are_read(tmp_path, line, reason, newline):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(newline.join([b'{"text": "before"}', line, b'{"text": "after"}']))
    before, bad, after = read(path)
    assert isinstance(before, Row)
    assert isinstance(after, Row)
    assert (before.line, bad.line, after.line) == (1, 2, 3)
    assert isinstance(bad, BadRow)
    assert bad.reason.startswith(reason)


def test_a_line_of_just_the_longest_length_is_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "' + b"a" * 988 + b'"}\r\n{"text": ""}')
    assert [row.size for row in read(path)] == [988, 0]


@pytest.mark.parametrize("value", ['"1"', "1.5", "true", "2147483648", "null"])
def test_a_number_must_be_whole_and_of_32_bits(tmp_path, value):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"tokens": {value}}}\n{{"tokens": -7}}')
    bad, good = read(path, fields={"max_new_tokens": "tokens"}, texts=())
    assert bad.reason == "field tokens must be a whole number of 32 bits"
    assert good.inputs == {"max_new_tokens": -7}


def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "a"}\n' * 4)
    (shard,) = find_shards(path, 9)
    path.write_bytes(b'{"text": "a"}\n')
    with pytest.raises(OSError, match="input must stay as it is while it is read"):
        list(read_rows(path, shard, {"text": "text"}, ("text",), (), 1000))
