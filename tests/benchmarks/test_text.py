"""The benchmark of the tokenizers: what it measures with, and what it prints."""

import io

import pytest
from rich.console import Console

from benchmarks import __main__ as program
from benchmarks import text


def test_no_two_words_are_equal():
    words = [word for batch in text.distinct_words(25_000) for word in batch]
    assert len(words) == len(set(words)) == 25_000


def test_speeds_and_memory_are_measured_for_both_families(monkeypatch):
    monkeypatch.setattr(text, "corpus_documents", lambda megabytes: ["def area(width): return width\n"] * 200)
    monkeypatch.setattr(text, "VOCABULARY", 300)
    monkeypatch.setattr(text, "LONG_TEXT", 10_000)
    printed = io.StringIO()
    found = text.run_text(Console(file=printed, width=120), 1, 1, 20_000)
    assert set(found) == {"led", "longt5"}
    for figures in found.values():
        assert min(figures.speed.graph, figures.speed.python) > 0
        assert figures.memory.after is None or figures.memory.after > 0
        assert min(figures.long_texts.words, figures.long_texts.word) > 0
    assert "Python MB/s" in printed.getvalue()


def test_bad_options_are_refused(capsys):
    with pytest.raises(SystemExit):
        program.main(["text", "--rounds", "0"])
    assert "--rounds" in capsys.readouterr().err
