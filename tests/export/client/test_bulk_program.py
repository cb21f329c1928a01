"""A bulk run answers as the Python pipeline does, in order, goes on where it was killed, and says what is wrong."""

import gzip
import json
import os
import signal
import subprocess
import sys

import pytest
from exported import TEXTS, exported, toy

from export.client import bulk

COMMAND = [sys.executable, "-W", "error", "-m", "export", "bulk"]


def start(*arguments):
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def run(*arguments):
    process = start(*arguments)
    printed, messages = process.communicate(timeout=120)
    return process.returncode, printed, messages


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_killed_run_goes_on_and_answers_as_the_python_pipeline(tmp_path):
    led = exported("led")
    texts = [TEXTS[number % 4] for number in range(14)]
    source, output, bad = tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl", tmp_path / "out.jsonl.bad.jsonl"
    write(source, [{"article": text, "id": f"é{number}"} for number, text in enumerate(texts)])
    # Compressed, after a byte order mark, and with an empty line at the end.
    source.write_bytes(gzip.compress(b"\xef\xbb\xbf" + source.read_bytes() + b"not JSON\n\n"))
    arguments = [led.folder, "--input", source, "--output", output, "--field", "text=article", "--batch-size", 3]
    killed = start(*arguments, "--shard-rows", 2)
    for line in killed.stderr:
        if line.startswith("3 of 8"):
            break
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not output.exists()
    assert not bad.exists()
    with pytest.raises(ValueError, match="begun with another shard_rows. Give the same"):
        bulk.main([str(argument) for argument in arguments])

    status, printed, messages = run(*arguments, "--shard-rows", 2)
    assert status == 0, messages
    assert messages.startswith("going on: ")
    assert messages.endswith("shards\n")
    assert printed == f"wrote {output}: 14 rows; 1 bad rows: {bad}\n"
    actual = lines(output)
    assert [row["answer_line"] for row in actual] == list(range(1, 15))
    assert [row["id"] for row in actual] == [f"é{number}" for number in range(14)]
    summaries = dict(zip(TEXTS, led.summaries(TEXTS), strict=True))
    assert [row["answer_text"] for row in actual] == [summaries[text] for text in texts]
    assert [row["answer_truncated"] for row in actual] == [text == TEXTS[2] for text in texts]
    assert set(actual[0]) == {"id", "answer_line", "answer_text", "answer_score", "answer_truncated"}
    (actual,) = lines(bad)
    assert actual["line"] == 15
    assert actual["reason"].startswith("the line must be a JSON object. Received: 'not JSON")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl.gz", "out.jsonl", "out.jsonl.bad.jsonl"]


def test_several_workers_take_texts_and_numbers_from_fields_and_constants(tmp_path):
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    rows = "".join(f'"text\n{number}",4,1\n' for number in range(9))
    source.write_text("text,tokens,score\n" + rows + "1,2\n")
    arguments = ["--input", source, "--output", output, "--signature", "summarize", "--workers", 2, "--shard-rows", 4]
    arguments += ["--field", "max_new_tokens=tokens", "--set", "num_return_sequences=2", "--prefix", "x"]
    status, printed, messages = run(toy(), *arguments)
    bad = tmp_path / "out.jsonl.bad.jsonl"
    assert (status, printed) == (0, f"wrote {output}: 9 rows; 1 bad rows: {bad}\n"), messages
    expected = {"xscore": [0.0, 0.0], "xtext": ["text", "text"], "xtruncated": False, "tokens": "4", "score": "1"}
    assert lines(output) == [{"xline": number, **expected} for number in range(2, 20, 2)]
    assert lines(bad)[0]["line"] == 20


def test_what_the_model_refuses_for_every_row_is_told_before_the_run(tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write(source, [{"text": "a"}])
    asked = ["--signature", "summarize", "--set", "max_new_tokens=9999", "--set", "num_return_sequences=1"]
    status, _, messages = run(exported("led").folder, "--input", source, "--output", output, *asked)
    assert status == 2
    assert "max_new_tokens must be from 1 to 8" in messages


def test_more_workers_than_cores_are_refused():
    with pytest.raises(
        ValueError, match="--workers must be at most 3, the cores that there are. Received: --workers 4"
    ):
        bulk._share([{"CPU": 2.0}, {"CPU": 1.0}], 4)


CHECK = """
import sys
from pathlib import Path
from export.client.bulk_worker import BulkSettings, BulkWorker
for signature, fields in (("encode", {}), ("classify", {"texts": "a"}), ("translate", {})):
    settings = BulkSettings(Path(sys.argv[1]), Path("in"), signature, fields, {}, 1, 1, 1, "")
    try:
        BulkWorker(settings, Path("out")).check()
    except ValueError as error:
        print(error)
    for name in ("keras", "tfmodels"):
        assert sys.modules.pop(name) is None
"""


def test_a_signature_that_rows_do_not_fit_is_told():
    done = subprocess.run([sys.executable, "-c", CHECK, toy() / "3"], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "signature must take texts and numbers, one of each per row, and texts from fields. "
        "Received: signature=encode, whose input_ids is another",
        "--field must name one of text. Received: texts",
        "signature must be one of answer, classify, encode, serving_default, summarize. Received: signature=translate",
    ], done.stderr


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"--input": "missing"}, FileNotFoundError, "input must be a file of JSON lines or CSV. Received: input="),
        ({"--output": "in.jsonl"}, FileExistsError, "output must not exist. Received: output="),
        ({"DIR": "in.jsonl"}, ValueError, "DIR must hold a SavedModel"),
    ],
)
def test_bad_files_are_errors_that_name_them(tmp_path, change, error, message):
    write(tmp_path / "in.jsonl", [])
    given = {"DIR": toy(), "--input": "in.jsonl", "--output": "out.jsonl", **change}
    arguments = [str(tmp_path / given.pop("DIR"))]
    for name, value in given.items():
        arguments += [name, str(tmp_path / value)]
    with pytest.raises(error, match=message):
        bulk.main(arguments)


def test_a_compressed_file_that_breaks_off_leaves_nothing_begun(tmp_path):
    packed = gzip.compress(b"".join(b'{"text": "%d"}\n' % (number * 7919) for number in range(2000)))
    (tmp_path / "in.jsonl.gz").write_bytes(packed[:-9])
    arguments = [toy(), "--input", tmp_path / "in.jsonl.gz", "--output", tmp_path / "out.jsonl"]
    with pytest.raises(ValueError, match="in.jsonl.gz: the file must be valid gzip"):
        bulk.main([str(argument) for argument in arguments])
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl.gz"]


@pytest.mark.parametrize("again", [["--set", "text=1"], ["--field", "text=b"]])
def test_an_input_is_named_at_most_once(tmp_path, again):
    write(tmp_path / "in.jsonl", [])
    arguments = [str(toy()), "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")]
    with pytest.raises(ValueError, match="--field and --set must name an input at most once. Received: text 2 times"):
        bulk.main([*arguments, "--field", "text=a", *again])


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--field", "text", "must be INPUT=FIELD. Received: 'text'"),
        ("--set", "number=a", "must be NAME=NUMBER. Received: 'number=a'"),
        ("--batch-size", "0", "must be at least 1. Received: '0'"),
    ],
)
def test_bad_options_are_told(option, value, message, capsys):
    with pytest.raises(SystemExit):
        bulk.main(["DIR", "--input", "a", "--output", "b", option, value])
    assert message in capsys.readouterr().err
