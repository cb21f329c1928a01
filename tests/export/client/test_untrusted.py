"""Texts of others command no terminal, and a program gets them as they are."""

import os
import pty

import pytest

from export.client import ask
from export.client.untrusted import printable, without_commands

HOSTILE = "a\x1b[2Jb\r\x9b31m\x07 \u202ec\tfamily \U0001f468\u200d\U0001f469\nd"


def test_commands_are_spelled_out_and_letters_are_not():
    assert without_commands(HOSTILE) == ("a\\x1b[2Jb\\r\\x9b31m\\x07 \u202ec\tfamily \U0001f468\u200d\U0001f469\nd")
    assert printable(HOSTILE, kept="\n").isprintable() is False
    assert printable(HOSTILE).isprintable()
    assert printable("\udcff") == "\\udcff"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_answer_is_for_a_terminal_or_as_it_is(is_terminal, monkeypatch, tmp_path):
    options = ask._parser().parse_args(["DIR", "text"])
    answer = {"text": [HOSTILE], "truncated": [False]}
    if is_terminal:
        reading, writing = pty.openpty()
    else:
        reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8", newline="") as output:
        monkeypatch.setattr("sys.stdout", output)
        ask._print_answer(lambda *names, **inputs: answer, options, "text")
        output.flush()
        found = os.read(reading, 10_000).decode().replace("\r\n", "\n")
    os.close(reading)
    assert found == (without_commands(HOSTILE) if is_terminal else HOSTILE) + "\n"
